"""
Was everything kept that was acknowledged? The checker of a set-full test (Jepsen's term). Pure.

Each acknowledged write must be on the main line or in a stash; no branch may hold one twice, or those of one writer in
another order than it wrote them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hybrid.lab.faults.evidence import Branches
from hybrid.lab.measures import Ack


@dataclass(frozen=True, slots=True)
class Kept:
    """Acknowledged writes by where they are, with their bytes; what is wrong with branches, in words."""

    acked: int
    on_main_line: int
    in_stash: int
    in_stash_bytes: int
    lost: tuple[str, ...]
    lost_bytes: int
    wrong: tuple[str, ...]


def check(acks: Sequence[Ack], branches: Branches) -> Kept:
    """Where each of `acks` is. A stash that could not be read holds nothing as far as this can say."""
    main = set(branches.main)
    stashed = {id_ for branch in branches.stashes.values() for id_ in branch} - main
    lost = [ack for ack in acks if ack.id not in main and ack.id not in stashed]
    only_stashed = [ack for ack in acks if ack.id in stashed]
    named = {"the main line": branches.main, **{f"stash {name}": ids for name, ids in branches.stashes.items()}}
    return Kept(
        acked=len(acks),
        on_main_line=sum(1 for ack in acks if ack.id in main),
        in_stash=len(only_stashed),
        in_stash_bytes=sum(ack.size for ack in only_stashed),
        lost=tuple(ack.id for ack in lost),
        lost_bytes=sum(ack.size for ack in lost),
        wrong=tuple(wrong for name, ids in named.items() for wrong in _wrong(name, ids, acks)),
    )


def _wrong(name: str, ids: Sequence[str], acks: Iterable[Ack]) -> list[str]:
    """What is wrong with one branch."""
    twice = [id_ for id_, times in Counter(ids).items() if times > 1]
    found = [f"{name} holds {id_} twice" for id_ in twice[:3]]
    known = {ack.id: ack for ack in acks}
    last: dict[str, Ack] = {}
    for id_ in ids:
        ack = known.get(id_)
        if ack is None:
            continue
        before = last.get(ack.node)
        if before is not None and before.number > ack.number:
            return [*found, f"{name} holds {ack.id} after {before.id}, which was written later"]
        last[ack.node] = ack
    return found
