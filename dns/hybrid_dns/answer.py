"""
From the bytes of a DNS query to the bytes of its reply. Pure.

Plain queries for names that exist are answered from a table of finished replies; all else goes through dnspython.
 RFC 1035, 2308 (negative answers), 6891 (EDNS), 8482 (ANY), 3225 (DO is echoed), 4035 (signed zones).
"""

from __future__ import annotations

from collections.abc import Callable

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rrset
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from hybrid_dns.dnssec import Signers, secure
from hybrid_dns.finished import BEST, Form
from hybrid_dns.lookup import Zones
from hybrid_dns.options import ROOM, without_options
from hybrid_dns.resolve import resolve
from hybrid_dns.table import HEADER_SIZE, UDP_SIZE, Table

ELSEWHERE = b""
"""In place of a reply: only the node process can answer."""

_REFUSED_TYPES = frozenset({RdataType.AXFR, RdataType.IXFR, RdataType.MAILA, RdataType.MAILB, RdataType.OPT})


class Answers:
    """
    Answers queries from `zones`; from `None` (nothing known yet) with SERVFAIL.

    Immutable to its callers: a change of the zones is another `Answers`.
    """

    def __init__(
        self,
        zones: Zones | None,
        before: Answers | None = None,
        changed: set[str] | None = None,
        signers: Signers | None = None,
        wall_s: Callable[[], float] = float,
        form: Form = BEST,
    ) -> None:
        """
        From one state of the zones.

        Args:
            zones: That state.
            before: The answers from the state before; what still holds is taken from them.
            changed: Names whose hosts differ. `None`: more than that does.
            signers: Of the zones that are signed.
            wall_s: Seconds since the epoch, for signatures.
            form: Of the table of finished replies.
        """
        self._zones, self._signers, self._wall_s = zones, signers or {}, wall_s
        kept = before._table if before is not None and before._signers is self._signers else None
        self._table: Table = Table(zones, kept, changed, frozenset(self._signers), form)
        self.quick, self.exact = self._table.quick, self._table.exact

    def answer(self, query: bytes, stream: bool = False) -> bytes | None:
        """
        The reply to `query`, or `None` when silence is the answer (garbage, or itself a reply), or `ELSEWHERE`.

        Args:
            query: One message, without the length that goes before it on TCP.
            stream: It came by TCP: the reply may be up to 65,535 bytes.
        """
        reply = self._table.quick(query)
        if reply is None:
            plain = without_options(query)
            reply = self._table.quick(plain) if plain is not None else None
        return reply or self._slow(query, stream)

    def _slow(self, query: bytes, stream: bool) -> bytes | None:
        """Everything that is not in the table."""
        if len(query) < HEADER_SIZE or query[2] & 0x80:
            return None
        opcode = query[2] >> 3 & 15
        if _is_for_the_node(query, opcode, stream):
            return ELSEWHERE
        if opcode == dns.opcode.NOTIFY and self._zones is not None and self._zones.contents.copied:
            return ELSEWHERE
        if opcode != dns.opcode.QUERY:
            known = opcode in (dns.opcode.UPDATE, dns.opcode.NOTIFY)
            return bare(query, dns.rcode.REFUSED if known else dns.rcode.NOTIMP)
        if query[4:6] != b"\0\1" or query[2] & 0x02:
            return bare(query, dns.rcode.FORMERR)
        try:
            message = dns.message.from_wire(query)
        except dns.message.UnknownTSIGKey:
            return ELSEWHERE
        except dns.name.BadPointer:
            return None
        except (dns.exception.DNSException, ValueError):
            return bare(query, dns.rcode.FORMERR)
        return self.reply(message, stream)

    def reply(self, query: dns.message.Message, stream: bool) -> bytes:
        """The reply to a well-formed query; signed where that was."""
        return _to_wire(self._respond(query), query, stream)

    def _respond(self, query: dns.message.Message) -> dns.message.Message:
        """The reply to a well-formed query of one question."""
        question = query.question[0]
        reply = dns.message.make_response(query, our_payload=UDP_SIZE)
        if query.edns >= 0:
            reply.use_edns(0, query.ednsflags & dns.flags.DO, UDP_SIZE)
        if query.edns > 0:
            reply.set_rcode(dns.rcode.BADVERS)
        elif question.rdclass != RdataClass.IN or question.rdtype in _REFUSED_TYPES:
            reply.set_rcode(dns.rcode.REFUSED)
        elif self._zones is None:
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._resolve(self._zones, question, reply, bool(query.ednsflags & dns.flags.DO))
        return reply

    def _resolve(self, zones: Zones, question: dns.rrset.RRset, reply: dns.message.Message, wants_proof: bool) -> None:
        """Fill `reply` from `zones`."""
        steps = resolve(zones, self._signers, question, reply)
        if steps and all(match.exists and not match.wild and not match.cut for _, match in steps):
            self._remember(zones, question, any(match.origin in self._signers for _, match in steps))
        if wants_proof and self._signers:
            secure(zones, self._signers, reply, steps, self._wall_s())

    def _remember(self, zones: Zones, question: dns.rrset.RRset, is_signed: bool) -> None:
        """Put the reply to a plain query of `question` in the table (not when it would be too long for any client)."""
        plain = dns.message.QueryMessage(id=0)
        plain.flags = dns.flags.Flag(dns.flags.QR)
        plain.question.append(dns.rrset.RRset(question.name, RdataClass.IN, question.rdtype))
        resolve(zones, self._signers, question, plain)
        wire = plain.to_wire(want_shuffle=False)
        name = question.name.to_wire()
        if name is not None:
            self._table.keep(name.lower() + wire[HEADER_SIZE + len(name) :][:4], wire, is_signed)


def _is_for_the_node(query: bytes, opcode: int, stream: bool) -> bool:
    """Updates and transfers that may be signed."""
    if query[10:12] == b"\0\0" or opcode not in (dns.opcode.UPDATE, dns.opcode.QUERY):
        return False
    if opcode == dns.opcode.UPDATE:
        return True
    end = query.find(b"\0", HEADER_SIZE) + 5
    kind = int.from_bytes(query[end - 4 : end - 2], "big")
    return kind == RdataType.IXFR or (kind == RdataType.AXFR and stream)


def bare(query: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A reply of 12 bytes: what was asked is not repeated, because it was not understood or is not wanted."""
    return query[:2] + bytes([0x80 | query[2] & 0x79, int(rcode)]) + bytes(8)


def _to_wire(reply: dns.message.Message, query: dns.message.Message, stream: bool) -> bytes:
    """`reply` in as many bytes as the client takes: without additional records, or truncated, where it must be."""
    limit = 65535 if stream else min(max(512, query.payload if query.edns >= 0 else 512), UDP_SIZE)
    limit -= ROOM if query.options else 0
    try:
        return _ordered(reply, limit)
    except dns.exception.TooBig:
        reply.additional = []
    try:
        return _ordered(reply, limit)
    except dns.exception.TooBig:
        reply.answer, reply.authority = [], []
        reply.flags |= dns.flags.TC
        return _ordered(reply, limit)


def _ordered(reply: dns.message.Message, limit: int) -> bytes:
    """To the wire, records in the order of their RRset: the owner's address first."""
    return reply.to_wire(max_size=limit, want_shuffle=False)
