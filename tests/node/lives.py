"""
One life of a node, from a start to a power cut that may come between any two calls to its disk or its containers.

Once a life is over nothing of it happens any more: its timers do not fire, its calls neither return nor do anything.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

T = TypeVar("T")

CHANGING = frozenset(
    "create clone destroy rename promote set_properties set_readonly set_quota set_record_size mount unmount snapshot "
    "snapshot_if_changed destroy_snapshot hold release finish start stop freeze thaw cut_off".split()
)
"""Calls that leave a trace: between two of them a node that loses power comes back to the same disk."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The power goes just before, or just after, the `number`th changing call (the first is 1)."""

    number: int
    after: bool


@dataclass(slots=True)
class Life:
    """
    What happens in one life.

    Attributes:
        clock: The time that the node lives by.
        ended: Called once when the power is cut by `cut`, before anything else can happen.
        counting: Whether changing calls are counted now.
        observed: Called with the name, the arguments and the result of each changing call.
    """

    clock: LifeClock
    ended: Callable[[], None] = lambda: None
    observed: Callable[[str, tuple[Any, ...], Any], None] = lambda name, arguments, result: None
    counting: bool = False
    calls: list[str] = field(default_factory=list)
    cut: Cut | None = None
    over: bool = False
    _buried: bool = False
    _hanging: list[Deferred[None]] = field(default_factory=list)

    def sees(self, driver: T) -> T:
        """`driver`, as this life may use it."""
        return cast(T, _Mortal(driver, self))

    def end(self) -> None:
        """Power off."""
        self.over = self.clock.over = True

    def bury(self) -> None:
        """Let go of what hangs for ever: coroutines that are closed now may still try to tidy up."""
        self._buried = True
        self._hanging.clear()

    async def call(self, name: str, deed: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """One call to a driver."""
        if name == "set_properties":
            return await self._one_by_one(deed, *arguments)
        async with self._passing(name):
            result = await deed(*arguments, **named)
            if name in CHANGING:
                self.observed(name, arguments, result)
        return self.sees(result) if name in ("send", "receive") else result

    async def _one_by_one(self, deed: Callable[..., Any], dataset: str, properties: dict[str, str | None]) -> None:
        """As ZFS does it: values first, removals last, and the power may go between any two."""
        for key in sorted(properties, key=lambda key: properties[key] is None):
            async with self._passing("set_properties"):
                await deed(dataset, {key: properties[key]})
                self.observed("set_properties", (dataset, key, properties[key]), None)

    @asynccontextmanager
    async def _passing(self, name: str) -> AsyncIterator[None]:
        """The power may go before or after what is done within, also when that fails."""
        number = 0
        if self.counting and not self.over and name in CHANGING:
            self.calls.append(name)
            number = len(self.calls)
        await self._reached(Cut(number, False))
        try:
            yield
        finally:
            await self._reached(Cut(number, True))

    async def _reached(self, point: Cut) -> None:
        if self.cut == point and not self.over:
            self.end()
            self.clock.common.callLater(0, self.ended)  # not now: this may be deep within what others are doing
        if self._buried:
            raise GeneratorExit
        if self.over:
            hanging: Deferred[None] = Deferred()
            self._hanging.append(hanging)
            await hanging


class _Mortal:
    """A driver whose coroutines go through a life."""

    def __init__(self, driver: object, life: Life) -> None:
        self._driver, self._life = driver, life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(attribute):
            return attribute

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._life.call(name, attribute, *arguments, **named)

        return call


@implementer(IReactorTime)
class LifeClock:
    """The common clock, until the life is over."""

    def __init__(self, clock: Clock) -> None:
        self.common = clock
        self.over = False
        self._missed: list[Callable[[], None]] | None = None

    def pause(self) -> None:
        """Stop scheduling this life: what falls due happens when it goes on."""
        self._missed = []

    def resume(self) -> None:
        """Undo `pause`: what fell due meanwhile happens now."""
        missed, self._missed = self._missed or [], None
        for happen in missed:
            happen()

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return self.common.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""

        def unless_over() -> None:
            if self._missed is not None:
                self._missed.append(unless_over)
            elif not self.over:
                callable(*args, **kw)

        return self.common.callLater(delay, unless_over)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime`."""
        return list(self.common.getDelayedCalls())
