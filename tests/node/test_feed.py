"""The feed between the node process and its proxies and DNS servers, over a real Unix socket."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from hybrid.feed import FeedClient, FeedServer, Reactor
from hybrid.model import Fact, NodeId, Served, SiteId
from hybrid.view import NodeView, View

REACTOR = cast(Reactor, reactor)


def view(serial: int, *names: str) -> View:
    """A view with these nodes."""
    nodes = {
        NodeId(name): NodeView(
            id=NodeId(name),
            name=name,
            dc="x",
            address="127.0.0.1",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=True,
        )
        for name in names
    }
    return View(me=NodeId("n-a"), serial=serial, zones=("hybrid.test",), nodes=nodes, sites={})


async def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds()`, at most five seconds."""
    deadline_s = REACTOR.seconds() + 5
    while not holds():
        assert REACTOR.seconds() < deadline_s
        await deferLater(REACTOR, 0.005, lambda: None)


@pytest_twisted.ensureDeferred
async def test_a_reader_has_the_newest_view_and_survives_its_feeder(tmp_path: Path) -> None:
    """A proxy knows the view at once, follows changes, keeps the last one while the node restarts, and goes on."""
    path, seen, facts = str(tmp_path / "run" / "view.sock"), list[View](), list[Fact]()
    server = FeedServer(REACTOR, path, facts.append)
    server.startService()
    server.follow(view(1, "n-a"))
    client = FeedClient(REACTOR, path, seen.append)
    client.startService()
    try:
        await until(lambda: bool(seen) and seen[-1] == view(1, "n-a"))
        server.follow(view(2, "n-a", "n-b"))
        await until(lambda: seen[-1] == view(2, "n-a", "n-b"))
        client.report(Served(SiteId("s-a"), 3, 4))
        await until(lambda: facts == [Served(SiteId("s-a"), 3, 4)])
        await server.stopService()
        count = len(seen)
        server = FeedServer(REACTOR, path, facts.append)
        server.startService()
        server.follow(view(9, "n-b"))
        await until(lambda: len(seen) > count)
        assert seen[-1] == view(9, "n-b")
    finally:
        await client.stopService()
        await server.stopService()
