"""
Clones of sites: a staging copy in seconds, and later one that shares nothing any more. Shell.

A clone is a ZFS clone of a snapshot of the other site (through a dataset that is never mounted), with an id, a name and
domains of its own; its files keep their owners, so nothing is written for it. ZFS keeps the snapshot as long as the
clone hangs on it, whatever becomes of the other site. That it shall hang on it no more is written in its spec first;
then each node makes its own copy so.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.deeds import CloneSite, Progress, TimeMachine
from hybrid.errors import BadRequest, Conflict, HybridError, NoSuchSnapshot
from hybrid.hosting.creation import Creation
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.names import check_domain, check_free, check_limits, check_name
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.model import Guid, Port, SiteId, SiteSpec, Version
from hybrid.view import View

PUSH_S = 5.0
"""Peers get the snapshot to begin from within this time, or everything later."""
AGAIN_S = 300.0
"""A copy that could not be taken apart is tried again so often."""


def clone_spec(request: CloneSite, parent: SiteSpec, view: View, number: int, site: SiteId) -> SiteSpec:
    """
    The spec of a clone of `parent`. Ports of its own on every node it gets none: they lead to the other site.

    Raises:
        BadRequest, Conflict: The request cannot be met.
    """
    check_name(request.name)
    domains = tuple(check_domain(domain) for domain in request.domains) or (f"{request.name}.{view.zones[0]}",)
    check_free(view, request.name, domains)
    if any("\0" in text or "\n" in text for item in request.environment.items() for text in item):
        raise BadRequest("a value of the environment has a line break or NUL in it")
    spec = msgspec.structs.replace(
        parent,
        id=site,
        version=Version(1, 0),
        name=request.name,
        domains=domains,
        number=number,
        ports=tuple(Port(port.name, port.port, port.protocol) for port in parent.ports),
        environment={**parent.environment, "HYBRID_CLONE_OF": parent.name, **request.environment},
        wanted="running",
        asleep=False,
        copies=parent.copies if request.copies is None else request.copies,
        consistency="available",
        home_dc=view.nodes[view.me].dc if view.me in view.nodes else "",
        clone_of=parent.id,
        marks=(),
        ids=parent.ids or parent.number,
    )
    check_limits(spec)
    return spec


class Cloning:
    """Makes clones on the owner of a site, and takes clones apart on every node that holds them."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        machine: TimeMachine,
        holdings: Holdings,
        terms: Terms,
        tasks: SiteTasks,
        creation: Creation,
        view: Callable[[], View],
    ) -> None:
        self._clock, self._machine, self._holdings, self._terms = clock, machine, holdings, terms
        self._tasks, self._creation, self._view = tasks, creation, view
        self._tried_s: dict[SiteId, float] = {}
        self._under_way: set[SiteId] = set()

    # ------------------------------------------------------------------------------------------------- making

    async def make(self, spec: SiteSpec, at: Guid | None, progress: Progress) -> None:
        """Make the site of `spec` from the snapshot `at` of the one it is a clone of, which this node owns."""
        assert spec.clone_of is not None
        guid = await self._origin(spec.clone_of, at, progress)
        base = await self._machine.base(spec.clone_of, guid)
        await self._tasks.run(spec.id, "clone", lambda: self._creation.make(spec, progress, base))

    async def _origin(self, parent: SiteId, at: Guid | None, progress: Progress) -> Guid:
        if at is not None:
            if all(snapshot.guid != at for snapshot in self._machine.history(parent)):
                raise NoSuchSnapshot(f"site {parent} has no snapshot {at}")
            return at
        holding = self._holdings.need(parent)
        if holding.role != "owner" or holding.claim is None:
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        with progress.step("snapshot"):
            await self._machine.snapshot(parent, holding.claim, only_if_changed=True)
        guid = self._machine.history(parent)[-1].guid
        with progress.step("send it to those who hold copies"):
            await self._push(parent)
        return guid

    async def _push(self, parent: SiteId) -> None:
        """Bring the newest snapshot to the other holders, so that they can take the clone as one; none has to."""
        view, holding = self._view(), self._holdings.need(parent)
        seen, claim = view.sites.get(parent), holding.claim
        others = [node for node in seen.holders if node != view.me] if seen is not None else []
        if claim is None:
            return
        pushes = [Deferred.fromCoroutine(self._machine.push(holding.spec, claim, node)) for node in others]
        ended: Deferred[None] = Deferred()

        def tell(_: object) -> None:
            if not ended.called:
                ended.callback(None)

        late = self._clock.callLater(PUSH_S, tell, None)
        DeferredList(pushes, consumeErrors=True).addCallback(tell)
        await ended
        if late.active():
            late.cancel()

    # -------------------------------------------------------------------------------------------- taking apart

    async def detach(self, site: SiteId, progress: Progress) -> None:
        """See `hybrid.deeds.Hosting.detach`."""
        holding = self._holdings.need(site)
        if holding.spec.clone_of is None and not self._machine.is_clone(site):
            raise Conflict(f"site {holding.spec.name} is no clone of another")
        if site in self._under_way:
            raise Conflict(f"site {holding.spec.name} is being detached already", "", "wait for it")
        with progress.step("copy its history"):
            await self._copy(site)
        with progress.step("change over"):
            await self._change_over(site)

    async def look(self) -> None:
        """Take apart, one at a time, what is held here and shall be apart; remove what no clone hangs on any more."""
        await self._machine.sweep_bases()
        sites = self._view().sites
        for site in self._holdings:
            holding, seen = self._holdings.get(site), sites.get(site)
            if holding is None or seen is None or seen.spec.clone_of is not None or not self._machine.is_clone(site):
                continue
            if holding.role not in ("replica", "owner") or self._tasks.busy(site) or self._rests(site):
                continue
            try:
                await self._copy(site)
                await self._change_over(site)
            except HybridError as error:
                self.log.warn("{site} hangs on another site still: {error}", site=site, error=str(error))

    def _rests(self, site: SiteId) -> bool:
        now_s = self._clock.seconds()
        if site in self._under_way or now_s - self._tried_s.get(site, -AGAIN_S) < AGAIN_S:
            return True
        self._tried_s[site] = now_s
        return False

    async def _copy(self, site: SiteId) -> None:
        """Beside everything else: nothing of the site waits for it."""
        self._under_way.add(site)
        try:
            await self._machine.copy_apart(site)
        finally:
            self._under_way.discard(site)

    async def _change_over(self, site: SiteId) -> None:
        await self._tasks.run(site, "detach", lambda: self._changed_over(site))
        await self._machine.clear_apart(site)
        self.log.info("{site} shares nothing any more", site=site)

    async def _changed_over(self, site: SiteId) -> None:
        holding = self._holdings.need(site)
        if holding.role != "owner":
            async with self._machine.exclusive(site):
                await self._machine.take_apart(site)
                await self._holdings.rewrite(site)  # what was seen meanwhile
            return
        if holding.claim is None or holding.awaiting:
            raise Conflict(f"site {holding.spec.name} cannot be detached now", "it waits for a person")
        if holding.spec.clone_of is not None:
            spec = msgspec.structs.replace(holding.spec, clone_of=None, version=holding.spec.version.next())
            await self._holdings.write_spec(spec)
        self._holdings.update(site, role="opening", serving=False)
        try:
            await self._terms.stop(site)
            async with self._machine.exclusive(site):
                await self._terms.unmount(site)
                await self._machine.snapshot(site, holding.claim, only_if_changed=True)
                await self._machine.take_apart(site)
                await self._holdings.rewrite(site)
        finally:
            await self._terms.restart(site)
