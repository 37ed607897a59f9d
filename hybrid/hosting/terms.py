"""
Opening and closing a site on this node: the deeds of one term of ownership, in the only safe order.

Shell. Open: claim on disk, then writable, mounted, running, serving. Close: not serving, stopped, unmounted,
read-only, last changes in a snapshot, claim given up. Rules R1 and R6 of the ownership protocol (ARCHITECTURE.md).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.deeds import TimeMachine
from hybrid.errors import Busy, ContainerError, HybridError, NoSuchDataset
from hybrid.hosting.addresses import address_of, container_spec
from hybrid.hosting.claims import Claims
from hybrid.hosting.holdings import Holding, Holdings, dataset_of
from hybrid.model import Claim, SiteId, SiteSpec
from hybrid.ports import Containers, Pool
from hybrid.settings import Settings

ANSWER_WITHIN_S = 20.0
"""
A container that does not accept on its first port in this time did not start. Where the image says how to tell that it
works, as databases do that may have to recover first, it has as long as that (`Health.within_s`).
"""
GRACE_S = 3.0
"""A container asked to end is killed after so long."""
DRAIN_S = 1.0
"""Requests under way have so long to end before a fenced site is stopped."""

Accepts = Callable[[str, int], Awaitable[bool]]
"""`accepts(address, port)`: whether a TCP connection is accepted there, answered within a second or so."""


class Terms:
    """What this node does to be, and to stop being, the owner of a site."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        pool: Pool,
        machine: TimeMachine,
        containers: Containers,
        holdings: Holdings,
        accepts: Accepts,
        claims: Claims,
    ) -> None:
        self._reactor, self._settings, self._accepts, self._claims = reactor, settings, accepts, claims
        self._pool, self._machine, self._containers, self._holdings = pool, machine, containers, holdings
        self._unreplayed: set[SiteId] = set()
        """Sites that were open when an earlier process ended, and were not closed since."""

    # ------------------------------------------------------------------------------------------------- places

    def root(self, site: SiteId) -> str:
        """Where the live data of `site` is mounted while it is open here."""
        return os.path.join(self._settings.state_dir, "sites", site)

    def live_root(self, site: SiteId) -> str | None:
        """`root` while this node may write to it."""
        return self.root(site) if self._holdings.is_writer(site) else None

    def upstream(self, site: SiteId) -> str | None:
        """The container's address while it serves."""
        holding = self._holdings.get(site)
        if holding is None or not holding.serving:
            return None
        return address_of(holding.spec.number, self._settings.subnet)

    # ------------------------------------------------------------------------------------------------- opening

    async def open(self, site: SiteId, claim: Claim) -> None:
        """
        Begin a term under `claim`: afterwards this node serves `site`, or nothing has changed.

        Raises:
            HybridError: It could not be opened, and was closed again: what a container that did not come up had
                written is in a snapshot. Where even that fails the role stays `stashing`, and `Watch` goes on with it.
        """
        async with AsyncExitStack() as undo, self._machine.exclusive(site):
            undo.push_async_callback(self.close, site)
            await self._holdings.claim(site, claim)
            await self._holdings.catch_up(site)
            self._holdings.update(site, role="opening", serving=False, trouble="", successor=None)
            crashpoint.reached("open-claimed")
            await self._pool.set_readonly(dataset_of(site), False)
            await self._machine.snapshot(site, claim)
            crashpoint.reached("open-marked")
            await self.start(site)
            undo.pop_all()

    async def start(self, site: SiteId) -> None:
        """Mount and run `site`, whose claim this node holds, and serve it. Also after the storage came back."""
        holding = self._holdings.need(site)
        spec = holding.spec
        await self._pool.set_readonly(dataset_of(site), False)
        await self._pool.set_quota(dataset_of(site), spec.quota_bytes)
        if spec.record_bytes is not None:  # no stream brings it: a copy that becomes the owner's has the pool's own
            await self._pool.set_record_size(dataset_of(site), spec.record_bytes)
        await self._pool.mount(dataset_of(site), self.root(site))
        if spec.runs:
            await self._claims.permit(site)
            await self._containers.start(container_spec(spec, self.root(site), self._settings, holding.claim))
            await self._answering(spec)
        self._holdings.update(site, role="owner", serving=spec.runs, trouble="")
        self.log.info("site {site} opened", site=site)

    async def _answering(self, spec: SiteSpec) -> None:
        """Wait until the container accepts connections on its first port."""
        if not spec.ports:
            return
        address, port = address_of(spec.number, self._settings.subnet), spec.ports[0].port
        within_s = max(ANSWER_WITHIN_S, spec.health.within_s) if spec.health.command else ANSWER_WITHIN_S
        deadline_s = self._reactor.seconds() + within_s
        while not await self._accepts(address, port):
            if self._reactor.seconds() > deadline_s:
                raise ContainerError(
                    f"the container of {spec.name} does not accept on port {port}",
                    f"waited {within_s:.0f} s",
                    f"hybrid site logs {spec.name}",
                )
            await deferLater(self._reactor, 0.05, lambda: None)

    # ------------------------------------------------------------------------------------------------- closing

    async def fence(self, site: SiteId) -> None:
        """Rule R6, for a term that somebody else ended: like `close`, and what is under way may end first."""
        self._holdings.update(site, role="stashing", serving=False)
        await deferLater(self._reactor, DRAIN_S, lambda: None)
        await self.close(site)

    async def close(self, site: SiteId) -> None:
        """
        End the term: when this returns nothing runs, every change is in a snapshot, and the claim is given up.

        Every step may be repeated, and all that a crash leaves is the claim, by which `resume` goes on.

        Raises:
            HybridError: It could not be stopped or unmounted; not served, but the claim stays until it can.
        """
        holding = self._holdings.need(site)
        self._holdings.update(site, role="stashing", serving=False)
        try:
            await self.stop(site)
            async with self._machine.exclusive(site):
                await self._shut(site)
                crashpoint.reached("close-shut")
                if holding.claim is not None:
                    await self._machine.snapshot(site, holding.claim, only_if_changed=True)
                crashpoint.reached("close-kept")
                await self._holdings.release(site)
        except NoSuchDataset:  # all of it was set aside: there is nothing left to close, nor to claim
            self._holdings.forget(site)
        except HybridError as error:
            self._holdings.update(site, trouble=f"it cannot be closed here: {error}")
            raise
        self.log.info("site {site} closed", site=site)

    async def pause(self, site: SiteId) -> None:
        """
        Write nothing any more, with every change in a snapshot, and keep the claim.

        A person is to pick (R5), or copies are to have the last change before the site is deleted (R12).
        """
        holding = self._holdings.need(site)
        await self.stop(site)
        async with self._machine.exclusive(site):
            await self._shut(site)
            if holding.claim is not None:
                await self._machine.snapshot(site, holding.claim, only_if_changed=True)
        self._holdings.update(site, role="owner", paused=True)

    async def stop(self, site: SiteId, grace_s: float = GRACE_S) -> None:
        """
        Stop the container; serving ends first, so that the proxies hold what comes.

        It is asked to end, so that it writes what it has in memory, then killed. One that cannot even be killed is cut
        off from the network: the site may be served elsewhere, and nobody shall reach two.
        """
        self._holdings.update(site, serving=False)
        try:
            await self._containers.stop(site, grace_s)
        except HybridError:
            await self._containers.cut_off(site)
            raise

    async def halt(self, site: SiteId) -> None:
        """Stop it for as long as it is not to run, with its last changes kept."""
        await self.stop(site)
        await self.keep(site)

    async def keep(self, site: SiteId) -> None:
        """Have every change in a snapshot: while it does not run nobody looks for changes."""
        claim = self._holdings.need(site).claim
        if claim is not None:
            await self._machine.snapshot(site, claim, only_if_changed=True)

    async def unmount(self, site: SiteId) -> None:
        """Unmount, waiting a while for what still uses it. Raises `Busy`."""
        await self.let_go(dataset_of(site))

    async def let_go(self, dataset: str) -> None:
        """Unmount what has no site yet, or not any more. See `unmount`."""
        deadline_s = self._reactor.seconds() + self._settings.timing.fence_s
        while True:
            try:
                await self._pool.unmount(dataset)
                return
            except Busy:
                if self._reactor.seconds() > deadline_s:
                    raise
            await deferLater(self._reactor, 0.1, lambda: None)

    async def _shut(self, site: SiteId) -> None:
        await self.unmount(site)
        await self._pool.set_readonly(dataset_of(site), True)
        if site in self._unreplayed:
            await self._replay(site)

    # -------------------------------------------------------------------------------------------------- return

    async def resume(self, site: SiteId, running: bool) -> None:
        """
        After this process started: go on with a container that never stopped, or be a replica (boot quarantine).

        One that awaits a person's pick keeps waiting, under its claim: were it a replica now, nobody would be asked.

        Args:
            site: A site of which something is held here.
            running: Its container was found running.
        """
        holding = self._holdings.need(site)
        if running and await self._adoptable(site, holding):
            self._holdings.update(site, role="owner", serving=True)
            self.log.info("site {site} adopted under {claim}", site=site, claim=str(holding.claim))
            return
        if holding.claim is not None:
            self._unreplayed.add(site)
        await self.stop(site, grace_s=1.0)
        async with self._machine.exclusive(site):
            await self._shut(site)
            if holding.claim is not None:
                await self._machine.snapshot(site, holding.claim, only_if_changed=True)
        if holding.awaiting:
            self._holdings.update(site, role="owner", paused=True)
        elif holding.claim is not None:
            await self._holdings.release(site)
        self._holdings.publish(site)

    async def _replay(self, site: SiteId) -> None:
        """
        Mount once and unmount: what was written and fsynced just before a crash is in the intent log only, and nothing
        but a mount brings it back. Until then ZFS refuses to snapshot the dataset ("busy"). Read-only is enough.
        """
        await self._pool.mount(dataset_of(site), self.root(site))
        await self.unmount(site)
        self._unreplayed.discard(site)

    async def _adoptable(self, site: SiteId, holding: Holding) -> bool:
        """Whether this process may go on with a container that it found running."""
        if holding.claim is None or holding.awaiting or not holding.spec.runs:
            return False
        if not await self._claims.adopt(site, holding.claim):
            return False
        return await self._healthy(site, holding.spec)

    async def _healthy(self, site: SiteId, spec: SiteSpec) -> bool:
        dataset = await self._pool.dataset(dataset_of(site))
        if dataset.mountpoint != self.root(site):
            return False
        port = spec.ports[0].port if spec.ports else None
        return port is None or await self._accepts(address_of(spec.number, self._settings.subnet), port)

    async def restart(self, site: SiteId) -> None:
        """Start again, under the claim still held, what died with its container or its storage."""
        self._holdings.update(site, role="opening", serving=False)
        try:
            await self.stop(site, grace_s=0.0)
            await self.start(site)
        except HybridError as error:
            self._holdings.update(site, trouble=str(error))
            raise
