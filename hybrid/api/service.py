"""The API as a component: `service`, `follow(view)`, `report(fact)`. Shell."""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.api import changes
from hybrid.api.auditing import Audit
from hybrid.api.certificates import CertificateDeeds, IssuingDeeds
from hybrid.api.core import Core
from hybrid.api.events import Events
from hybrid.api.operations import Operations
from hybrid.api.panels.resource import ClassicEntrance, PanelResource, classic, whm
from hybrid.api.parts import Parts
from hybrid.api.places import first_owner
from hybrid.api.ports import (
    AwayCopies,
    ClusterKeys,
    ImageStore,
    JoinTokens,
    NodeStore,
    Placement,
    RemoveNode,
    SharedMap,
)
from hybrid.api.powerdns import PowerDns
from hybrid.api.requests import BoundedConnections, bounded_site
from hybrid.api.tokens import Tokens
from hybrid.api.traffic import TrafficBook
from hybrid.api.web import ApiResource, Root
from hybrid.configuration import NOWHERE, Configuration
from hybrid.deeds import Hosting
from hybrid.dns_deeds import DnsZones
from hybrid.group_deeds import GroupDeeds
from hybrid.model import Fact, NodeId
from hybrid.placing_deeds import PlacingDeeds
from hybrid.ports import Peers
from hybrid.view import View

AGAIN_S = 2.0


class Reactor(IReactorTCP, IReactorSSL, IReactorTime):
    """What the API needs of the reactor."""


class ApiService(Service):
    """
    REST for clients on `port`, and for the other nodes through `peers`.

    Attributes:
        root: The root resource, which has a place for pages beside `/v1`.
        core, tokens: What answers calls, and who may call: for those pages.
        events: The log of what happened.
        operations: The long calls of this node.
        audit: Who asked for what change here, and what this node decided.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        node: NodeId,
        node_name: str,
        port: int,
        tls: IOpenSSLServerConnectionCreator | None,
        hosting: Hosting,
        peers: Peers,
        shared: SharedMap,
        store: NodeStore,
        join_tokens: JoinTokens,
        images: ImageStore,
        remove_node: RemoveNode,
        keys: ClusterKeys,
        away: AwayCopies,
        groups: GroupDeeds,
        dns: DnsZones,
        certificates: CertificateDeeds,
        issuing: IssuingDeeds,
        placing: PlacingDeeds,
        wall_s: Callable[[], float],
        random: Callable[[int], bytes],
        placement: Placement = first_owner,
        interface: str = "",
        about: Configuration = NOWHERE,
    ) -> None:
        """
        Put it together; nothing listens before `startService`.

        Args:
            tls: `None` only where nothing but loopback can reach the port.
            wall_s: Seconds since the epoch (`time.time`); the reactor's clock is monotonic.
            random: `os.urandom`, or a fake.
            about: The cluster that this is.
        """
        self._reactor, self._port, self._tls, self._interface = reactor, port, tls, interface
        self.events = Events(wall_s)
        self.operations = Operations(node, node_name, reactor, wall_s, store, self.events, random, hosting)
        self.tokens = tokens = Tokens(shared, random, wall_s)
        self._traffic = TrafficBook()
        self.audit = Audit(store, shared, node, node_name, wall_s)
        parts = Parts(
            traffic=self._traffic,
            audit=self.audit,
            hosting=hosting,
            operations=self.operations,
            events=self.events,
            tokens=tokens,
            join_tokens=join_tokens,
            images=images,
            remove_node=remove_node,
            keys=keys,
            away=away,
            shared=shared,
            groups=groups,
            dns=dns,
            certificates=certificates,
            issuing=issuing,
            placing=placing,
            placement=placement,
            about=about,
            ask=lambda call: self.core.answer(call),
            wall_s=wall_s,
            monotonic_s=reactor.seconds,
        )
        self._seconds = reactor.seconds
        self.core = Core(parts, peers, random)
        self._resource = ApiResource(reactor, node, self.core, tokens, self.events, random)
        self.root = Root(self._resource)
        self.root.putChild(b"api", PowerDns(dns, tokens))
        self.root.putChild(b"json-api", PanelResource(parts, whm))
        for path in (b"whmcs", b"admin_api"):
            self.root.putChild(path, PanelResource(parts, classic))
        self.root.putChild(b"website", ClassicEntrance())
        self.factory = BoundedConnections(bounded_site(self.root, reactor))
        self._view: View | None = None
        self._listening: IListeningPort | None = None

    def startService(self) -> None:
        """Recover operations and listen."""
        super().startService()
        self.operations.recover()
        Deferred.fromCoroutine(self._keep_trying())

    def stopService(self) -> Deferred[None]:
        """Stop listening and end streams; operations under way go on until the process ends."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())

    def follow(self, view: View) -> None:
        """Tell what changed since the view before."""
        if self._view is not None:
            for told in changes.between(self._view, view):
                self.events.tell(told)
        self._view = view

    def report(self, fact: Fact) -> None:
        """Tell a fact, if it is one people want to hear of; write down what is about visitors."""
        self._traffic.report(fact, self._seconds())
        told = changes.of_fact(fact)
        if told is not None:
            self.events.tell(told)

    def listening_port(self) -> int:
        """The port in use; for tests that ask for port 0."""
        assert self._listening is not None, "not listening"
        host = self._listening.getHost()
        assert isinstance(host, IPv4Address | IPv6Address)
        return host.port

    async def _keep_trying(self) -> None:
        """Listen, and as long as that is not possible try again: the port may be another process's for a while."""
        while self.running and self._listening is None:
            try:
                await self._listen()
            except Exception:
                self.log.failure("the API cannot listen on {port}, it is tried again", port=self._port)
                await deferLater(self._reactor, AGAIN_S)

    async def _listen(self) -> None:
        endpoint: IStreamServerEndpoint
        if self._tls is None:
            endpoint = TCP4ServerEndpoint(self._reactor, self._port, interface=self._interface)
        else:
            endpoint = SSL4ServerEndpoint(self._reactor, self._port, self._tls, interface=self._interface)
        self._listening = await endpoint.listen(self.factory)

    async def _close(self) -> None:
        self._resource.close_streams()
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await maybeDeferred(listening.stopListening)
        self.factory.close()
