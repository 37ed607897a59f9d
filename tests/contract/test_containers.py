"""What every driver of `hybrid.ports.Containers` promises: the fake, and LXC in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hybrid import sessions
from hybrid.errors import ContainerError, NoSuchContainer
from hybrid.model import SiteId
from hybrid.ports import Containers, ContainerSpec, Sitting
from hybrid.sessions import Opening
from hybrid.settings import Settings
from hybrid_containers import sandbox, sftpwire
from hybrid_containers.memory import MemoryContainers
from hybrid_containers.network import Reactor
from hybrid_containers.runtime import LxcContainers

ONE, TWO = SiteId("s-one"), SiteId("s-two")
INIT = ("/bin/sh", "-c", "echo hello from init; trap exit TERM; while :; do sleep 0.05; done")
SERVES = (
    "/bin/sh",
    "-c",
    "trap exit TERM; echo hello > /tmp/page; httpd -p 8080 -h /tmp; while :; do sleep 0.05; done",
)


@dataclass
class Ground:
    """A driver to test, and what it takes to give it work."""

    containers: Containers
    again: Callable[[], Containers]
    """The same node's containers as a new process finds them."""
    spec: Callable[..., ContainerSpec]
    breaks: Callable[[SiteId], ContainerSpec]
    """A spec that cannot start."""
    reaches: Callable[[ContainerSpec], bool]
    """Whether the node gets an answer from the container's address."""


def spec_of(site: SiteId, root: str, id_base: int = 2_000_000, **more: object) -> ContainerSpec:
    """A small container; `more` are fields to set differently."""
    spec = ContainerSpec(
        site=site,
        hostname="one",
        root=root,
        id_base=id_base,
        address="10.99.0.2" if site == ONE else "10.99.0.3",
        prefix=24,
        gateway="10.99.0.1",
        init=INIT,
        memory_bytes=64 << 20,
        cpus=0.5,
        pids=50,
    )
    return msgspec.structs.replace(spec, **more)


@pytest.fixture
def memory() -> Ground:
    """The fake."""
    fake = MemoryContainers(says="hello from init\n")

    def broken(site: SiteId) -> ContainerSpec:
        fake.broken[site] = "no such init"
        return spec_of(site, "/nowhere")

    return Ground(
        fake,
        lambda: fake,
        lambda site=ONE, **more: spec_of(site, "/root-of-it", **more),
        broken,
        lambda spec: spec.site in fake.reachable(),
    )


