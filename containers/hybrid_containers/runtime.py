"""
`hybrid.ports.Containers` on LXC: start, stop, freeze, commands, logs. Does I/O.

What runs is told by control groups, never by what this process remembers, so that a node process that starts again
simply finds its containers. The binding is in a worker process (`hybrid_containers.worker`), commands are `lxc-attach`
children: that program guards itself against being overwritten from inside (CVE-2019-5736), the binding does not.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from twisted.internet.defer import DeferredLock
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.errors import ContainerError, NoSuchContainer
from hybrid.model import SiteId
from hybrid.ports import ContainerSpec, Executed
from hybrid.sessions import Opening
from hybrid.settings import Settings
from hybrid_containers import child, console
from hybrid_containers.addresses import PIVOT, check_site, veth_of
from hybrid_containers.cgroups import ControlGroups, Part, living
from hybrid_containers.config import Machine, Place, config_lines
from hybrid_containers.gauge import ProcGauge
from hybrid_containers.link import WorkerLink
from hybrid_containers.network import Network, Reactor
from hybrid_containers.session import Task
from hybrid_containers.sitting import Sitting, attached

START_S = 20.0
FREEZE_S = 10.0
KILL_S = 8.0
"""How long killing may take before it is called impossible (processes waiting for dead storage)."""
POLL_S = 0.02
MONITOR_S = 1.0
"""How long the LXC monitor may take to clean up after its container before it is killed too."""
SLACK_S = 5.0
"""How much longer a child that asks a port may take than the port: a loaded machine starts it slowly."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RESOLVERS = ("127.", "::1")
_PROBE = Path(__file__).with_name("probe.py")


