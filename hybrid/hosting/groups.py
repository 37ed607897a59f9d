"""
What is done with consistency groups: kept on one node, snapshotted in one instant, rolled back all or none. Shell.

See `hybrid.cluster.groups` for the decisions. A roll-back is written into the shared map before its first step; every
step shows in a site's history whether it was done, so whoever owns the sites after a crash goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster import groups
from hybrid.cluster.groups import Group, Step
from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import Conflict, HybridError, NoSuchSite, NoSuchSnapshot
from hybrid.history import History
from hybrid.hosting.deletions import Shared
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.instant import Instant
from hybrid.hosting.moving import Moving
from hybrid.hosting.rolling import Rolling
from hybrid.hosting.tasks import Background, Silent, SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, NodeId, SiteId, Snapshot, Stash
from hybrid.view import View

T = TypeVar("T")
SPREAD_S = 0.5
"""In this time the others have heard what is written into the shared map."""
AGAIN_S = 60.0
"""What failed is tried again so often: a move, a roll-back to be finished, a snapshot."""


class Groups:
    """See `hybrid.group_deeds.GroupDeeds`."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        rolling: Rolling,
        moving: Moving,
        instant: Instant,
        shared: Shared,
        view: Callable[[], View],
        background: Background,
        event: Callable[[str, SiteId, str], None],
        wall_s: Callable[[], float],
    ) -> None:
        """`event(kind, site, text)` records it for people."""
        self._clock, self._machine, self._holdings, self._terms, self._tasks = clock, machine, holdings, terms, tasks
        self._rolling, self._moving, self._instant, self._shared = rolling, moving, instant, shared
        self._view, self._background, self._event, self._wall_s = view, background, event, wall_s
        self._rest_until_s: dict[str, float] = {}

    # ------------------------------------------------------------------------------------------------- reading

    def all(self) -> list[Group]:
        """See `GroupDeeds`."""
        return groups.read(self._shared.prefix(groups.KEY))

    def find(self, name: str) -> Group:
        """See `GroupDeeds`."""
        found = groups.decode(self._shared.get(groups.KEY + name))
        if found is None:
            known = ", ".join(group.name for group in self.all()) or "none"
            raise NoSuchSite(f"there is no group {name}", f"there are: {known}", "hybrid group list")
        return found

    def moments(self, name: str) -> list[Snapshot]:
        """See `GroupDeeds`."""
        return groups.moments(self._histories(self.find(name)))

    def _histories(self, group: Group) -> dict[SiteId, History]:
        return {site: self._machine.history(site) for site in group.sites}

    # -------------------------------------------------------------------------------------------------- making

    def create(self, name: str, sites: Sequence[SiteId], every_s: float) -> Group:
        """See `GroupDeeds`."""
        group = groups.new(name, sites, every_s, self.all(), self._view())
        self._put(group)
        return group

    def delete(self, name: str) -> None:
        """See `GroupDeeds`."""
        if self.find(name).under_way:
            raise Conflict(f"group {name} is being rolled back", "", "wait for it")
        self._shared.put(groups.KEY + name, None)

    def _put(self, group: Group) -> None:
        self._shared.put(*groups.encode(group))

    # ----------------------------------------------------------------------------------------------- by itself

    async def recover(self) -> None:
        """At start, before anything is resumed: what was frozen for a snapshot goes on."""
        await self._instant.thaw_left([site for group in self.all() for site in group.sites])

    def look(self) -> None:
        """Begin what is due with each group. Costs nothing where there is none."""
        for group in self.all():
            if self._clock.seconds() >= self._rest_until_s.get(group.name, 0.0):
                self._consider(group, self._view())

    def _consider(self, group: Group, view: View) -> None:
        strays = groups.strays(group, view)
        lead = view.sites.get(group.sites[0])
        if strays and lead is not None and lead.owner is not None:
            self._start(group, "moving", lambda: self._gather(strays, lead.owner))  # type: ignore[arg-type]  # as looked at
        elif group.under_way and self._ours(group):
            self._start(group, "finishing", lambda: self._finish(group))
        elif not group.under_way and self._ours(group) and groups.due(group, self._histories(group), self._wall_s()):
            self._start(group, "snapshot", lambda: self.snapshot(group.name))

    def _start(self, group: Group, what: str, deed: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Do it beside all else; not again before it has ended, nor soon after it failed."""
        self._rest_until_s[group.name] = float("inf")

        async def run() -> None:
            rest_s = AGAIN_S
            try:
                await deed()
                rest_s = 0.0
            finally:
                self._rest_until_s[group.name] = self._clock.seconds() + rest_s

        self._background(f"{what} of group {group.name}", run)

    async def _gather(self, strays: Sequence[SiteId], to: NodeId) -> None:
        for site in strays:
            await self._tasks.run(site, "move", lambda site=site: self._moving.move(site, to, Silent()))  # type: ignore[misc]  # default argument

    def _ours(self, group: Group) -> bool:
        """Whether all of it is owned here, and left alone by everybody else."""
        return all(self._claim(site) is not None and not self._tasks.busy(site) for site in group.sites)

    def _claim(self, site: SiteId) -> Claim | None:
        holding = self._holdings.get(site)
        return holding.claim if holding is not None and holding.role == "owner" and not holding.awaiting else None

    def _claims(self, group: Group) -> dict[SiteId, Claim]:
        """The claims under which all are owned here. Raises `Conflict`."""
        claims = {site: claim for site in group.sites if (claim := self._claim(site)) is not None}
        if len(claims) < len(group.sites):
            raise Conflict(f"the sites of group {group.name} are not all on this node", "", "they gather; try again")
        return claims

    # ----------------------------------------------------------------------------------------------- snapshots

    async def snapshot(self, name: str) -> Snapshot:
        """See `GroupDeeds`."""
        return (await self._instant.take(self._claims(self.find(name))))[0]

    # ------------------------------------------------------------------------------------------------- rolling

    async def rollback(self, name: str, moment: str, progress: Progress) -> list[Stash]:
        """See `GroupDeeds`."""
        group = self._idle(name)
        steps = []
        for site, claim in self._claims(group).items():
            to = next((one for one in self._machine.history(site) if one.name == moment), None)
            if to is None:
                raise NoSuchSnapshot(f"site {site} has no snapshot {moment}", "", f"hybrid group moments {name}")
            await self._machine.snapshot(site, claim, only_if_changed=True)
            head = self._machine.history(site)[-1].guid
            if head != to.guid:
                steps.append(Step(site, to.guid, head))
        if not steps:
            raise Conflict(f"nothing of group {name} has changed since then")
        return await self._all_or_none(group, tuple(steps), progress)

    async def undo(self, name: str, progress: Progress) -> list[Stash]:
        """See `GroupDeeds`."""
        group = self._idle(name)
        self._claims(group)
        if not group.undoable:
            raise Conflict(f"there is no roll-back of group {name} to undo", "", f"hybrid group moments {name}")
        for site, head in group.undoable.items():
            if self._rolling.undoable(site).head != head:
                raise Conflict(f"site {site} was rolled back by itself since", "", "undo that first: hybrid snap undo")
        return await self._all_or_none(group, tuple(Step(s, None, h) for s, h in group.undoable.items()), progress)

    def _idle(self, name: str) -> Group:
        group = self.find(name)
        if group.under_way:
            raise Conflict(f"group {name} is being rolled back", "", "wait for it")
        return group

    async def _finish(self, group: Group) -> None:
        self._event("group", group.sites[0], f"what was begun with group {group.name} is gone on with")
        await self._all_or_none(group, group.under_way, Silent())

    async def _all_or_none(self, group: Group, steps: tuple[Step, ...], progress: Progress) -> list[Stash]:
        """Carry the steps out with nobody else at the sites; written down before, and struck off when all is over."""
        busy = next((site for site in group.sites if self._tasks.busy(site)), None)
        if busy is not None:
            raise Conflict(f"group {group.name} cannot be rolled back now", f"{self._tasks.busy(busy)} is under way")
        self._put(msgspec.structs.replace(group, under_way=steps))
        return await self._alone(group.sites, lambda: self._carried_out(group, steps, progress))

    async def _alone(self, sites: Sequence[SiteId], deed: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if not sites:
            return await deed()
        return await self._tasks.run(sites[0], "roll back its group", lambda: self._alone(sites[1:], deed))

    async def _carried_out(self, group: Group, steps: tuple[Step, ...], progress: Progress) -> list[Stash]:
        """
        What cannot be begun has all of them go back; what fails half-way is gone on with later, as after a crash.
        """
        await deferLater(self._clock, SPREAD_S, lambda: None)  # that it has begun is known before anything of it is
        undoable, refused, stashes = group.undoable, None, []
        try:
            with progress.step("stop all of them"):
                for site in group.sites:
                    await self._terms.stop(site)
            for step in groups.left_to_do(steps, self._histories(group)):
                stashes.append(await self._step(step, progress))
            undoable = {step.site: self._machine.stashes(step.site)[-1].head for step in steps}
        except (NoSuchSnapshot, Conflict) as error:
            refused = error
            await self._back(group, steps, progress)
        except HybridError as error:
            self._event("trouble", group.sites[0], f"group {group.name} is half-way, and gone on with soon: {error}")
            self._rest_until_s[group.name] = self._clock.seconds() + AGAIN_S
            await self._up_again(group)
            raise
        await self._up_again(group)
        self._put(msgspec.structs.replace(group, under_way=(), undoable=undoable))
        if refused is not None:
            raise refused
        return stashes

    async def _step(self, step: Step, progress: Progress) -> Stash:
        if step.to is not None:
            return await self._rolling.rollback(step.site, step.to, progress)
        return await self._rolling.undo(step.site, progress)

    async def _back(self, group: Group, steps: Sequence[Step], progress: Progress) -> None:
        """One could not: those that could go back to where they were."""
        left = groups.left_to_do(steps, self._histories(group))
        for step in steps:
            if step not in left:
                try:
                    await self._rolling.undo(step.site, progress)
                except HybridError as error:
                    self._event("trouble", step.site, f"it is not as the others of group {group.name}: {error}")

    async def _up_again(self, group: Group) -> None:
        """Those of which nothing was rolled back are started again; never raises."""
        for site in group.sites:
            holding = self._holdings.get(site)
            if holding is None or holding.serving or holding.claim is None or not holding.spec.runs:
                continue
            try:
                await self._terms.restart(site)
            except HybridError as error:
                self.log.warn("{site} does not start again: {error}", site=site, error=str(error))
