"""What is wrong with the DNS of a domain, by what was seen of it, and how to mend it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Asked(NamedTuple):
    """What one of our nodes answered."""

    node: str
    address: str
    trouble: str = ""
    """Why there is no answer; empty where there is one."""
    rcode: str = ""
    serial: int = 0
    answers: tuple[str, ...] = ()


class Parent(NamedTuple):
    """What the world is told by the zone above."""

    trouble: str = ""
    """Why that is not known; empty where it is."""
    servers: tuple[str, ...] = ()
    """Names without a final dot; none: there is no delegation."""
    ds: tuple[str, ...] = ()


class Finding(NamedTuple):
    """Something wrong."""

    what: str
    try_: str


def findings(
    zone: str, servers: Sequence[str], ds: Sequence[str], parent: Parent, asked: Sequence[Asked]
) -> list[Finding]:
    """
    What is wrong, the worst first; empty when nothing is.

    Args:
        zone: Where the domain is.
        servers: Its name servers, as we tell them.
        ds: The DS record that the parent is to have; empty: the zone is not signed.
        parent: What the parent has.
        asked: What our nodes answer.
    """
    return [*_of_parent(zone, servers, ds, parent), *_of_nodes(asked)]


def _of_parent(zone: str, servers: Sequence[str], ds: Sequence[str], parent: Parent) -> list[Finding]:
    wanted = ", ".join(servers)
    if parent.trouble:
        return [Finding(f"what the zone above {zone} says is not known: {parent.trouble}", "name a --resolver")]
    if not parent.servers:
        return [Finding(f"nobody is led here: {zone} is not delegated", f"set its name servers to {wanted}")]
    found = []
    if parent.ds and not ds:
        hint = f"remove the DS record at the registrar, or hybrid dns zone set {zone} --dnssec on"
        found.append(Finding(f"validating resolvers refuse {zone}: its parent says it is signed, and it is not", hint))
    elif parent.ds and not {_same(one) for one in ds} & {_same(one) for one in parent.ds}:
        hint = "set the DS record at the registrar to " + ds[0]
        found.append(Finding(f"validating resolvers refuse {zone}: its parent points to another key", hint))
    strange = [name for name in parent.servers if name not in servers]
    missing = [name for name in servers if name not in parent.servers]
    if strange:
        what = f"the world is told of name servers that are none of ours: {', '.join(strange)}"
        found.append(Finding(what, f"set the name servers of {zone} to {wanted}"))
    if missing and not strange:
        what = f"the world is not told of {', '.join(missing)}"
        found.append(Finding(what, f"add them to the name servers of {zone} at the registrar"))
    if ds and not parent.ds:
        found.append(Finding(f"{zone} is signed, and nobody can know", "give the registrar the DS record " + ds[0]))
    return found


def _same(ds: str) -> str:
    """A DS record in one way of writing."""
    parts = ds.lower().split()
    return " ".join((*parts[:3], "".join(parts[3:])))


def _of_nodes(asked: Sequence[Asked]) -> list[Finding]:
    found = [
        Finding(f"{one.node} does not answer at {one.address}: {one.trouble}", "is port 53 open to the world there?")
        for one in asked
        if one.trouble
    ]
    found += [
        Finding(f"{one.node} answers {one.rcode}", f"hybrid events, and the log of the name server on {one.node}")
        for one in asked
        if not one.trouble and one.rcode not in ("NOERROR", "NXDOMAIN")
    ]
    good = [one for one in asked if not one.trouble and one.rcode in ("NOERROR", "NXDOMAIN")]
    if len({(one.rcode, tuple(sorted(one.answers))) for one in good}) > 1:
        found.append(Finding("the nodes answer differently", "a change is on its way: try again in a few seconds"))
    elif len({one.serial for one in good}) > 1:
        found.append(Finding("the nodes have different serials", "a change is on its way: try again in a few seconds"))
    return found
