"""Zones copied from somebody else's primary, without sockets: when it is asked, what is taken, what is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.zone
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock, StringTransport

from hybrid.dns_deeds import NewKey, ZoneChanges
from hybrid.errors import BadRecord, Conflict, ManagedRecord
from hybrid.model import NodeId
from hybrid.view import View
from hybrid_dns import book, copies
from hybrid_dns.answer import ELSEWHERE, Answers
from hybrid_dns.authority import Authority
from hybrid_dns.copies import CHECKED, NOTIFIED, Checked, Copy, Tries, Unfit, due_s
from hybrid_dns.copying import TELL_EVERY_S, Copying
from hybrid_dns.lookup import Zones
from hybrid_dns.records import COPY
from hybrid_dns.zone import contents
from tests.dns.world import Map, World

MakeView = Callable[..., View]
ZONE = "theirs.example"
PLACE = "192.0.2.53"
TEXT = f"""
$ORIGIN {ZONE}.
@ 3600 SOA a.ns root {{serial}} 1000 100 5000 60
@ 600 NS a.ns
a.ns 600 A 192.0.2.53
www 60 A 192.0.2.{{last}}
*.wild 60 TXT "w"
sub 600 NS ns.sub
ns.sub 600 A 192.0.2.54
old 60 CNAME www
"""


def zone_of(serial: int, text: str = TEXT) -> dns.zone.Zone:
    """The primary's zone."""
    return dns.zone.from_text(text.format(serial=serial, last=serial % 250), f"{ZONE}.", relativize=False)


def value_of(zone: dns.zone.Zone) -> str:
    """As it stands in the shared map."""
    steps = copies.packed(zone)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return cast(str, end.value)


def copy_of(serial: int = 1) -> Copy:
    """A copy."""
    found = copies.read(ZONE, value_of(zone_of(serial)))
    assert found is not None
    return found


class Primary:
    """Somebody's name server, as a function from query to replies; and a cluster's node that copies from it."""

    def __init__(self, view: View, shared: Map | None = None, *, key: str = "") -> None:
        self.world = World(view, shared)
        self.reactor = MemoryReactorClock()
        self.serial, self.asked, self.is_away = 1, list[str](), False
        self.reply: Callable[[dns.message.Message], Iterable[bytes]] = self.replies
        self.copying = Copying(
            cast(Any, self.reactor),
            self.world.shared,
            self.world.registry,
            lambda: self.world.keys.opened()[1],
            lambda: self.world.now_s,
        )
        if shared is None:
            self.world.registry.create(ZONE)
            self.world.registry.change(ZONE, ZoneChanges(primaries=(PLACE,), key=key))

    def replies(self, query: dns.message.Message) -> Iterable[bytes]:
        """SOA, and the zone whole."""
        zone, kind = zone_of(self.serial), query.question[0].rdtype
        self.asked.append(dns.rdatatype.to_text(kind))
        if kind == dns.rdatatype.IXFR:
            reply = dns.message.make_response(query)
            reply.set_rcode(dns.rcode.NOTIMP)
            yield reply.to_wire()
            return
        soa = zone.find_rrset(f"{ZONE}.", "SOA")
        rest = []
        for name, found in zone.iterate_rdatasets():
            if found.rdtype != dns.rdatatype.SOA:
                rest.append(dns.rrset.from_rdata_list(name, found.ttl, list(found)))
        reply = dns.message.make_response(query)
        reply.answer = [soa] if kind == dns.rdatatype.SOA else [soa, *rest, soa]
        yield reply.to_wire()

    def look(self, later_s: float = 0.0) -> None:
        """So much later: what is due is asked, and answered."""
        self.world.now_s += later_s
        self.reactor.advance(later_s)
        self.world.registry.look()
        self.copying.look()
        while self.reactor.tcpClients:
            self._converse(self.reactor.tcpClients.pop(0))

    def _converse(self, client: Any) -> None:
        factory, transport = client[2], StringTransport()
        if self.is_away:
            factory.clientConnectionFailed(None, ConnectionRefusedError("away"))
            return
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(transport)
        while data := transport.value():
            transport.clear()
            query = dns.message.from_wire(data[2:], keyring=self.world.keys.opened()[1])
            for wire in self.reply(query):
                protocol.dataReceived(len(wire).to_bytes(2, "big") + wire)
            self.reactor.advance(0)
            self.reactor.advance(0)

    def ask(self, name: str, kind: str) -> dns.message.Message:
        """What name servers of the cluster say."""
        return self.world.ask(name, kind)


