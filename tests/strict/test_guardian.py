"""The guardian: freezes at the deadline whatever the node process does, thaws only what may run on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from hybrid.model import SiteId
from hybrid.strict.guardian import Freezer
from hybrid.strict.guardian_link import GuardianLink
from hybrid.strict.ports import GuardMissing
from hybrid_containers.cgroups import hierarchies

reactor: Any = _reactor
SITE = SiteId("s-guarded")


@pytest.fixture(params=[("freezer.state", "THAWED", "FROZEN"), ("cgroup.freeze", "0", "1")], ids=["v1", "v2"])
def group(request: pytest.FixtureRequest, tmp_path: Path) -> Group:
    """A control group of either version, as files."""
    return Group(tmp_path / "hybrid" / "payload", *request.param)


class Group:
    """A folder like a control group."""

    def __init__(self, path: Path, control: str, thawed: str, frozen: str) -> None:
        self.path, self._control, self._thawed, self._frozen = path, control, thawed, frozen

    def appear(self) -> None:
        """The container starts."""
        self.path.mkdir(parents=True)
        (self.path / self._control).write_text(f"{self._thawed}\n")

    @property
    def frozen(self) -> bool:
        """What stands in the control file."""
        return (self.path / self._control).read_text().strip() == self._frozen

    def line(self, at_s: float) -> bytes:
        """To be frozen then."""
        return json.dumps({"deadlines": {str(self.path): at_s}}).encode()


def test_it_freezes_at_the_deadline_and_not_before(group: Group, tmp_path: Path) -> None:
    """Fed in time it leaves the container alone; not fed it freezes, and says so."""
    group.appear()
    freezer = Freezer(str(tmp_path))
    freezer.feed(group.line(110.0), 100.0)
    freezer.enforce(109.9)
    assert not group.frozen
    assert freezer.wait_s(109.0) == 1.0
    freezer.feed(group.line(120.0), 109.9)
    freezer.enforce(119.9)
    assert not group.frozen
    freezer.enforce(120.0)
    assert group.frozen


def test_it_thaws_what_may_run_on_and_nothing_else(group: Group, tmp_path: Path) -> None:
    """A node that still holds the lease says so with a later deadline; one that drops the site leaves it frozen."""
    group.appear()
    freezer = Freezer(str(tmp_path))
    answer = json.loads(freezer.feed(group.line(0.0), 100.0))
    assert answer == {"frozen": [str(group.path)]}
    freezer.feed(b'{"deadlines": {}}', 101.0)
    assert group.frozen
    freezer.feed(group.line(100.5), 101.0)
    assert group.frozen
    freezer.feed(group.line(110.0), 102.0)
    assert not group.frozen


def test_what_it_did_not_freeze_it_does_not_thaw(group: Group, tmp_path: Path) -> None:
    """Whoever else froze a container had a reason."""
    group.appear()
    other = Freezer(str(tmp_path))
    other.feed(group.line(0.0), 100.0)
    Freezer(str(tmp_path)).feed(group.line(110.0), 100.0)
    assert group.frozen


def test_a_container_that_starts_or_is_thawed_after_its_deadline_is_frozen(group: Group, tmp_path: Path) -> None:
    """A process that was stopped in the middle of a start cannot bring the site to life afterwards."""
    freezer = Freezer(str(tmp_path))
    freezer.feed(group.line(110.0), 100.0)
    freezer.enforce(111.0)
    group.appear()
    freezer.enforce(111.2)
    assert group.frozen
    (group.path / group._control).write_text(group._thawed)
    freezer.enforce(111.4)
    assert group.frozen


def test_one_that_starts_again_knows_what_it_froze(group: Group, tmp_path: Path) -> None:
    """A guardian that was killed and started again thaws what the node may go on with."""
    group.appear()
    memory = str(tmp_path / "frozen")
    Freezer(str(tmp_path), memory).feed(group.line(0.0), 100.0)
    Freezer(str(tmp_path), memory).feed(group.line(110.0), 101.0)
    assert not group.frozen
    Freezer(str(tmp_path), memory).feed(group.line(0.0), 102.0)
    other = Freezer(str(tmp_path), memory)
    other.feed(b'{"deadlines": {}}', 103.0)
    assert group.frozen
    other.feed(group.line(110.0), 104.0)
    assert not group.frozen


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"deadlines": []}',
        b'{"deadlines": {"/etc/passwd": 1}}',
        b'{"deadlines": {"ROOT/../../etc": 1}}',
        b'{"deadlines": {"ROOT/a": "soon"}}',
        b'{"deadlines": {"ROOT/a": null}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_it_does_not_understand_changes_nothing(group: Group, tmp_path: Path, line: bytes) -> None:
    """Refused whole, and the deadlines that were there stand."""
    group.appear()
    freezer = Freezer(str(tmp_path))
    freezer.feed(group.line(110.0), 100.0)
    with pytest.raises(ValueError, match=r"."):
        freezer.feed(line.replace(b"ROOT", str(tmp_path).encode()), 101.0)
    freezer.enforce(110.0)
    assert group.frozen


# --------------------------------------------------------------------------------------------- a real one


class Guardian:
    """A guardian process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen([sys.executable, "-m", "hybrid.main", "guardian", self.path])
        until(lambda: os.path.exists(self.path))

    def end(self, number: signal.Signals) -> int:
        """End it so; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(10)


@pytest.fixture
def guardian(tmp_path: Path) -> Iterator[Guardian]:
    """A running one; killed afterwards."""
    made = Guardian(str(tmp_path / "run" / "guardian.sock"))
    made.start()
    yield made
    made.end(signal.SIGKILL)


@pytest.fixture
def socket_path(guardian: Guardian) -> str:
    """Where it listens."""
    return guardian.path


def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait, without a reactor."""
    end_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end_s, f"not within {within_s:.0f} s"
        time.sleep(0.02)


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """A real control group in each hierarchy that can freeze."""
    if os.geteuid() != 0:
        pytest.skip("control groups need root")
    able = [one for one in hierarchies() if one.version == 2 or "freezer" in one.controllers]
    made = [one.base / f"hybrid-test-{os.getpid()}" for one in able]
    for path in made:
        path.mkdir()
    yield made
    for path in made:
        path.rmdir()


