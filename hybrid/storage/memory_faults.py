"""Faults that tests inject into a pool in memory: errors, waits, a storage that does not answer. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable

from hybrid.errors import StorageError, StorageSick
from hybrid.model import Guid
from hybrid.ports import Health

READING = frozenset(
    ("datasets", "dataset", "history", "holds", "send", "estimate", "space", "health", "check", "clear_dead_mounts")
)
"""Calls that a pool imported read-only still answers."""
Hook = Callable[[], Awaitable[None]]


class Faults:
    """What is to go wrong, by the name of the call (`snapshot`, `receive`, …)."""

    def __init__(self) -> None:
        self._hooks: defaultdict[str, deque[Hook]] = defaultdict(deque)
        self._always: dict[str, Hook] = {}
        self.sick = ""
        """When not empty, every call raises `StorageSick` with this reason."""
        self.condition = Health()
        """What the pool says: faulted or suspended it answers `health` alone, read-only it takes no change."""
        self.damaged: set[Guid] = set()
        """Snapshots of which a block cannot be read: they cannot be sent."""

    def before(self, call: str, hook: Hook) -> None:
        """Await `hook` once, before the next call named `call`: it may wait on a Deferred, or raise."""
        self._hooks[call].append(hook)

    def before_each(self, call: str, hook: Hook | None) -> None:
        """Await `hook` before every call named `call` (`*`: any); `None`: not any more."""
        if hook is None:
            self._always.pop(call, None)
        else:
            self._always[call] = hook

    def fail_next(self, call: str, error: Exception) -> None:
        """The next call named `call` raises `error` and does nothing."""

        async def fail() -> None:
            raise error

        self.before(call, fail)

    async def enter(self, call: str) -> None:
        """Every call of the pool begins here: what was injected happens now."""
        if self._hooks[call]:
            await self._hooks[call].popleft()()
        for name in (call, "*"):
            if name in self._always:
                await self._always[name]()
        if self.sick:
            raise StorageSick("the pool does not answer", self.sick)
        if self.condition.state in ("faulted", "suspended") and call != "health":
            raise StorageSick(f"the pool is {self.condition.state}", "its disks are gone or fail", "see zpool status")
        if self.condition.read_only and call not in READING:
            raise StorageError(f"{call} was not done", "the pool is imported read-only", "import it writable")

    def refuse_damaged(self, guid: Guid) -> None:
        """Raises `StorageError` where a block of that snapshot cannot be read."""
        if guid in self.damaged:
            raise StorageError("the snapshot was not sent", "Input/output error", "see zpool status -v")
