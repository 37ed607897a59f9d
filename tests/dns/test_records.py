"""People's own records: what is taken, what is refused and why, and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.dns_deeds import Edit
from hybrid.errors import BadRecord, Conflict, ManagedRecord, NoSuchZone
from hybrid.view import View
from hybrid_dns import records
from tests.dns.world import World

MakeView = Callable[..., View]


@pytest.fixture
def world(make_view: MakeView) -> World:
    """With the zone `own.example`, beside `hybrid.test` and the site's `shop.example`."""
    made = World(make_view())
    made.registry.create("own.example")
    return made


@pytest.mark.parametrize(
    ("zone", "name", "kind", "text", "owner"),
    [
        ("own.example", "@", "MX", "10 mail.own.example.", "own.example"),
        ("own.example", "mail", "A", "192.0.2.1", "mail.own.example"),
        ("own.example", "mail.own.example.", "AAAA", "2001:db8::1", "mail.own.example"),
        ("own.example", "_dmarc", "TXT", '"v=DMARC1; p=none"', "_dmarc.own.example"),
        ("own.example", "_sip._tcp", "SRV", "0 5 5060 sip.own.example.", "_sip._tcp.own.example"),
        ("own.example", "@", "CAA", '0 issue "letsencrypt.org"', "own.example"),
        ("own.example", "odd", "TYPE65280", "\\# 2 abcd", "odd.own.example"),
        ("shop.example", "@", "MX", "10 mail.own.example.", "shop.example"),
        ("shop.example", "@", "TXT", '"v=spf1 mx -all"', "shop.example"),
        ("hybrid.test", "blog", "TXT", '"beside the site"', "blog.hybrid.test"),
    ],
)
def test_records_of_every_kind_are_answered(
    world: World, zone: str, name: str, kind: str, text: str, owner: str
) -> None:
    """Mail, policies, services, unknown types; also beside what a site has, in each kind of zone."""
    world.set(zone, name, kind, text)
    assert world.texts(owner, kind) == [text]
    assert [one.records for one in world.registry.records(zone) if (one.name, one.type) == (owner, kind)] == [(text,)]


def test_what_the_site_has_stays(world: World) -> None:
    """A record beside a site's domain changes nothing of where that leads."""
    world.set("shop.example", "@", "TXT", '"x"')
    assert world.texts("shop.example", "A") == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]


@pytest.mark.parametrize(
    ("zone", "name", "kind", "text", "why"),
    [
        ("shop.example", "@", "A", "192.0.2.1", "domain of a site"),
        ("hybrid.test", "blog", "AAAA", "2001:db8::1", "domain of a site"),
        ("hybrid.test", "blog", "CNAME", "elsewhere.org.", "domain of a site"),
        ("hybrid.test", "ns1", "A", "192.0.2.1", "server of the cluster"),
        ("hybrid.test", "n1.nodes", "TXT", '"x"', "server of the cluster"),
        ("own.example", "@", "NS", "ns.elsewhere.org.", "name servers"),
        ("own.example", "@", "SOA", "a. b. 1 2 3 4 5", "name servers"),
        ("own.example", "@", "DNSKEY", "257 3 13 AAAA", "signatures"),
    ],
)
def test_what_the_platform_keeps_is_refused(world: World, zone: str, name: str, kind: str, text: str, why: str) -> None:
    """With the reason, and nothing is changed."""
    before = dict(world.shared.values)
    with pytest.raises(ManagedRecord, match=why):
        world.set(zone, name, kind, text)
    assert world.shared.values == before


@pytest.mark.parametrize(
    ("name", "kind", "texts"),
    [
        ("@", "CNAME", ("elsewhere.org.",)),
        ("www", "CNAME", ("a.org.", "b.org.")),
        ("taken", "CNAME", ("a.org.",)),
        ("alias", "A", ("192.0.2.1",)),
        ("www", "A", ("192.0.2.300",)),
        ("www", "MX", ("mail.own.example.",)),
        ("www", "NOTYPE", ("x",)),
        ("www", "ANY", ("x",)),
        ("www", "AXFR", ("x",)),
        ("www", "OPT", ("x",)),
        ("x" * 64, "A", ("192.0.2.1",)),
        ("a..b", "A", ("192.0.2.1",)),
        ("elsewhere.org.", "A", ("192.0.2.1",)),
        ("a b", "A", ("192.0.2.1",)),
        ("a\\.b", "A", ("192.0.2.1",)),
        ("many", "A", tuple(f"10.0.{n}.1" for n in range(101))),
        ("long", "TXT", ('"' + "x" * 256 + '"',)),
    ],
)
def test_what_cannot_be_is_refused(world: World, name: str, kind: str, texts: tuple[str, ...]) -> None:
    """CNAMEs stand alone and not at the top; names, types and data are what they can be. All or nothing."""
    world.set("own.example", "taken", "A", "192.0.2.1")
    world.set("own.example", "alias", "CNAME", "elsewhere.org.")
    before = dict(world.shared.values)
    fine = Edit(name="fine", type="A", records=("192.0.2.1",))
    with pytest.raises(BadRecord):
        world.registry.edit("own.example", [fine, Edit(name=name, type=kind, records=texts)])
    assert world.shared.values == before


