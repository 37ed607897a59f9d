"""Real containers: limits, confinement, what happens when parts of the machinery die, and the site init."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from hybrid.errors import ContainerError
from hybrid.model import SiteId
from hybrid.ports import ContainerSpec
from hybrid.settings import Settings
from hybrid_containers import build, child, sandbox
from hybrid_containers.addresses import gateway_of
from hybrid_containers.cgroups import ControlGroups
from hybrid_containers.image import shift_owners
from hybrid_containers.network import Reactor
from hybrid_containers.runtime import LxcContainers

pytestmark = pytest.mark.lxc

REACTOR = cast(Reactor, reactor)
ONE, TWO = SiteId("s-lxc-one"), SiteId("s-lxc-two")
SUBNET = "10.98.0.0/24"
STILL = ("/bin/sh", "-c", "trap exit TERM; mkfifo /tmp/never; while :; do read -r _ <>/tmp/never; done")
"""Never forks: a shell that cannot ends, and with it the container, where there is no room for one process more."""
IDLE = ("/bin/sh", "-c", "trap exit TERM; while :; do sleep 0.05; done")


@dataclass
class Lab:
    """A node's containers with two roots of the image `static`."""

    containers: LxcContainers
    settings: Settings
    groups: ControlGroups
    folder: Path

    def spec(self, site: SiteId = ONE, **more: object) -> ContainerSpec:
        """A small container; `more` are fields to set differently."""
        number = 1 if site == ONE else 2
        spec = ContainerSpec(
            site=site,
            hostname="shop.example",
            root=str(self.folder / site),
            id_base=3_000_000 + 65536 * number,
            address=f"10.98.0.{number + 1}",
            prefix=24,
            gateway=gateway_of(SUBNET),
            init=("/sbin/hybrid-init",),
            memory_bytes=32 << 20,
            cpus=0.5,
            pids=40,
        )
        return msgspec.structs.replace(spec, **more)

    async def sh(self, script: str, site: SiteId = ONE) -> str:
        """What a shell in the container says, both streams."""
        done = await self.containers.execute(site, ["sh", "-c", f"exec 2>&1; {script}"], timeout_s=60)
        return done.stdout.decode()

    async def fetch(self, site: SiteId = ONE) -> str:
        """Its first page with the head, as soon as there is one."""
        command = ["curl", "-s", "-i", "-m", "2", f"http://{self.spec(site).address}/"]
        for _ in range(200):
            if (done := await child.run(REACTOR, command, timeout_s=5)).status == 0:
                return done.stdout.decode()
            await deferLater(REACTOR, 0.02)
        pytest.fail(f"no page of {site}")

    async def until(self, true: Callable[[], bool]) -> None:
        """Let the reactor turn until `true()` holds; fails after ten seconds."""
        for _ in range(500):
            if true():
                return
            await deferLater(REACTOR, 0.02)
        pytest.fail("it did not come to that")


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.async_yield_fixture
async def lab(namespaces: None) -> AsyncIterator[Lab]:
    """A lab of which nothing is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hyb-containers-"))
    folder.chmod(0o711)
    build.build("static", build.default_recipes(), folder / "store", lambda text: None)
    settings = Settings(
        name="n1",
        address="127.0.0.1",
        state_dir=str(folder / "state"),
        bridge="hybtest1",
        subnet=SUBNET,
        cgroup=f"hybtest-{os.getpid()}-lxc",
    )
    lab = Lab(LxcContainers(REACTOR, settings), settings, ControlGroups(settings.cgroup), folder)
    for site in (ONE, TWO):
        (folder / site).mkdir()
        subprocess.run(["tar", "-xf", folder / "store/static.tar", "-C", folder / site], check=True)
        await shift_owners(REACTOR, folder / site, lab.spec(site).id_base)
    await lab.containers.prepare()
    yield lab
    for site in (ONE, TWO):
        await lab.containers.stop(site, grace_s=0)
    await lab.containers.close()
    shutil.rmtree(folder)
    assert list(Path("/sys/fs/cgroup").glob(f"**/{settings.cgroup}")) == []
    assert [name for _, name in socket.if_nameindex() if name.startswith("hv-")] == []


@pytest_twisted.ensureDeferred
async def test_the_static_image_serves(lab: Lab) -> None:
    """Its page, its TCP echo, its log: what every other system test builds on."""
    await lab.containers.start(lab.spec())
    answer = await lab.fetch()
    assert "200 OK" in answer
    assert "It serves." in answer

    script = f"exec 3<>/dev/tcp/{lab.spec().address}/7; echo hello >&3; head -n 1 <&3"
    assert (await child.run(REACTOR, ["bash", "-c", script], timeout_s=5)).stdout == b"hello\n"
    await lab.until(lambda: b"response:200" in (lab.folder / "state/containers" / ONE / "console.log").read_bytes())
    assert "hybrid-init: started" in await lab.containers.logs(ONE)


@pytest_twisted.ensureDeferred
async def test_a_service_that_dies_is_started_again(lab: Lab) -> None:
    """A crash of the web server is over a second later, without the platform's help."""
    await lab.containers.start(lab.spec())
    await lab.fetch()
    await lab.sh("kill -9 $(pidof httpd)")
    assert "200 OK" in await lab.fetch()
    assert "http ended with status 137" in await lab.containers.logs(ONE)