@pytest.fixture
def primary(make_view: MakeView) -> Primary:
    """Not asked yet."""
    return Primary(make_view())


def test_a_copy_is_answered_as_its_primary_has_it(primary: Primary) -> None:
    """SOA, NS, wildcards, aliases, delegations; "no" is believed as long as it says."""
    assert primary.ask(f"www.{ZONE}", "A").rcode() == dns.rcode.SERVFAIL
    primary.look()
    soa = primary.ask(ZONE, "SOA").answer[0]
    assert (soa.ttl, soa[0].to_text().split()[2]) == (3600, "1")
    assert primary.world.texts(ZONE, "NS") == [f"a.ns.{ZONE}."]
    assert primary.world.texts(f"www.{ZONE}", "A") == ["192.0.2.1"]
    assert primary.world.texts(f"old.{ZONE}", "A") == [f"www.{ZONE}.", "192.0.2.1"]
    assert primary.world.texts(f"x.wild.{ZONE}", "TXT") == ['"w"']
    referral = primary.ask(f"x.sub.{ZONE}", "A")
    assert not referral.flags & dns.flags.AA and referral.authority[0].rdtype == dns.rdatatype.NS
    no = primary.ask(f"no.{ZONE}", "A")
    assert no.rcode() == dns.rcode.NXDOMAIN and no.authority[0].ttl == 60
    shown = primary.world.registry.zone(ZONE)
    assert (shown.kind, shown.serial, shown.servers) == ("copy", 1, (f"a.ns.{ZONE}",))
    assert shown.heard_s == primary.world.now_s and not shown.trouble


def test_it_is_asked_again_by_its_timers(primary: Primary) -> None:
    """After refresh; a new serial is copied, an old or equal one is not."""
    primary.look()
    assert primary.asked == ["SOA", "AXFR"]
    primary.look(999)
    assert primary.asked == ["SOA", "AXFR"]
    primary.look(1)
    assert primary.asked[2:] == ["SOA"]
    primary.serial = 2
    primary.look(1000)
    assert primary.asked[3:] == ["SOA", "IXFR", "AXFR"]
    assert primary.world.texts(f"www.{ZONE}", "A") == ["192.0.2.2"]
    primary.serial = 1
    primary.look(1000)
    assert primary.asked[6:] == ["SOA"] and primary.world.registry.zone(ZONE).serial == 2


def test_a_primary_that_is_away_is_tried_again(primary: Primary) -> None:
    """After retry, then expire: what is too old is not given, and what comes back is."""
    primary.look()
    primary.is_away = True
    primary.look(1000)
    assert "away" in primary.world.registry.zone(ZONE).trouble
    primary.is_away, asked = False, len(primary.asked)
    primary.look(99)
    assert len(primary.asked) == asked
    primary.is_away = True
    for _ in range(19):
        primary.look(199)
    assert primary.world.registry.zone(ZONE).serial == 1
    primary.look(200)
    answers = Answers(Zones(contents(primary.world.view, book.read(primary.world.registry.told())), 1))
    reply = answers.answer(dns.message.make_query(f"www.{ZONE}", "A").to_wire())
    assert reply is not None and reply[3] & 15 == dns.rcode.SERVFAIL
    primary.is_away = False
    primary.look(200)
    assert primary.world.texts(f"www.{ZONE}", "A") == ["192.0.2.1"] and not primary.world.registry.zone(ZONE).trouble


