"""Children of the reactor: bounded in time and output, always reaped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid.errors import ContainerError
from hybrid_containers import child
from hybrid_containers.link import WorkerLink

REACTOR = cast(child.Reactor, reactor)


def lives(pid: int) -> bool:
    """Whether the process still does something."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest_twisted.ensureDeferred
async def test_input_output_and_status() -> None:
    """What goes in comes out, the two streams apart, with the status."""
    done = await child.run(REACTOR, ["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"in", timeout_s=10)
    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"no\n")


@pytest_twisted.ensureDeferred
async def test_a_signal_and_a_missing_program_have_the_shells_statuses() -> None:
    """Scripts know them: 128 + the signal, 127 for what is not there."""
    assert (await child.run(REACTOR, ["sh", "-c", "kill -9 $$"], timeout_s=10)).status == 137
    assert (await child.run(REACTOR, ["/no/such/program"], timeout_s=10)).status == 127


@pytest_twisted.ensureDeferred
async def test_a_flood_is_cut_not_kept() -> None:
    """A command that prints without end cannot fill the node's memory."""
    done = await child.run(REACTOR, ["head", "-c", "3000000", "/dev/zero"], timeout_s=10, max_output=1000)
    assert (done.status, len(done.stdout)) == (0, 1000)


@pytest_twisted.ensureDeferred
async def test_the_deadline_ends_all_it_started() -> None:
    """At the deadline the command and its own children die, and what it had said is told."""
    script = "sleep 60 & echo $$ $!; wait"
    with pytest.raises(child.TooLate) as late:
        await child.run(REACTOR, ["sh", "-c", script], timeout_s=0.3)
    pids = [int(word) for word in late.value.so_far.stdout.split()]
    assert len(pids) == 2
    assert not os.path.exists(f"/proc/{pids[0]}")
    for _ in range(500):
        if not lives(pids[1]):
            break
        await deferLater(REACTOR, 0.01)
    assert not lives(pids[1])


@pytest_twisted.ensureDeferred
async def test_what_it_leaves_running_is_not_waited_for() -> None:
    """A command that starts a service in the background is done when it is done."""
    before_s = REACTOR.seconds()
    done = await child.run(REACTOR, ["sh", "-c", "sleep 30 & echo $!"], timeout_s=20)
    os.kill(int(done.stdout), 9)
    assert done.status == 0
    assert REACTOR.seconds() - before_s < 5


@pytest_twisted.ensureDeferred
async def test_a_worker_that_dies_or_talks_nonsense_is_an_error_in_words() -> None:
    """A crash of the binding fails one call, after one more try, and never the node."""
    for script in ("exit 3", "printf 'HTTP/1.1 400'; sleep 60", "read -r x"):
        link = WorkerLink(REACTOR, ("sh", "-c", script), slack_s=0.1)
        with pytest.raises(ContainerError):
            await link.call("thaw", Path("/nowhere"), "s-one", deadline_s=0.2)
        await link.close()
