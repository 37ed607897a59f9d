"""Signed zones: every signature holds, every "no" is proven, and all nodes sign alike."""

from __future__ import annotations

from collections.abc import Callable

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.node
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.dns_deeds import ZoneChanges
from hybrid.errors import Conflict
from hybrid.view import View
from hybrid_dns import book, zonekeys
from hybrid_dns.answer import Answers
from hybrid_dns.dnssec import DAY_S, ZoneSigner, _around
from hybrid_dns.lookup import Zones
from hybrid_dns.zone import contents
from tests.dns.world import World

MakeView = Callable[..., View]
ORIGIN = "own.example"


class Signed(World):
    """A world whose zone `own.example` is signed."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.registry.create(ORIGIN)
        for name, kind, text in (
            ("www", "A", "192.0.2.1"),
            ("c", "CNAME", "www.own.example."),
            ("far", "CNAME", "blog.hybrid.test."),
            ("a.deep", "TXT", '"x"'),
            ("*.wild", "A", "192.0.2.9"),
            ("sub", "NS", "ns.elsewhere.org."),
            ("safe", "NS", "ns.elsewhere.org."),
            ("safe", "DS", "1 13 2 " + "00" * 32),
        ):
            self.set(ORIGIN, name, kind, text)
        self.turn("on")

    def turn(self, what: str) -> None:
        """Change DNSSEC of the zone."""
        self.registry.change(ORIGIN, ZoneChanges(dnssec=what))  # type: ignore[arg-type]  # one of them

    def answers(self) -> Answers:
        """Of a name server that knows all."""
        told = self.registry.told()
        signers = {
            key.removeprefix(zonekeys.TOLD): ZoneSigner(key.removeprefix(zonekeys.TOLD), zonekeys.read(text))
            for key, text in told.items()
            if key.startswith(zonekeys.TOLD)
        }
        zones = Zones(contents(self.view, book.read(told)), 7)
        return Answers(zones, signers=signers, wall_s=lambda: self.now_s)

    def query(self, name: str, kind: str, wants_proof: bool = True) -> dns.message.Message:
        """The reply to who asks for proof, every signature in it checked."""
        answers = self.answers()
        wire = dns.message.make_query(name, kind, want_dnssec=wants_proof).to_wire()
        first, second = answers.answer(wire, True), answers.answer(wire, True)
        assert first is not None and first == second
        reply = dns.message.from_wire(first)
        keys: dict[dns.name.Name, dns.node.Node | dns.rdataset.Rdataset] = {}
        if self.signing.zones():
            keys[dns.name.from_text(ORIGIN)] = self.keys_of(answers)
        for section in (reply.answer, reply.authority):
            signatures = {(one.name, one.covers): one for one in section if one.rdtype == dns.rdatatype.RRSIG}
            for rrset in section:
                if (rrset.name, rrset.rdtype) in signatures:
                    dns.dnssec.validate(rrset, signatures[rrset.name, rrset.rdtype], keys, now=self.now_s)
                elif rrset.rdtype != dns.rdatatype.RRSIG and wants_proof:
                    is_cut = rrset.rdtype == dns.rdatatype.NS and section is reply.authority
                    assert is_cut or not rrset.name.is_subdomain(dns.name.from_text(ORIGIN))
        return reply

    def keys_of(self, answers: Answers) -> dns.rrset.RRset:
        """The DNSKEY RRset."""
        wire = answers.answer(dns.message.make_query(ORIGIN, "DNSKEY").to_wire(), True)
        assert wire is not None
        return dns.message.from_wire(wire).answer[0]


@pytest.fixture
def signed(make_view: MakeView) -> Signed:
    """As it is without trouble."""
    return Signed(make_view())


def nsecs(reply: dns.message.Message) -> list[dns.rrset.RRset]:
    """The proofs in a reply."""
    return [rrset for rrset in reply.authority if rrset.rdtype == dns.rdatatype.NSEC]


def covers(nsec: dns.rrset.RRset, name: str) -> bool:
    """Whether it says that there is no `name`."""
    full = dns.name.from_text(name)
    return nsec.name < full < nsec[0].next and not nsec[0].next.is_subdomain(full)


def types(nsec: dns.rrset.RRset) -> set[str]:
    """What it says there is."""
    return set(nsec[0].to_text().split()[1:])


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("www.own.example", "A", 1),
        ("c.own.example", "A", 2),
        ("far.own.example", "A", 2),
        ("own.example", "SOA", 1),
        ("own.example", "NS", 1),
        ("own.example", "DNSKEY", 1),
        ("own.example", "CDS", 1),
        ("own.example", "CDNSKEY", 1),
        ("www.own.example", "NSEC", 1),
        ("www.own.example", "ANY", 1),
        ("safe.own.example", "DS", 1),
        ("x.wild.own.example", "A", 1),
    ],
)
def test_answers_are_signed(signed: Signed, name: str, kind: str, count: int) -> None:
    """Each RRset of the zone, and nothing for who does not ask for proof."""
    reply = signed.query(name, kind)
    plain = [rrset for rrset in reply.answer if rrset.rdtype != dns.rdatatype.RRSIG]
    assert len(plain) == count and len(reply.answer) > count
    unsigned = signed.query(name, kind, wants_proof=False)
    assert all(rrset.rdtype != dns.rdatatype.RRSIG for rrset in (*unsigned.answer, *unsigned.authority))
    assert not nsecs(unsigned)


def test_what_does_not_exist_is_proven_not_to(signed: Signed) -> None:
    """Neither the name nor a wildcard that would answer for it, and nothing else is given away (RFC 4470)."""
    for name, closer, wild in (
        ("none.own.example", "none.own.example", "*.own.example"),
        ("a.b.none.own.example", "none.own.example", "*.own.example"),
        ("none.deep.own.example", "none.deep.own.example", "*.deep.own.example"),
    ):
        reply = signed.query(name, "A")
        assert reply.rcode() == dns.rcode.NXDOMAIN
        proofs = nsecs(reply)
        assert any(covers(one, closer) for one in proofs) and any(covers(one, wild) for one in proofs)
        for real in ("www.own.example", "c.own.example", "deep.own.example", "wild.own.example"):
            assert not any(covers(one, real) for one in proofs)


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("www.own.example", {"A", "RRSIG", "NSEC"}),
        ("deep.own.example", {"RRSIG", "NSEC"}),
        ("own.example", {"SOA", "NS", "DNSKEY", "CDS", "CDNSKEY", "RRSIG", "NSEC"}),
    ],
)
def test_what_a_name_lacks_is_proven(signed: Signed, name: str, has: set[str]) -> None:
    """By what it has."""
    reply = signed.query(name, "MX")
    (proof,) = nsecs(reply)
    assert (reply.rcode(), proof.name.to_text(), types(proof)) == (dns.rcode.NOERROR, f"{name}.", has)


def test_a_wildcard_is_proven_to_be_needed(signed: Signed) -> None:
    """The signature tells that it is one, a proof that the name itself is not there."""
    reply = signed.query("x.y.wild.own.example", "A")
    (signature,) = [rrset[0] for rrset in reply.answer if rrset.rdtype == dns.rdatatype.RRSIG]
    assert signature.labels == 3
    assert any(covers(one, "y.wild.own.example") for one in nsecs(reply))
    lacking = signed.query("x.wild.own.example", "MX")
    assert any("A" in types(one) and one.name.to_text() == "*.wild.own.example." for one in nsecs(lacking))


def test_a_delegation_says_whether_it_is_secure(signed: Signed) -> None:
    """With its DS records, or a proof that there are none."""
    (proof,) = nsecs(signed.query("x.sub.own.example", "A"))
    assert types(proof) == {"NS", "RRSIG", "NSEC"}
    secure = signed.query("x.safe.own.example", "A")
    assert [rrset for rrset in secure.authority if rrset.rdtype == dns.rdatatype.DS] and not nsecs(secure)
    (proof,) = nsecs(signed.query("sub.own.example", "DS"))
    assert types(proof) == {"NS", "RRSIG", "NSEC"}


def test_all_nodes_give_the_same_bytes(signed: Signed) -> None:
    """Whichever answers, at whatever time of a day; the signatures are good for days."""
    wire = dns.message.make_query("www.own.example", "A", want_dnssec=True, id=1).to_wire()
    midnight_s = signed.now_s // DAY_S * DAY_S
    seen = set()
    for later_s in (0, 3600, DAY_S - 1):
        signed.now_s = midnight_s + later_s
        seen.add(signed.answers().answer(wire))
    assert len(seen) == 1
    signed.now_s = midnight_s + DAY_S
    assert signed.answers().answer(wire) not in seen


def test_a_key_is_replaced_without_a_gap(signed: Signed) -> None:
    """Both sign while the parent changes its DS record; each order but the right one is refused."""
    first = signed.registry.zone(ORIGIN).ds
    with pytest.raises(Conflict):
        signed.turn("finish")
    signed.turn("roll")
    second = signed.registry.zone(ORIGIN).ds
    assert len(first) == len(second) == 1 and first != second
    reply = signed.query("www.own.example", "A")
    assert len(reply.answer[1]) == 2 and len(signed.keys_of(signed.answers())) == 2
    assert signed.query(ORIGIN, "CDS").answer[0][0].to_text() == second[0]
    for wrong in ("roll", "on"):
        with pytest.raises(Conflict):
            signed.turn(wrong)
    signed.turn("finish")
    assert signed.registry.zone(ORIGIN).ds == second
    signed.turn("off")
    assert signed.registry.zone(ORIGIN).ds == () and len(signed.query("www.own.example", "A", False).answer) == 1
    with pytest.raises(Conflict):
        signed.turn("off")


def test_keys_leave_the_node_process_only_for_its_name_servers(signed: Signed) -> None:
    """In the shared map they are sealed, and go with their zone."""
    (told,) = [text for key, text in signed.registry.told().items() if key.startswith(zonekeys.TOLD)]
    assert not any(told[2:40] in value for value in signed.shared.values.values())
    signed.registry.remove(ORIGIN)
    assert not signed.shared.prefix(zonekeys.KEY)


@given(st.binary(min_size=1, max_size=60))
def test_a_proof_lies_around_its_name(label: bytes) -> None:
    """Whatever bytes a name has: before it, after it, and not so that it seems to be there."""
    name = dns.name.Name((label, b"own", b"example", b"")).canonicalize()
    proof = _around(name, ())
    following = proof[0].next
    assert proof.name < name < following
    assert not following.is_subdomain(name)
    assert dns.name.Name((b"x", *name.labels)) < following
