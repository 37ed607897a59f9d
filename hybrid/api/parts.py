"""What endpoints work with, put together once by the service. Pure declaration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hybrid.api.auditing import Audit
from hybrid.api.calls import Answer, Call
from hybrid.api.certificates import CertificateDeeds, IssuingDeeds
from hybrid.api.events import Events
from hybrid.api.operations import Operations
from hybrid.api.ports import AwayCopies, ClusterKeys, ImageStore, JoinTokens, Placement, RemoveNode, SharedMap
from hybrid.api.tokens import Tokens
from hybrid.api.traffic import TrafficBook
from hybrid.configuration import Configuration
from hybrid.deeds import Hosting
from hybrid.dns_deeds import DnsZones
from hybrid.group_deeds import GroupDeeds
from hybrid.placing_deeds import PlacingDeeds
from hybrid.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The node, as the API sees it."""

    hosting: Hosting
    operations: Operations
    events: Events
    tokens: Tokens
    join_tokens: JoinTokens
    images: ImageStore
    remove_node: RemoveNode
    keys: ClusterKeys
    away: AwayCopies
    shared: SharedMap
    groups: GroupDeeds
    dns: DnsZones
    certificates: CertificateDeeds
    issuing: IssuingDeeds
    placing: PlacingDeeds
    traffic: TrafficBook
    audit: Audit
    placement: Placement
    ask: Callable[[Call], Awaitable[Answer]]
    """Answers a call as the API does, wherever in the cluster that is: for what is done to many sites."""
    about: Configuration
    """The cluster that this is, without values."""
    wall_s: Callable[[], float]
    """Seconds since the epoch."""
    monotonic_s: Callable[[], float]
    """Seconds of the clock that nobody can set."""

    @property
    def view(self) -> View:
        """The newest view."""
        return self.hosting.view()
