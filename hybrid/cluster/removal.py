"""
Nodes that were removed for good: what is noted of them, and whom that keeps out. Pure.

The notes stand in the shared map for ever (`removed/<node>`) and are never taken back: a node comes back by joining
anew, with a new key. A removed node's key signed the keys of those it had let in. They stay members, for the note
spares all who were known when it was written; whom its key lets in afterwards, in a thief's hands, is refused. (A node
it let in a moment before, of which the remover had not heard, is refused too and joins again.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from hybrid.cluster.candidates import CLAIMING, HOLDING, Registers, newest_spec
from hybrid.model import NodeId

REMOVED = "removed/"
"""What the keys begin with. The ledger never takes such a value back."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """The note of one removal."""

    name: str
    """What the node was called."""
    by: str
    """Who asked for it, and where, for people."""
    at_s: int
    """Seconds since the epoch, for people."""
    spared: tuple[NodeId, ...]
    """Nodes that were known: those among them whom the removed node let in stay members."""

    @property
    def text(self) -> str:
        """For people: `n3 was removed from this cluster by admin at n1, 2026-05-01 10:00 UTC`."""
        when = datetime.fromtimestamp(self.at_s, UTC)
        return f"{self.name} was removed from this cluster by {self.by}, {when:%Y-%m-%d %H:%M} UTC"


class Removals(Mapping[NodeId, Removal]):
    """All removals known here."""

    def __init__(self) -> None:
        self._notes: dict[NodeId, Removal] = {}

    def __getitem__(self, node: NodeId) -> Removal:
        return self._notes[node]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._notes)

    def __len__(self) -> int:
        return len(self._notes)

    def take(self, entries: Iterable[tuple[str, str | None]]) -> list[NodeId]:
        """
        Take notes out of the shared map.

        Args:
            entries: Keys and values of it, also others; a value that is no note removes the node all the same.

        Returns:
            Nodes not known to be removed until now, in the order of `entries`.
        """
        new = []
        for key, value in entries:
            node = NodeId(key.removeprefix(REMOVED))
            if key.startswith(REMOVED) and value is not None:
                if node not in self._notes:
                    new.append(node)
                self._notes[node] = loads(value)
        return new

    def why_not(self, line: Sequence[NodeId]) -> str:
        """
        Why the node with `line` (`hybrid.cluster.certificates.line`) is not let in, for people; empty when it is.

        The note of its own removal counts most; then that of each node above it that vouched for the next one below.
        """
        if line and line[0] in self._notes:
            return self._notes[line[0]].text
        for below, above in pairwise(line):
            note = self._notes.get(above)
            if note is not None and below not in note.spared:
                return f"{note.text}; {below} was let in by it and not known then"
        return ""


def dumps(removal: Removal) -> str:
    """The value for the shared map."""
    return msgspec.json.encode(removal).decode()


def loads(value: str) -> Removal:
    """What `dumps` made; of anything else a note that spares nobody."""
    try:
        return msgspec.json.decode(value, type=Removal)
    except msgspec.MsgspecError:
        return Removal(name="it", by="somebody", at_s=0, spared=())


def obstacles(node: NodeId, sites: Iterable[Registers], live: Collection[NodeId]) -> list[str]:
    """
    What would be lost to the cluster if `node` were removed now, for people; empty when nothing is.

    Args:
        node: The one to go.
        sites: The registers of each site of which it ever spoke.
        live: Nodes that are up.
    """
    found: list[str] = []
    for registers in sites:
        spec = newest_spec(registers.values())
        found += _obstacles(node, registers, live, spec.name if spec else "a site")
    return sorted(found)


def _obstacles(node: NodeId, registers: Registers, live: Collection[NodeId], name: str) -> Iterator[str]:
    ours = registers[node]
    others = [register for other, register in registers.items() if other != node and other in live]
    if node in live and ours.role in CLAIMING:
        yield f"{name} is on it: move it to another node"
    elif ours.role in HOLDING and not any(other.role in HOLDING for other in others):
        yield f"no other node that is up holds {name}"
    elsewhere = {stash.id for other in others for stash in other.stashes}
    for stash in ours.stashes:
        if stash.id not in elsewhere:
            yield f"no other node that is up holds {stash.id}, a stash of {name}"
