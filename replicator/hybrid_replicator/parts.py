"""
What is here of streams that were cut, so that they can be gone on with. Shell.

A part takes room and is of no use to anybody else, so it is kept for a day. It goes sooner when another stream of its
dataset comes (the pool sees to that), or when the pool refuses what goes on with it. History never goes with a part.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.errors import HybridError
from hybrid.ports import Partial, Pool
from hybrid_replicator.names import TEMPORARY
from hybrid_replicator.temporary import discard

KEPT_S = 24 * 3600.0
_RECEIVED = TEMPORARY + "receive-"


def received_at(dataset: str) -> str:
    """Where a dataset that is not here yet is received."""
    return _RECEIVED + dataset.replace("/", "-")


class Parts:
    """Parts by the name under which they are received. Where a pool keeps none, nothing here asks it anything."""

    log = Logger()

    def __init__(self, clock: IReactorTime, pool: Pool) -> None:
        self._clock, self._pool = clock, pool
        self._since_s: dict[str, float] = {}

    async def of(self, name: str) -> Partial | None:
        """What is here of a stream to `name`."""
        found = await self._pool.partial(name) if self._pool.capabilities.resumable else None
        if found is None:
            self._since_s.pop(name, None)
        else:
            self._since_s.setdefault(name, self._clock.seconds())
        return found

    async def kept(self, name: str) -> bool:
        """A stream to `name` was cut: whether something of it is kept. Never raises: what is not sure is not kept."""
        try:
            return await self.of(name) is not None
        except HybridError:
            self.log.failure("it is not known what is here of a stream to {name}", name=name)
            return False

    async def left(self, name: str) -> bool:
        """Whether an earlier process left `name` with such a part."""
        return name.startswith(_RECEIVED) and await self.kept(name)

    async def give_up(self, name: str) -> None:
        """Nothing can go on with it. What is received for the first time goes as a whole."""
        self._since_s.pop(name, None)
        if self._pool.capabilities.resumable:
            await self._pool.abandon(name)
        if name.startswith(_RECEIVED):
            await discard(self._pool, name)

    async def sweep(self) -> None:
        """Give up what is a day old; trouble with one is logged, and tried again the next time."""
        now_s = self._clock.seconds()
        for name in [name for name, since_s in self._since_s.items() if now_s - since_s > KEPT_S]:
            try:
                await self.give_up(name)
            except HybridError:
                self._since_s[name] = now_s - KEPT_S
                self.log.failure("what is here of a stream to {name} could not be removed", name=name)