@pytest_twisted.ensureDeferred
async def test_the_init_reaps_orphans_and_ends_in_a_second(lab: Lab) -> None:
    """No zombies pile up, and a stop does not wait for its grace when everything ends by itself."""
    await lab.containers.start(lab.spec())
    for _ in range(3):
        await lab.sh("(sleep 0.01 &) ; (sleep 0.02 &)")
    await lab.until(lambda: len(lab.groups.processes(ONE, "payload")) == 5)
    before_s = REACTOR.seconds()
    await lab.containers.stop(ONE, grace_s=10)
    assert REACTOR.seconds() - before_s < 2
    assert "hybrid-init: ending" in await lab.containers.logs(ONE)


@pytest_twisted.ensureDeferred
async def test_a_container_that_will_not_end_is_killed(lab: Lab) -> None:
    """An init that ignores every signal is gone soon after the grace."""
    await lab.containers.start(lab.spec(init=("/bin/sh", "-c", "trap '' TERM PWR INT; while :; do sleep 0.1; done")))
    before_s = REACTOR.seconds()
    await lab.containers.stop(ONE, grace_s=1)
    assert 0.9 < REACTOR.seconds() - before_s < 5
    assert await lab.containers.running() == {}


@pytest_twisted.ensureDeferred
async def test_limits_hold(lab: Lab) -> None:
    """A fork bomb and a memory hog hit their own walls; the container goes on."""
    await lab.containers.start(lab.spec(init=STILL))
    assert "fork" in await lab.sh("i=0; while [ $i -lt 60 ]; do sleep 9 & i=$((i+1)); done; echo $i")
    assert 30 < len(lab.groups.processes(ONE, "payload")) <= 40
    await lab.containers.stop(ONE, grace_s=0)
    await lab.containers.start(lab.spec(init=STILL))
    hog = await lab.containers.execute(ONE, ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"], timeout_s=20)
    assert hog.status != 0
    assert lab.containers.memory_bytes(ONE) <= 33 << 20
    assert await lab.containers.running() == {ONE: "running"}


@pytest_twisted.ensureDeferred
async def test_it_is_root_only_of_itself(lab: Lab) -> None:
    """Root inside is nobody outside: no mounts, no devices, no other namespaces, no kernel settings, no clock."""
    await lab.containers.start(lab.spec(init=IDLE))
    assert "uid=0" in await lab.sh("id")
    assert await lab.sh("hostname") == "shop.example\n"
    for attempt in (
        "mount -t tmpfs none /srv",
        "mknod /tmp/disk b 8 0",
        "unshare -m true",
        "nsenter -t 1 -m true",
        "echo 1 > /proc/sys/kernel/panic",
        "test ! -c /proc/sysrq-trigger && echo b > /proc/sysrq-trigger",  # else /dev/null covers it
        "date -s 2001-01-01; test $(date +%Y) = 2001",
        "ip addr add 10.98.0.99/24 dev eth0",
        "ping -c 1 10.98.0.1",
        "cat /proc/kcore | grep -q .",
        "swapoff -a && false",
        "chroot / reboot -f && false",
    ):
        assert (await lab.sh(f"{attempt} >/dev/null && echo succeeded")).endswith("succeeded\n") is False, attempt
    init = min(lab.groups.processes(ONE, "payload"))
    assert Path(f"/proc/{init}").stat().st_uid == lab.spec().id_base
    status = await lab.sh("grep -E 'Seccomp:|NoNewPrivs' /proc/self/status")
    assert status.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


@pytest_twisted.ensureDeferred
async def test_containers_do_not_see_each_other(lab: Lab) -> None:
    """One tenant's container cannot open a connection to another's; the node reaches both."""
    await lab.containers.start(lab.spec())
    await lab.containers.start(lab.spec(TWO))
    assert "200 OK" in await lab.fetch(TWO)
    assert "200" not in await lab.sh(f"timeout 1 wget -q -S -O - http://{lab.spec(TWO).address}/")
    assert "It serves" in await lab.sh("wget -q -O - http://127.0.0.1/")


@pytest_twisted.ensureDeferred
async def test_output_and_time_of_a_command_are_bounded(lab: Lab) -> None:
    """A command that floods or hangs ends; the container does not suffer; nothing of it keeps running."""
    await lab.containers.start(lab.spec(init=IDLE))
    flood = await lab.containers.execute(ONE, ["head", "-c", "3000000", "/dev/zero"], timeout_s=20)
    assert (flood.status, len(flood.stdout)) == (0, 1024 * 1024)
    with pytest.raises(ContainerError, match="killed"):
        await lab.containers.execute(ONE, ["sleep", "3600"], timeout_s=0.5)
    await lab.until(lambda: len(lab.groups.processes(ONE, "payload")) <= 2)
    assert await lab.containers.running() == {ONE: "running"}


@pytest_twisted.ensureDeferred
async def test_a_command_does_not_delay_a_stop(lab: Lab) -> None:
    """A site can be fenced while somebody's command runs in it: the command ends with it."""
    await lab.containers.start(lab.spec(init=IDLE))
    running = lab.containers.execute(ONE, ["sleep", "3600"], timeout_s=30)
    command = Deferred.fromCoroutine(running)
    await lab.until(lambda: len(lab.groups.processes(ONE, "payload")) >= 3)
    await lab.containers.stop(ONE, grace_s=1)
    try:
        assert (await command).status != 0
    except ContainerError:
        pass


@pytest_twisted.ensureDeferred
async def test_the_worker_dies_and_nobody_notices(lab: Lab) -> None:
    """SIGKILL to the worker: containers go on, the next call starts another worker."""
    await lab.containers.start(lab.spec(init=IDLE))
    worker = int(subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "hybrid_containers.worker"], stdout=-1).stdout)
    os.kill(worker, signal.SIGKILL)
    assert await lab.containers.running() == {ONE: "running"}
    await lab.containers.freeze(ONE)
    await lab.containers.stop(ONE)
    assert await lab.containers.running() == {}


