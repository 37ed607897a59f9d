"""
`hybrid.strict.ports.Etcd` in memory, on any clock, with members that cannot be reached: for tests and simulations.

One store, and a client for each node. Leases run out by the clock of the store; a client that is cut off waits its
deadline in vain, as on a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from hybrid.errors import HybridError
from hybrid.model import SiteId
from hybrid.ports import Containers
from hybrid.strict.ports import Entry, EtcdUnreachable, GuardMissing, NoSuchLease, Reading

T = TypeVar("T")
ENFORCE_S = 0.2
"""How often a guard looks for containers that are past their deadline."""


@dataclass(slots=True)
class _Lease:
    ttl_s: float
    ends_s: float


class MemoryEtcd:
    """
    The store.

    Attributes:
        down: No majority runs: nobody is answered, and no lease runs out meanwhile.
    """

    def __init__(self, clock: IReactorTime, answers_after_s: float = 0.001, gives_up_after_s: float = 2.4) -> None:
        self.clock = clock
        self.answers_after_s, self.gives_up_after_s = answers_after_s, gives_up_after_s
        self._down = False
        self._cut: set[str] = set()
        self._deaf: set[str] = set()
        self._next_lease = 1000
        self.rebuild()

    def rebuild(self, revision: int = 1) -> None:
        """Begin anew, empty, as after all members lost their disks; or as one that others wrote to up to `revision`."""
        self._revision = revision
        self._entries: dict[str, Entry] = {}
        self._leases: dict[int, _Lease] = {}

    def client(self, name: str) -> MemoryEtcdClient:
        """How the node `name` reaches it."""
        return MemoryEtcdClient(self, name)

    def cut(self, name: str) -> None:
        """`name` does not reach it any more."""
        self._cut.add(name)

    def deafen(self, name: str) -> None:
        """What `name` asks for is done, but it does not hear the answer."""
        self._deaf.add(name)

    def heal(self, name: str) -> None:
        """Undo `cut` and `deafen`."""
        self._cut.discard(name)
        self._deaf.discard(name)

    @property
    def down(self) -> bool:
        """No majority runs: nobody is answered, and no lease runs out meanwhile."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        if self._down and not down:  # a new leader lets every lease run for its whole time again
            for lease in self._leases.values():
                lease.ends_s = self.clock.seconds() + lease.ttl_s
        elif down:
            self.expire()
        self._down = down

    def answers(self, name: str) -> bool:
        """Whether `name` is heard."""
        return not self._down and name not in self._cut

    def hears(self, name: str) -> bool:
        """Whether `name` hears answers."""
        return self.answers(name) and name not in self._deaf

    def expire(self) -> None:
        """End the leases whose time is over, and what hangs on them."""
        for id, lease in list(self._leases.items()):
            if not self._down and lease.ends_s <= self.clock.seconds():
                self.revoke(id)

    # ------------------------------------------------------------------------------------- what members do

    def read(self, keys: Collection[str]) -> Reading:
        """See `hybrid.strict.ports.Etcd`."""
        return Reading(self._revision, {key: self._entries[key] for key in keys if key in self._entries})

    def holds(self, compares: Mapping[str, int]) -> bool:
        """Whether the keys have these revisions."""
        return all((self._entries[key].mod_revision if key in self._entries else 0) == r for key, r in compares.items())

    def put_if(self, compares: Mapping[str, int], key: str, value: str, lease: int) -> int | None:
        """See `hybrid.strict.ports.Etcd`."""
        if not self.holds(compares):
            return None
        if lease and lease not in self._leases:
            raise NoSuchLease("etcd knows no such lease", "requested lease not found")
        self._revision += 1
        self._entries[key] = Entry(value, self._revision, lease)
        return self._revision

    def remove_if(self, compares: Mapping[str, int], key: str) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        if not self.holds(compares):
            return False
        if self._entries.pop(key, None) is not None:
            self._revision += 1
        return True

    def grant(self, ttl_s: float) -> int:
        """See `hybrid.strict.ports.Etcd`."""
        self._next_lease += 1
        self._leases[self._next_lease] = _Lease(ttl_s, self.clock.seconds() + ttl_s)
        return self._next_lease

    def keep_alive(self, lease: int) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        known = self._leases.get(lease)
        if known is not None:
            known.ends_s = self.clock.seconds() + known.ttl_s
        return known is not None

    def revoke(self, lease: int) -> None:
        """See `hybrid.strict.ports.Etcd`."""
        if self._leases.pop(lease, None) is None:
            return
        hanging = [key for key, entry in self._entries.items() if entry.lease == lease]
        for key in hanging:
            del self._entries[key]
        self._revision += bool(hanging)


