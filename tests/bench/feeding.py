"""
Stands for the node process: feeds a proxy a view of many sites, for `tests.bench.proxy`.

`python -m tests.bench.feeding FOLDER UPSTREAM_PORT UPSTREAM_TLS_PORT TCP_PORT SITES`. Each line read from
standard input is a new address of the site `HOST`; the answer is the monotonic time at which the view was changed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import cast

import msgspec
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver

from hybrid.cluster.founding import create_cluster
from hybrid.feed import FeedServer
from hybrid.feed import Reactor as FeedReactor
from hybrid.leaves import Leaves
from hybrid.model import Claim, NodeId, Port, SiteId, SiteSpec, Version
from hybrid.process import install_reactor
from hybrid.view import SiteView, View
from tests.bench.proxies import HOST, PASSED


def site_view(number: int, me: NodeId, port: int, tls_port: int, tcp_port: int) -> SiteView:
    """One that runs here; the first has a TCP port too, and one ends TLS itself."""
    domain = f"www.site-{number}.test"
    ports: tuple[Port, ...] = (Port("http", port),)
    if number == 0:
        ports += (Port("plain", port, "tcp", tcp_port),)
    if domain == PASSED:
        ports += (Port("tls", tls_port, "tls"),)
    spec = SiteSpec(
        id=SiteId(f"s-{number:026d}"),
        version=Version(1, 1),
        name=f"site-{number}",
        domains=(domain,),
        image="static@1",
        number=number + 1,
        ports=ports,
    )
    return SiteView(spec=spec, state="serving", owner=me, claim=Claim(1, me), upstream="127.0.0.1", holders=(me,))


class Orders(LineOnlyReceiver):
    """Changes the view on demand."""

    delimiter = b"\n"

    def __init__(self, feed: FeedServer, view: View) -> None:
        self._feed, self._view = feed, view

    def connectionMade(self) -> None:
        """Say that the feed is there."""
        self._feed.follow(self._view)
        self.sendLine(b"ready")

    def lineReceived(self, line: bytes) -> None:
        """Move the site."""
        view, sites = self._view, cast("Leaves[SiteId, SiteView]", self._view.sites)
        site, seen = next((site, seen) for site, seen in sites.items() if HOST in seen.spec.domains)
        moved = msgspec.structs.replace(seen, upstream=line.decode())
        self._view = msgspec.structs.replace(view, serial=view.serial + 1, sites=sites.replaced({site: moved}))
        now_s = time.monotonic()
        self._feed.follow(self._view)
        self.sendLine(repr(now_s).encode())

    def connectionLost(self, reason: object = None) -> None:
        """The measuring is over."""
        from twisted.internet import reactor

        reactor.stop()


def main(folder: Path, port: int, tls_port: int, tcp_port: int, count: int) -> None:
    """Feed until standard input ends."""
    reactor = install_reactor()
    identity = create_cluster(folder / "state", "one", "127.0.0.1", time.time())
    views = [site_view(number, identity.node, port, tls_port, tcp_port) for number in range(count)]
    sites = Leaves({seen.spec.id: seen for seen in views})
    view = View(me=identity.node, serial=1, zones=("test",), nodes={}, sites=sites)
    feed = FeedServer(cast(FeedReactor, reactor), str(folder / "run" / "view.sock"), lambda fact: None)
    feed.startService()
    StandardIO(Orders(feed, view), reactor=reactor)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:6]))