@pytest.mark.parametrize("ttl_s", [-1, 604801])
def test_a_ttl_has_bounds(world: World, ttl_s: int) -> None:
    """Longer than a week is a mistake."""
    with pytest.raises(BadRecord):
        world.set("own.example", "a", "A", "192.0.2.1", ttl_s=ttl_s)


def test_records_are_added_removed_and_replaced(world: World) -> None:
    """Equal ones, however they are written, are one; the last to go takes the RRset with it."""
    registry = world.registry

    def edit(do: str, *texts: str) -> int:
        return registry.edit("own.example", [Edit(name="a", type="AAAA", records=texts, do=do)])  # type: ignore[arg-type]  # one of them

    assert edit("add", "2001:db8::1") == edit("add", "2001:DB8:0::2", "2001:db8::1") == 1
    assert edit("add", "2001:db8:0:0::1") == 0
    assert world.texts("a.own.example", "AAAA") == ["2001:db8::1", "2001:db8::2"]
    assert edit("remove", "2001:db8::1") == 1
    assert edit("replace", "2001:db8::3") == 1
    assert world.texts("a.own.example", "AAAA") == ["2001:db8::3"]
    assert edit("replace") == 1
    assert world.ask("a.own.example", "AAAA").rcode() == dns.rcode.NXDOMAIN


def test_a_cname_is_followed_as_far_as_it_is_ours(world: World) -> None:
    """Into other zones and to a site; what is elsewhere is for the resolver; loops end."""
    world.set("own.example", "www", "CNAME", "shop.example.")
    world.set("own.example", "far", "CNAME", "elsewhere.org.")
    world.set("own.example", "none", "CNAME", "no.own.example.")
    world.set("own.example", "loop", "CNAME", "pool.own.example.")
    world.set("own.example", "pool", "CNAME", "loop.own.example.")
    assert world.texts("www.own.example", "A") == ["shop.example.", "10.0.0.1", "10.0.0.3", "10.0.0.2"]
    assert world.texts("www.own.example", "CNAME") == ["shop.example."]
    far = world.ask("far.own.example", "A")
    assert (far.rcode(), len(far.answer), far.authority) == (dns.rcode.NOERROR, 1, [])
    none = world.ask("none.own.example", "A")
    assert (none.rcode(), len(none.answer), len(none.authority)) == (dns.rcode.NXDOMAIN, 1, 1)
    assert len(world.ask("loop.own.example", "A").answer) <= 8


def test_a_wildcard_answers_for_what_is_not_there(world: World) -> None:
    """Only for names that do not exist, not below ones that do, and for the types it has (RFC 4592)."""
    world.set("own.example", "*", "A", "192.0.2.9")
    world.set("own.example", "real", "TXT", '"x"')
    assert world.texts("any.own.example", "A") == world.texts("a.b.own.example", "A") == ["192.0.2.9"]
    assert world.ask("any.own.example", "A").answer[0].name.to_text() == "any.own.example."
    assert world.ask("any.own.example", "MX").rcode() == dns.rcode.NOERROR
    assert world.texts("real.own.example", "A") == []
    assert world.ask("below.real.own.example", "A").rcode() == dns.rcode.NXDOMAIN


def test_names_below_a_delegation_are_others(world: World) -> None:
    """A sub-name given to other name servers: they are named, with their addresses, and not as our own word."""
    world.set("own.example", "sub", "NS", "ns.sub.own.example.")
    world.set("own.example", "ns.sub", "A", "192.0.2.53")
    world.set("own.example", "sub", "DS", "1 13 2 " + "00" * 32)
    for name in ("sub.own.example", "deep.sub.own.example"):
        reply = world.ask(name, "A")
        assert not reply.flags & dns.flags.AA and not reply.answer
        assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.NS]
        assert [rdata.to_text() for rrset in reply.additional for rdata in rrset] == ["192.0.2.53"]
    assert world.ask("sub.own.example", "DS").flags & dns.flags.AA
    assert "ns.sub.own.example" in {one.name for one in world.registry.records("own.example")}


