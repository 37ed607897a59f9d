"""
Proves that sites could be restored: starts the copy held here, asks whether it works, and throws it away. Shell.

The newest snapshot of a replica is cloned under `temporary/` and its container started without network, under a name
that no site has. One at a time per node. All that a crash can leave is that container and that clone, whose names are
known: `recover` ends the one, and the replicator removes what is under `temporary/` at every start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.cluster import proving
from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import Busy, Conflict, ContainerError, HybridError, NoSuchDataset, OutOfSpace, StorageSick
from hybrid.hosting.addresses import id_base
from hybrid.hosting.asking import ask
from hybrid.hosting.deletions import Shared
from hybrid.hosting.holdings import Holding, Holdings, dataset_of
from hybrid.hosting.tasks import Silent
from hybrid.model import Proof, SiteId, SiteSpec, Snapshot
from hybrid.ports import Containers, ContainerSpec, Pool
from hybrid.settings import Settings
from hybrid.view import View

NAME = SiteId("proof")
"""The container in which copies are tried, and the clone `temporary/proof`."""
DATASET = "temporary/proof"
KEY = "settings/verify-every-s"
"""In the cluster's shared map."""
ROOM = 0.10
"""The part of the pool that must be free: a copy that is tried may write."""
ASK_EVERY_S = 0.5
BUSY_S = 10.0
"""How long a clone may stay in use after its container has ended."""
MAX_WHY = 300
Outcome = Literal["good", "failed", "skipped"]


