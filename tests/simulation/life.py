"""
One life of a node process: its clock, and the disk and the containers as it reaches them.

Each call that leaves a trace takes a while, so that a crash can come before it, after it, or between two of them. Once
the life is over its calls neither return nor do anything.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred

from hybrid.errors import ContainerError, StorageSick
from tests.simulation.clock import NodeClock
from tests.simulation.disk import Disk, sick

T = TypeVar("T")
CHANGING = frozenset(
    "create clone destroy rename promote set_properties set_readonly set_quota set_record_size mount unmount snapshot "
    "destroy_snapshot hold release start stop send receive finish".split()
)
PATIENCE_S = 15.0
"""The deadline of a call to a disk that hangs."""


class Life:
    """From its start to its end, which may come at any step."""

    def __init__(self, clock: NodeClock, disk: Disk, chance: random.Random) -> None:
        self.clock, self._disk, self._chance = clock, disk, chance
        self._buried = False
        self._lost: list[Deferred[None]] = []

    def sees(self, driver: T) -> T:
        """`driver`, as this life reaches it."""
        return cast(T, _Reached(driver, self))

    def bury(self) -> None:
        """After the end of the world: coroutines that are closed now must not begin to tidy up."""
        self._buried = True
        self._lost.clear()

    async def call(self, name: str, deed: Callable[..., Awaitable[Any]], *args: Any, **kw: Any) -> Any:
        """A call that leaves a trace."""
        if name == "set_properties":
            return await self._one_by_one(deed, *args)
        if not self.reaches():
            await self._reach(name)
        before = self._chance.random() < 0.5
        if before:
            await self._while()
        result = await deed(*args, **kw)
        if not before:
            await self._while()
        return self.sees(result) if name in ("send", "receive") else result

    async def look(self, name: str, deed: Callable[..., Awaitable[Any]], *args: Any, **kw: Any) -> Any:
        """A call that changes nothing takes no time."""
        await self._reach(name)
        return await deed(*args, **kw)

    async def _one_by_one(self, deed: Callable[..., Awaitable[Any]], dataset: str, properties: dict[str, Any]) -> None:
        """As ZFS does it: values first, removals last."""
        for key in sorted(properties, key=lambda key: properties[key] is None):
            if not self.reaches():
                await self._reach("set_properties")
            await deed(dataset, {key: properties[key]})
            await self._while()

    async def _while(self) -> None:
        """Time passes: mostly little."""
        passed: Deferred[None] = Deferred()
        seconds = self._chance.random() ** 4
        self.clock.callLater(seconds, passed.callback, None)
        await passed

    def reaches(self) -> bool:
        """Whether a call gets through as always: it is alive, and the disk answers."""
        return self._disk.answers and not self._buried and not self.clock.dead

    async def _reach(self, name: str) -> None:
        if self._buried:
            raise GeneratorExit
        if self.clock.dead:
            lost: Deferred[None] = Deferred()
            self._lost.append(lost)
            await lost
        if not self._disk.answers and name not in ("start", "running"):
            await self._wait_for_disk(name)

    async def _wait_for_disk(self, name: str) -> None:
        """The disk hangs: the call's own deadline ends it, or the disk goes on before."""
        back: Deferred[None] = Deferred()
        self._disk.when_back(lambda: self.clock.callLater(0.0, _fire, back, None))
        late = self.clock.callLater(PATIENCE_S, _fire, back, sick(name))
        try:
            await back
        except StorageSick as error:
            if name == "stop":
                raise ContainerError("its processes cannot be killed", "they wait for storage") from error
            raise
        finally:
            if late.active():
                late.cancel()


def _fire(event: Deferred[None], error: Exception | None) -> None:
    if not event.called:
        if error is None:
            event.callback(None)
        else:
            event.errback(error)


class _Reached:
    """A driver whose coroutines go through a life."""

    def __init__(self, driver: object, life: Life) -> None:
        self._driver, self._life = driver, life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute
        life = self._life

        def change(*args: Any, **kw: Any) -> Awaitable[Any]:
            return life.call(name, attribute, *args, **kw)

        def look(*args: Any, **kw: Any) -> Awaitable[Any]:
            return attribute(*args, **kw) if life.reaches() else life.look(name, attribute, *args, **kw)

        self.__dict__[name] = call = change if name in CHANGING else look
        return call
