"""A node's API over fakes of everything below it, spoken to in raw HTTP over transports in memory."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from hybrid.adapters import TxtRecords
from hybrid.api.ports import HeldImage, IssuedJoinToken
from hybrid.api.service import ApiService
from hybrid.api.tokens import new_token
from hybrid.away.lines import AwaySite, Stream
from hybrid.away.stores import AwayStore, checked
from hybrid.certs.http import TreqHttp
from hybrid.certs.issuing import Issuing
from hybrid.certs.service import Certificates
from hybrid.certs.vault import Vault
from hybrid.cluster import groups, keyring
from hybrid.cluster.draining import Plan
from hybrid.cluster.groups import Group
from hybrid.cluster.keyring import Keyring
from hybrid.deeds import (
    CloneSite,
    CreateSite,
    Deleted,
    Difference,
    Differences,
    DiscardedStash,
    Entry,
    Folder,
    Form,
    Preview,
    Progress,
    TransferSeen,
)
from hybrid.errors import (
    BadRequest,
    Conflict,
    HybridError,
    NoSuchPath,
    NoSuchSite,
    NoSuchStore,
    PeerError,
    StorageSick,
)
from hybrid.history import History
from hybrid.hosting.keys import with_key, without_key
from hybrid.hosting.pending import pending
from hybrid.load import NodeLoad, Placed, SiteLoad
from hybrid.manifest import Extract
from hybrid.model import (
    Claim,
    Guid,
    Manifest,
    Mark,
    NodeId,
    Proof,
    SiteId,
    SiteSpec,
    Snapshot,
    Stash,
    Version,
    snapshot_name,
)
from hybrid.placing_deeds import Left, Verdict, Why
from hybrid.ports import ByteSource, Executed, IncomingStream
from hybrid.sshkeys import PublicKey
from hybrid.view import NodeView, Pending, SiteView, View
from hybrid.web.resource import Pages
from hybrid_dns.keys import Keys
from hybrid_dns.registry import Registry
from hybrid_dns.zonekeys import ZoneKeys

N1, N2, N3 = NodeId("n-aaaaaaaaaaaaaaaa"), NodeId("n-bbbbbbbbbbbbbbbb"), NodeId("n-cccccccccccccccc")
NAMES = {N1: "n1", N2: "n2", N3: "n3"}
NOW_S = 1_790_000_000


def site_id(number: int) -> SiteId:
    """A well-formed site id."""
    return SiteId("s-" + "abcdefghijklmnopqrstuvwxyz"[number % 26] * 26)


class Content:
    """A `ByteSource` of a file, in pieces of a quarter of a megabyte."""

    def __init__(self, data: bytes, breaks_off_after: int | None) -> None:
        self.data, self.at, self.is_aborted = data, 0, False
        self._end = breaks_off_after

    async def read(self) -> bytes:
        """See `ByteSource`."""
        if self._end is not None and self.at >= self._end:
            raise StorageSick("the files do not answer")
        piece = self.data[self.at : self.at + 2**18]
        self.at += len(piece)
        return piece

    async def abort(self) -> None:
        """See `ByteSource`."""
        self.is_aborted = True


class FakeHosting:
    """A whole `hybrid.deeds.Hosting` in memory, on one node of a shared `World`."""

    def __init__(self, world: World, node: NodeId) -> None:
        self._world, self._node = world, node
        self.fail: Exception | None = None
        self.calls: list[tuple[object, ...]] = []
        self.gate: Deferred[None] | None = None
        self.files: dict[tuple[SiteId, Guid, str], bytes] = {}
        self.sources: list[Content] = []
        self.extracted: dict[str, bytes] = {}
        self.breaks_off_after: int | None = None
        self.output = Executed(0, b"hello\n", b"")
        self.log_text = "started\n"
        self.known = [Manifest("php", "nginx and php-fpm"), Manifest("static")]
        self.transferring: list[TransferSeen] = []

    def view(self) -> View:
        """See `Hosting`."""
        return self._world.view(self._node)

    def history(self, site: SiteId) -> History:
        """See `Hosting`."""
        found = self._world.sites.get(site)
        return self._world.history.get(site, ()) if found and self._node in found.holders else ()

    def images(self) -> list[Manifest]:
        """See `Hosting`."""
        return self.known

    async def create(self, request: CreateSite, progress: Progress) -> SiteSpec:
        """See `Hosting`."""
        with progress.step("clone image"):
            await self._act("create", request)
        with progress.step("start container"):
            new = site_id(len(self._world.sites) + 10)
            spec = SiteSpec(
                id=new,
                version=Version(1, 0),
                name=request.name,
                domains=request.domains or (f"{request.name}.hybrid.test",),
                image=f"{request.image}@1",
                account=request.account,
                quota_bytes=request.quota_bytes,
                number=len(self._world.sites) + 1,
            )
            self._world.add(spec, self._node)
        return spec

    async def edit(self, site: SiteId, changes: dict[str, object]) -> SiteSpec:
        """See `Hosting`."""
        await self._act("edit", site, changes)
        old = self._world.sites[site].spec
        spec: SiteSpec = msgspec.structs.replace(old, version=old.version.next(), **changes)
        self._world.sites[site] = msgspec.structs.replace(self._world.sites[site], spec=spec)
        return spec

    async def move(self, site: SiteId, to: NodeId, progress: Progress) -> None:
        """See `Hosting`."""
        with progress.step("snapshot"):
            await self._act("move", site, to)
        with progress.step("hand over"):
            self._world.sites[site] = msgspec.structs.replace(self._world.sites[site], owner=to)

    async def delete(self, site: SiteId, progress: Progress, moved_to: str = "") -> None:
        """See `Hosting`."""
        with progress.step("stop container"):
            await self._act("delete", site)
        name = self._world.sites.pop(site).spec.name
        self._world.trash.append(Deleted(site=site, name=name, at_s=NOW_S, until_s=NOW_S + 7 * 86400, by=self._node))

    def transfers(self) -> tuple[TransferSeen, ...]:
        """See `hybrid.deeds.Hosting`."""
        return tuple(self.transferring)

    def decisions(self) -> list[Pending]:
        """See `Hosting`."""
        return pending(self.view(), {})

    def deleted(self) -> list[Deleted]:
        """See `Hosting`."""
        return list(self._world.trash)

    def undelete(self, site: SiteId, by: str) -> None:
        """See `Hosting`."""
        self._world.trash = [kept for kept in self._world.trash if kept.site != site]
        self.calls.append(("undelete", site, by))

    def pick(self, site: SiteId, node: NodeId, by: str) -> None:
        """See `Hosting`."""
        if not self._world.sites[site].awaiting:
            raise Conflict("there is nothing to choose")
        self.calls.append(("pick", site, node, by))

    async def snapshot(self, site: SiteId) -> Snapshot:
        """See `Hosting`."""
        await self._act("snapshot", site)
        return self._world.take_snapshot(site, NOW_S)

    async def rollback(self, site: SiteId, to: Guid, progress: Progress) -> Stash:
        """See `Hosting`."""
        with progress.step("stash"):
            await self._act("rollback", site, to)
        return self._world.stash(site, to)

    async def undo(self, site: SiteId, progress: Progress) -> Stash:
        """See `Hosting`."""
        with progress.step("unstash"):
            await self._act("undo", site)
        if not self._world.sites[site].stashes:
            raise Conflict("there is nothing to undo")
        return self._world.sites[site].stashes[-1]

    def stash_history(self, site: SiteId, stash_id: str) -> History:
        """See `Hosting`."""
        return self._world.aside.get(stash_id, ()) if self._node in self._world.stashed_on else ()

    async def browse(self, site: SiteId, guid: Guid, path: str, after: str, limit: int) -> Folder:
        """See `Hosting`."""
        await self._act("browse", site, guid, path)
        if path.startswith("/nowhere"):
            raise NoSuchPath(f"{path} is not in that snapshot")
        entries = (Entry("data", "directory", 0, NOW_S), Entry("index.php", "file", 120, NOW_S))
        later = tuple(entry for entry in entries if entry.name > after)
        return Folder(later[:limit], len(later) > limit)

    async def read(self, site: SiteId, guid: Guid, path: str, form: Form) -> ByteSource:
        """See `Hosting`."""
        await self._act("read", site, guid, path, form)
        if (site, guid, path) not in self.files:
            raise NoSuchPath(f"{path} is not in it")
        self.sources.append(Content(self.files[site, guid, path], self.breaks_off_after))
        return self.sources[-1]

    async def compare(self, site: SiteId, old: Guid, new: Guid, path: str) -> Differences:
        """See `Hosting`."""
        await self._act("compare", site, old, new, path)
        changes = (
            Difference(change="added", path="a", kind="file", new_bytes=1),
            Difference(change="renamed", path="b", was="c", kind="directory"),
            Difference(change="deleted", path="d", kind="link"),
        )
        return Differences(changes, complete=False)

    async def restore(self, site: SiteId, guid: Guid, path: str, copy: str, progress: Progress) -> tuple[int, str]:
        """See `Hosting`."""
        with progress.step("copy"):
            await self._act("restore", site, guid, path, copy)
        return 1, f"{path} ({copy})" if copy else path

    async def mark(self, site: SiteId, mark: Mark) -> SiteSpec:
        """See `Hosting`."""
        await self._act("mark", site, mark)
        marks = self._world.sites[site].spec.marks
        if mark.name and any(one.name == mark.name and one.guid != mark.guid for one in marks):
            raise Conflict(f"another snapshot is called {mark.name}")
        return self._world.mark(site, (*(one for one in marks if one.guid != mark.guid), mark))

    async def unmark(self, site: SiteId, guid: Guid) -> SiteSpec:
        """See `Hosting`."""
        await self._act("unmark", site, guid)
        marks = self._world.sites[site].spec.marks
        return self._world.mark(site, tuple(one for one in marks if one.guid != guid))

    async def add_key(self, site: SiteId, key: PublicKey) -> SiteSpec:
        """See `Hosting`."""
        await self._act("add_key", site, key.fingerprint)
        return self._world.respecify(site, with_key(self._world.sites[site].spec, key))

    async def remove_key(self, site: SiteId, name: str) -> SiteSpec:
        """See `Hosting`."""
        await self._act("remove_key", site, name)
        return self._world.respecify(site, without_key(self._world.sites[site].spec, name))

    async def adopt(self, site: SiteId, stash_id: str, progress: Progress) -> Stash:
        """See `Hosting`."""
        with progress.step("unstash"):
            await self._act("adopt", site, stash_id)
        return self._world.sites[site].stashes[-1]

    async def extracts(self, site: SiteId) -> dict[str, Extract]:
        """See `Hosting`."""
        return {"table": Extract(("/bin/dump",), "one table", "table.sql", {"table": "its name"})}

    async def extract(
        self, site: SiteId, guid: Guid, name: str, values: Mapping[str, str], token: str, progress: Progress
    ) -> None:
        """See `Hosting`."""
        with progress.step("extract"):
            await self._act("extract", site, guid, name, dict(values))
            self.extracted[token] = f"{name} {dict(values)}".encode()

    async def content(self, token: str) -> ByteSource:
        """See `Hosting`."""
        if token not in self.extracted:
            raise NoSuchPath("it is not kept any more")
        return Content(self.extracted[token], None)

    async def preview(
        self, site: SiteId, guid: Guid, seconds: int, by: str, progress: Progress, label: str = ""
    ) -> Preview:
        """See `Hosting`."""
        with progress.step("start container"):
            await self._act("preview", site, guid, seconds)
        id_ = SiteId("preview-aaaaaaaaaaaaaaaa")
        made = Preview(
            id=id_,
            site=site,
            guid=guid,
            host=f"{id_}.hybrid.test",
            node=self._node,
            port=80,
            until_s=NOW_S + seconds,
            by=by,
        )
        self._world.previews.append(made)
        return made

    def previews(self, site: SiteId) -> list[Preview]:
        """See `Hosting`."""
        return [one for one in self._world.previews if one.site == site]

    def end_preview(self, site: SiteId, preview_id: str) -> None:
        """See `Hosting`."""
        if all(one.id != preview_id for one in self.previews(site)):
            raise NoSuchPath(f"there is no preview {preview_id}")
        self._world.previews.clear()

    def discard(self, stash: Stash, by: str) -> DiscardedStash:
        """See `Hosting`."""
        seen = self._world.sites[stash.site]
        left = tuple(one for one in seen.stashes if one.head != stash.head)
        self._world.sites[stash.site] = msgspec.structs.replace(seen, stashes=left)
        self._world.bin.append(DiscardedStash(stash=stash, at_s=NOW_S, until_s=NOW_S + 7 * 86400, by=by))
        return self._world.bin[-1]

    def undiscard(self, site: SiteId, stash_id: str, by: str) -> None:
        """See `Hosting`."""
        found = next((one for one in self._world.bin if one.stash.id == stash_id), None)
        if found is None:
            raise Conflict(f"{stash_id} is not in the trash")
        self._world.bin.remove(found)
        seen = self._world.sites[site]
        self._world.sites[site] = msgspec.structs.replace(seen, stashes=(*seen.stashes, found.stash))

    def discarded(self, site: SiteId) -> list[DiscardedStash]:
        """See `Hosting`."""
        return [one for one in self._world.bin if one.stash.site == site]

    async def clone(self, site: SiteId, request: CloneSite, progress: Progress) -> SiteSpec:
        """See `Hosting`."""
        with progress.step("snapshot"):
            await self._act("clone", site, request)
        spec = msgspec.structs.replace(
            self._world.sites[site].spec,
            id=site_id(20),
            name=request.name,
            clone_of=site,
            environment=request.environment,
        )
        self._world.add(spec, self._node)
        return spec

    async def detach(self, site: SiteId, progress: Progress) -> None:
        """See `Hosting`."""
        with progress.step("copy its history"):
            await self._act("detach", site)
        seen = self._world.sites[site]
        spec = msgspec.structs.replace(seen.spec, clone_of=None)
        self._world.sites[site] = msgspec.structs.replace(seen, spec=spec)

    async def verify(self, site: SiteId, progress: Progress) -> Proof:
        """See `Hosting`."""
        with progress.step("health check"):
            await self._act("verify", site)
        proof = Proof(outcome="good", at_s=NOW_S, guid=Guid(7), of_s=NOW_S - 5, seconds=1.5, good_at_s=NOW_S)
        seen = self._world.sites[site]
        self._world.sites[site] = msgspec.structs.replace(seen, proofs={**seen.proofs, self._node: proof})
        return proof

    def verify_every_s(self) -> float:
        """See `Hosting`."""
        return self._world.verify_every_s

    def set_verify_every_s(self, every_s: float) -> None:
        """See `Hosting`."""
        self._world.verify_every_s = every_s

    async def execute(self, site: SiteId, argv: Sequence[str], stdin: bytes) -> Executed:
        """See `Hosting`."""
        await self._act("execute", site, tuple(argv), stdin)
        return self.output

    async def logs(self, site: SiteId, lines: int) -> str:
        """See `Hosting`."""
        await self._act("logs", site, lines)
        return self.log_text

    async def _act(self, *call: object) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate
        if self.fail is not None:
            raise self.fail


class FakePlacing:
    """A whole `hybrid.placing_deeds.PlacingDeeds` in memory, on one node of a shared `World`."""

    def __init__(self, world: World, node: NodeId) -> None:
        self._world, self._node = world, node

    def plan(self) -> Plan:
        """See `PlacingDeeds`."""
        owned = sorted(site for site, seen in self._world.sites.items() if seen.owner == self._node)
        others = sorted(node for node in self._world.live if node != self._node)
        if not others:
            return Plan({}, dict.fromkeys(owned, "n2 is down"), 0.0)
        return Plan(dict.fromkeys(owned, others[0]), {}, 4.0)

    async def drain(self, by: str, progress: Progress) -> int:
        """See `PlacingDeeds`."""
        planned = self.plan().to
        for site, to in planned.items():
            with progress.step(f"move {site}"):
                self._world.sites[site] = msgspec.structs.replace(self._world.sites[site], owner=to)
        self._world.drained.add(self._node)
        return len(planned)

    def resume(self, node: NodeId) -> None:
        """See `PlacingDeeds`."""
        self._world.drained.discard(node)

    def why(self, site: SiteId) -> Why:
        """See `PlacingDeeds`."""
        if self._world.sites[site].owner != self._node:
            raise Conflict("it is replica on this node")
        others = tuple(Verdict(node=node, against="is down") for node in NAMES if node != self._node)
        return Why(
            placed=(Placed(NOW_S - 60, self._node, "burst", "n3 was hot"),),
            load=SiteLoad(0.5, 2**27, 0.0, 16.0),
            here=NodeLoad(4.0, 2**33, 0.25, 0.125, 0.0),
            hot="",
            stays="it came less than 15 min ago",
            others=others,
            made_room=(Left(at_s=NOW_S - 5, name="blog", to=N3, why="n2 was hot"),),
        )


class FakeGroups:
    """A whole `hybrid.group_deeds.GroupDeeds` in memory, on one node of a shared `World`."""

    def __init__(self, world: World, node: NodeId) -> None:
        self._world, self._node = world, node
        self.calls: list[tuple[object, ...]] = []

    def all(self) -> list[Group]:
        """See `GroupDeeds`."""
        return [self._world.groups[name] for name in sorted(self._world.groups)]

    def find(self, name: str) -> Group:
        """See `GroupDeeds`."""
        if name not in self._world.groups:
            raise NoSuchSite(f"there is no group {name}")
        return self._world.groups[name]

    def create(self, name: str, sites: Sequence[SiteId], every_s: float) -> Group:
        """See `GroupDeeds`."""
        self._world.groups[name] = groups.new(name, sites, every_s, self.all(), self._world.view(self._node))
        return self._world.groups[name]

    def delete(self, name: str) -> None:
        """See `GroupDeeds`."""
        del self._world.groups[self.find(name).name]

    def moments(self, name: str) -> list[Snapshot]:
        """See `GroupDeeds`."""
        return [one for one in self._world.history[self.find(name).sites[0]] if "group" in one.kind]

    async def snapshot(self, name: str) -> Snapshot:
        """See `GroupDeeds`."""
        lead = self.find(name).sites[0]
        taken = Snapshot(Guid(77), snapshot_name(Claim(0, self._node), 77, "g"), NOW_S)
        self._world.history[lead] = (*self._world.history[lead], taken)
        return taken

    async def rollback(self, name: str, moment: str, progress: Progress) -> list[Stash]:
        """See `GroupDeeds`."""
        with progress.step("stop all of them"):
            self.calls.append(("rollback", name, moment))
        return []

    async def undo(self, name: str, progress: Progress) -> list[Stash]:
        """See `GroupDeeds`."""
        with progress.step("stop all of them"):
            self.calls.append(("undo", name))
        return []


@dataclass
class World:
    """What all nodes agree on."""

    live: set[NodeId] = field(default_factory=lambda: {N1, N2, N3})
    sites: dict[SiteId, SiteView] = field(default_factory=dict)
    history: dict[SiteId, History] = field(default_factory=dict)
    trash: list[Deleted] = field(default_factory=list)
    aside: dict[str, History] = field(default_factory=dict)
    """What lies in each stash."""
    previews: list[Preview] = field(default_factory=list)
    bin: list[DiscardedStash] = field(default_factory=list)
    stashed_on: set[NodeId] = field(default_factory=lambda: {N1, N2, N3})
    serial: int = 0
    verify_every_s: float = 86400.0
    groups: dict[str, Group] = field(default_factory=dict)
    measured: dict[NodeId, NodeLoad] = field(default_factory=dict)
    drained: set[NodeId] = field(default_factory=set)

    def view(self, me: NodeId) -> View:
        """As seen by `me`."""
        self.serial += 1
        nodes = {
            node: NodeView(
                id=node,
                name=name,
                dc="paris" if node != N3 else "london",
                address=f"10.0.0.{name[1]}",
                cluster_port=7946,
                interior_port=7947,
                api_port=8443,
                live=node in self.live,
                size_bytes=1000,
                free_bytes=600,
                measured=self.measured.get(node),
                draining=node in self.drained,
            )
            for node, name in NAMES.items()
        }
        return View(me=me, serial=self.serial, zones=("hybrid.test",), nodes=nodes, sites=dict(self.sites))

    def add(self, spec: SiteSpec, owner: NodeId, replicas: tuple[NodeId, ...] = ()) -> None:
        """A new site with four snapshots: 1 h, 10 min, 60 s and 5 s old."""
        self.sites[spec.id] = SiteView(
            spec=spec, state="serving", owner=owner, claim=Claim(1, owner), holders=(owner, *replicas), lag_s=0.0
        )
        for age_s in (3600, 600, 60, 5):
            self.take_snapshot(spec.id, NOW_S - age_s)

    def take_snapshot(self, site: SiteId, at_s: int) -> Snapshot:
        """One more."""
        history = self.history.get(site, ())
        name = snapshot_name(Claim(1, self.sites[site].owner or N1), len(history))
        taken = Snapshot(Guid(2**63 + 1000 + len(history)), name, at_s)
        self.history[site] = (*history, taken)
        return taken

    def mark(self, site: SiteId, marks: tuple[Mark, ...]) -> SiteSpec:
        """Its spec with these marks."""
        return self.respecify(site, msgspec.structs.replace(self.sites[site].spec, marks=marks))

    def respecify(self, site: SiteId, spec: SiteSpec) -> SiteSpec:
        """It is so from now on."""
        seen = self.sites[site]
        self.sites[site] = msgspec.structs.replace(seen, spec=spec)
        return spec

    def stash(self, site: SiteId, base: Guid) -> Stash:
        """Set what came after `base` aside."""
        seen = self.sites[site]
        self.aside[f"{site}.1.aaaaaaaa.12345678"] = self.history[site][-1:]
        stash = Stash(f"{site}.1.aaaaaaaa.12345678", site, base, self.history[site][-1].guid, NOW_S, "rollback")
        self.sites[site] = msgspec.structs.replace(seen, stashes=(*seen.stashes, stash))
        return stash


class FakePeers:
    """`Peers` among the nodes of a world: requests arrive at once, unless the node is down."""

    def __init__(self, node: NodeId, all_peers: dict[NodeId, FakePeers], world: World) -> None:
        self.node, self.world, self.all_peers = node, world, all_peers
        self.requests: list[tuple[NodeId, msgspec.Struct]] = []
        self.answers: dict[type[msgspec.Struct], Callable[[NodeId, msgspec.Struct], Awaitable[msgspec.Struct]]] = {}
        self.cut: set[NodeId] = set()
        all_peers[node] = self

    def handle(
        self, kind: type[msgspec.Struct], handler: Callable[[NodeId, msgspec.Struct], Awaitable[msgspec.Struct]]
    ) -> None:
        """See `Peers`."""
        self.answers[kind] = handler

    def handle_streams(
        self, handler: Callable[[NodeId, msgspec.Struct, IncomingStream], Awaitable[msgspec.Struct]]
    ) -> None:
        """See `Peers`."""

    async def request(self, node: NodeId, message: msgspec.Struct, deadline_s: float = 10.0) -> msgspec.Struct:
        """See `Peers`."""
        self.requests.append((node, message))
        if node not in self.world.live or node in self.cut:
            raise PeerError(f"{node} cannot be reached", "no link")
        return await self.all_peers[node].answers[type(message)](self.node, message)

    async def offer(self, node: NodeId, offer: msgspec.Struct, source: object) -> msgspec.Struct:
        """See `Peers`."""
        raise PeerError("no streams here")


class FakeShared:
    """`SharedMap` in a dict that all nodes share."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.followers: list[Callable[[str], None]] = []

    def get(self, key: str) -> str | None:
        """See `SharedMap`."""
        return self.values.get(key)

    def put(self, key: str, value: str | None) -> None:
        """See `SharedMap`."""
        self.values.pop(key, None)
        if value is not None:
            self.values[key] = value
        for heard in self.followers:
            heard(key)

    def prefix(self, prefix: str) -> dict[str, str]:
        """See `SharedMap`."""
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}