class Skipped(Exception):
    """It cannot be tried now, which says nothing about the copy."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """What is tried."""

    spec: SiteSpec
    head: Snapshot


class Proofs:
    """The proofs that this node makes."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        pool: Pool,
        containers: Containers,
        machine: TimeMachine,
        holdings: Holdings,
        view: Callable[[], View],
        shared: Shared,
        wall_s: Callable[[], float],
    ) -> None:
        self._clock, self._settings, self._pool, self._containers = clock, settings, pool, containers
        self._machine, self._holdings, self._view = machine, holdings, view
        self._shared, self._wall_s = shared, wall_s
        self._one = DeferredLock()
        self._due_since_s: dict[SiteId, float] = {}
        self._root = os.path.join(settings.state_dir, "temporary", "proof")

    def every_s(self) -> float:
        """How often sites are proven that do not say it themselves, in the whole cluster; 0: never."""
        try:
            return msgspec.json.decode(self._shared.get(KEY) or "", type=float)
        except msgspec.MsgspecError:
            return proving.EVERY_S

    def set_every_s(self, every_s: float) -> None:
        """Change that, on all nodes."""
        self._shared.put(KEY, msgspec.json.encode(every_s).decode())

    async def recover(self) -> None:
        """Before the replicator removes what is under `temporary/`: end what an earlier process was trying out."""
        try:
            await self._containers.stop(NAME, grace_s=0.0)
        except HybridError as error:
            self.log.error("what was tried out still runs: {error}", error=str(error))

    async def look(self) -> None:
        """Prove the site that has waited longest, if one is due. Never raises."""
        site = None if self._one.locked else self._next()
        if site is None:
            return
        try:
            await self.prove(site, Silent())
        except HybridError as error:
            self.log.warn("{site} could not be proven: {error}", site=site, error=str(error))

    def _next(self) -> SiteId | None:
        view, now_s, due = self._view(), self._wall_s(), []
        for site in self._holdings:
            turn = self._turn_of(site, view, now_s)
            if turn is None or turn.due_s > now_s:
                self._due_since_s.pop(site, None)
            elif self._clock.seconds() - self._due_since_s.setdefault(site, self._clock.seconds()) >= turn.patience_s:
                due.append((turn.due_s, site))
        return min(due)[1] if due else None

    def _turn_of(self, site: SiteId, view: View, now_s: float) -> proving.Turn | None:
        holding, seen, history = self._holdings.get(site), view.sites.get(site), self._machine.history(site)
        if holding is None or holding.role != "replica" or seen is None or not history:
            return None
        return proving.turn(seen, view, history[0].created_at_s, self.every_s(), now_s)

    async def prove(self, site: SiteId, progress: Progress) -> Proof:
        """
        Start the newest snapshot of `site` that is here, ask whether it works, and tell everybody.

        Raises:
            NoSuchSite: Nothing of it is here.
            Conflict: This node owns it, or has no snapshot of it.
            StorageError: What came of it could not be written down.
        """
        async with self._one:
            copy, began_s = self._copy(site), self._clock.seconds()
            outcome: Outcome = "good"
            why = ""
            try:
                await self._try(copy, progress)
            except (Skipped, Busy, OutOfSpace, StorageSick) as error:
                outcome, why = "skipped", str(error)
            except HybridError as error:
                outcome, why = "failed", str(error)
            except Exception as error:
                self.log.failure("trying out {site} failed", site=site)
                outcome, why = "skipped", f"{type(error).__name__}: see the log of this node"
            await self._remove()
            proof = self._proof(self._holdings.need(site), copy.head, outcome, why, self._clock.seconds() - began_s)
            await self._holdings.prove(site, proof)
        self.log.info("copy of {site}: {outcome} {why}", site=site, outcome=outcome, why=proof.why)
        return proof

    def _copy(self, site: SiteId) -> _Copy:
        holding, history = self._holdings.need(site), self._machine.history(site)
        if holding.role != "replica" or not history:
            raise Conflict(f"site {holding.spec.name} cannot be proven here", f"this node is its {holding.role}")
        return _Copy(holding.spec, history[-1])

    def _proof(self, holding: Holding, head: Snapshot, outcome: Outcome, why: str, seconds: float) -> Proof:
        at_s = int(self._wall_s())
        before = holding.proof.good_at_s if holding.proof is not None else 0
        return Proof(
            outcome=outcome,
            at_s=at_s,
            guid=head.guid,
            of_s=head.created_at_s,
            seconds=round(seconds, 1),
            why=why[:MAX_WHY],
            good_at_s=at_s if outcome == "good" else before,
        )

    # --------------------------------------------------------------------------------------------------- steps

    async def _try(self, copy: _Copy, progress: Progress) -> None:
        """Returns when the copy works. Raises `Skipped`, or what is wrong with it."""
        spec = copy.spec
        space = await self._pool.space()
        if space.free_bytes <= ROOM * space.size_bytes:
            raise Skipped(f"only {100 * space.free_bytes // max(1, space.size_bytes)} % of this node's pool are free")
        try:
            await self._clear()
        except HybridError as error:
            raise Skipped(f"what was tried before is not gone yet: {error}") from error
        with progress.step("clone the newest snapshot"):
            await self._pool.clone(dataset_of(spec.id), copy.head.guid, DATASET)
            await self._pool.set_quota(DATASET, spec.quota_bytes)
            await self._pool.mount(DATASET, self._root)
        with progress.step("start without network"):
            await self._containers.start(self._container(spec))
        with progress.step("health check"):
            await self._healthy(spec)

    def _container(self, spec: SiteSpec) -> ContainerSpec:
        return ContainerSpec(
            site=NAME,
            hostname=spec.name,
            root=self._root,
            id_base=id_base(spec, self._settings),
            address="",
            prefix=0,
            gateway="",
            network=False,
            init=spec.init,
            environment={**spec.environment, "HYBRID_SITE": spec.name, "HYBRID_PROOF": "1"},
            memory_bytes=spec.memory_bytes,
            cpus=spec.cpus,
            pids=spec.pids,
        )

    async def _healthy(self, spec: SiteSpec) -> None:
        """Ask until it works. Raises `ContainerError` with the last answer when it does not in time."""
        until_s = self._clock.seconds() + spec.health.within_s
        while True:
            try:
                await ask(self._containers, NAME, spec, spec.health.within_s)
                return
            except ContainerError as error:
                if self._clock.seconds() >= until_s:
                    why = f"within {spec.health.within_s:g} s: {error}"
                    raise ContainerError("it does not work", f"{why}; its log ends: {await self._log()}") from error
            holding = self._holdings.get(spec.id)
            if holding is None or holding.role != "replica":
                raise Skipped("the site is being opened here, or was deleted")
            await deferLater(self._clock, ASK_EVERY_S, lambda: None)

    async def _log(self) -> str:
        return " ".join((await self._containers.logs(NAME, 3)).split())[-120:] or "-"

    async def _remove(self) -> None:
        """Take away container and clone. What does not go now is before the next proof, or at the next start."""
        try:
            await self._clear()
        except HybridError as error:
            self.log.warn("what was tried out is not gone yet: {error}", error=str(error))

    async def _clear(self) -> None:
        """End the container, unmount and destroy the clone; not there: fine. In use: again for a while."""
        await self._containers.stop(NAME, grace_s=1.0)
        until_s = self._clock.seconds() + BUSY_S
        while True:
            try:
                await self._pool.unmount(DATASET)
                await self._pool.destroy(DATASET, with_history=True)
                return
            except NoSuchDataset:
                return
            except Busy:
                if self._clock.seconds() >= until_s:
                    raise
            await deferLater(self._clock, 0.2, lambda: None)
