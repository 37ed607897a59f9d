"""
What is still to be told, and to whom: names of registers, oldest change first. Pure.

What concerns everybody is told once to some nodes, and whoever hears it for the first time tells it on in the same way
(after Demers et al., "Epidemic algorithms for replicated database maintenance", PODC 1987). What concerns certain nodes
is owed to each of these. What never arrives is found by comparing: `hybrid.cluster.comparing`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from hybrid.model import NodeId, SiteId


class Word(msgspec.Struct, frozen=True, gc=False):
    """What `node` says about `site`, to everybody."""

    node: NodeId
    site: SiteId


class CopyOf(msgspec.Struct, frozen=True, gc=False):
    """What `node` says of its copy of `site`, to those that hold it too."""

    node: NodeId
    site: SiteId


class Self(msgspec.Struct, frozen=True, gc=False):
    """What `node` says about itself."""

    node: NodeId


class Value(msgspec.Struct, frozen=True, gc=False):
    """A shared value."""

    key: str


Name = Word | CopyOf | Self | Value


class News:
    """What has still to be told; a name at most once, however often it changed."""

    def __init__(self) -> None:
        self._hot: dict[Name, NodeId | None] = {}
        self._owed: dict[NodeId, dict[Name, None]] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._hot or self._owed)

    def spread(self, name: Name, told_by: NodeId | None = None) -> None:
        """Everybody should hear of `name`; `told_by` said so and need not."""
        self._hot[name] = told_by

    def owe(self, names: Iterable[Name], peers: Collection[NodeId]) -> None:
        """Each of `peers` should hear of `names`."""
        for name in names:
            for peer in peers:
                self._owed.setdefault(peer, {})[name] = None

    def round(self, targets: Iterable[NodeId]) -> dict[NodeId, list[Name]]:
        """
        Whom to tell what now: `targets` what everybody should hear, others what they are owed. Taken as told.

        Returns:
            Node to names; nodes without any are left out.
        """
        owed, self._owed = self._owed, {}
        hot, self._hot = self._hot, {}
        for target in targets:
            names = owed.setdefault(target, {})
            for name, told_by in hot.items():
                if told_by != target:
                    names[name] = None
        return {peer: list(names) for peer, names in owed.items() if names}
