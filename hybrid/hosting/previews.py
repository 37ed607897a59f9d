"""
A past moment to look at: a throw-away container on a clone, behind a host name of its own that nobody can guess. Shell.

It is told in the cluster's shared map, so that the front doors and name servers of all nodes lead there, as if it were
a site. It begins no connection to anything: it has no route, and the bridge takes only answers from it. It ends by
itself, with its node process, and when a person says so on any node.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.deeds import Preview, Progress
from hybrid.errors import BadRequest, ContainerError, NoSuchPath
from hybrid.hosting.deletions import Shared
from hybrid.hosting.sandboxes import Sandbox, Sandboxes
from hybrid.leaves import Leaves
from hybrid.model import Claim, Guid, NodeId, Port, SiteId, SiteSpec, Version
from hybrid.view import SiteView, View

KEY = "preview/"
"""Shared keys: `preview/<id>`."""
LONGEST_S = 86400
ANSWER_WITHIN_S = 30.0
STALE_S = 3600
"""The entry of a node that did not take it back itself is dropped so long after its end."""


class Previews:
    """All of the cluster, and those that run here."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        zones: tuple[str, ...],
        shared: Shared,
        sandboxes: Sandboxes,
        accepts: Callable[[str, int], Awaitable[bool]],
        bits: Callable[[int], int],
        wall_s: Callable[[], float],
    ) -> None:
        """`bits(n)`: a random number of n bits."""
        self._clock, self._me, self._zones, self._shared = clock, me, zones, shared
        self._sandboxes, self._accepts, self._bits, self._wall_s = sandboxes, accepts, bits, wall_s
        self._running: dict[SiteId, Sandbox] = {}
        self._told: list[Preview] = []
        self.changed: list[Callable[[], None]] = []
        """Called when there are others than before."""

    async def open(
        self, spec: SiteSpec, guid: Guid, seconds: int, by: str, progress: Progress, label: str = ""
    ) -> Preview:
        """
        Run a snapshot of `spec` that is held here.

        Raises:
            BadRequest: Its site has no port but UDP's, or it cannot be for so long.
            ContainerError: It does not answer.
            Conflict, StorageError: See `Sandboxes.open`.
        """
        ports = tuple(Port(port.name, port.port, port.protocol) for port in spec.ports if port.protocol != "udp")
        port = next((port.port for port in ports if port.protocol == "http"), 0)
        if not ports or not self._zones:
            raise BadRequest(f"site {spec.name} cannot be previewed", "it answers nobody, or there is no zone")
        if not 60 <= seconds <= LONGEST_S:
            raise BadRequest("a preview cannot be for so long", f"from a minute to {LONGEST_S // 3600} hours")
        sandbox = await self._sandboxes.open(spec, guid, {"HYBRID_PREVIEW": "1"}, progress, reachable=True)
        try:
            with progress.step("wait for an answer"):
                await self._answering(sandbox, port or ports[0].port)
        except BaseException:
            await self._sandboxes.close(sandbox)
            raise
        own = "preview-" + base64.b32encode(self._bits(80).to_bytes(10)).decode().lower()
        preview = Preview(
            id=SiteId(own),
            site=spec.id,
            guid=guid,
            host=f"{own}.{self._zones[0]}",
            node=self._me,
            port=port,
            until_s=int(self._wall_s()) + seconds,
            by=by,
            name=spec.name,
            label=label,
            ports=ports,
        )
        self._running[preview.id] = sandbox
        self._shared.put(KEY + preview.id, msgspec.json.encode(preview).decode())
        await self.look()
        return preview

    def of(self, site: SiteId) -> list[Preview]:
        """Those of a site, the one that ends first first."""
        return sorted((one for one in self._entries() if one.site == site), key=lambda one: one.until_s)

    def end(self, site: SiteId, preview_id: str) -> None:
        """Have it ended, wherever it runs. Raises `NoSuchPath` when there is none."""
        if all(one.id != preview_id for one in self.of(site)):
            raise NoSuchPath(f"there is no preview {preview_id}", "it may have ended", "hybrid snap previews")
        self._shared.put(KEY + preview_id, None)

    async def look(self) -> None:
        """End what is to end here, and tell of others. Never raises."""
        now_s = self._wall_s()
        for one in self._entries():
            mine_is_gone = one.node == self._me and (one.until_s <= now_s or not self._runs(one.id))
            if mine_is_gone or one.until_s + STALE_S <= now_s:
                self._shared.put(KEY + one.id, None)
        entries = self._entries()
        known = {one.id for one in entries}
        ended = [self._running.pop(id_) for id_ in list(self._running) if id_ not in known]
        if entries != self._told:
            self._told = entries
            for tell in self.changed:
                tell()
        for sandbox in ended:
            await self._sandboxes.close(sandbox)

    def _runs(self, preview_id: SiteId) -> bool:
        sandbox = self._running.get(preview_id)
        return sandbox is not None and self._sandboxes.is_open(sandbox)

    def container(self, preview_id: SiteId) -> SiteId | None:
        """The container of one that runs on this node; `None`: it does not."""
        return self._running[preview_id].name if self._runs(preview_id) else None

    def among(self, view: View) -> View:
        """`view` with each preview as a site of its own, for those who let people in."""
        sites = {one.id: self._as_site(one) for one in self._told}
        if not sites:
            return view
        leaves = view.sites if isinstance(view.sites, Leaves) else Leaves(view.sites)
        return msgspec.structs.replace(view, sites=leaves.replaced(sites))

    def _as_site(self, preview: Preview) -> SiteView:
        sandbox = self._running.get(preview.id)
        spec = SiteSpec(
            id=preview.id,
            version=Version(1, 0),
            name=f"{preview.name}#{preview.label or preview.id}",
            domains=(preview.host,),
            image="",
            number=0,
            ports=preview.ports or (Port("http", preview.port),),
            copies=0,
            clone_of=preview.site,
        )
        return SiteView(
            spec=spec,
            state="serving",
            owner=preview.node,
            claim=Claim(1, preview.node),
            upstream=sandbox.address if sandbox is not None else None,
            holders=(preview.node,),
        )

    def _entries(self) -> list[Preview]:
        found = (_decoded(value) for _, value in sorted(self._shared.prefix(KEY).items()))
        return [one for one in found if one is not None]

    async def _answering(self, sandbox: Sandbox, port: int) -> None:
        until_s = self._clock.seconds() + ANSWER_WITHIN_S
        while not await self._accepts(sandbox.address, port):
            if self._clock.seconds() > until_s:
                raise ContainerError(
                    "the moment does not answer", f"nothing accepts on port {port} within {ANSWER_WITHIN_S:.0f} s"
                )
            await deferLater(self._clock, 0.1, lambda: None)


class Fronts:
    """What the front doors and name servers are told: the view with the previews in it."""

    def __init__(self, previews: Previews, tell: Callable[[View], None]) -> None:
        self._previews, self._tell = previews, tell
        self._view: View | None = None
        previews.changed.append(self._again)

    def follow(self, view: View) -> None:
        """A new view."""
        self._view = view
        self._tell(self._previews.among(view))

    def _again(self) -> None:
        if self._view is not None:
            self.follow(self._view)


def _decoded(value: str) -> Preview | None:
    try:
        return msgspec.json.decode(value, type=Preview)
    except msgspec.MsgspecError:
        return None
