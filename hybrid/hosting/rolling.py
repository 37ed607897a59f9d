"""
Back in time and back again. Shell.

A rollback throws nothing away: what came after the chosen moment becomes a stash, and a new term begins, so that its
first snapshot outranks the longer history that replicas still hold (otherwise an election could undo the rollback).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from hybrid import crashpoint
from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import BadRequest, Conflict, NoSuchSnapshot
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, Guid, NodeId, SiteId, Stash


class Rolling:
    """Rollback, undo and the restore of single files, on the owner."""

    def __init__(
        self,
        me: NodeId,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        everywhere: Callable[[SiteId], Iterable[Stash]],
        claims: Claims,
    ) -> None:
        """`everywhere(site)`: the stashes of all nodes, oldest first."""
        self._me, self._machine, self._holdings, self._terms = me, machine, holdings, terms
        self._everywhere, self._claims = everywhere, claims

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting.rollback`."""
        history = self._machine.history(site)
        if all(snapshot.guid != to for snapshot in history):
            raise NoSuchSnapshot(f"site {site} has no snapshot {to}")
        return await self._switch(site, progress, lambda: self._machine.stash(site, to, "rollback"))

    async def undo(self, site: SiteId, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting.undo`."""
        stash = self.undoable(site)
        return await self._switch(site, progress, lambda: self._machine.unstash(stash.id, "undo"))

    def undoable(self, site: SiteId) -> Stash:
        """
        The stash on this node that an undo brings back.

        The node that rolled back may not be the owner any more; the others set the same history aside, by its head.

        Raises:
            Conflict: There is none.
        """
        here = {stash.head: stash for stash in self._machine.stashes(site)}
        undone = [stash for stash in self._everywhere(site) if stash.why in ("rollback", "undo") and stash.head in here]
        if not undone:
            raise Conflict("there is no rollback to undo", "", "hybrid snap list shows the moments to roll back to")
        return here[undone[-1].head]

    async def _switch(self, site: SiteId, progress: Progress, swap: Callable[[], Awaitable[Stash]]) -> Stash:
        """Stop, keep the present, swap histories, begin a new term; on failure serve whatever is the main line."""
        claim, fresh = self._claim(site), await self._claims.next(site)
        self._holdings.update(site, role="opening", serving=False)
        try:
            with progress.step("stop container"):
                await self._terms.stop(site)
            with progress.step("set the present aside"):
                async with self._machine.exclusive(site):
                    await self._terms.unmount(site)
                    await self._machine.snapshot(site, claim, only_if_changed=True)
                    stash = await swap()
                    crashpoint.reached("roll-swapped")
                    await self._holdings.rewrite(site)
        finally:
            with progress.step("start container"):
                await self._terms.open(site, fresh)
        return stash

    async def adopt(self, site: SiteId, stash_id: str, progress: Progress) -> Stash:
        """See `hybrid.deeds.Hosting.adopt`. It counts as a rollback, which `undo` undoes."""
        if all(stash.id != stash_id for stash in self._machine.stashes(site)):
            raise NoSuchSnapshot(
                f"stash {stash_id} is not on the node that owns the site",
                "it is copied there within a minute where there is room",
                "try again, or move the site to a node that has it",
            )
        return await self._switch(site, progress, lambda: self._machine.unstash(stash_id, "rollback"))

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str, progress: Progress) -> tuple[int, str]:
        """See `hybrid.deeds.Hosting.restore`."""
        if not path.strip("/"):
            raise BadRequest("restore of everything is a rollback", "", "name a file or folder, or use rollback")
        claim = self._claim(site)
        with progress.step("keep the present"):
            await self._machine.snapshot(site, claim, only_if_changed=True)
        with progress.step("restore"):
            return await self._machine.restore(site, guid, path, copy)

    def _claim(self, site: SiteId) -> Claim:
        holding = self._holdings.need(site)
        if holding.role != "owner" or holding.claim is None:
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        return holding.claim
