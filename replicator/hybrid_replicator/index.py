"""
The histories of this node's datasets, in memory: known at start, kept up to date by what we do ourselves. Shell.

Listing a pool takes minutes where there are many snapshots, so at a start only what is not kept (`kept.py`) is read.
One dataset is read again where the truth matters: after a receive, after any error, and later what was believed then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import msgspec
from twisted.logger import Logger

from hybrid.errors import NoSuchDataset
from hybrid.history import History
from hybrid.model import Guid, SiteId, SiteSpec, Snapshot, Stash
from hybrid.ports import Dataset, Pool
from hybrid_replicator.kept import REST_S, Kept, NoShelf
from hybrid_replicator.names import (
    FROM,
    IMAGES,
    JOURNAL,
    NOT_OURS,
    SITES,
    SPEC,
    STASH,
    STASHED,
    STASHED_AT,
    TRASH,
    site_dataset,
)
from hybrid_replicator.tasks import side_by_side

READ_AT_ONCE = 4
"""Datasets read at the same time when everything is read."""


@dataclass(frozen=True, slots=True)
class Line:
    """One dataset as last read."""

    history: History
    origin: tuple[str, Guid] | None = None
    properties: dict[str, str] = field(default_factory=dict)
    stash: Stash | None = None


def written_spec(properties: dict[str, str]) -> SiteSpec | None:
    """The spec that came with a site's data; `None` where there is none that can be read."""
    try:
        return msgspec.json.decode(properties.get(SPEC, ""), type=SiteSpec)
    except msgspec.MsgspecError:
        return None


def _recorded(properties: dict[str, str]) -> Stash | None:
    try:
        return msgspec.json.decode(properties.get(STASHED, ""), type=Stash)
    except msgspec.MsgspecError:
        return None