class FakeStore:
    """`NodeStore` in dicts, which outlive a service."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}
        self.audited: dict[int, bytes] = {}

    def save_operation(self, operation_id: str, record: bytes) -> None:
        """See `OperationStore`."""
        self.records[operation_id] = record

    def drop_operation(self, operation_id: str) -> None:
        """See `OperationStore`."""
        self.records.pop(operation_id, None)

    def load_operations(self) -> list[bytes]:
        """See `OperationStore`."""
        return list(self.records.values())

    def keep_audit(self, number: int, record: bytes) -> None:
        """See `AuditStore`."""
        self.audited[number] = record

    def newest_audit(self) -> bytes | None:
        """See `AuditStore`."""
        return self.audited[max(self.audited)] if self.audited else None

    def audits(self, after: int, limit: int) -> list[bytes]:
        """See `AuditStore`."""
        return [self.audited[number] for number in sorted(self.audited) if number > after][:limit]

    def drop_audits(self, upto: int) -> None:
        """See `AuditStore`."""
        self.audited = {number: record for number, record in self.audited.items() if number > upto}


class FakeJoinTokens:
    """`JoinTokens` that count."""

    def create(self, ttl_s: float, dc: str, name: str) -> IssuedJoinToken:
        """See `JoinTokens`."""
        return IssuedJoinToken("hyb1.abc", NOW_S + ttl_s)


class FakeImages:
    """`ImageStore` with one image in the pool and one that is only built."""

    def held(self) -> list[HeldImage]:
        """See `ImageStore`."""
        php = HeldImage(
            manifest=Manifest("php"), reference="php@1", size_bytes=141 << 20, packages=("nginx 1", "php 8")
        )
        return [php, HeldImage(manifest=Manifest("static"), size_bytes=2 << 20)]

    async def import_image(self, name: str, progress: Progress) -> str:
        """See `ImageStore`."""
        with progress.step("unpack"):
            if name != "php":
                raise BadRequest(f"there is no image {name}")
        return "php@1"


@dataclass
class Answered:
    """A response as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Narrow(StringTransport):
    """Says when it is full, as a real transport does."""

    def __init__(self, full_at: int) -> None:
        super().__init__()
        self._full_at = full_at

    def writeSequence(self, data: Iterable[bytes]) -> None:  # noqa: N802  # Twisted's name
        """See `StringTransport`."""
        self.write(b"".join(data))

    def write(self, data: bytes) -> None:
        """See `StringTransport`."""
        super().write(data)
        if self.producer is not None and len(self.value()) >= self._full_at:
            self.producer.pauseProducing()


