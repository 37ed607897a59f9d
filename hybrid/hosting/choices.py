"""
What only a person can decide, and how the answer becomes a fact: picks (rule R5), undeletions (R12). Shell.

An answer is a value in the cluster's shared map; whoever it concerns acts on it by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid.cluster import picks
from hybrid.deeds import Deleted
from hybrid.errors import Conflict, NoSuchSite
from hybrid.hosting import tombstones
from hybrid.hosting.deletions import Shared
from hybrid.hosting.pending import pending
from hybrid.hosting.tombstones import KEEP_S, Tombstone, Undeleted
from hybrid.model import NodeId, SiteId
from hybrid.view import Pending, SiteView, View


class Choices:
    """Takes a person's answers, on any node."""

    def __init__(
        self,
        view: Callable[[], View],
        shared: Shared,
        stone: Callable[[SiteId], tombstones.Entry | None],
        wall_s: Callable[[], float],
    ) -> None:
        """`stone(site)`: see `Deletions.entry`."""
        self._view, self._shared, self._stone, self._wall_s = view, shared, stone, wall_s

    def pending(self) -> list[Pending]:
        """See `hybrid.deeds.Hosting.decisions`."""
        view = self._view()
        found = {site: self._stone(site) for site in self._buried() if site in view.sites}
        return pending(view, {site: stone for site, stone in found.items() if isinstance(stone, Tombstone)})

    def pick(self, site: SiteId, node: NodeId, by: str) -> picks.Pick:
        """
        Have the history of `node` go on; that of the others is kept as stashes. The same again changes nothing.

        Raises:
            NoSuchSite: This node does not know it.
            Conflict: Nobody waits for a pick, or `node` has no history to pick.
        """
        seen = self._view().sites.get(site)
        if seen is None:
            raise NoSuchSite(f"there is no site {site}")
        before = picks.decode(self._shared.get(picks.KEY + site))
        if not seen.awaiting:
            if before is not None and before.claim.node == node and seen.owner == node:
                return before
            raise Conflict(f"no choice is wanted for {seen.spec.name}", "it has one history", "hybrid decisions")
        pick = self._new(seen, node, by)
        if before is not None and (before.claim, before.over) == (pick.claim, pick.over):
            return before
        self._shared.put(*picks.encode(pick))
        return pick

    def _new(self, seen: SiteView, node: NodeId, by: str) -> picks.Pick:
        mine = [claim for claim in seen.awaiting if claim.node == node]
        if not mine:
            raise Conflict(f"{node} has no history of {seen.spec.name} to pick", "", "hybrid decisions shows who has")
        over = tuple(claim for claim in seen.awaiting if claim != mine[-1])
        return picks.Pick(site=seen.spec.id, claim=mine[-1], over=over, by=by, at_s=int(self._wall_s()))

    # ---------------------------------------------------------------------------------------------- deletions

    def deleted(self) -> list[Deleted]:
        """See `hybrid.deeds.Hosting`."""
        stones = [stone for site in self._buried() if isinstance(stone := self._stone(site), Tombstone)]
        now_s = self._wall_s()
        return [
            Deleted(site=stone.site, name=stone.name, at_s=stone.at_s, until_s=stone.at_s + KEEP_S, by=stone.by)
            for stone in sorted(stones, key=lambda stone: -stone.at_s)
            if stone.at_s + KEEP_S > now_s
        ]

    def undelete(self, site: SiteId, by: str) -> None:
        """
        Replace the tombstone; who holds the site in the trash brings it back, and the elections find it an owner.

        Raises:
            NoSuchSite: It was not deleted, or too long ago.
            Conflict: Another site has its name by now.
        """
        entry, view = self._stone(site), self._view()
        if isinstance(entry, Undeleted):
            return
        if entry is None or (site not in view.sites and entry.at_s + KEEP_S <= self._wall_s()):
            raise NoSuchSite(f"site {site} is not in the trash", "", "hybrid site deleted lists what is")
        namesakes = [known for known in view.sites.values() if known.spec.name == entry.name and known.spec.id != site]
        if namesakes:
            raise Conflict(
                f"there is another site named {entry.name} now", namesakes[0].spec.id, "delete that one first"
            )
        self._shared.put(*tombstones.encode(Undeleted(site=site, at_s=int(self._wall_s()), claim=entry.claim, by=by)))

    def _buried(self) -> list[SiteId]:
        return [SiteId(key.removeprefix(tombstones.KEY)) for key in self._shared.prefix(tombstones.KEY)]