class HistoryIndex:
    """What is where on this node."""

    log = Logger()

    def __init__(self, pool: Pool, kept: Kept | None = None) -> None:
        """`kept` outlives the process, and is the witness of `pool`; nothing is kept without it."""
        self._pool, self._kept = pool, kept or Kept(NoShelf(), lambda: 0.0)
        self._lines: dict[str, Line] = {}
        self._believed: list[str] = []
        """Datasets whose histories were not read since the start."""

    # ------------------------------------------------------------------------------------------------ reading

    def __contains__(self, dataset: str) -> bool:
        return dataset in self._lines

    def history(self, dataset: str) -> History:
        """Its snapshots, oldest first; empty when it is not here."""
        line = self._lines.get(dataset)
        return line.history if line else ()

    def properties(self, dataset: str) -> dict[str, str]:
        """Its user properties as last read; empty when it is not here."""
        line = self._lines.get(dataset)
        return dict(line.properties) if line else {}

    def image_of(self, dataset: str) -> tuple[str, Guid] | None:
        """The image and its snapshot that `dataset` was cloned from, if it was."""
        line = self._lines.get(dataset)
        return line.origin if line and line.origin and line.origin[0].startswith(IMAGES) else None

    def image_with(self, guid: Guid) -> str | None:
        """The image dataset here whose snapshot `guid` is."""
        images = (name for name in self._lines if name.startswith(IMAGES))
        return next((name for name in images if self._has(name, guid)), None)

    def made_from(self, image: str) -> Guid | None:
        """The snapshot of a site that `image` was made from, if it was; see `names.FROM`."""
        line = self._lines.get(image)
        return line.origin[1] if line and line.origin and image.startswith(FROM) else None

    def bases(self) -> list[str]:
        """Those made of moments of sites, by name."""
        return sorted(name for name in self._lines if name.startswith(FROM))

    def hanging_on(self, dataset: str) -> list[str]:
        """What was cloned from a snapshot of `dataset`, by name."""
        return sorted(name for name, line in self._lines.items() if line.origin and line.origin[0] == dataset)

    def has(self, guid: Guid) -> bool:
        """Whether any dataset here has snapshot `guid`."""
        return any(self._has(name, guid) for name in self._lines)

    def sites(self) -> list[SiteId]:
        """Sites whose main line is here, by id."""
        return sorted(SiteId(name.removeprefix(SITES)) for name in self._lines if name.startswith(SITES))

    def stashes(self, site: SiteId) -> tuple[Stash, ...]:
        """Stashes of `site`, oldest first."""
        found = [
            (float(line.properties.get(STASHED_AT, 0)), line.stash.head_at_s, line.stash.id, line.stash)
            for line in self._lines.values()
            if line.stash is not None and line.stash.site == site
        ]
        return tuple(stash for *_, stash in sorted(found, key=lambda entry: entry[:3]))

    def all_stashes(self) -> list[Stash]:
        """Stashes of every site, by id."""
        return sorted((line.stash for line in self._lines.values() if line.stash), key=lambda stash: stash.id)

    def stash_in(self, dataset: str) -> Stash | None:
        """The stash that `dataset` is, if it is one."""
        line = self._lines.get(dataset)
        return line.stash if line else None

    def stashes_in_trash(self, site: SiteId, head: Guid) -> list[tuple[str, Stash]]:
        """`(dataset, stash)` of those of `site` that were discarded and end in `head`."""
        found = []
        for name, line in self._lines.items():
            if name.startswith(f"{TRASH}{site}.") and line.history and line.history[-1].guid == head:
                stash = _recorded(line.properties)
                found += [(name, stash)] if stash is not None else []
        return found

    def datasets_of(self, site: SiteId) -> list[str]:
        """The main line's dataset first, then those of the stashes, newest first."""
        stashes = [STASH + stash.id for stash in reversed(self.stashes(site))]
        return [site_dataset(site), *stashes] if site_dataset(site) in self._lines else stashes

    def holder(self, site: SiteId, guid: Guid) -> str | None:
        """The dataset of `site` whose snapshot `guid` is: the main line or a stash."""
        return next((name for name in self.datasets_of(site) if self._has(name, guid)), None)

    def origins(self) -> frozenset[Guid]:
        """Snapshots that some dataset was cloned from."""
        return frozenset(line.origin[1] for line in self._lines.values() if line.origin is not None)

    # ------------------------------------------------------------------------------------------------ writing

    async def load(self) -> None:
        """Know all of the pool. Only at start, before anything is changed."""
        self._lines.clear()
        kept = self._kept.read()
        datasets = [one for one in await self._pool.datasets() if not one.name.startswith(NOT_OURS)]
        datasets = [one for one in datasets if one.name != JOURNAL]
        for dataset in datasets:
            if dataset.name in kept:
                self._learn(dataset, kept[dataset.name])
        self._believed = sorted(self._lines)
        self._kept.doubt(kept.keys() - self._lines.keys())
        await side_by_side([one for one in datasets if one.name not in self._lines], READ_AT_ONCE, self._read)
        self.log.info("{kept} of {all} histories were kept", kept=len(self._believed), all=len(self._lines))

    async def verify_next(self) -> None:
        """Read one of the histories that were believed at the start; what changes meanwhile was read by others."""
        if self._believed and (dataset := self._believed.pop()) in self._lines:
            changes = self._kept.changes(dataset)
            try:
                history = await self._ask(dataset)
            except NoSuchDataset:
                history = ()
            line = self._lines.get(dataset)
            if line is not None and line.history != history and self._kept.changes(dataset) == changes:
                self.log.warn("{dataset} was not as it was kept: changed by hand?", dataset=dataset)
                self._kept.doubt([dataset])
                await self.refresh(dataset)

    def settle(self, rest_s: float = REST_S) -> int:
        """Write down the histories that have rested for so long, a part of them at a time; how many it were."""
        return self._kept.settle(((name, line.history) for name, line in self._lines.items()), rest_s)

    def about_to_change(self, datasets: Iterable[str]) -> None:
        """For many at once what the pool's witness would do for each: one write to disk instead of many."""
        self._kept.doubt(datasets)

    async def refresh(self, dataset: str) -> History:
        """Read one dataset again, all of it; it may be gone. Returns its history."""
        try:
            await self._read(await self._pool.dataset(dataset))
        except NoSuchDataset:
            self.forget(dataset)
        return self.history(dataset)

    async def reread(self, dataset: str) -> History:
        """Read one dataset's snapshots again. Returns them. Raises `NoSuchDataset`."""
        history = await self._ask(dataset)
        self._lines[dataset] = replace(self._lines.get(dataset, Line(())), history=history)
        return history

    def took(self, dataset: str, snapshot: Snapshot) -> None:
        """A snapshot was added."""
        line = self._lines.get(dataset, Line(()))
        self._lines[dataset] = replace(line, history=(*line.history, snapshot))

    def dropped(self, dataset: str, guid: Guid) -> None:
        """A snapshot was destroyed."""
        line = self._lines.get(dataset)
        if line is not None:
            left = tuple(snapshot for snapshot in line.history if snapshot.guid != guid)
            self._lines[dataset] = replace(line, history=left)

    def wrote(self, dataset: str, properties: dict[str, str]) -> None:
        """User properties were set."""
        line = self._lines.get(dataset)
        if line is not None:
            self._lines[dataset] = replace(line, properties={**line.properties, **properties})

    def forget(self, dataset: str) -> None:
        """It is not here any more."""
        self._lines.pop(dataset, None)

    async def _read(self, dataset: Dataset) -> None:
        self._learn(dataset, await self._ask(dataset.name))

    async def _ask(self, dataset: str) -> History:
        changes = self._kept.changes(dataset)
        history = await self._pool.history(dataset)
        self._kept.reread(dataset, changes)
        return history

    def _learn(self, dataset: Dataset, history: History) -> None:
        self._lines[dataset.name] = Line(history, dataset.origin, dataset.properties, self._stash(dataset))

    def _stash(self, dataset: Dataset) -> Stash | None:
        if not dataset.name.startswith(STASH) or STASHED not in dataset.properties:
            return None
        stash = _recorded(dataset.properties)
        if stash is None:
            self.log.warn("dataset {name} has no readable record of what it is", name=dataset.name)
        return stash

    def _has(self, dataset: str, guid: Guid) -> bool:
        return any(snapshot.guid == guid for snapshot in self.history(dataset))