def test_any_node_goes_on_from_where_the_last_one_was(make_view: MakeView) -> None:
    """One node asks; another knows what came, and asks when that is due, not before."""
    view = make_view()
    first = Primary(view)
    first.look()
    second = Primary(msgspec.structs.replace(view, me=NodeId("n-n2")), first.world.shared)
    second.look(5000)
    assert second.asked == [] and second.world.texts(f"www.{ZONE}", "A") == ["192.0.2.1"]
    led = make_view(dead=frozenset({"n1"}))
    second.world.view, second.world.now_s = msgspec.structs.replace(led, me=NodeId("n-n2")), first.world.now_s
    second.look(999)
    assert second.asked == []
    second.look(1)
    assert second.asked == ["SOA"]


def notify(zone: str = ZONE) -> bytes:
    """As a primary sends it."""
    message = dns.message.make_query(zone, "SOA")
    message.set_opcode(dns.opcode.NOTIFY)
    message.flags |= dns.flags.AA
    return message.to_wire()


def said(primary: Primary, message: bytes, source: str) -> int:
    """The code with which a NOTIFY is answered."""
    authority = Authority(
        primary.world.registry, primary.world.keys.opened, lambda text: None, primary.copying.notified
    )
    (reply,) = authority.answer(message, source, False)
    assert reply[2] & 0x80
    return reply[3] & 15


def test_a_primary_tells_of_changes(primary: Primary) -> None:
    """NOTIFY from its address, to any node; once for many, and not from anybody else, nor for other zones."""
    primary.look()
    primary.serial = 2
    assert said(primary, notify(), "198.51.100.1") == dns.rcode.REFUSED
    assert said(primary, notify("own.example"), PLACE) == dns.rcode.NOTAUTH
    primary.look(10)
    assert len(primary.asked) == 2
    assert [said(primary, notify(), PLACE) for _ in range(5)] == [dns.rcode.NOERROR] * 5
    primary.look(1)
    assert primary.asked[2] == "SOA" and primary.world.registry.zone(ZONE).serial == 2
    primary.look(TELL_EVERY_S)
    primary.look(1)
    asked = len(primary.asked)
    primary.look(10)
    assert len(primary.asked) == asked


def test_another_node_is_told(make_view: MakeView) -> None:
    """A NOTIFY to a node that does not ask reaches the one that does, whatever their clocks say."""
    view = make_view()
    leader = Primary(view)
    leader.look()
    other = Primary(msgspec.structs.replace(view, me=NodeId("n-n2")), leader.world.shared)
    other.world.now_s -= 1000
    leader.serial = 2
    assert said(other, notify(), PLACE) == dns.rcode.NOERROR
    assert other.asked == []
    leader.look(2)
    assert leader.world.registry.zone(ZONE).serial == 2


def test_name_servers_pass_on_what_primaries_tell(primary: Primary) -> None:
    """Only where there are copies; elsewhere it is refused at once."""
    told = book.read(primary.world.shared.values)
    assert Answers(Zones(contents(primary.world.view, told), 1)).answer(notify()) == ELSEWHERE
    reply = Answers(Zones(contents(primary.world.view), 1)).answer(notify())
    assert reply is not None and reply[3] & 15 == dns.rcode.REFUSED


def test_transfers_are_signed_where_a_key_is_named(make_view: MakeView) -> None:
    """What is not signed is not taken; without the key nobody is asked."""
    primary = Primary(make_view(), key="key.test")
    primary.look()
    assert primary.asked == [] and "no key" in primary.world.registry.zone(ZONE).trouble
    primary.world.keys.add(NewKey(name="key.test"))
    primary.reply = lambda query: _unsigned(primary.replies(query))
    primary.look(600)
    assert primary.asked == ["SOA"] and "requires a TSIG" in primary.world.registry.zone(ZONE).trouble
    primary.reply = primary.replies
    primary.look(600)
    assert primary.world.texts(f"www.{ZONE}", "A") == ["192.0.2.1"]


