"""`hybrid dns check`: what the world is told of a domain, what each of our nodes answers, and what is wrong with it."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from hybrid.cli.columns import Column
from hybrid.cli.dnscheck import Asked, Finding, Parent, findings
from hybrid.cli.exits import FAILED, USAGE, CliError
from hybrid.cli.parser import Verbs
from hybrid.cli.session import Session

TIMEOUT_S = 3.0
NODES = (
    Column("node"),
    Column("address"),
    Column("rcode", "SAYS"),
    Column("answers"),
    Column("serial", align="right"),
    Column("trouble"),
)


def add(verbs: Verbs) -> None:
    """The verb."""
    check = verbs.add("check", "what is wrong with a domain's DNS", check_domain, "hybrid dns check www.example.org")
    check.add_argument("domain", metavar="DOMAIN")
    check.add_argument("--type", default="A", type=str.upper, help="what to ask our nodes for (default: %(default)s)")
    check.add_argument(
        "--resolver", metavar="ADDRESS", help="whom to ask about the zone above (default: this machine's)"
    )
    check.add_argument("--port", type=int, default=53, help=argparse.SUPPRESS)


def check_domain(session: Session) -> int:
    """`hybrid dns check`. Exit code 1 when something is wrong."""
    options = session.options
    domain = options.domain.lower().rstrip(".")
    zone, parent, asked, found = looked_at(session, domain, options.type, options.resolver, options.port)
    if session.out.format == "table":
        session.out.items([_shown(one) for one in asked], NODES, "node")
        session.out.say(f"the zone above says: {', '.join(parent.servers) or parent.trouble or 'nothing'}")
        for one in found:
            session.out.say(f"! {one.what}\n    try: {one.try_}")
        session.out.say("" if found else f"{domain} is as it should be")
    else:
        session.out.one(
            {
                "domain": domain,
                "zone": zone,
                "parent": parent._asdict(),
                "nodes": [_shown(one) for one in asked],
                "findings": [one._asdict() for one in found],
            }
        )
    return FAILED if found else 0


class Looked(NamedTuple):
    """What was seen of a domain."""

    zone: str
    parent: Parent
    asked: list[Asked]
    findings: list[Finding]


def looked_at(session: Session, domain: str, kind: str, resolver: str | None, port: int) -> Looked:
    """Ask the zone above and each of our nodes. Raises `CliError` for a domain in no zone of the cluster."""
    zones = {zone["name"]: zone for zone in session.api.get("/v1/dns/zones")["items"]}
    names = domain.split(".")
    zone = next((zones[name] for name in (".".join(names[n:]) for n in range(len(names))) if name in zones), None)
    if zone is None:
        raise CliError(f"{domain} is in no zone of this cluster", "", f"hybrid dns zone add {domain}", USAGE)
    nodes = [node for node in session.api.get("/v1/nodes")["items"] if node["state"] == "up"]
    with ThreadPoolExecutor(max_workers=32) as pool:
        told = pool.submit(_parent, zone["name"], resolver)
        asked = list(pool.map(lambda node: _asked(node, zone["name"], domain, kind, port), nodes))
    parent = told.result()
    return Looked(zone["name"], parent, asked, findings(zone["name"], zone["servers"], zone["ds"], parent, asked))


def _shown(asked: Asked) -> dict[str, Any]:
    return {**asked._asdict(), "answers": list(asked.answers)}


def _asked(node: dict[str, Any], zone: str, domain: str, kind: str, port: int) -> Asked:
    """What a node answers."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode

    name, address = node["name"], node["address"]
    try:
        replies = []
        for wanted, type_ in ((zone, "SOA"), (domain, kind)):
            query = dns.message.make_query(wanted, type_)
            replies.append(dns.query.udp_with_fallback(query, address, TIMEOUT_S, port)[0])
    except (dns.exception.DNSException, OSError) as error:
        return Asked(name, address, str(error) or type(error).__name__)
    soa, reply = replies
    serial = soa.answer[0][0].serial if soa.answer and hasattr(soa.answer[0][0], "serial") else 0
    answers = tuple(rdata.to_text() for rrset in reply.answer for rdata in rrset)
    return Asked(name, address, "", dns.rcode.to_text(reply.rcode()), serial, answers)


def _parent(zone: str, resolver: str | None) -> Parent:
    """What the name servers of the zone above say, found by a resolver."""
    import dns.exception
    import dns.resolver

    try:
        asking = dns.resolver.Resolver(configure=resolver is None)
        if resolver is not None:
            asking.nameservers = [resolver]
        asking.lifetime = TIMEOUT_S * 2
        above = dns.resolver.zone_for_name(zone.partition(".")[2] or ".", resolver=asking, lifetime=TIMEOUT_S * 2)
        server = str(asking.resolve(above, "NS")[0])
        address = str(asking.resolve(server, "A")[0])
        return Parent("", _told(address, zone, "NS"), _told(address, zone, "DS"))
    except (dns.exception.DNSException, OSError, ValueError) as error:
        return Parent(str(error)[:200] or type(error).__name__)


def _told(address: str, zone: str, kind: str) -> tuple[str, ...]:
    """What the server of the zone above has of `kind`, in a referral or an answer."""
    import dns.message
    import dns.name
    import dns.query
    import dns.rdatatype

    query = dns.message.make_query(zone, kind, flags=0)
    reply, _ = dns.query.udp_with_fallback(query, address, TIMEOUT_S)
    name, wanted = dns.name.from_text(zone), dns.rdatatype.from_text(kind)
    kept = [rrset for rrset in (*reply.answer, *reply.authority) if rrset.name == name and rrset.rdtype == wanted]
    return tuple(sorted({rdata.to_text().rstrip(".").lower() for rrset in kept for rdata in rrset}))
