"""Between the node process and its name servers, over a real Unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid_dns.desk import MAX_PER_S, Counter, Desk, Reactor

REACTOR = cast(Reactor, reactor)


def backwards(message: bytes, source: str, stream: bool) -> Iterable[bytes]:
    """Two replies, or none to `b""`; fails at `b"!"`."""
    if message == b"!":
        raise RuntimeError("broken")
    return [message[::-1], f"{source} {stream}".encode()] if message else []


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds()`, at most five seconds."""
    deadline_s = REACTOR.seconds() + 5
    while not holds():
        assert REACTOR.seconds() < deadline_s
        await deferLater(REACTOR, 0.005, lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_name_server_knows_what_people_keep(tmp_path: Path) -> None:
    """All of it at once, then changes; it keeps the last while the node restarts, and goes on with all of the new."""
    path, entries, seen = str(tmp_path / "run" / "dns.sock"), {"a": "1", "b": "2"}, list[dict[str, str]]()
    desk = Desk(REACTOR, path, lambda: entries, backwards)
    desk.startService()
    counter = Counter(REACTOR, path, lambda all_: seen.append(dict(all_)))
    counter.startService()
    try:
        await until(lambda: bool(seen))
        assert seen == [{"a": "1", "b": "2"}]
        entries = {"b": "3", "c": "4"}
        desk.changed()
        desk.changed()
        await until(lambda: len(seen) > 1)
        assert seen[1:] == [{"b": "3", "c": "4"}]
        await desk.stopService()
        entries = {"d": "5"}
        desk = Desk(REACTOR, path, lambda: entries, backwards)
        desk.startService()
        await until(lambda: len(seen) > 2)
        assert seen[2:] == [{"d": "5"}]
    finally:
        await counter.stopService()
        await desk.stopService()


@pytest_twisted.ensureDeferred
async def test_what_only_the_node_can_answer_is_passed_on(tmp_path: Path) -> None:
    """Replies come in order, then the end; trouble is an end; without the node process nothing is taken."""
    path = str(tmp_path / "dns.sock")
    desk = Desk(REACTOR, path, dict, backwards)
    counter = Counter(REACTOR, path, lambda all_: None)
    told: list[bytes | None] = []
    assert not counter.pass_on(b"abc", "192.0.2.1", True, told.append)
    desk.startService()
    counter.startService()
    try:
        await until(lambda: counter.pass_on(b"abc", "192.0.2.1", True, told.append))
        await until(lambda: told[-1:] == [None])
        assert told == [b"cba", b"192.0.2.1 True", None]
        assert counter.pass_on(b"!", "192.0.2.1", False, told.append)
        await until(lambda: len(told) == 4)
        taken = [counter.pass_on(b"", "192.0.2.1", False, told.append) for _ in range(3 * MAX_PER_S)]
        assert taken[0] and not all(taken)
    finally:
        await counter.stopService()
        await desk.stopService()
    assert None in told[4:] and not counter.pass_on(b"abc", "192.0.2.1", True, told.append)
