"""From a question to the sections of its answer: RFC 1034 §4.3.2. Pure."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

from hybrid_dns.dnssec import Signers, Step, own_rrset
from hybrid_dns.lookup import Match, Zones

MAX_CHAIN = 8
"""CNAMEs that are followed."""


def resolve(zones: Zones, signers: Signers, question: dns.rrset.RRset, reply: dns.message.Message) -> list[Step]:
    """
    Fill `reply` with the answer to `question`; follow CNAMEs as long as they lead to what is ours.

    Returns:
        The names it went through that are ours; none when it is refused.
    """
    name, kind = question.name, question.rdtype
    steps: list[Step] = []
    for _ in range(MAX_CHAIN):
        match = zones.find(name)
        if match is None:
            if not steps:
                reply.set_rcode(dns.rcode.REFUSED)
            break
        if zones.is_missing(match.origin):
            if not steps:
                reply.set_rcode(dns.rcode.SERVFAIL)
            break
        steps.append((name, match))
        if match.cut and not (kind == RdataType.DS and match.records):
            _refer(zones, match.cut, reply)
            break
        reply.flags |= dns.flags.AA
        if kind == RdataType.ANY and match.exists:
            reply.answer.append(dns.rrset.from_text(name, 3600, "IN", "HINFO", '"RFC8482" ""'))
            break
        rrset = zones.rrset(name, match, kind) or own_rrset(zones, signers, name, match, kind)
        alias = None if rrset else zones.rrset(name, match, RdataType.CNAME)
        if alias is None:
            _conclude(zones, match, rrset, reply)
            break
        reply.answer.append(alias)
        name = alias[0].target
    return steps


def _conclude(zones: Zones, match: Match, rrset: dns.rrset.RRset | None, reply: dns.message.Message) -> None:
    """The RRset at the end of the way, or that there is none, with the SOA that says how long to believe it."""
    if rrset is not None:
        reply.answer.append(rrset)
        if rrset.rdtype == RdataType.NS:
            reply.additional.extend(zones.glue(rrset))
        return
    reply.authority.append(zones.negative_soa(dns.name.from_text(match.origin)))
    if not match.exists:
        reply.set_rcode(dns.rcode.NXDOMAIN)


def _refer(zones: Zones, cut: str, reply: dns.message.Message) -> None:
    """Who answers below `cut` (RFC 1034 §4.2.1)."""
    servers = zones.cut_rrset(cut, "NS")
    assert servers is not None
    reply.authority.append(servers)
    reply.additional.extend(zones.glue(servers))
