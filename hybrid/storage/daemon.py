"""
The zfs-fuse daemon of this node: started, watched, started again when it dies. Shell.

When it dies, every mount it served fails with ENOTCONN until it is unmounted and mounted again; what was synced is
safe. It dies with this process, so that no pool is ever left to two daemons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application import service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hybrid.errors import NoSuchDataset, StorageError, StorageSick
from hybrid.settings import Settings
from hybrid.storage.children import Child, Children, Reactor
from hybrid.storage.pools import import_pool

UP_S = 30.0
"""From its start until it answers; importing pools is part of that."""
POLL_S = 0.1
STEADY_S = 60.0
"""Having lived so long, its next death begins the waits anew."""
STOP_S = 10.0
WAITS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class _Daemon(Child):
    """zfs-fuse in the foreground: what it says goes to the log."""

    def outReceived(self, data: bytes) -> None:
        """Log it."""
        self.log.info("zfs-fuse: {text}", text=data.decode(errors="replace").strip())

    def errReceived(self, data: bytes) -> None:
        """Log it, and keep the beginning."""
        super().errReceived(data)
        self.outReceived(data)


class ZfsDaemon(service.Service):
    """
    Keeps zfs-fuse running while it runs itself.

    Args:
        settings: `pool` and `state_dir`: the pool is imported from there if the daemon does not know it.
        prefix: See `Children`.
    """

    log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings, prefix: Sequence[str] = ()) -> None:
        self._reactor = reactor
        self._settings = settings
        self._prefix = tuple(prefix)
        self._children = Children(reactor, prefix)
        self._child: _Daemon | None = None
        self._loop: Deferred[None] | None = None
        self._pause: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._up = False
        self._trouble = "it was not started"
        self.on_lost: list[Callable[[str], None]] = []
        """Called with the reason when the daemon died: mounts are dead from now on."""
        self.on_back: list[Callable[[], None]] = []
        """Called when it answers again after that: unmount what is dead, mount, start containers."""

    @property
    def pid(self) -> int | None:
        """Of the daemon that runs now."""
        child = self._child
        return child.process.pid if child is not None and child.ended is None else None

    def startService(self) -> None:
        """Start it."""
        super().startService()
        self._loop = Deferred.fromCoroutine(self._keep())
        self._loop.addErrback(lambda failure: self.log.failure("no longer keeping zfs-fuse", failure))

    async def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._child is not None and self._child.ended is None:
            self._child.signal("TERM")
            try:
                await self._child.when_ended().addTimeout(STOP_S, self._reactor)
            except WaitedTooLong:
                await self._child.end(("KILL",))
        if self._loop is not None:
            await self._loop

    def stopService(self) -> Deferred[None]:
        """Ask it to end, kill it after a while; fires when it is gone."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def ready(self, deadline_s: float = 60.0) -> None:
        """Return once the daemon answers. Raises `StorageSick` at the deadline, with what it last said."""
        if self._up:
            return
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        try:
            await waiting.addTimeout(deadline_s, self._reactor)
        except WaitedTooLong:
            raise StorageSick(f"zfs-fuse did not come up in {deadline_s:g} s", self._trouble) from None
        finally:
            self._waiting = [one for one in self._waiting if one is not waiting]

    async def _keep(self) -> None:
        """Run it again and again while the service runs."""
        deaths = 0
        while self.running:
            begun_s = self._reactor.seconds()
            try:
                await self._live()
            except Exception as error:
                self._trouble = str(error)
                self.log.failure("zfs-fuse did not come up")
            if not self.running:
                return
            deaths = 0 if self._reactor.seconds() - begun_s > STEADY_S else deaths + 1
            await self._wait(WAITS_S[min(deaths, len(WAITS_S)) - 1] if deaths else WAITS_S[0])

    async def _live(self) -> None:
        """One life of the daemon, from start to end."""
        child = self._child = _Daemon(self._reactor, ("zfs-fuse", "-n"))
        self._children.start(child)
        try:
            await self._come_up(child)
            await child.when_ended()
        finally:
            await child.end()
            if self._up:
                self._down(child)

    def _down(self, child: _Daemon) -> None:
        self._up = False
        ended = child.ended
        reason = f"zfs-fuse ended with status {ended.status}: {ended.stderr}" if ended else "zfs-fuse does not end"
        self._trouble = reason
        if self.running:
            self.log.error("{reason}", reason=reason)
            self._tell([lambda one=one: one(reason) for one in self.on_lost])  # type: ignore[misc]  # default binds early

    async def _come_up(self, child: _Daemon) -> None:
        """Wait until it answers and the pool is there, then tell everybody."""
        deadline_s = self._reactor.seconds() + UP_S
        while not await self._answers():
            if child.ended is not None:
                raise StorageError("zfs-fuse ended at once", child.ended.stderr)
            if self._reactor.seconds() > deadline_s:
                raise StorageSick("zfs-fuse does not answer", f"after {UP_S:g} s")
            await self._wait(POLL_S)
        await self._import()
        again, self._up = self._trouble.startswith("zfs-fuse ended"), True
        self.log.info("zfs-fuse answers, process {pid}", pid=child.process.pid)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
        if again:
            self._tell(self.on_back)

    async def _answers(self) -> bool:
        ended = await self._children.run(("zpool", "list", "-H", "-o", "name"), UP_S)
        return ended.status == 0

    async def _import(self) -> None:
        name = self._settings.pool
        try:
            await import_pool(self._reactor, name, (self._settings.state_dir,), self._prefix)
        except NoSuchDataset:
            self.log.warn("pool {pool} is not there yet", pool=name)

    async def _wait(self, seconds: float) -> None:
        self._pause = deferLater(self._reactor, seconds)
        try:
            await self._pause
        except Exception:
            if self.running:
                raise
        finally:
            self._pause = None

    def _tell(self, listeners: Sequence[Callable[[], None]]) -> None:
        for listener in list(listeners):
            try:
                listener()
            except Exception:
                self.log.failure("a listener of zfs-fuse failed", Failure())
