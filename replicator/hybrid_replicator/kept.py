"""
Histories that outlive the process, and when they may be believed. Shell: a doubt is on disk when the call returns.

A history is written down when its dataset has rested for a while, and struck out before anything is done that may
change it. So what stands there at a start is true, however the last life ended, and the pool need not be listed; what
does not stand there is read from the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import msgspec
from twisted.logger import Logger

from hybrid.history import History
from hybrid.model import Snapshot
from hybrid_replicator.names import TEMPORARY

REST_S = 60.0
"""A dataset to which nothing was done for so long is written down."""
AT_ONCE = 500
"""Histories written down in one go."""

_DECODER = msgspec.msgpack.Decoder(tuple[Snapshot, ...])


class Shelf(Protocol):
    """Where they are kept; what a call did is on disk when it returns. See `hybrid.cluster.store.Store`."""

    def histories(self) -> dict[str, bytes]:
        """All, by dataset."""

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """Write these, over older ones."""

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """Strike these out; not there: fine."""


class NoShelf:
    """Nothing is kept."""

    def histories(self) -> dict[str, bytes]:
        """See `Shelf`."""
        return {}

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """See `Shelf`."""

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """See `Shelf`."""


class Kept:
    """What stands on the shelf, and what must not."""

    log = Logger()

    def __init__(self, shelf: Shelf, now_s: Callable[[], float]) -> None:
        """`now_s` is monotonic."""
        self._shelf, self._now_s = shelf, now_s
        self._standing: set[str] = set()
        self._under_way: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        """Beginnings and ends of changes so far."""
        self._unsure: set[str] = set()
        """A change of them failed, or they were read during one: what is known of them may be wrong."""
        self._rests_s: dict[str, float] = {}

    def read(self) -> dict[str, History]:
        """All that stands, by dataset. Only at start, before anything is changed."""
        found: dict[str, History] = {}
        for dataset, record in self._shelf.histories().items():
            try:
                found[dataset] = _DECODER.decode(record)
            except msgspec.MsgspecError:
                self.log.warn("what is kept of {dataset} cannot be read: it is read from the pool", dataset=dataset)
        self._standing = set(found)
        return found

    def doubt(self, datasets: Iterable[str]) -> None:
        """These may change from now on."""
        doubted = self._standing.intersection(datasets)
        if doubted:
            self._shelf.drop_histories(sorted(doubted))
            self._standing -= doubted

    @contextmanager
    def change(self, *datasets: str) -> Iterator[None]:
        """While something is done that may change these; what lies under `temporary/` is never kept."""
        datasets = tuple(dataset for dataset in datasets if not dataset.startswith(TEMPORARY))
        self.doubt(datasets)
        self._under_way.update(datasets)
        self._changes.update(datasets)
        try:
            yield
        except BaseException:
            self._unsure.update(datasets)
            raise
        finally:
            self._under_way.subtract(datasets)
            self._changes.update(datasets)
            now_s = self._now_s()
            self._rests_s.update((dataset, now_s) for dataset in datasets)

    def akin(self, dataset: str) -> tuple[str, ...]:
        """It, and what stands of the same site: histories move between them."""
        site = dataset.partition("/")[2].partition(".")[0]
        return (dataset, *(name for name in self._standing if site in name and name != dataset))

    def changes(self, dataset: str) -> int:
        """Grows whenever something begins or ends that may change it; to be given to `reread`."""
        return self._changes[dataset]

    def reread(self, dataset: str, changes: int) -> None:
        """All of it was read from the pool, from when `changes` was told until now."""
        if changes == self._changes[dataset] and not self._under_way[dataset]:
            self._unsure.discard(dataset)
        else:
            self._unsure.add(dataset)

    def settle(self, lines: Iterable[tuple[str, History]], rest_s: float = REST_S) -> int:
        """
        Write down those that have rested for `rest_s`, a part of them at a time.

        Args:
            lines: Datasets with all that is known of their histories.

        Returns:
            How many were written.
        """
        since_s = self._now_s() - rest_s
        records: dict[str, bytes] = {}
        for dataset, history in lines:
            if dataset not in self._standing and self._is_sure(dataset, since_s):
                records[dataset] = msgspec.msgpack.encode(history)
                if len(records) == AT_ONCE:
                    break
        if records:
            self._shelf.keep_histories(records)
            self._standing.update(records)
        return len(records)

    def _is_sure(self, dataset: str, since_s: float) -> bool:
        if dataset in self._unsure or self._under_way[dataset]:
            return False
        return self._rests_s.get(dataset, float("-inf")) <= since_s
