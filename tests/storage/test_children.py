"""Children never block, never outlive their deadline or their node, and streams never outgrow memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from hybrid.errors import StorageError, StorageSick
from hybrid.storage.children import Child, Children, Ended, Slots
from hybrid.storage.parsing import failure
from hybrid.storage.streams import ChildSink, ChildSource

reactor: Any = _reactor


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def failing(ended: Ended) -> StorageError:
    """What the tests' children's bad end means."""
    return failure(f"status {ended.status}", ended.stderr)


@pytest_twisted.ensureDeferred
async def test_a_command_gives_its_output_status_and_errors() -> None:
    """Whatever the status, it is an answer; arguments are never a shell's words."""
    ended = await Children(reactor).run(("sh", "-c", 'printf "%s" "$1"; echo why >&2; exit 3', "sh", "$(id) ; a b"))
    assert ended == Ended(3, b"$(id) ; a b", "why")


@pytest_twisted.ensureDeferred
async def test_a_signal_is_a_negative_status() -> None:
    """A killed child is not taken for a successful one."""
    assert (await Children(reactor).run(("sh", "-c", "kill -9 $$"))).status == -9


@pytest_twisted.ensureDeferred
async def test_a_missing_command_is_an_error() -> None:
    """The status and the message say so."""
    ended = await Children(reactor).run(("no-such-command-anywhere",))
    assert ended.status != 0
    assert "no-such-command-anywhere" in ended.stderr
    assert not await Children(reactor).has("no-such-command-anywhere")
    assert await Children(reactor).has("sh")


@pytest_twisted.ensureDeferred
async def test_a_child_past_its_deadline_is_killed_and_reaped() -> None:
    """Also one that ignores TERM; the caller learns of it as sick storage."""
    child = Child(reactor, ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"))
    Children(reactor).start(child)
    pid = child.process.pid or 0
    with pytest.raises(StorageSick, match="did not end"):
        await child.outcome(0.3)
    assert child.ended is not None and child.ended.status == -9
    assert not alive(pid)


@pytest_twisted.ensureDeferred
async def test_a_child_that_floods_is_stopped() -> None:
    """Output beyond the bound ends the child, not the node's memory."""
    ended = await Children(reactor).run(("cat", "/dev/zero"), 30)
    assert ended.status == -9
    assert len(ended.stdout) < 100 * 1024 * 1024


@pytest_twisted.ensureDeferred
async def test_only_so_many_run_at_once() -> None:
    """The rest wait their turn, within their deadline."""
    children = Children(reactor, limit=2)
    begun_s = time.monotonic()
    await gatherResults([Deferred.fromCoroutine(children.run(("sleep", "0.2"))) for _ in range(6)])
    assert time.monotonic() - begun_s > 0.55
    blocking = [Deferred.fromCoroutine(children.run(("sleep", "0.5"))) for _ in range(2)]
    with pytest.raises(StorageSick, match="not begun"):
        await children.run(("true",), 0.1)
    await gatherResults(blocking)
    assert (await children.run(("true",))).status == 0


def test_children_die_with_the_node() -> None:
    """kill -9 of the process that started them leaves none, neither commands nor streams."""
    script = textwrap.dedent("""
        from twisted.internet import reactor
        from hybrid.storage.children import Child, Children
        children = Children(reactor)
        started = [Child(reactor, ("sleep", "300")) for _ in range(2)]
        for child in started:
            children.start(child)
        def tell():
            print(*[child.process.pid for child in started], flush=True)
        reactor.callLater(0.3, tell)
        reactor.run()
    """)
    node = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert node.stdout is not None
    pids = [int(word) for word in node.stdout.readline().split()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    node.kill()
    node.wait()
    deadline_s = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline_s:
        os.sched_yield()
    assert not any(alive(pid) for pid in pids)


@pytest_twisted.ensureDeferred
async def test_a_source_that_nobody_reads_stands_still() -> None:
    """Back-pressure reaches the child: an endless one fills a buffer and waits."""
    source = await ChildSource.start(Children(reactor), Slots(reactor, 1), ("cat", "/dev/zero"), failing)
    assert len(await source.read()) <= 256 * 1024
    await deferLater(reactor, 0.3)
    child = source._child
    assert len(child._ready) < 1024 * 1024
    total = 0
    while total < 8 * 1024 * 1024:
        total += len(await source.read())
    await source.abort()
    assert child.ended is not None
    with pytest.raises(StorageError):
        await source.read()


@pytest_twisted.ensureDeferred
async def test_a_source_whose_child_fails_never_ends_well() -> None:
    """All that came is given, then the error: a part is never taken for the whole."""
    argv = ("sh", "-c", "printf abc; echo broken pipe dream >&2; exit 1")
    source = await ChildSource.start(Children(reactor), Slots(reactor, 1), argv, failing)
    got = b""
    with pytest.raises(StorageError, match="broken pipe dream"):
        while True:
            piece = await source.read()
            assert piece
            got += piece
    assert got == b"abc"


@pytest_twisted.ensureDeferred
async def test_a_sink_waits_for_a_slow_child(tmp_path: Path) -> None:
    """`write` returns when there is room: what is buffered stays small, and all of it arrives."""
    target = tmp_path / "out"
    argv = ("sh", "-c", f"sleep 0.3; cat > {target}")
    sink = await ChildSink.start(Children(reactor), Slots(reactor, 1), argv, failing)
    begun_s = time.monotonic()
    await sink.write(bytes(4 * 1024 * 1024))
    assert time.monotonic() - begun_s > 0.25
    await sink.finish()
    assert target.stat().st_size == 4 * 1024 * 1024


@pytest_twisted.ensureDeferred
async def test_a_sink_whose_child_ends_early_says_why() -> None:
    """Writing on and finishing both fail with the child's reason, and none of them hangs."""
    argv = ("sh", "-c", "echo cannot receive: out of space >&2; exit 1")
    sink = await ChildSink.start(Children(reactor), Slots(reactor, 1), argv, failing)
    with pytest.raises(StorageError, match="out of space"):
        for _ in range(1000):
            await sink.write(bytes(256 * 1024))
        await sink.finish()
    await sink.abort()


@pytest_twisted.ensureDeferred
async def test_a_slot_is_free_again_after_its_stream() -> None:
    """Aborted or finished, the next stream gets its turn."""
    slots = Slots(reactor, 1)
    for _ in range(3):
        source = await ChildSource.start(Children(reactor), slots, ("cat", "/dev/zero"), failing)
        await source.read()
        await source.abort()
    sink = await ChildSink.start(Children(reactor), slots, ("cat",), failing)
    await sink.abort()
    last = await ChildSource.start(Children(reactor), slots, ("true",), failing)
    assert await last.read() == b""