class LxcContainers:
    """See `hybrid.ports.Containers`."""

    log = Logger()

    def __init__(self, reactor: Reactor, settings: Settings) -> None:
        self._reactor = reactor
        self._settings = settings
        self._home = Path(settings.state_dir, "containers").absolute()
        self._groups = ControlGroups(settings.cgroup)
        self._network = Network(reactor, settings.bridge, settings.subnet)
        self._worker = WorkerLink(reactor)
        self._locks: dict[SiteId, DeferredLock] = {}

    async def prepare(self) -> None:
        """See `hybrid.ports.Containers`."""
        self._home.mkdir(mode=0o711, parents=True, exist_ok=True)
        await self._network.prepare()

    async def start(self, spec: ContainerSpec) -> None:
        """See `hybrid.ports.Containers`. One that is frozen is thawed."""
        async with self._alone(spec.site):
            if state := self._groups.running().get(spec.site):
                if state == "frozen":
                    await self._call_freezer("thaw", spec.site)
                return
            await self._sweep(spec.site)
            place = self._write_down(spec)
            try:
                await self._worker.call(
                    "start",
                    self._home,
                    spec.site,
                    deadline_s=START_S,
                    root=spec.root,
                    id_base=spec.id_base,
                    init=spec.init,
                )
            except ContainerError as error:
                await self._kill(spec.site)
                why = console.last_errors(Path(place.directory, "lxc.log")) or error.why
                raise ContainerError(f"container {spec.site} does not start", why, "see its log") from error
            if spec.network:
                self._isolate(spec.site)
            self.log.info("started {site} at {address}", site=spec.site, address=spec.address)

    async def stop(self, site: SiteId, grace_s: float = 5.0) -> None:
        """See `hybrid.ports.Containers`. A frozen one gets no grace: thawing it would let it write again."""
        async with self._alone(site):
            state = self._groups.running().get(site)
            monitors = self._groups.processes(site, "monitor")
            if state == "running" and grace_s > 0:
                try:
                    await self._worker.call("shutdown", self._home, site, deadline_s=grace_s + 1, grace_s=grace_s)
                except ContainerError as error:
                    self.log.info("{site} is killed: {why}", site=site, why=error.why)
            await self._kill(site)
            await self._until(lambda: not living(monitors), MONITOR_S)  # it leaves its group before it ends
            if state is not None:
                self.log.info("stopped {site}", site=site)

    async def freeze(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`."""
        async with self._alone(site):
            if self._state(site) == "frozen":
                return
            try:
                await self._call_freezer("freeze", site)
            except ContainerError:
                self._groups.thaw(site)  # half frozen helps nobody: one process may wait for storage, the others for it
                raise

    async def thaw(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`."""
        async with self._alone(site):
            if self._state(site) == "frozen":
                await self._call_freezer("thaw", site)

    async def cut_off(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`. Does not wait for other requests: one to stop it may hang."""
        self._directory(site)
        try:
            await self._network.cut_off(veth_of(site))
        except Exception as error:
            raise ContainerError(f"the network of {site} cannot be cut", str(error)) from error
        self.log.error("{site} is cut off from the network", site=site)

    async def running(self) -> dict[SiteId, str]:
        """See `hybrid.ports.Containers`."""
        return dict(self._groups.running())

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Executed:
        """See `hybrid.ports.Containers`. Output is cut after 1 MiB. Does not wait for other requests."""
        if self._state(site) == "frozen":
            raise ContainerError(f"cannot run a command in {site}", "it is frozen", "try again in a moment")
        attach = ["env", "--chdir=/", "lxc-attach", "--clear-env", "-P", str(self._home), "-n", site, "--", *argv]
        try:
            done = await child.run(self._reactor, attach, stdin=stdin, timeout_s=timeout_s)
        except child.TooLate as late:
            told = console.clean(late.so_far.stderr[-200:].decode("utf-8", "replace")).strip()
            raise ContainerError(
                f"{argv[0]!r} in {site} was killed", f"not done in {timeout_s:g} s {told}".strip()
            ) from None
        if done.status and done.stderr.startswith(b"lxc-attach:"):
            self._state(site)  # it went meanwhile?
        return done

    def begin_session(self, opening: Opening, connection: int) -> Sitting:
        """See `hybrid.ports.Containers`."""
        site = SiteId(opening.site)
        if self._state(site) == "frozen":
            raise ContainerError(f"cannot begin a session in {site}", "it is frozen", "try again in a moment")
        if opening.kind == "files":
            init = min(self._groups.processes(site, "payload"), default=0)
            task = Task(init=init, groups=tuple(self._groups.of(site, init)))
        else:
            attach = ["env", "--chdir=/", "lxc-attach", "--clear-env", "-P", str(self._home), "-n", site]
            task = attached(opening, attach)
        return Sitting.begin(self._reactor, task, connection)

    async def answer(self, site: SiteId, port: int, path: str | None, host: str = "", timeout_s: float = 5.0) -> int:
        """See `hybrid.ports.Containers`. A child asks that is in the container's network and in nothing else of it."""
        self._state(site)
        inside = min(self._groups.processes(site, "payload"), default=0)
        enter = ["nsenter", f"--net=/proc/{inside}/ns/net", "--", sys.executable, "-I", "-S", str(_PROBE)]
        words = [str(port), str(timeout_s), *([] if path is None else [path, host])]
        try:
            done = await child.run(self._reactor, [*enter, *words], timeout_s=timeout_s + SLACK_S)
        except child.TooLate:
            raise ContainerError(f"port {port} of {site} does not answer", f"not in {timeout_s:g} s") from None
        if done.status:
            why = console.clean(done.stderr[-200:].decode("utf-8", "replace")).strip()
            raise ContainerError(f"port {port} of {site} does not answer", why)
        return int(done.stdout)

    async def logs(self, site: SiteId, lines: int = 200) -> str:
        """See `hybrid.ports.Containers`."""
        return console.tail(self._directory(site), lines)

    async def close(self) -> None:
        """See `hybrid.ports.Containers`."""
        await self._worker.close()
        await self._network.close()
        self._groups.remove_parent()

    def freezers(self, site: SiteId) -> list[str]:
        """The control groups that freeze the container, whether it runs now or not."""
        return self._groups.freezers(site)

    def gauge(self) -> ProcGauge:
        """What reads the load of all of them."""
        return ProcGauge(self._groups)

    def memory_bytes(self, site: SiteId) -> int:
        """What the container uses now; 0 when it does not run."""
        return self._groups.memory_bytes(site)

    # ------------------------------------------------------------------------------------------------- steps

    @asynccontextmanager
    async def _alone(self, site: SiteId) -> AsyncIterator[None]:
        """One request at a time per container; forgets the lock with its last user."""
        self._directory(site)
        lock = self._locks.setdefault(site, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and self._locks.get(site) is lock:
                del self._locks[site]

    def _directory(self, site: SiteId) -> Path:
        check_site(site)
        return self._home / site

    def _state(self, site: SiteId) -> str:
        self._directory(site)
        state = self._groups.running().get(site)
        if state is None:
            raise NoSuchContainer(f"no container of {site} runs here")
        return state

    def _write_down(self, spec: ContainerSpec) -> Place:
        """The container's folder with its configuration, for LXC to read."""
        directory = self._directory(spec.site)
        place = Place(
            directory=str(directory),
            cgroup=f"{self._groups.parent}/{spec.site}",
            pivot=f"{self._groups.parent}/{PIVOT}",
            bridge=self._network.bridge,
        )
        lines = config_lines(spec, self._machine(), place)
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        (directory / "lxc.log").unlink(missing_ok=True)
        (directory / "resolv.conf").write_text(_resolv_conf(Path("/etc/resolv.conf"), spec.gateway))
        config = directory / "config"
        config.touch(mode=0o600)  # passwords may be in the environment
        config.chmod(0o600)
        config.write_text("\n".join([*lines, ""]))
        return place

    def _machine(self) -> Machine:
        return Machine(
            v1=self._groups.controllers_v1,
            v2=self._groups.controllers_v2,
            apparmor=self._confines(),
            seccomp=str(Path(__file__).with_name("seccomp.profile")),
        )

    def _confines(self) -> bool:
        """Whether AppArmor is on and LXC can give it a profile: without apparmor_parser(8) nothing would start."""
        enabled = Path("/sys/module/apparmor/parameters/enabled")
        if not enabled.exists() or not enabled.read_text().startswith("Y"):
            return False
        found = shutil.which("apparmor_parser", path=SYSTEM_PATH) is not None
        if not found:
            self.log.warn("containers are not confined by AppArmor: install the package `apparmor`")
        return found

    def _isolate(self, site: SiteId) -> None:
        try:
            self._network.isolate(veth_of(site))
        except OSError as error:
            self.log.warn("{site} is not isolated from other containers: {why}", site=site, why=error.strerror)

    async def _call_freezer(self, verb: Literal["freeze", "thaw"], site: SiteId) -> None:
        await self._worker.call(verb, self._home, site, deadline_s=FREEZE_S)

    async def _kill(self, site: SiteId) -> None:
        """Kill what is left of it, let the monitor clean up, then sweep."""
        if not await self._gone(site, "payload", KILL_S, kill=True):
            stuck = sorted(self._groups.processes(site, "payload"))[:5]
            raise ContainerError(
                f"processes of {site} cannot be killed: {', '.join(map(str, stuck))}",
                "they wait for storage that does not answer",
                "restart or abort the storage daemon",
            )
        await self._gone(site, "monitor", MONITOR_S, kill=False)
        await self._sweep(site)

    async def _sweep(self, site: SiteId) -> None:
        """Remove what a container that ended, or half started, may leave: monitor, network device, groups."""
        await self._gone(site, "monitor", MONITOR_S, kill=True)
        await self._network.remove(veth_of(site))
        self._groups.remove(site)

    async def _gone(self, site: SiteId, part: Part, seconds: float, kill: bool) -> bool:
        """Wait until that part of the container has no process, killing it over and over if so wished."""

        def gone() -> bool:
            found = bool(self._groups.processes(site, part))
            if found and kill:
                self._groups.kill(site, part)
            return not found

        return await self._until(gone, seconds)

    async def _until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Wait until `true()`; `False` when that takes longer than `seconds`."""
        until_s = self._reactor.seconds() + seconds
        while not true():
            if self._reactor.seconds() > until_s:
                return False
            await deferLater(self._reactor, POLL_S)
        return True


def _resolv_conf(of_node: Path, gateway: str) -> str:
    """The node's name servers for a container; one on loopback is out of its reach, the gateway stands in for it."""
    try:
        lines = of_node.read_text().splitlines()
    except OSError:
        lines = []
    servers = [words[1] for words in (line.split() for line in lines) if len(words) > 1 and words[0] == "nameserver"]
    reachable = [server for server in servers if not server.startswith(RESOLVERS)] or [gateway]
    return "".join(f"nameserver {server}\n" for server in reachable[:3])
