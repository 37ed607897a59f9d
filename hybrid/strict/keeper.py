"""
Keeps the lease of this node alive: one for all its strict sites, the same after a restart of the process. Shell.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.strict.ports import Etcd
from hybrid.strict.tenure import Tenures


class LeaseKeeper:
    """The lease of this node."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        etcd: Etcd,
        tenures: Tenures,
        kept: Callable[[], int | None],
        keep: Callable[[int], None],
    ) -> None:
        """`kept()`: the lease an earlier process of this node had; `keep(lease)` remembers it for a later one."""
        self._clock, self._etcd, self._tenures = clock, etcd, tenures
        self._inherited, self._keep = kept(), keep
        self._alone = DeferredLock()
        self._answers = True

    async def need(self) -> int:
        """
        The lease to hang something on: that which runs, that of an earlier process, or a new one.

        Raises:
            EtcdUnreachable, EtcdRefused: There is none.
        """
        await self._alone.acquire()
        try:
            if self._tenures.lease is None:
                await self._renew(self._inherited)
            lease = self._tenures.lease
            assert lease is not None  # _renew saw to it
            return lease.id
        finally:
            self._alone.release()

    async def look(self) -> None:
        """Renew the lease if that is due. Trouble is logged when it begins and when it ends."""
        inherits = self._tenures.lease is None and self._inherited is not None
        if self._alone.locked or not (inherits or self._tenures.renew_due(self._clock.seconds())):
            return
        await self._alone.acquire()
        try:
            lease = self._tenures.lease
            await self._renew(lease.id if lease is not None else self._inherited)
        except HybridError as error:
            if self._answers:
                self.log.warn("the lease cannot be renewed: {error}", error=str(error))
            self._answers = False
        else:
            if not self._answers:
                self.log.info("the lease is renewed again")
            self._answers = True
        finally:
            self._alone.release()

    async def _renew(self, lease: int | None) -> None:
        """Keep `lease` alive, or begin a new one where it ran out. Counted from when it was asked for."""
        asked_s = self._clock.seconds()
        if lease is not None:
            alive = await self._etcd.keep_alive(lease)
            self._inherited = None
            if alive:
                self._tenures.affirmed(lease, asked_s)
                return
            self._tenures.lost()
            self.log.warn("lease {lease} ran out", lease=lease)
            asked_s = self._clock.seconds()
        fresh = await self._etcd.grant(self._tenures.spans.ttl_s)
        self._keep(fresh)
        self._tenures.affirmed(fresh, asked_s)