def _unsigned(wires: Iterable[bytes]) -> Iterable[bytes]:
    for wire in wires:
        message = dns.message.from_wire(wire, continue_on_error=True, keyring=False)
        plain = dns.message.QueryMessage(id=message.id)
        plain.flags, plain.question, plain.answer = message.flags, message.question, message.answer
        yield plain.to_wire()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (lambda query: [dns.message.make_response(query).to_wire()], "no such zone"),
        (lambda query: [b"garbage"], ""),
        (lambda query: [bytes(12)], ""),
        (lambda query: [], ""),
    ],
)
def test_what_is_no_zone_is_not_taken(primary: Primary, reply: Any, why: str) -> None:
    """No zone, garbage, silence: what there was stays, and it says why."""
    primary.look()
    primary.reply = reply
    primary.look(1000)
    primary.look(20)
    shown = primary.world.registry.zone(ZONE)
    assert shown.serial == 1 and why in shown.trouble and shown.trouble


def test_a_signed_or_huge_zone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy without its proofs would be bogus to resolvers."""
    signed = TEXT + "www 60 RRSIG A 13 3 60 20300101000000 20200101000000 1 theirs.example. AAAA\n"
    with pytest.raises(Unfit, match="signed"):
        value_of(zone_of(1, signed))
    monkeypatch.setattr(copies, "MAX_SETS", 3)
    with pytest.raises(Unfit, match="more than 3"):
        value_of(zone_of(1))


@pytest.mark.parametrize("value", ["", "x", "AAAA", value_of(zone_of(1))[:-8], value_of(zone_of(1)).swapcase()])
def test_what_cannot_be_read_is_nothing(value: str) -> None:
    """A broken value of the shared map is a zone that is not known yet."""
    assert copies.read(ZONE, value) is None
    assert copies.read("other.example", value_of(zone_of(1))) is None


def test_a_copy_has_nothing_of_ours(primary: Primary) -> None:
    """No edits, no updates, no signing; a site's domain in it is the primary's."""
    registry = primary.world.registry
    primary.look()
    with pytest.raises(ManagedRecord, match="cannot be changed"):
        primary.world.set(ZONE, "www", "A", "192.0.2.9")
    with pytest.raises(Conflict):
        registry.change(ZONE, ZoneChanges(dnssec="on"))
    with pytest.raises(ManagedRecord):
        registry.change("hybrid.test", ZoneChanges(primaries=(PLACE,)))
    registry.create("own.example")
    primary.world.set("own.example", "@", "TXT", '"x"')
    with pytest.raises(Conflict, match="records of its own"):
        registry.change("own.example", ZoneChanges(primaries=(PLACE,)))
    for wrong in (("nonsense",), ("192.0.2.1:0",)):
        with pytest.raises(BadRecord):
            registry.change(ZONE, ZoneChanges(primaries=wrong))
    assert all(one.managed for one in registry.records(ZONE))


def test_a_domain_of_a_site_in_a_copy_is_the_primarys(make_view: MakeView) -> None:
    """Secondaries say what the primary says, whatever sites there are here."""
    primary = Primary(make_view(domains=(f"blog.{ZONE}", f"www.{ZONE}")))
    primary.look()
    assert primary.ask(f"blog.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN
    assert primary.world.texts(f"www.{ZONE}", "A") == ["192.0.2.1"]


def test_what_is_removed_is_gone(primary: Primary) -> None:
    """The zone, or its primary: nothing of the copy stays in the shared map."""
    primary.look()
    assert said(primary, notify(), PLACE) == dns.rcode.NOERROR
    primary.world.registry.change(ZONE, ZoneChanges(primaries=()))
    left = [key for key in primary.world.shared.values if key.startswith((COPY, CHECKED, NOTIFIED))]
    assert left == [] and primary.world.registry.zone(ZONE).kind == "own"
    primary.world.registry.change(ZONE, ZoneChanges(primaries=(PLACE,)))
    primary.look(600)
    primary.world.registry.remove(ZONE)
    assert not any(ZONE in key for key in primary.world.shared.values)


@given(st.floats(0, 1e9), st.integers(0, 40), st.booleans(), st.booleans())
def test_a_primary_is_never_asked_without_end(at_s: float, failures: int, has_copy: bool, is_told: bool) -> None:
    """After any try there is a while, whatever the primary says its timers are."""
    copy = copy_of() if has_copy else None
    tries = Tries(at_s, failures + 1, "told" if is_told else "")
    assert due_s(copy, Checked(0.0), "told" if is_told else "", tries) >= at_s + copies.LEAST_S
