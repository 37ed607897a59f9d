"""The cluster's keyring, where it lives: in the shared map. One node at a time moves it on. Shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from hybrid.cluster import keyring
from hybrid.cluster.keyring import KEYRING, SECRET_BYTES, Keyring

PATIENCE = 6
"""Looks after which a node that knows others, but no key, makes one: they may have come from a release without keys."""


class SharedMap(Protocol):
    """See `hybrid.adapters.SharedValues`."""

    def get(self, key: str) -> str | None:
        """The value."""

    def put(self, key: str, value: str | None) -> None:
        """Write it, on disk and to everybody."""


class Rotation:
    """
    Makes keys, and takes the steps of their rotation.

    Two that do so at once do no harm: the last writer's ring is everybody's, and no key seals before it was spread.
    """

    log = Logger()

    def __init__(
        self,
        shared: SharedMap,
        entropy: Callable[[int], bytes],
        wall_s: Callable[[], float],
        now_s: Callable[[], float],
        leads: Callable[[], bool],
    ) -> None:
        """
        Args:
            shared: Where the ring is.
            entropy: So many secret random bytes: `os.urandom`.
            wall_s: Seconds since the epoch.
            now_s: Monotonic seconds.
            leads: Whether it is this node that does what one node has to do.
        """
        self._shared, self._entropy, self._wall_s, self._now_s, self._leads = shared, entropy, wall_s, now_s, leads
        self._since_s = now_s()
        self._waited = 0
        self._value: str | None = None
        self._ring: Keyring | None = None
        self.refresh()

    def ring(self) -> Keyring | None:
        """The keys; the same object while they are the same. `None` before the first `ensure`."""
        return self._ring

    def refresh(self) -> None:
        """The shared map changed."""
        value = self._shared.get(KEYRING)
        if value != self._value:
            self._value, ring = value, keyring.loads(value)
            if ring is None:
                self.log.error("the cluster's keyring cannot be read; the keys known before stay in use")
                return
            self._ring, self._since_s = ring, self._now_s()

    def ensure(self, founder: bool = True) -> None:
        """There is a key from now on: the founder makes the first one. Others are told of theirs, and wait for that."""
        self.refresh()
        if self._ring is None and founder:
            self._keep(keyring.first(self._entropy(SECRET_BYTES), self._now_ms()))
            self.log.info("the cluster has its first key")

    def rotate(self, hurried: bool = False) -> None:
        """
        Begin to replace the key.

        Args:
            hurried: Somebody who knows it must not be heard any longer: the steps follow in seconds, not minutes.
        """
        self.ensure()
        assert self._ring is not None
        ring = keyring.begun(self._ring, self._entropy(SECRET_BYTES), self._now_ms(), hurried)
        self._keep(ring)
        self.log.info("a new cluster key is being spread")

    def look(self) -> None:
        """Take the step that is due."""
        self.refresh()
        if self._ring is None:
            self._waited += 1
            self.ensure(founder=self._waited >= PATIENCE and self._leads())
            return
        if not self._leads():
            return
        now_ms = self._now_ms()
        if keyring.old(self._ring, now_ms):
            self.rotate()
            return
        ring = keyring.stepped(self._ring, int((self._now_s() - self._since_s) * 1000), now_ms)
        if ring != self._ring:
            self.log.info("cluster keys: {count}, number {primary} seals", count=len(ring.keys), primary=ring.primary)
            self._keep(ring)

    def _keep(self, ring: Keyring) -> None:
        self._shared.put(KEYRING, keyring.dumps(ring))
        self.refresh()

    def _now_ms(self) -> int:
        return int(self._wall_s() * 1000)
