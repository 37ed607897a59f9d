"""
A node that does nothing but replicate, as a process of its own for `tests.bench.replication`: real pool, real links.

It is told what to do by lines of JSON on its standard input, and answers each with one on its standard output.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver

from hybrid.cluster.identity import Identity
from hybrid.cluster.peers import PeerLinks
from hybrid.cluster.store import Store
from hybrid.loops import Loops
from hybrid.model import NO_CLAIM, Claim, Fact, Guid, NodeId, Replicated, SiteId, SiteSpec, Version
from hybrid.ports import Pool
from hybrid.settings import RateLimit, Settings
from hybrid.storage.openzfs import OpenZfsPool, unavailable
from hybrid.storage.probe import SyncProbe
from hybrid.storage.witnessed import witnessed
from hybrid.storage.zfs import ZfsCommandPool
from hybrid.traffic import traffic_of
from hybrid.view import NodeView, SiteView, View
from hybrid_replicator.children import ChildFiles
from hybrid_replicator.kept import Kept
from hybrid_replicator.service import Replicator

reactor = cast(Any, _reactor)
Answer = dict[str, Any]


class Fences:
    """This node owns what it was told to."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.owned: set[SiteId] = set()

    def seen(self, site: SiteId) -> Claim:
        """See `hybrid_replicator.ports.Fences`."""
        return self._claim if site in self.owned else NO_CLAIM

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `hybrid_replicator.ports.Fences`. Nobody else claims anything."""

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid_replicator.ports.Fences`."""
        return nullcontext()

    def is_writer(self, site: SiteId) -> bool:
        """See `hybrid_replicator.ports.Fences`."""
        return site in self.owned


