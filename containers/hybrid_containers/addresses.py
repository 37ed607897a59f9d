"""
A container's MAC and device name, functions of its address and its site's id alone, and what may be an id. Pure.

The same on every node, so that nothing about a site changes when it moves. Addresses and id ranges come with the
`ContainerSpec`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from ipaddress import IPv4Address, IPv4Network

from hybrid.errors import ContainerError
from hybrid.model import SiteId

RANGE = 65536
"""Uids (and gids) of one container."""
PIVOT = "pivot"
"""A name no site may have: LXC's monitors end in the control group of that name."""
_SITE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def is_site(name: str) -> bool:
    """Whether `name` may be a site's id where it becomes a folder, a control group and a container's name."""
    return bool(_SITE.fullmatch(name)) and name != PIVOT


def check_site(site: SiteId) -> None:
    """Raise `ContainerError` unless `is_site`."""
    if not is_site(site):
        raise ContainerError(f"{site!r} is not a site's id", "it must be of a-z, 0-9 and -")


def gateway_of(subnet: str) -> str:
    """The node's own address on the bridge: the first of `subnet` (`10.88.0.0/16` → `10.88.0.1`)."""
    return str(_network(subnet)[1])


def secluded_of(subnet: str) -> str:
    """`first-last` of the addresses of containers that may answer and no more: the node's own, but for the gateway."""
    network = _network(subnet)
    return f"{network[2]}-{network[min(254, network.num_addresses - 2)]}"


def prefix_of(subnet: str) -> int:
    """The prefix length of `subnet`."""
    return _network(subnet).prefixlen


def mac_of(address: str) -> str:
    """A locally administered MAC that stays the same over restarts, so that no neighbour table goes stale."""
    return "02:68:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def veth_of(site: SiteId) -> str:
    """The node's end of the container's veth pair: 14 characters, `hv-` and a digest of the site's id."""
    digest = hashlib.sha256(site.encode()).digest()
    return "hv-" + base64.b32encode(digest)[:11].decode().lower()


def _network(subnet: str) -> IPv4Network:
    try:
        network = IPv4Network(subnet)
    except ValueError as error:
        raise ContainerError(
            f"`subnet` {subnet} is not an IPv4 network", str(error), "for example 10.88.0.0/16"
        ) from None
    if network.num_addresses < 8:
        raise ContainerError(f"`subnet` {subnet} is too small", try_="for example 10.88.0.0/16")
    return network
