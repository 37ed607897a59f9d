"""
What strict sites need of the world: a store with leases (etcd), and a guard that outlives the node process. Pure.

Drivers of `Etcd` are `hybrid.strict.gateway` and, in memory, `hybrid.strict.memory`; both obey
`tests/contract/test_etcd.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hybrid.errors import HybridError
from hybrid.model import SiteId


class EtcdUnreachable(HybridError):
    """No member answered in time, or those that did have no leader. A change that was asked for may have happened."""

    temporary = True


class EtcdRefused(HybridError):
    """etcd answered, and it will not do it: no space, not allowed, not understood."""


class NoSuchLease(EtcdRefused):
    """The lease ran out or was revoked; what hung on it is gone."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it stands."""

    value: str
    mod_revision: int
    """Of its last change; grows over the whole store."""
    lease: int = 0
    """What it hangs on; 0 for nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Some keys at one moment."""

    revision: int
    """Of the store: that of its last change."""
    entries: dict[str, Entry] = field(default_factory=dict)
    """Those of the keys asked for that exist."""


class Etcd(Protocol):
    """
    A linearizable store. Every call ends within some seconds: with an answer, `EtcdUnreachable` or `EtcdRefused`.

    `compares` is a dict of key to the `mod_revision` it must have, 0 for a key that must not exist.
    """

    async def read(self, keys: Collection[str]) -> Reading:
        """The keys, at most 100 of them, all at one moment, as the majority has them: never a stale answer."""

    async def put_if(self, compares: Mapping[str, int], key: str, value: str, lease: int = 0) -> int | None:
        """
        Write `key` if all `compares` hold.

        Returns:
            The key's new `mod_revision`, or `None` when one of them does not hold.

        Raises:
            NoSuchLease: `lease` ran out.
        """

    async def remove_if(self, compares: Mapping[str, int], key: str) -> bool:
        """Remove `key` if all `compares` hold. Returns whether they did."""

    async def grant(self, ttl_s: float) -> int:
        """A new lease, that runs out `ttl_s` after it was last kept alive. Its id."""

    async def keep_alive(self, lease: int) -> bool:
        """Let it run for its whole time again; `False` when there is no such lease any more."""

    async def revoke(self, lease: int) -> None:
        """End it, and what hangs on it. Gone already: fine."""


class Guard(Protocol):
    """
    Who freezes the containers of strict sites when this node process says nothing any more.

    See `hybrid.strict.guardian`.
    """

    async def feed(self, deadlines: Mapping[SiteId, float]) -> None:
        """
        From now on freeze the container of each of these sites at its deadline, unless told otherwise before.

        Those it froze earlier and whose deadline is in the future now run again; those not named stay as they are.
        Returns when the guard has understood.

        Args:
            deadlines: Site to monotonic seconds of this machine. All of them, each time.

        Raises:
            GuardMissing: There is nobody who could.
        """


class GuardMissing(HybridError):
    """The guardian does not answer, so no strict site may be started."""

    temporary = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictDrivers:
    """What strict sites stand on."""

    cluster: str
    """The cluster's id: etcd may serve several."""
    etcd: Etcd
    guard: Guard
    kept_lease: Callable[[], int | None]
    """The lease that an earlier process of this node had."""
    keep_lease: Callable[[int], None]
    """Remember a lease for a later one."""
