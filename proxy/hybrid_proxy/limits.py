"""What the front doors bear: times, sizes and counts, and how many connections each source has. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Deadlines are absolute: no byte that arrives puts one off, but where `idle` or `pace` says so."""

    head_s: float = 15.0
    """From the first byte of a request to the end of its head: 408."""
    handshake_s: float = 10.0
    """From a connection to the HTTPS port to the end of its handshake."""
    idle_s: float = 15.0
    """Between two requests on one connection."""
    pace_bytes_per_s: int = 500
    """A body that comes in slower over any `pace_s` (while the site takes it): 408."""
    pace_s: float = 10.0
    stuck_s: float = 60.0
    """A client that reads nothing of its response for this long is cut off."""
    greet_s: float = 60.0
    """At a shared port: from the connection to a known site, and from there to the end of the authentication."""
    login_s: float = 30.0
    """By SSH: from the connection to a key that is good."""
    connect_s: float = 3.0
    reply_s: float = 60.0
    """From the end of a request to the head of the response: 504."""
    body_idle_s: float = 300.0
    """Between two pieces of a response."""
    tunnel_idle_s: float = 3600.0
    """Of a WebSocket or TCP connection, both directions silent."""
    linger_s: float = 2.0
    """For a client to take a refusal before the connection is cut."""
    hold_s: float = 20.0
    """How long a request waits for an owner: 503."""
    local_hold_s: float = 5.0
    """How long it waits for a container that runs here but does not accept: 502."""
    held_per_site: int = 1000
    held_in_all: int = 5000
    kept_body_bytes: int = 64 * 1024
    """Of a request's body: read before an upstream is there, and kept to send again."""
    busy_per_site: int = 512
    """Upstream connections in use per site; more requests wait like those for an owner."""
    idle_upstreams_per_site: int = 64
    """Kept idle for `upstream_idle_s`; those that a wave of requests needed beyond that, for `fresh_s`."""
    upstream_idle_s: float = 8.0
    fresh_s: float = 1.0
    """A connection idle for longer may be closing: it is not used for a request that cannot be sent twice."""
    passes: int = 3
    """Times a request may have passed a front door already (`Via`): 508."""
    per_source: int = 50
    per_network: int = 200
    per_neighbour: int = 1000
    """For `neighbours` (containers of this node, this node itself) instead of the two above."""
    neighbours: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    cache_bytes: int = 32 * 1024 * 1024
    """Of answers that are kept, of all sites together."""
    cache_site_bytes: int = 8 * 1024 * 1024
    cache_entry_bytes: int = 1024 * 1024
    drain_s: float = 10.0
    """After SIGTERM: for requests under way to end."""


class Sources:
    """Connections open now, by source address and network (/24, /56)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._neighbours = [ipaddress.ip_network(network) for network in limits.neighbours]
        self._open: dict[str, int] = {}
        self.refused = 0

    def enter(self, host: str) -> bool:
        """Count a connection from `host`; `False` (and not counted) when that is too many."""
        network = network_of(host)
        limits, count = self._limits, self._open
        of_host, of_network = count.get(host, 0), count.get(network, 0)
        if of_host >= limits.per_source or of_network >= limits.per_network:
            if not self.is_neighbour(host) or of_host >= limits.per_neighbour:
                self.refused += 1
                return False
        count[host], count[network] = of_host + 1, of_network + 1
        return True

    def leave(self, host: str) -> None:
        """Undo one successful `enter`."""
        for key in (host, network_of(host)):
            left = self._open[key] - 1
            if left > 0:
                self._open[key] = left
            else:
                del self._open[key]

    def is_neighbour(self, host: str) -> bool:
        """Whether `host` is of this node."""
        return _within(host, self._neighbours)


@lru_cache(maxsize=8192)
def network_of(host: str) -> str:
    """The /24 (IPv4) or /56 (IPv6) `host` is in; `host` itself when it is no address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host + "/"
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))


def _within(host: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
