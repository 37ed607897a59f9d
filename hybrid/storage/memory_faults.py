"""Faults that tests inject into a pool in memory: errors, waits, a storage that does not answer. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from hybrid.errors import StorageSick

Hook = Callable[[], Awaitable[None]]


class Faults:
    """What is to go wrong, by the name of the call (`snapshot`, `receive`, …)."""

    def __init__(self) -> None:
        self._hooks: defaultdict[str, deque[Hook]] = defaultdict(deque)
        self.sick = ""
        """When not empty, every call raises `StorageSick` with this reason."""

    def before(self, call: str, hook: Hook) -> None:
        """Await `hook` once, before the next call named `call`: it may wait on a Deferred, or raise."""
        self._hooks[call].append(hook)

    def fail_next(self, call: str, error: Exception) -> None:
        """The next call named `call` raises `error` and does nothing."""

        async def fail() -> None:
            raise error

        self.before(call, fail)

    async def enter(self, call: str) -> None:
        """Every call of the pool begins here: what was injected happens now."""
        if self._hooks[call]:
            await self._hooks[call].popleft()()
        if self.sick:
            raise StorageSick("the pool does not answer", self.sick)
