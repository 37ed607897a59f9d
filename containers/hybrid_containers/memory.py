"""A node's containers in memory, with the rules of the real ones: for tests of everything above them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hybrid.errors import ContainerError, NoSuchContainer
from hybrid.model import SiteId
from hybrid.ports import ContainerSpec, Executed
from hybrid.sessions import Opening
from hybrid_containers.addresses import check_site

Command = Callable[[ContainerSpec, Sequence[str], bytes], Executed]


def a_few_commands(spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
    """What the fake's containers can run unless told otherwise: `echo`, `cat`, `true`, `false`, `hostname`."""
    match list(argv):
        case ["echo", *words]:
            return Executed(0, " ".join(words).encode() + b"\n", b"")
        case ["cat"]:
            return Executed(0, stdin, b"")
        case ["hostname"]:
            return Executed(0, spec.hostname.encode() + b"\n", b"")
        case ["true"]:
            return Executed(0, b"", b"")
        case ["false"]:
            return Executed(1, b"", b"")
        case _:
            return Executed(127, b"", f"{argv[0]}: not found\n".encode())


class NoSession:
    """See `hybrid.ports.Sitting`: one that is over."""

    async def ended(self) -> None:
        """See `hybrid.ports.Sitting`."""

    def end(self) -> None:
        """See `hybrid.ports.Sitting`."""


@dataclass(slots=True)
class _Container:
    spec: ContainerSpec
    frozen: bool = False
    cut_off: bool = False


@dataclass(slots=True)
class MemoryContainers:
    """
    See `hybrid.ports.Containers`. What it does beyond that is for tests.

    `deeds` lists what happened, oldest first; `broken` makes `start` of a site fail for the given reason; `stuck` makes
    `stop` of a site fail, as when its storage hangs; `crash` ends a container by itself; `answers` is what ports say
    instead of 200, `None` for nothing; `sessions` lists those that were begun, oldest first.
    """

    command: Command = a_few_commands
    says: str = "started\n"
    """What an init prints to the console when it starts."""
    broken: dict[SiteId, str] = field(default_factory=dict)
    stuck: set[SiteId] = field(default_factory=set)
    answers: dict[tuple[SiteId, int], int | None] = field(default_factory=dict)
    deeds: list[tuple[str, SiteId]] = field(default_factory=list)
    sessions: list[Opening] = field(default_factory=list)
    _containers: dict[SiteId, _Container] = field(default_factory=dict)
    _logs: dict[SiteId, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """See `hybrid.ports.Containers`."""

    async def start(self, spec: ContainerSpec) -> None:
        """See `hybrid.ports.Containers`."""
        check_site(spec.site)
        if container := self._containers.get(spec.site):
            container.frozen = False
            return
        if why := self.broken.get(spec.site):
            raise ContainerError(f"container {spec.site} does not start", why)
        self._containers[spec.site] = _Container(spec)
        self._logs[spec.site] = self._logs.get(spec.site, "") + self.says
        self.deeds.append(("start", spec.site))

    async def stop(self, site: SiteId, grace_s: float = 5.0) -> None:
        """See `hybrid.ports.Containers`."""
        check_site(site)
        if site in self.stuck:
            raise ContainerError(f"processes of {site} cannot be killed", "they wait for storage that does not answer")
        if self._containers.pop(site, None):
            self.deeds.append(("stop", site))

    async def freeze(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`."""
        self._container(site).frozen = True
        self.deeds.append(("freeze", site))

    async def thaw(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`."""
        self._container(site).frozen = False
        self.deeds.append(("thaw", site))

    async def cut_off(self, site: SiteId) -> None:
        """See `hybrid.ports.Containers`."""
        check_site(site)
        if site in self._containers:
            self._containers[site].cut_off = True
            self.deeds.append(("cut off", site))

    async def running(self) -> dict[SiteId, str]:
        """See `hybrid.ports.Containers`."""
        return {site: "frozen" if one.frozen else "running" for site, one in sorted(self._containers.items())}

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes = b"", timeout_s: float = 60.0) -> Executed:
        """See `hybrid.ports.Containers`."""
        container = self._container(site)
        if container.frozen:
            raise ContainerError(f"cannot run a command in {site}", "it is frozen", "try again in a moment")
        return self.command(container.spec, argv, stdin)

    def begin_session(self, opening: Opening, connection: int) -> NoSession:
        """See `hybrid.ports.Containers`. Only noted, in `sessions`: nothing is said on the connection."""
        site = SiteId(opening.site)
        if self._container(site).frozen:
            raise ContainerError(f"cannot begin a session in {site}", "it is frozen", "try again in a moment")
        self.sessions.append(opening)
        return NoSession()

    async def answer(self, site: SiteId, port: int, path: str | None, host: str = "", timeout_s: float = 5.0) -> int:
        """See `hybrid.ports.Containers`."""
        container = self._container(site)
        status = None if container.frozen else self.answers.get((site, port), 200)
        if status is None:
            raise ContainerError(f"port {port} of {site} does not answer", "connection refused")
        return 0 if path is None else status

    async def logs(self, site: SiteId, lines: int = 200) -> str:
        """See `hybrid.ports.Containers`."""
        check_site(site)
        return "\n".join(self._logs.get(site, "").splitlines()[-lines:]) if lines > 0 else ""

    async def close(self) -> None:
        """See `hybrid.ports.Containers`."""

    def crash(self, site: SiteId) -> None:
        """End a container without anybody's wish."""
        self._container(site)
        del self._containers[site]

    def reachable(self) -> set[SiteId]:
        """Sites whose containers run and can be reached."""
        return {site for site, one in self._containers.items() if one.spec.network and not one.cut_off}

    def specs(self) -> dict[SiteId, ContainerSpec]:
        """What the running ones were started with."""
        return {site: container.spec for site, container in self._containers.items()}

    def _container(self, site: SiteId) -> _Container:
        check_site(site)
        if site not in self._containers:
            raise NoSuchContainer(f"no container of {site} runs here")
        return self._containers[site]