def answers_ping(spec: ContainerSpec) -> bool:
    """Whether the kernel of the container answers an echo request within some seconds (RFC 792)."""
    words = ["busybox", "ping", "-c", "1", "-w", "3", spec.address]
    return subprocess.run(words, capture_output=True, timeout=20).returncode == 0


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Bridges, rules and mounts of the real driver stay apart from the machine's."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that containers' users may pass through, unlike pytest's."""
    path = Path(tempfile.mkdtemp(prefix="hyb-containers-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def busybox_root(path: Path, id_base: int) -> str:
    """A root file system of one program."""
    for name in ("bin", "etc", "proc", "sys", "dev", "run", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", path / "bin")
    for name in ("sh", "cat", "echo", "sleep", "hostname", "true", "false", "head", "yes", "id", "ping", "httpd"):
        (path / "bin" / name).symlink_to("busybox")
    subprocess.run(["chown", "-hR", f"{id_base}:{id_base}", path], check=True)
    return str(path)


@pytest_twisted.async_yield_fixture
async def lxc(namespaces: None, folder: Path) -> AsyncIterator[Ground]:
    """LXC, with nothing left after each test."""
    from twisted.internet import reactor

    settings = Settings(
        name="n1",
        address="127.0.0.1",
        state_dir=str(folder / "state"),
        bridge="hybtest0",
        subnet="10.99.0.0/24",
        cgroup=f"hybtest-{os.getpid()}",
    )
    roots = {site: folder / site for site in (ONE, TWO)}
    for number, root in enumerate(roots.values()):
        busybox_root(root, 2_000_000 + number * 65536)
    opened: list[LxcContainers] = []

    def again() -> LxcContainers:
        opened.append(LxcContainers(cast(Reactor, reactor), settings))
        return opened[-1]

    def spec(site: SiteId = ONE, **more: object) -> ContainerSpec:
        return spec_of(site, str(roots[site]), 2_000_000 + list(roots).index(site) * 65536, **more)

    containers = again()
    await containers.prepare()
    yield Ground(containers, again, spec, lambda site: spec(site, init=("/bin/nonsense",)), answers_ping)
    for site in roots:
        await containers.stop(site, grace_s=0)
        shutil.rmtree(roots[site])
    for one in opened:
        await one.close()
    assert list(Path("/sys/fs/cgroup").glob(f"**/{settings.cgroup}")) == []
    assert [name for _, name in socket.if_nameindex() if name.startswith("hv-")] == []


@pytest.fixture(params=["memory", pytest.param("lxc", marks=pytest.mark.lxc)])
def ground(request: pytest.FixtureRequest) -> Ground:
    """Every driver obeys the tests of this file."""
    found: Ground = request.getfixturevalue(request.param)
    return found


async def fails(error: type[Exception], wait: Awaitable[object]) -> str:
    """The message of the error that `wait` must end with."""
    with pytest.raises(error) as caught:
        await wait
    return str(caught.value)


async def eventually(ask: Callable[[], Awaitable[int]]) -> int:
    """What `ask` answers once the service in the container listens."""
    from twisted.internet import reactor

    for _ in range(100):
        try:
            return await ask()
        except ContainerError:
            await deferLater(cast(Reactor, reactor), 0.1)
    return await ask()


@pytest_twisted.ensureDeferred
async def test_a_started_container_runs_until_it_is_stopped(ground: Ground) -> None:
    """Start, look, stop: and after that nothing runs any more."""
    assert await ground.containers.running() == {}
    await ground.containers.start(ground.spec())
    assert await ground.containers.running() == {ONE: "running"}
    await ground.containers.stop(ONE)
    assert await ground.containers.running() == {}


@pytest_twisted.ensureDeferred
async def test_starting_and_stopping_twice_is_fine(ground: Ground) -> None:
    """Whoever is unsure whether a call took effect may repeat it."""
    await ground.containers.start(ground.spec())
    await ground.containers.start(ground.spec())
    await ground.containers.stop(ONE)
    await ground.containers.stop(ONE)
    await ground.containers.start(ground.spec())
    assert await ground.containers.running() == {ONE: "running"}


@pytest_twisted.ensureDeferred
async def test_a_new_process_finds_running_containers(ground: Ground) -> None:
    """The control process may die and come back: sites do not notice, and it can still stop them."""
    await ground.containers.start(ground.spec())
    await ground.containers.close()
    later = ground.again()
    await later.prepare()
    assert await later.running() == {ONE: "running"}
    assert (await later.execute(ONE, ["echo", "here"])).stdout == b"here\n"
    await later.stop(ONE)
    assert await later.running() == {}


@pytest_twisted.ensureDeferred
async def test_commands_run_inside(ground: Ground) -> None:
    """A command sees the container's host name, gets its input, and gives back output and status."""
    await ground.containers.start(ground.spec())
    assert (await ground.containers.execute(ONE, ["hostname"])).stdout == b"one\n"
    assert (await ground.containers.execute(ONE, ["cat"], stdin=b"\0in\xff")).stdout == b"\0in\xff"
    assert (await ground.containers.execute(ONE, ["false"])).status == 1
    missing = await ground.containers.execute(ONE, ["no-such-command"])
    assert missing.status == 127
    assert missing.stderr


@pytest_twisted.ensureDeferred
async def test_a_frozen_container_waits(ground: Ground) -> None:
    """Frozen, it exists but does nothing; thawed, it goes on."""
    await ground.containers.start(ground.spec())
    await ground.containers.freeze(ONE)
    await ground.containers.freeze(ONE)
    assert await ground.containers.running() == {ONE: "frozen"}
    assert "frozen" in await fails(ContainerError, ground.containers.execute(ONE, ["true"], timeout_s=5))
    await ground.containers.thaw(ONE)
    await ground.containers.thaw(ONE)
    assert await ground.containers.running() == {ONE: "running"}
    assert (await ground.containers.execute(ONE, ["true"])).status == 0


@pytest_twisted.ensureDeferred
async def test_a_frozen_container_can_be_stopped_and_started(ground: Ground) -> None:
    """Nobody has to thaw it first."""
    await ground.containers.start(ground.spec())
    await ground.containers.freeze(ONE)
    await ground.containers.stop(ONE)
    assert await ground.containers.running() == {}
    await ground.containers.start(ground.spec())
    await ground.containers.freeze(ONE)
    await ground.containers.start(ground.spec())
    assert await ground.containers.running() == {ONE: "running"}


@pytest_twisted.ensureDeferred
async def test_a_container_that_is_cut_off_reaches_nobody(ground: Ground) -> None:
    """One that cannot be stopped answers nobody any more; only a new start gives it a network again."""
    await ground.containers.cut_off(ONE)
    await ground.containers.start(ground.spec())
    assert ground.reaches(ground.spec())
    await ground.containers.cut_off(ONE)
    assert not ground.reaches(ground.spec())
    await ground.containers.cut_off(ONE)
    assert await ground.containers.running() == {ONE: "running"}
    await ground.containers.stop(ONE)
    await ground.containers.start(ground.spec())
    assert ground.reaches(ground.spec())


@pytest_twisted.ensureDeferred
async def test_one_without_network_can_be_asked_from_within_and_reaches_nobody(ground: Ground) -> None:
    """A copy that is only tried out answers a look from inside, and nobody else can reach it, nor it anybody."""
    apart = ground.spec(network=False, init=SERVES)
    await ground.containers.start(apart)
    assert not ground.reaches(apart)
    assert await eventually(lambda: ground.containers.answer(ONE, 8080, "/page", "hello.test")) == 200
    assert await ground.containers.answer(ONE, 8080, None) == 0
    await ground.containers.stop(ONE)
    assert await ground.containers.running() == {}


@pytest_twisted.ensureDeferred
async def test_a_port_where_nothing_listens_is_told_apart(ground: Ground) -> None:
    """Nobody is told that a site works whose service is not there, whose container waits, or is not there."""
    if isinstance(ground.containers, MemoryContainers):
        ground.containers.answers[ONE, 81] = None
    await ground.containers.start(ground.spec(init=SERVES))
    await eventually(lambda: ground.containers.answer(ONE, 8080, "/page"))
    assert "81" in await fails(ContainerError, ground.containers.answer(ONE, 81, "/"))
    assert "81" in await fails(ContainerError, ground.containers.answer(ONE, 81, None))
    await ground.containers.freeze(ONE)
    await fails(ContainerError, ground.containers.answer(ONE, 8080, "/page", timeout_s=0.5))
    await ground.containers.stop(ONE)
    await fails(NoSuchContainer, ground.containers.answer(ONE, 8080, "/page"))


@pytest_twisted.ensureDeferred
async def test_unknown_containers(ground: Ground) -> None:
    """Asking something of a container that is not there says just that; stopping it is fine; its log is empty."""
    for wait in (ground.containers.freeze(ONE), ground.containers.thaw(ONE), ground.containers.execute(ONE, ["true"])):
        assert ONE in await fails(NoSuchContainer, wait)
    await ground.containers.stop(ONE)
    assert await ground.containers.logs(TWO) == ""


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_start_says_why_and_leaves_nothing(ground: Ground) -> None:
    """The message tells the reason, nothing half started is left, and another one starts all the same."""
    message = await fails(ContainerError, ground.containers.start(ground.breaks(ONE)))
    assert "no such" in message.lower()
    assert await ground.containers.running() == {}
    await ground.containers.start(ground.spec(TWO))
    assert await ground.containers.running() == {TWO: "running"}


@pytest_twisted.ensureDeferred
async def test_the_log_is_what_it_printed(ground: Ground) -> None:
    """What the init prints can be read, also after it ended."""
    await ground.containers.start(ground.spec())
    await ground.containers.stop(ONE)
    assert "hello from init" in await ground.containers.logs(ONE)
    assert await ground.containers.logs(ONE, lines=0) == ""


@pytest_twisted.ensureDeferred
async def test_hostile_names_are_refused(ground: Ground) -> None:
    """A site's id becomes a path: nothing but an id is one."""
    for name in ("../etc", "", "a/b", "s-1\n", "pivot", "x" * 200):
        await fails(ContainerError, ground.containers.stop(SiteId(name)))
        await fails(ContainerError, ground.containers.execute(SiteId(name), ["true"]))
        await fails(ContainerError, ground.containers.logs(SiteId(name)))


# ----------------------------------------------------------------------------------------------------- sessions


def opening(command: str = "", kind: sessions.Kind = "command", terminal: str = "") -> Opening:
    """What somebody wants to have run."""
    size = sessions.Size(101, 31)
    return Opening(ONE, 1, "n-me", kind, command, terminal, size, {"LC_TIME": "de_AT.UTF-8"}, "192.0.2.1 5", "ann")


def hear(connection: socket.socket, until: bytes = b"") -> dict[bytes, bytes]:
    """What a session says to its end, or until its output has `until` in it; by kind. Blocks."""
    messages, heard = sessions.Messages(), defaultdict[bytes, bytes](bytes)
    while (not until or until not in heard[sessions.OUTPUT]) and (data := connection.recv(65536)):
        for kind, body in messages.feed(data):
            heard[kind] += body
    return heard


def begun(ground: Ground, wanted: Opening) -> tuple[Sitting, socket.socket]:
    """A session, and its other end."""
    near, far = socket.socketpair()
    near.settimeout(60)
    with far:
        return ground.containers.begin_session(wanted, far.fileno()), near


@pytest_twisted.ensureDeferred
async def test_sessions_where_there_is_nothing_to_log_in_to(ground: Ground) -> None:
    """Who comes while it does not run, or is frozen, is told so, and no process is begun."""
    with pytest.raises(NoSuchContainer):
        begun(ground, opening())
    await ground.containers.start(ground.spec())
    await ground.containers.freeze(ONE)
    with pytest.raises(ContainerError):
        begun(ground, opening())


async def comes_of(ground: Ground, wanted: Opening, said: bytes = b"") -> dict[bytes, bytes]:
    """All that a session says, in which `said` is said."""
    sitting, near = begun(ground, wanted)
    with near:
        near.sendall(said)
        heard = await deferToThread(hear, near)
    await sitting.ended()
    return heard


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_a_session_in_a_container(lxc: Ground) -> None:
    """A command runs as root of the container, with pipes or on a terminal of the client's size."""
    await lxc.containers.start(lxc.spec())
    typed = sessions.message(sessions.INPUT, b"typed") + sessions.message(sessions.END)
    heard = await comes_of(lxc, opening("hostname; id -u; cat; echo $LC_TIME >&2; exit 4"), typed)
    assert heard[sessions.OUTPUT] == b"one\n0\ntyped"
    assert (heard[sessions.ERRORS], heard[sessions.STATUS]) == (b"de_AT.UTF-8\n", b"\0\0\0\4")
    heard = await comes_of(lxc, opening("busybox stty size; echo $TERM", terminal="vt100"))
    assert heard[sessions.OUTPUT] == b"31 101\r\nvt100\r\n"
    heard = await comes_of(lxc, opening(kind="shell"), sessions.message(sessions.INPUT, b"echo $HOME; exit\n"))
    assert heard[sessions.OUTPUT] == b"/root\n" and heard[sessions.STATUS] == bytes(4)


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_sessions_end_with_their_container_and_their_client(lxc: Ground) -> None:
    """Whoever is in it when it stops is told that its command was killed; who goes leaves nothing running."""
    await lxc.containers.start(lxc.spec())
    sitting, near = begun(lxc, opening("echo here; sleep 100", terminal="vt100"))
    with near:
        await deferToThread(hear, near, b"here")
        await lxc.containers.stop(ONE, grace_s=0)
        heard = await deferToThread(hear, near)
    await sitting.ended()
    assert heard[sessions.STATUS] or heard[sessions.KILLED]
    await lxc.containers.start(lxc.spec())
    for terminal in ("", "vt100"):
        sitting, near = begun(lxc, opening("echo here; exec sleep 100", terminal=terminal))
        with near:
            await deferToThread(hear, near, b"here")
        await sitting.ended()
    left = await lxc.containers.execute(ONE, ["/bin/busybox", "ps"])
    assert b"sleep 100" not in left.stdout
    sitting, near = begun(lxc, opening("echo here; exec sleep 100"))
    with near:
        await deferToThread(hear, near, b"here")
        sitting.end()
        await sitting.ended()


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_files_in_a_container(lxc: Ground) -> None:
    """SFTP is root of the container and nobody on the machine, needs nothing of the image, and ends with it."""
    await lxc.containers.start(lxc.spec())
    sitting, near = begun(lxc, opening(kind="files"))
    with near:

        def ask(kind: int, *parts: bytes) -> tuple[int, bytes]:
            near.sendall(sessions.message(sessions.INPUT, sftpwire.packet(kind, b"".join(parts))))
            heard, messages, packets = sessions.Messages(), list[tuple[bytes, bytes]](), sftpwire.Packets()
            while data := near.recv(65536):
                messages = heard.feed(data)
                for said, body in messages:
                    assert said in (sessions.STARTED, sessions.OUTPUT), body
                    for answer in packets.feed(body) if said == sessions.OUTPUT else ():
                        return answer
            raise AssertionError("it ended")

        one, none = bytes(4), sftpwire.Attributes().packed()
        assert (await deferToThread(ask, sftpwire.INIT, one))[0] == sftpwire.VERSION_IS
        to = sftpwire.string(b"/etc/../../../../hello")
        flags = (sftpwire.FOR_WRITE | sftpwire.CREATE).to_bytes(4, "big")
        kind, told = await deferToThread(ask, sftpwire.OPEN, one, to, flags, none)
        assert kind == sftpwire.HANDLE
        written = told[4:], bytes(8), sftpwire.string(b"from outside")
        assert (await deferToThread(ask, sftpwire.WRITE, one, *written))[1][4:8] == bytes(4)
        looked = await lxc.containers.execute(ONE, ["/bin/busybox", "stat", "-c", "%u %g %s", "/hello"])
        assert looked.stdout == b"0 0 12\n"
        assert b"python" not in (await lxc.containers.execute(ONE, ["/bin/busybox", "ps"])).stdout
        owned = sftpwire.Attributes(owner=(33, 33)).packed()
        assert (await deferToThread(ask, sftpwire.SETSTAT, one, to, owned))[1][4:8] == bytes(4)
        looked = await lxc.containers.execute(ONE, ["/bin/busybox", "stat", "-c", "%u", "/hello"])
        assert looked.stdout == b"33\n"
        await lxc.containers.execute(ONE, ["/bin/busybox", "kill", "-TERM", "1"])
        await deferToThread(hear, near)
    await sitting.ended()
    assert await lxc.containers.running() == {}
