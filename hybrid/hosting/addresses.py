"""From a site's number to its container's address and id range: the same on every node. Pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network

from hybrid.errors import Conflict
from hybrid.model import Claim, SiteSpec
from hybrid.ports import ContainerSpec
from hybrid.settings import Settings

IDS_PER_SITE = 65536


@lru_cache(4096)
def address_of(number: int, subnet: str) -> str:
    """
    The container's address: host `number + 255` of the subnet (the first 255 are the node's own).

    Raises:
        Conflict: The subnet has no such host.
    """
    network = IPv4Network(subnet)
    if not 1 <= number <= network.num_addresses - 257:
        raise Conflict(f"no address for site number {number}", f"{subnet} is too small", "set `subnet` to a /16")
    return str(network[number + 255])


def secluded_address(number: int, subnet: str) -> str:
    """The address of the node's own throw-away container `number` (1 to 252), which may answer and no more."""
    return str(IPv4Network(subnet)[number + 1])


def container_spec(spec: SiteSpec, root: str, settings: Settings, claim: Claim | None) -> ContainerSpec:
    """
    What to start for `spec`, whose dataset is mounted at `root`.

    The site is told its name and the `claim` under which it was started: an application that writes it down beside what
    it stores can prove afterwards who owned it when.
    """
    subnet = IPv4Network(settings.subnet)
    return ContainerSpec(
        site=spec.id,
        hostname=spec.name,
        root=root,
        id_base=id_base(spec, settings),
        address=address_of(spec.number, settings.subnet),
        prefix=subnet.prefixlen,
        gateway=str(subnet[1]),
        init=spec.init,
        environment={
            **spec.environment,
            "HYBRID_SITE": spec.name,
            "HYBRID_CLAIM": str(claim or ""),
            "HYBRID_GATEWAY": str(subnet[1]),
        },
        memory_bytes=spec.memory_bytes,
        cpus=spec.cpus,
        pids=spec.pids,
    )


def id_base(spec: SiteSpec, settings: Settings) -> int:
    """First uid and gid of the site's range. A clone keeps that of its origin: nothing has to be written for it."""
    return settings.id_base + IDS_PER_SITE * (spec.ids or spec.number)
