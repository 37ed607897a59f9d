"""
Stashes that a person wants to be rid of: an entry in the shared map, which every node that holds one obeys. Shell.

Copies of a stash have ids of their own, so it is named by its head. A discarded one lies in the trash for a week, from
where it can be brought back; then `Purge` destroys it. As long as the entry stands, a copy that comes back with a node
that was away is put away too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
from twisted.logger import Logger

from hybrid.deeds import DiscardedStash
from hybrid.errors import Conflict, HybridError
from hybrid.hosting.deletions import Shared
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.tombstones import KEEP_S
from hybrid.model import Guid, SiteId, Stash

KEY = "discarded/"
"""Shared keys: `discarded/<site-id>/<guid of the head>`."""
FORGET_S = 90 * 86400
"""Entries are dropped when this old: no node is expected back after so long with something in it."""


class Discarded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stash that was discarded, or brought back."""

    site: SiteId
    stash: Stash
    at_s: int
    by: str
    is_back: bool = False

    @property
    def key(self) -> str:
        """Of the shared map."""
        return f"{KEY}{self.site}/{self.stash.head}"

    def is_due(self, now_s: float) -> bool:
        """Whether it may be destroyed."""
        return not self.is_back and now_s - self.at_s > KEEP_S


class Bin(Protocol):
    """The replicator's way of putting stashes aside, and back."""

    async def discard(self, site: SiteId, head: Guid) -> int:
        """Put those that end in `head` into the trash. Returns how many."""

    async def undiscard(self, site: SiteId, head: Guid) -> int:
        """Bring them back. Returns how many."""


class Discards:
    """What was said of stashes, and what this node does about it."""

    log = Logger()

    def __init__(self, shared: Shared, bin_: Bin, holdings: Holdings, wall_s: Callable[[], float]) -> None:
        self._shared, self._bin, self._holdings, self._wall_s = shared, bin_, holdings, wall_s

    def told(self, entry: Discarded) -> DiscardedStash:
        """An entry as people see it."""
        return DiscardedStash(stash=entry.stash, at_s=entry.at_s, until_s=entry.at_s + KEEP_S, by=entry.by)

    def of(self, site: SiteId) -> list[Discarded]:
        """Those that can be brought back, newest first."""
        now_s = self._wall_s()
        found = [one for one in self._entries(f"{KEY}{site}/") if not one.is_back and not one.is_due(now_s)]
        return sorted(found, key=lambda one: -one.at_s)

    def discard(self, stash: Stash, by: str) -> Discarded:
        """Have every node put `stash` away. Discarded already: the same again."""
        before = self.entry(stash.site, stash.head)
        if before is not None and not before.is_back:
            return before
        entry = Discarded(site=stash.site, stash=stash, at_s=int(self._wall_s()), by=by)
        self._shared.put(entry.key, msgspec.json.encode(entry).decode())
        return entry

    def bring_back(self, site: SiteId, stash_id: str, by: str) -> Discarded:
        """Have every node bring it back. Raises `Conflict` when it was not discarded, or is gone."""
        found = next((one for one in self.of(site) if one.stash.id == stash_id), None)
        if found is None:
            raise Conflict(f"stash {stash_id} is not in the trash", "", "hybrid stash list --discarded shows what is")
        entry = msgspec.structs.replace(found, is_back=True, by=by, at_s=int(self._wall_s()))
        self._shared.put(entry.key, msgspec.json.encode(entry).decode())
        return entry

    def entry(self, site: SiteId, head: Guid) -> Discarded | None:
        """What was said last about stashes of `site` that end in `head`."""
        return _decoded(self._shared.get(f"{KEY}{site}/{head}"))

    def is_due(self, site: SiteId, head: Guid) -> bool:
        """Whether what ends there was discarded long ago, for `Purge`."""
        entry = self.entry(site, head)
        return entry is not None and entry.is_due(self._wall_s())

    async def look(self) -> None:
        """Do what was said, as far as it is not done. Never raises."""
        now_s = self._wall_s()
        for entry in self._entries(KEY):
            if now_s - entry.at_s > FORGET_S:
                self._shared.put(entry.key, None)
                continue
            deed = self._bin.undiscard if entry.is_back else self._bin.discard
            try:
                moved = await deed(entry.site, entry.stash.head)
            except HybridError as error:
                self.log.warn("stash {stash} stays where it is: {why}", stash=entry.stash.id, why=str(error))
                continue
            if moved:
                self.log.info("{stash}: {moved} moved", stash=entry.stash.id, moved=moved, is_back=entry.is_back)
                if self._holdings.get(entry.site) is not None:
                    self._holdings.publish(entry.site)

    def _entries(self, prefix: str) -> list[Discarded]:
        return [entry for value in self._shared.prefix(prefix).values() if (entry := _decoded(value)) is not None]


def _decoded(value: str | None) -> Discarded | None:
    try:
        return msgspec.json.decode(value or "", type=Discarded)
    except msgspec.MsgspecError:
        return None
