"""Times out of what was heard: how long a site was away, how long it had two writers. Pure; seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hybrid.lab.faults.evidence import Window
from hybrid.lab.measures import Ack, Answered

SLO_S = 2.0
"""An answer that takes longer counts as none."""


def unavailable_s(heard: Sequence[Answered], excused: Sequence[Window] = ()) -> float:
    """
    How long a page was away through one node: from the begin of a miss to the end of the next good answer.

    Args:
        heard: Oldest first. A miss is an error or an answer later than `SLO_S`.
        excused: When the node need not answer.
    """
    total_s, since_s = 0.0, None
    for answer in heard:
        good = answer.ok and answer.end_s - answer.begin_s <= SLO_S
        if any(answer.end_s >= window.from_s and answer.begin_s <= window.until_s for window in excused):
            since_s = None
        elif not good:
            since_s = answer.begin_s if since_s is None else since_s
        elif since_s is not None:
            total_s, since_s = total_s + answer.end_s - since_s, None
    if since_s is not None:
        total_s += heard[-1].end_s - since_s
    return total_s


def first_good_s(heard: Sequence[Answered], since_s: float) -> float | None:
    """
    From `since_s` to the end of the first good answer after the first miss; 0 where nothing was missed.

    `None`: nothing was answered any more. Requests begun before prove nothing.
    """
    after = [answer for answer in heard if answer.begin_s >= since_s]
    missed = next((number for number, answer in enumerate(after) if not answer.ok), None)
    if missed is None:
        return 0.0 if after else None
    return next((answer.end_s - since_s for answer in after[missed:] if answer.ok), None)


def overlap_s(acks: Iterable[Ack], apart: Sequence[Window]) -> float:
    """
    How long two claims of different nodes were written under in turn, while all nodes could hear each other.

    Args:
        acks: With the claim as the application named it; ones without are passed over.
        apart: Wall times at which two owners are as they should be.
    """
    ordered = sorted((ack for ack in acks if ack.claim), key=lambda ack: ack.acked_s)
    total_s = 0.0
    for between in _pieces([ack for ack in ordered if not _within(ack.acked_s, apart)], apart):
        spans: dict[str, list[float]] = {}
        for ack in between:
            spans.setdefault(ack.claim, []).append(ack.acked_s)
        total_s += _doubly_covered_s([(times[0], times[-1]) for times in spans.values()])
    return total_s


def _pieces(acks: Sequence[Ack], apart: Sequence[Window]) -> list[list[Ack]]:
    """`acks` divided where a window of `apart` lies between two of them."""
    pieces: list[list[Ack]] = [[]]
    for ack in acks:
        last = pieces[-1]
        if last and any(last[-1].acked_s < window.from_s <= ack.acked_s for window in apart):
            pieces.append([])
        pieces[-1].append(ack)
    return pieces


def _within(moment_s: float, windows: Sequence[Window]) -> bool:
    return any(window.from_s <= moment_s <= window.until_s for window in windows)


def _doubly_covered_s(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least two of `spans` run at once."""
    edges = sorted([(begin_s, 1) for begin_s, _ in spans] + [(end_s, -1) for _, end_s in spans])
    total_s, depth, last_s = 0.0, 0, 0.0
    for at_s, step in edges:
        if depth >= 2:
            total_s += at_s - last_s
        depth, last_s = depth + step, at_s
    return total_s


def rpo_s(acks: Sequence[Ack], fault_wall_s: float, main: Iterable[str]) -> float:
    """Age, at the fault, of the oldest acknowledged write that the main line went on without; 0: none."""
    kept = set(main)
    missing = [ack.acked_s for ack in acks if ack.acked_s <= fault_wall_s and ack.id not in kept]
    return fault_wall_s - min(missing) if missing else 0.0
