"""Which data centre is nearest to who asks, by a table of networks, and the answers for there. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from hybrid_dns.zone import MAX_ADDRESSES, Hosts

CACHED = 50_000


class Nearness:
    """
    The table.

    Args:
        networks: Pairs of a network (`192.0.2.0/24`) and a data centre; of several that hold an address the smallest
            counts. What is no network is left out.
    """

    def __init__(self, networks: Iterable[tuple[str, str]]) -> None:
        found: dict[tuple[int, int], dict[int, str]] = {}
        for text, dc in networks:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                continue
            found.setdefault((network.version, network.prefixlen), {})[int(network.network_address)] = dc
        self._by_length = sorted(found.items(), key=lambda item: -item[0][1])
        self._known: dict[str, str] = {}
        self.dcs = frozenset(dc for places in found.values() for dc in places.values())

    def of(self, source: str) -> str:
        """The data centre nearest to the address `source`; `""` where the table has none."""
        dc = self._known.get(source)
        if dc is None:
            if len(self._known) >= CACHED:
                self._known.clear()
            dc = self._known[source] = self._found(source)
        return dc

    def _found(self, source: str) -> str:
        address = ipaddress.ip_address(source.partition("%")[0])
        for (version, length), places in self._by_length:
            if version == address.version:
                bits = address.max_prefixlen - length
                dc = places.get(int(address) >> bits << bits)
                if dc is not None:
                    return dc
        return ""


def nearest(hosts: Hosts, near: tuple[str, ...]) -> Hosts:
    """
    `hosts` for who is next to the live nodes `near`: theirs first, in the order they had; one of them in any case.

    Every live node passes requests on to the owner, so each of them is a true answer.
    """
    if not near or not hosts.addresses:
        return hosts
    first = [address for address in hosts.addresses if address in near] or list(near[:1])
    rest = [address for address in hosts.addresses if address not in near]
    return replace(hosts, addresses=tuple((*first, *rest)[:MAX_ADDRESSES]))
