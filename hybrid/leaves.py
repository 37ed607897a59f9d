"""
A mapping that is never changed: one with some entries replaced shares the rest. Pure.

A view of 100,000 sites is renewed many times a minute for the sake of a few. Copying a dictionary of that size, and
comparing two, takes milliseconds each; here both cost what changed. Entries lie in many small dictionaries ("leaves"),
found by a checksum of the key, so that the order of iteration is the same in every process.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, ValuesView
from itertools import chain
from typing import TypeVar
from zlib import crc32

K = TypeVar("K", bound=str)
V = TypeVar("V")
FULL = 64
"""Entries per leaf, on average, from which there are four times as many leaves."""


class Leaves(Mapping[K, V]):
    """Strings to values. Values are compared by identity first: keep what has not changed."""

    __slots__ = ("_leaves", "_length")

    def __init__(self, entries: Mapping[K, V] | None = None) -> None:
        self._leaves: tuple[dict[K, V], ...] = ({},)
        self._length = 0
        if entries:
            self._grow(entries)

    def __getitem__(self, key: K) -> V:
        return self._leaves[_place(key, len(self._leaves))][key]

    def __iter__(self) -> Iterator[K]:
        for leaf in self._leaves:
            yield from leaf

    def __len__(self) -> int:
        return self._length

    def values(self) -> ValuesView[V]:
        """As of any mapping, without looking up each key."""
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        """As of any mapping, without looking up each key."""
        return _Items(self)

    def replaced(self, entries: Mapping[K, V], gone: Iterable[K] = ()) -> Leaves[K, V]:
        """This one with `entries` instead of what was there, and without `gone`; those that are not there: fine."""
        leaves = list(self._leaves)
        touched: dict[int, dict[K, V]] = {}
        for key, value in entries.items():
            place = _place(key, len(leaves))
            touched.setdefault(place, dict(leaves[place]))[key] = value
        for key in gone:
            place = _place(key, len(leaves))
            touched.setdefault(place, dict(leaves[place])).pop(key, None)
        made: Leaves[K, V] = Leaves()
        made._length = self._length
        for place, leaf in touched.items():
            made._length += len(leaf) - len(leaves[place])
            leaves[place] = leaf
        made._leaves = tuple(leaves)
        if made._length > FULL * len(leaves):
            made._grow(dict(made.items()))
        return made

    def _grow(self, entries: Mapping[K, V]) -> None:
        count = len(self._leaves)
        while len(entries) > FULL * count:
            count *= 4
        leaves: tuple[dict[K, V], ...] = tuple({} for _ in range(count))
        for key, value in entries.items():
            leaves[_place(key, count)][key] = value
        self._leaves, self._length = leaves, len(entries)

    def unlike(self, older: Mapping[K, V]) -> tuple[dict[K, V], list[K]]:
        """What turns `older` into this: entries that are new or not equal, and the keys that are gone, in order."""
        pairs: Iterable[tuple[Mapping[K, V], Mapping[K, V]]] = [(self, older)]
        if isinstance(older, Leaves) and len(older._leaves) == len(self._leaves):
            pairs = zip(self._leaves, older._leaves, strict=True)
        changed: dict[K, V] = {}
        gone: list[K] = []
        for mine, theirs in pairs:
            if mine is not theirs:
                changed.update((key, value) for key, value in mine.items() if not _same(theirs.get(key), value))
                gone += [key for key in theirs if key not in mine]
        return changed, sorted(gone)


class _Values(ValuesView[V]):
    def __init__(self, leaves: Leaves[K, V]) -> None:
        super().__init__(leaves)
        self._of = leaves._leaves

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(leaf.values() for leaf in self._of)


class _Items(ItemsView[K, V]):
    def __init__(self, leaves: Leaves[K, V]) -> None:
        super().__init__(leaves)
        self._of = leaves._leaves

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return chain.from_iterable(leaf.items() for leaf in self._of)


def unlike(newer: Mapping[K, V], older: Mapping[K, V]) -> tuple[dict[K, V], list[K]]:
    """See `Leaves.unlike`; for any two mappings."""
    return (newer if isinstance(newer, Leaves) else Leaves(newer)).unlike(older)


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def _place(key: str, count: int) -> int:
    return crc32(key.encode()) & (count - 1)
