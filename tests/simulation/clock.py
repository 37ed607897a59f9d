"""One true time for all nodes, that jumps from event to event, and each node's own clock on it: fast, slow, stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

Call = Callable[..., object]


class Touched(Protocol):
    """Something in which changes show."""

    touched: bool


@implementer(IDelayedCall)
class Scheduled(list[Any]):
    """
    See `IDelayedCall`. An entry of the queue, made by the million: true time, number, call, arguments, clock, its time.

    The call is `None` once it ran or was cancelled.
    """

    __slots__ = ()

    def active(self) -> bool:
        """See `IDelayedCall`."""
        return self[2] is not None

    def cancel(self) -> None:
        """See `IDelayedCall`."""
        assert self[2] is not None, "cancelled twice, or after it ran"
        self[2] = None

    def getTime(self) -> float:  # noqa: N802  # Twisted's name
        """See `IDelayedCall`."""
        at_s: float = self[5]
        return at_s

    def delay(self, secondsLater: float) -> None:  # noqa: N803  # Twisted's name
        """See `IDelayedCall`."""
        raise NotImplementedError("nobody moves calls")

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  # Twisted's name
        """See `IDelayedCall`."""
        raise NotImplementedError("nobody moves calls")


class Timeline:
    """True time, which no node knows."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.running: NodeClock | None = None
        """On whose clock the present call was scheduled; `None` for the world's own."""
        self.events = 0
        self.queue: list[Scheduled] = []
        """A heap: of several calls at one time the one that was added first comes first."""
        self.number = 0
        """How many calls were ever added."""

    def run_until(self, until_s: float, touched: Touched, check: Callable[[], None]) -> None:
        """Run what is due up to `until_s`; `check()` is called after every event that touched something."""
        queue = self.queue
        while queue and queue[0][0] <= until_s:
            entry = heappop(queue)
            self.now_s, _, call, args, clock, at_s = entry
            if call is None:
                continue
            self.events += 1
            if clock.runs:  # all in one place: this is done some ten million times an hour of a cluster
                if at_s > clock.reached_s:
                    clock.reached_s = at_s
                entry[2] = None
                self.running = clock
                call(*args)
                self.running = None
            elif not clock.dead:
                clock.wait(entry)
            if touched.touched:
                touched.touched = False
                check()
        self.now_s = until_s


@implementer(IReactorTime)
class NodeClock:
    """
    The clock of one process. It may run fast or slow, be stopped for a while (SIGSTOP), or for ever (kill -9).

    What falls due while it is stopped happens in order when it goes on, as in a process.
    """

    def __init__(self, timeline: Timeline, rate: float = 1.0, name: str = "") -> None:
        """`rate`: seconds of this clock in one true second."""
        self._timeline, self.rate, self.name = timeline, rate, name
        self.runs = True
        self.dead = self.paused = False
        """Whether nothing of this process will ever run again; whether it is stopped."""
        self.reached_s = 0.0
        """No call may find that its time has not come, by the last bit of a product."""
        self._backlog: list[Scheduled] = []

    def seconds(self) -> float:
        """See `IReactorTime`."""
        now_s = self._timeline.now_s * self.rate
        return now_s if now_s > self.reached_s else self.reached_s

    def callLater(self, delay: float, callable: Call, *args: Any, **kw: Any) -> Scheduled:
        """See `IReactorTime`."""
        timeline, rate = self._timeline, self.rate
        now_s = timeline.now_s * rate
        if now_s < self.reached_s:
            now_s = self.reached_s
        timeline.number = number = timeline.number + 1
        call = partial(callable, **kw) if kw else callable
        entry = Scheduled((timeline.now_s + delay / rate, number, call, args, self, now_s + delay))
        heappush(timeline.queue, entry)
        return entry

    def getDelayedCalls(self) -> list[Scheduled]:
        """See `IReactorTime`."""
        raise NotImplementedError("nobody asks")

    def wait(self, call: Scheduled) -> None:
        """The time of `call` has come while this process is stopped."""
        self._backlog.append(call)

    def kill(self) -> None:
        """Nothing on this clock ever happens any more."""
        self.runs, self.dead, self.paused = False, True, False
        self._backlog.clear()

    def pause(self) -> None:
        """Stop it."""
        self.runs, self.paused = False, not self.dead

    def resume(self) -> None:
        """Go on; what piled up happens now, one event after the other."""
        self.runs, self.paused = not self.dead, False
        timeline, backlog, self._backlog = self._timeline, self._backlog, []
        for call in backlog:
            if call.active():
                timeline.number += 1
                call[:2] = timeline.now_s, timeline.number
                heappush(timeline.queue, call)