class MemoryEtcdClient:
    """See `hybrid.strict.ports.Etcd`: as one node reaches the store."""

    def __init__(self, store: MemoryEtcd, name: str) -> None:
        self._store, self._name = store, name

    async def read(self, keys: Collection[str]) -> Reading:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        return await self._answered(self._store.read(keys))

    async def put_if(self, compares: Mapping[str, int], key: str, value: str, lease: int = 0) -> int | None:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        return await self._answered(self._store.put_if(compares, key, value, lease))

    async def remove_if(self, compares: Mapping[str, int], key: str) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        return await self._answered(self._store.remove_if(compares, key))

    async def grant(self, ttl_s: float) -> int:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        return await self._answered(self._store.grant(ttl_s))

    async def keep_alive(self, lease: int) -> bool:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        return await self._answered(self._store.keep_alive(lease))

    async def revoke(self, lease: int) -> None:
        """See `hybrid.strict.ports.Etcd`."""
        await self._arrive()
        self._store.revoke(lease)
        await self._answered(None)

    async def close(self) -> None:
        """Nothing is kept."""

    async def _arrive(self) -> None:
        """The way there."""
        await self._pass(self._store.answers_after_s)
        if not self._store.answers(self._name):
            await self._give_up()
        self._store.expire()

    async def _answered(self, answer: T) -> T:
        """The way back."""
        await self._pass(self._store.answers_after_s)
        if not self._store.hears(self._name):
            await self._give_up()
        return answer

    async def _give_up(self) -> None:
        await self._pass(self._store.gives_up_after_s)
        raise EtcdUnreachable("etcd cannot be reached", f"no answer in {self._store.gives_up_after_s:g} s")

    async def _pass(self, seconds: float) -> None:
        await deferLater(self._store.clock, seconds)


class MemoryGuard:
    """
    See `hybrid.strict.ports.Guard`: freezes the containers of one node, whatever its process does meanwhile.

    Attributes:
        missing: There is nobody who could: `feed` raises.
    """

    def __init__(self, clock: IReactorTime, containers: Callable[[], Containers]) -> None:
        """`clock`: of the machine, not of the process. `containers()`: of the node, as they are now."""
        self._clock, self._containers = clock, containers
        self._deadlines: dict[SiteId, float] = {}
        self._froze: set[SiteId] = set()
        self._pending: IDelayedCall | None = None
        self.missing = False

    async def feed(self, deadlines: Mapping[SiteId, float]) -> None:
        """See `hybrid.strict.ports.Guard`."""
        if self.missing:
            raise GuardMissing("the guardian does not answer")
        self._deadlines = dict(deadlines)
        now_s = self._clock.seconds()
        for site in sorted(self._froze):
            if deadlines.get(site, now_s) > now_s:
                self._do(self._containers().thaw(site))
                self._froze.discard(site)
        self._look()

    def _look(self) -> None:
        """Freeze what is due, and look again when something is: a container may appear after its deadline."""
        if self._pending is not None and self._pending.active():
            self._pending.cancel()
        now_s = self._clock.seconds()
        for site, deadline_s in sorted(self._deadlines.items()):
            if deadline_s <= now_s:
                self._froze.add(site)
                self._do(self._freeze(site))
        next_s = min((max(deadline_s, now_s + ENFORCE_S) for deadline_s in self._deadlines.values()), default=None)
        self._pending = self._clock.callLater(next_s - now_s, self._look) if next_s is not None else None

    async def _freeze(self, site: SiteId) -> None:
        containers = self._containers()
        if (await containers.running()).get(site) == "running":
            await containers.freeze(site)

    def _do(self, deed: Coroutine[Any, Any, None]) -> None:
        Deferred.fromCoroutine(deed).addErrback(lambda failure: failure.trap(HybridError))