@pytest.fixture
def counter(groups: list[Path], tmp_path: Path) -> Iterator[Callable[[], int]]:
    """How far a process in these groups has counted."""
    target = tmp_path / "count"
    script = "import sys, time\nfor n in range(10**9):\n    open(sys.argv[1], 'w').write(str(n)); time.sleep(0.01)"
    process = subprocess.Popen([sys.executable, "-c", script, str(target)])
    for path in groups:
        (path / "cgroup.procs").write_text(str(process.pid))
    until(lambda: target.exists() and bool(target.read_text()))
    yield lambda: int(target.read_text() or -1)
    process.send_signal(signal.SIGKILL)
    for path in groups:
        for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if (path / name).exists():
                (path / name).write_text(value)
    process.wait(10)


@pytest_twisted.async_yield_fixture
async def link(socket_path: str, groups: list[Path]) -> AsyncIterator[GuardianLink]:
    """A node process's connection to it."""
    made = GuardianLink(reactor, socket_path, lambda site: [str(path) for path in groups])
    yield made
    made.close()


async def stands(counter: Callable[[], int]) -> bool:
    """Whether it counts no further in a third of a second."""
    before = counter()
    await deferLater(reactor, 0.3)
    return counter() == before


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_a_real_process_stands_still_and_goes_on(link: GuardianLink, counter: Callable[[], int]) -> None:
    """Past its deadline nothing of it runs, after the connection is gone too; with a later one it goes on."""
    await link.feed({SITE: time.monotonic() + 60})
    assert not await stands(counter)
    await link.feed({SITE: time.monotonic() + 0.2})
    link.close()
    end_s = time.monotonic() + 20
    while not await stands(counter):
        assert time.monotonic() < end_s, "it was not frozen"
    await link.feed({SITE: time.monotonic() + 60})
    end_s = time.monotonic() + 20
    while await stands(counter):
        assert time.monotonic() < end_s, "it was not thawed"


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_one_that_is_told_to_end_leaves_nothing_unguarded(
    guardian: Guardian, link: GuardianLink, counter: Callable[[], int]
) -> None:
    """A node is stopped and its containers go on: what nobody guards any more is frozen until somebody does."""
    await link.feed({SITE: time.monotonic() + 60})
    assert guardian.end(signal.SIGTERM) == 0
    assert await stands(counter)
    os.unlink(guardian.path)
    guardian.start()
    assert await stands(counter)
    await again(lambda: link.feed({SITE: time.monotonic() + 60}))
    end_s = time.monotonic() + 20
    while await stands(counter):
        assert time.monotonic() < end_s, "it was not thawed"


async def again(feed: Callable[[], Awaitable[None]]) -> None:
    """Until the guardian answers: the first call finds out that the old one is gone."""
    for _ in range(50):
        try:
            return await feed()
        except GuardMissing:
            await deferLater(reactor, 0.1)
    raise AssertionError("it does not answer")


@pytest.mark.lxc
@pytest_twisted.ensureDeferred
async def test_who_says_nonsense_is_cut_off_and_others_are_served(socket_path: str, groups: list[Path]) -> None:
    """A connection that breaks the protocol ends; the guardian does not."""
    wrong = GuardianLink(reactor, socket_path, lambda site: ["/etc"])
    with pytest.raises(GuardMissing):
        await wrong.feed({SITE: 1.0})
    right = GuardianLink(reactor, socket_path, lambda site: [str(path) for path in groups])
    await right.feed({SITE: time.monotonic() + 60})
    right.close()


@pytest_twisted.ensureDeferred
async def test_a_guardian_that_is_not_there_is_missed(tmp_path: Path) -> None:
    """The node is told so, and starts no strict site."""
    with pytest.raises(GuardMissing, match="hybrid guardian"):
        await GuardianLink(reactor, str(tmp_path / "nobody.sock"), lambda site: []).feed({})