class Node(LineReceiver):
    """The node, and its conversation with who started it."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, folder: Path, pool: str) -> None:
        identity = Identity.load(folder)
        self.me, self._ports = identity.node, dict[NodeId, int]()
        self._live: dict[SiteId, str] = {}
        settings = Settings(name=identity.name, address="127.0.0.1", cluster_port=0)
        self._squeeze = False
        self._links = PeerLinks(
            reactor, identity, settings, self._addresses, random.random, squeezes=lambda node: self._squeeze
        )
        self._claim = Claim(1, self.me)
        self._fences = Fences(self._claim)
        kept = Kept(Store(folder / "hybrid.db"), reactor.seconds)
        disk: Pool = ZfsCommandPool(reactor, pool) if unavailable() else OpenZfsPool(reactor, pool)
        self._pool = witnessed(disk, kept)
        probe = SyncProbe(reactor, self._pool, folder / "probe")
        self._traffic, gentle = traffic_of(reactor, settings, lambda: self._view([]), time.time, probe)
        assert gentle is not None  # there is a probe
        self._gentle, self._loops = gentle, Loops(reactor)
        self._is_gentle = False
        self._heard: list[Replicated] = []
        self._waiting: tuple[int, Deferred[None]] | None = None
        self.replicator = Replicator(
            reactor,
            self._pool,
            self._links,
            self._fences,
            lambda site: tuple(self._ports),
            self._live.get,
            self._report,
            self.me,
            files=ChildFiles(reactor, reactor),
            place=folder / "look",
            jitter=random.random,
            now_s=time.time,
            kept=kept,
            traffic=self._traffic,
        )

    async def begin(self) -> None:
        """Come up, and say where."""
        began_s = time.monotonic()
        await self._pool.prepare()
        await self.replicator.recover()
        came_up_s = time.monotonic() - began_s
        self._links.startService()
        self.replicator.startService()
        self._loops.every(1.0, self._look)
        self._say({"node": self.me, "port": self._links.port, "came_up_s": came_up_s})

    def lineReceived(self, line: bytes) -> None:
        """One order."""
        request = json.loads(line)
        deed: Callable[[Answer], Awaitable[Answer]] = getattr(self, f"do_{request['do']}")
        Deferred.fromCoroutine(self._obey(deed, request))

    def connectionLost(self, reason: object = None) -> None:
        """Who started it is gone."""
        reactor.stop()

    # ------------------------------------------------------------------------------------------------- orders

    async def do_meet(self, request: Answer) -> Answer:
        """Know the other node: `node`, `port`."""
        self._ports[NodeId(request["node"])] = request["port"]
        self._links.look()
        return {}

    async def do_own(self, request: Answer) -> Answer:
        """Look after `sites` from now on; until all of them were compared with the other node."""
        sites = [SiteId(site) for site in request["sites"]]
        self._fences.owned.update(sites)
        await self._until(len(sites), lambda: self.replicator.follow(self._view(sites)))
        return {}

    async def do_expect(self, request: Answer) -> Answer:
        """Until the other node took `count` snapshots more."""
        await self._until(request["count"], lambda: None)
        return {}

    async def do_bring(self, request: Answer) -> Answer:
        """Snapshot a site that is owned; how long it takes from then until the other node has it."""
        self._heard.clear()
        self._waiting = 1, Deferred()
        waiting = self._waiting[1]
        await self.replicator.snapshot(SiteId(request["site"]), self._claim)
        began_s = time.monotonic()
        await waiting.addTimeout(60, reactor)
        return {"seconds": time.monotonic() - began_s}

    async def do_gentle(self, request: Answer) -> Answer:
        """Whether large receives spare those who write, as nodes do unless told otherwise (`replication.gentle`)."""
        self._is_gentle = request["on"]
        return {}

    async def do_line(self, request: Answer) -> Answer:
        """Lines of `bytes_per_s`, 0: without limit, on which large streams are compressed or not (`squeeze`)."""
        limit = request["bytes_per_s"]
        self._traffic._out._limits = [RateLimit(bytes_per_s=limit)] if limit else []
        self._squeeze = request["squeeze"]
        return {}

    async def do_rest(self, request: Answer) -> Answer:
        """Until what is done from time to time after many changes is done: holds, histories written down."""
        await self.replicator._holds.settle()
        while self.replicator._index.settle(0.0):
            pass
        return {}

    async def do_snapshot(self, request: Answer) -> Answer:
        """Of `site`."""
        taken = await self.replicator.snapshot(SiteId(request["site"]), self._claim)
        return {"name": taken.name if taken is not None else ""}

    async def do_push(self, request: Answer) -> Answer:
        """Bring the other node to the newest snapshot of `site`."""
        began_s = time.monotonic()
        await self.replicator.push(spec_of(SiteId(request["site"])), self._claim, next(iter(self._ports)))
        return {"seconds": time.monotonic() - began_s}

    async def do_look(self, request: Answer) -> Answer:
        """See how long it takes until files of the snapshot `name` can be read here, and how many folders there are."""
        site, began_s = SiteId(request["site"]), time.monotonic()
        async with self.replicator._windows.look(site, self._guid(request), keep=False) as root:
            names = os.listdir(root)
            for path in sorted(Path(root, names[0]).iterdir())[:1]:
                path.open("rb").read(4096)
            seconds = time.monotonic() - began_s
        return {"seconds": seconds, "files": len(names)}

    async def do_restore(self, request: Answer) -> Answer:
        """Bring `path` back as it was in the snapshot `name`, into `live`."""
        site, began_s = SiteId(request["site"]), time.monotonic()
        self._live[site] = request["live"]
        await self.replicator.restore(site, self._guid(request), request["path"], "")
        del self._live[site]
        return {"seconds": time.monotonic() - began_s}

    async def do_rollback(self, request: Answer) -> Answer:
        """Set everything after the snapshot `name` aside."""
        site, began_s = SiteId(request["site"]), time.monotonic()
        async with self.replicator.exclusive(site):
            await self.replicator.stash(site, self._guid(request), "rollback")
        return {"seconds": time.monotonic() - began_s}

    async def do_cpu(self, request: Answer) -> Answer:
        """Seconds of processor of this process and of its children so far."""
        times = os.times()
        return {"seconds": times.user + times.system + times.children_user + times.children_system}

    # ------------------------------------------------------------------------------------------------- within

    def _guid(self, request: Answer) -> Guid:
        line = self.replicator.history(SiteId(request["site"]))
        return next(one.guid for one in line if one.name == request["name"])

    async def _look(self) -> None:
        if self._is_gentle:
            await self._gentle.look()

    async def _obey(self, deed: Callable[[Answer], Awaitable[Answer]], request: Answer) -> None:
        try:
            answer = await deed(request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._say(answer)

    def _say(self, answer: Answer) -> None:
        self.sendLine(json.dumps(answer).encode())

    def _report(self, fact: Fact) -> None:
        if isinstance(fact, Replicated):
            self._heard.append(fact)
            if self._waiting is not None and len(self._heard) >= self._waiting[0]:
                waiting, self._waiting = self._waiting[1], None
                waiting.callback(None)

    async def _until(self, count: int, begin: Callable[[], None]) -> None:
        self._heard.clear()
        self._waiting = count, Deferred()
        waiting = self._waiting[1]
        begin()
        await waiting.addTimeout(900, reactor)

    def _addresses(self) -> dict[NodeId, tuple[str, int]]:
        return {node: ("127.0.0.1", port) for node, port in self._ports.items()}

    def _view(self, sites: list[SiteId]) -> View:
        nodes = {
            node: NodeView(
                id=node, name=node, dc="x", address="", cluster_port=1, interior_port=2, api_port=3, live=True
            )
            for node in (self.me, *self._ports)
        }
        seen = {site: SiteView(spec=spec_of(site), state="serving", owner=self.me, claim=self._claim) for site in sites}
        return View(me=self.me, serial=1, zones=(), nodes=nodes, sites=seen)


def spec_of(site: SiteId) -> SiteSpec:
    """Of a site of the bench."""
    return SiteSpec(id=site, version=Version(1, 0), name=site, domains=(), image="none@0", number=1)


def main() -> None:
    """`replicating FOLDER POOL`."""
    node = Node(Path(sys.argv[1]), sys.argv[2])

    def begin() -> None:
        StandardIO(node)
        Deferred.fromCoroutine(node.begin()).addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