@pytest_twisted.ensureDeferred
async def test_the_monitor_dies_and_it_can_still_be_stopped_and_started(lab: Lab) -> None:
    """Without LXC's monitor nothing can be asked of a container, but it is seen, fenced and started again."""
    await lab.containers.start(lab.spec(init=IDLE))
    for pid in lab.groups.processes(ONE, "monitor"):
        os.kill(pid, signal.SIGKILL)
    await lab.containers.stop(ONE, grace_s=1)
    assert lab.groups.processes(ONE, "payload") == set()
    await lab.containers.start(lab.spec(init=IDLE))
    assert await lab.containers.running() == {ONE: "running"}


@pytest_twisted.ensureDeferred
async def test_a_root_that_cannot_work_is_explained(lab: Lab) -> None:
    """Instead of LXC's own words: what is wrong with the file system, and what to do."""
    for changes, words in (
        ({"root": "/no/such/root"}, "cannot be read"),
        ({"root": "/etc/hostname"}, "not a directory"),
        ({"id_base": 5_000_000}, "shift its owners"),
    ):
        with pytest.raises(ContainerError, match=words):
            await lab.containers.start(lab.spec(**changes))
    (lab.folder / "closed").mkdir(mode=0o700)
    inner = shutil.move(lab.folder / TWO, lab.folder / "closed" / TWO)
    with pytest.raises(ContainerError, match="chmod"):
        await lab.containers.start(lab.spec(TWO, root=str(inner)))


@pytest_twisted.ensureDeferred
async def test_many_start_side_by_side(lab: Lab) -> None:
    """Starting one does not wait for another; and calls for the same one queue up."""
    starts = [lab.containers.start(lab.spec(site, init=IDLE)) for site in (ONE, TWO, ONE, TWO)]
    await gatherResults([Deferred.fromCoroutine(start) for start in starts])
    assert await lab.containers.running() == {ONE: "running", TWO: "running"}
    stops = [lab.containers.stop(site) for site in (ONE, TWO, ONE)]
    await gatherResults([Deferred.fromCoroutine(stop) for stop in stops])
    assert await lab.containers.running() == {}


@pytest_twisted.ensureDeferred
async def test_a_log_flood_does_not_fill_the_disk(lab: Lab) -> None:
    """However much a container prints, its logs stay within two files of a megabyte, and only root reads them."""
    await lab.containers.start(lab.spec(init=IDLE))
    await lab.sh("yes 'a line of a flood' | head -c 6000000 >/dev/console; echo the last words >/dev/console")
    folder = lab.folder / "state/containers" / ONE
    await lab.until(lambda: b"the last words" in (folder / "console.log").read_bytes())
    assert sum(path.stat().st_size for path in folder.glob("console.log*")) <= (2 << 20) + 65536
    assert (await lab.containers.logs(ONE, 1)).endswith("the last words")
    for name in ("console.log", "config"):
        assert (folder / name).stat().st_mode & 0o077 == 0