class Node:
    """The API of one node, and a client of it."""

    def __init__(self, node: NodeId, cluster: Cluster) -> None:
        self.id, self.cluster = node, cluster
        self.hosting = FakeHosting(cluster.world, node)
        self.peers = FakePeers(node, cluster.peers, cluster.world)
        self.groups = FakeGroups(cluster.world, node)
        self.store = FakeStore()
        self.certificates = Certificates(
            Vault(node, cluster.sealing_key, lambda count: bytes(count)),
            cluster.shared,
            dict,
            lambda: cluster.world.view(node),
            lambda: NOW_S,
            lambda secrets: None,
        )
        keys = Keys(cluster.shared, self.certificates, lambda count: bytes(count))
        signing = ZoneKeys(cluster.shared, self.certificates)
        self.dns = Registry(cluster.shared, self.hosting.view, keys, signing, lambda: NOW_S)
        cluster.shared.followers += [signing.heard, self.dns.heard, keys.heard]
        self.issuing = Issuing(
            cluster.reactor,
            node,
            self.certificates,
            cluster.shared,
            TxtRecords(self.dns),
            lambda: cluster.world.view(node),
            lambda ca: TreqHttp(cluster.reactor, ca),
            lambda: NOW_S,
        )
        self.placing = FakePlacing(cluster.world, node)
        self.api = self.make()

    def make(self) -> ApiService:
        """The service; made again it is the same node after a restart."""
        counter = iter(range(1, 10_000))

        def random(count: int) -> bytes:
            return next(counter).to_bytes(count, "big")

        api = ApiService(
            self.cluster.reactor,  # type: ignore[arg-type]  # MemoryReactorClock is all of them
            self.id,
            NAMES[self.id],
            0,
            None,
            self.hosting,
            self.peers,
            self.cluster.shared,
            self.store,
            FakeJoinTokens(),
            FakeImages(),
            self.cluster.remove_node,
            self.cluster,
            self.cluster.away,
            self.groups,
            self.dns,
            self.certificates,
            self.issuing,
            self.placing,
            wall_s=lambda: NOW_S + self.cluster.reactor.seconds(),
            random=random,
        )
        api.root.pages = Pages(api.core, api.tokens, NAMES[self.id], random)
        return api

    def connect(self, data: bytes, full_at: int = 2**62) -> tuple[StringTransport, Any]:
        """Send raw bytes over a new connection, whose client takes only `full_at` bytes of what it is sent."""
        transport = Narrow(full_at)
        protocol = self.api.factory.buildProtocol(None)  # type: ignore[arg-type]  # nobody looks at the address
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
        self.cluster.closing.callback(self.lose, protocol)
        return transport, protocol

    def lose(self, protocol: Any) -> None:
        """The client is gone."""
        if protocol not in self.cluster.lost:
            self.cluster.lost.append(protocol)
            protocol.connectionLost(Failure(ConnectionDone()))

    def begin(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, raw: bytes = b""
    ) -> StringTransport:
        """Send a request; its answer may come later."""
        data = raw if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: n1", f"Content-Length: {len(data)}"]
        sent = {"Authorization": f"Bearer {self.cluster.token}"} | (headers or {})
        lines += [f"{name}: {value}" for name, value in sent.items() if value]
        return self.connect("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data)[0]

    def __call__(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None, raw: bytes = b""
    ) -> Answered:
        """Send a request and read its answer, which must be there at once."""
        return parse(self.begin(method, path, body, headers, raw).value())


def parse(data: bytes) -> Answered:
    """One response."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(chunks(body))
    return Answered(int(first.split(" ")[1]), headers, body)


def chunks(body: bytes) -> Iterator[bytes]:
    """Those of a chunked body. Raises `ValueError` when the last one did not come: the answer broke off."""
    while True:
        size, _, body = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


class FakeAway:
    """Copies far away, without any store."""

    def __init__(self) -> None:
        self.known: dict[str, AwayStore] = {}
        self.fails: HybridError | None = None
        self.restored: list[tuple[str, str, int | None]] = []
        self.demoted: list[str] = []

    def stores(self) -> dict[str, AwayStore]:
        """See `hybrid.api.ports.AwayCopies`."""
        return dict(self.known)

    def store(self, name: str) -> AwayStore:
        """See `hybrid.api.ports.AwayCopies`."""
        if name not in self.known:
            raise NoSuchStore(f"there is no store {name}")
        return self.known[name]

    async def add(self, store: AwayStore, key: bytes | None) -> AwayStore:
        """See `hybrid.api.ports.AwayCopies`."""
        self.known[store.name] = msgspec.structs.replace(checked(store), key=key or bytes(32))
        return self.known[store.name]

    def remove(self, name: str) -> None:
        """See `hybrid.api.ports.AwayCopies`."""
        del self.known[self.store(name).name]

    async def sites(self, name: str) -> list[AwaySite]:
        """See `hybrid.api.ports.AwayCopies`."""
        self.store(name)
        if self.fails is not None:
            raise self.fails
        return [AwaySite(site_id(0), "blog", int(NOW_S) - 60, 3, 5000)]

    async def restore(self, name: str, wanted: str, at_s: int | None, progress: Progress) -> SiteSpec:
        """See `hybrid.api.ports.AwayCopies`."""
        self.restored.append((name, wanted, at_s))
        return SiteSpec(id=site_id(7), version=Version(1, 0), name=wanted, domains=(), image="php@1", number=7)

    async def ship(self, name: str, spec: SiteSpec) -> Stream | None:
        """See `hybrid.api.ports.AwayCopies`."""
        return None

    async def demote(self, name: str, spec: SiteSpec, progress: Progress) -> None:
        """See `hybrid.api.ports.AwayCopies`."""
        self.demoted.append(spec.name)


class Cluster:
    """Three nodes that share a world. `blog` is on n1 with replicas on n2 and n3; `shop` on n2 with one on n3."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.world = World()
        self.peers: dict[NodeId, FakePeers] = {}
        self.shared = FakeShared()
        self.keys = keyring.first(bytes(32), NOW_S * 1000)
        self.removed: list[tuple[NodeId, str, bool]] = []
        self.away = FakeAway()
        self.sealing_key = generate_private_key(SECP256R1())
        self.closing = ExitStack()
        self.lost: list[Any] = []
        _, self.token, record = new_token("admin", "admin", NOW_S, lambda count: b"\x01" * count)
        self.shared.put("token/aeaqcaib", record)
        self.blog, self.shop = site_id(0), site_id(1)
        for id_, name, number in ((self.blog, "blog", 1), (self.shop, "shop", 2)):
            spec = SiteSpec(
                id=id_,
                version=Version(1, 0),
                name=name,
                domains=(f"{name}.hybrid.test",),
                image="php@1",
                number=number,
            )
            owner, replicas = (N1, (N2, N3)) if name == "blog" else (N2, (N3,))
            self.world.add(spec, owner, replicas)
        self.n1, self.n2, self.n3 = (Node(node, self) for node in (N1, N2, N3))

    def ring(self) -> Keyring:
        """See `hybrid.api.ports.ClusterKeys`."""
        return self.keys

    def rotate(self, hurried: bool = False) -> None:
        """See `hybrid.api.ports.ClusterKeys`."""
        self.keys = keyring.begun(self.keys, bytes(32), NOW_S * 1000, hurried)

    def remove_node(self, node: NodeId, by: str, force: bool) -> None:
        """See `hybrid.api.ports.RemoveNode`: n1 is still needed."""
        if node == N1 and not force:
            raise Conflict("n1 is still needed", "blog is on it")
        self.removed.append((node, by, force))


@pytest.fixture
def cluster() -> Any:
    """Three nodes; connections are closed at the end and nothing is left waiting on the clock."""
    made = Cluster()
    yield made
    made.closing.close()
    left = [call for call in made.reactor.getDelayedCalls() if "logDateTime" not in repr(call)]
    assert left == [], left


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """The result of a coroutine that needs nothing to happen."""

    def result(coroutine: Coroutine[Any, Any, Any]) -> Any:
        outcome: list[Any] = []
        failed: list[Any] = []
        Deferred.fromCoroutine(coroutine).addCallbacks(outcome.append, failed.append)
        if failed:
            failed[0].raiseException()
        assert outcome, "it is still waiting"
        return outcome[0]

    return result


@pytest.fixture
def read() -> Callable[[StringTransport], Answered]:
    """The response that came over a transport."""
    return lambda transport: parse(transport.value())