def test_zones_are_made_and_removed(world: World) -> None:
    """With their records; the cluster's own and those of sites stay."""
    kinds = {zone.name: zone.kind for zone in world.registry.zones()}
    assert kinds == {"hybrid.test": "cluster", "own.example": "own", "shop.example": "site"}
    world.set("own.example", "a", "A", "192.0.2.1")
    for taken in ("own.example", "OWN.example.", "hybrid.test"):
        with pytest.raises(Conflict):
            world.registry.create(taken)
    for bad in ("com", "*.example", "a..b", ""):
        with pytest.raises(BadRecord):
            world.registry.create(bad)
    for kept in ("hybrid.test", "shop.example"):
        with pytest.raises(ManagedRecord):
            world.registry.remove(kept)
    world.registry.remove("own.example")
    assert world.shared.values == {} and world.ask("a.own.example", "A").rcode() == dns.rcode.REFUSED
    with pytest.raises(NoSuchZone):
        world.registry.remove("own.example")


def test_a_zone_below_a_zone_has_its_names(world: World) -> None:
    """Records are made in the deepest zone that contains their name."""
    world.registry.create("sub.own.example")
    with pytest.raises(BadRecord, match=r"sub\.own\.example"):
        world.set("own.example", "a.sub", "A", "192.0.2.1")
    world.set("sub.own.example", "a", "A", "192.0.2.1")
    assert world.texts("a.sub.own.example", "A") == ["192.0.2.1"]


def test_edits_on_two_sides_of_a_partition_leave_something_that_can_be_answered(world: World) -> None:
    """A CNAME on one side, another record on the other, a site's domain later: the CNAME gives way."""
    for name, kind, text in (
        ("both", "CNAME", "a.org."),
        ("both", "A", "192.0.2.1"),
        ("own.example", "NS", "a.org."),
    ):
        full = name if "." in name else f"{name}.own.example"
        world.shared.put(*records.encode(records.RecordSet(zone="own.example", name=full, type=kind, records=(text,))))
    world.shared.put("dns/set/own.example/broken/A", "{")
    assert world.texts("both.own.example", "A") == ["192.0.2.1"]
    assert "a.org." not in world.texts("own.example", "NS")


ZONE_FILE = """
$TTL 1h
@   IN SOA ns.old.example. me.old.example. 1 2 3 4 5
@   IN NS ns.old.example.
@   IN MX 10 mail
mail 60 IN A 192.0.2.7
www IN CNAME @
sub IN NS ns.other.example.
"""


def test_a_zone_file_goes_in_and_out(world: World) -> None:
    """What the platform keeps is left out and said; what goes out can be taken in again and changes nothing."""
    found = world.registry.load("own.example", ZONE_FILE)
    assert (found.sets, found.skipped) == (4, ())
    assert world.texts("own.example", "MX") == ["10 mail.own.example."]
    assert world.ask("mail.own.example", "A").answer[0].ttl == 60
    text = world.registry.export("own.example")
    assert "ns1.hybrid.test." in text and "ns.old.example." not in text
    assert world.registry.load("own.example", text).sets == 0
    skipped = world.registry.load("shop.example", world.registry.export("shop.example")).skipped
    assert skipped == ("shop.example A",)


@pytest.mark.parametrize("text", ["nonsense", "$INCLUDE /etc/passwd\n", "$GENERATE 1-99999999 a$ A 10.0.0.1\n"])
def test_a_bad_zone_file_is_refused(world: World, text: str) -> None:
    """It reads no file of ours and stands for nothing that is not written in it."""
    with pytest.raises(BadRecord):
        world.registry.load("own.example", text)


labels = st.sampled_from(["a", "b", "*", "c"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)


@given(st.lists(st.tuples(names, st.sampled_from(["A", "CNAME", "TXT", "NS"])), max_size=8), names)
def test_whatever_stands_in_a_zone_its_answers_agree(kept: list[tuple[str, str]], asked: str) -> None:
    """By the table and by the long way, and a CNAME chain is in order."""
    data = {"A": "192.0.2.1", "CNAME": "a.own.example.", "TXT": '"x"', "NS": "ns.b.own.example."}
    view = View(me="n", serial=1, zones=(), nodes={}, sites={})  # type: ignore[arg-type]  # an id
    world = World(view)
    world.registry.create("own.example")
    for name, kind in kept:
        try:
            world.set("own.example", name, kind, data[kind])
        except BadRecord:
            continue
    for kind in ("A", "MX", "ANY"):
        reply = world.ask(f"{asked}.own.example", kind)
        chain = [rrset for rrset in reply.answer if rrset.rdtype == dns.rdatatype.CNAME]
        assert all(one[0].target == two.name for one, two in pairwise(chain))
