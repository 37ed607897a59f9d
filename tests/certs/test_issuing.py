"""Certificates issued by ACME: once, renewed in time, and what goes wrong is told and backed off from."""

from __future__ import annotations

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.certs import wishes
from hybrid.certs.acme import AcmeError, Http, Reply
from hybrid.certs.issuing import Issuing
from hybrid.certs.records import Record
from hybrid.certs.vault import Sealed
from hybrid.certs.wishes import RESTS_S, Trouble, failed, is_due, issuer, renewed_from_s, wished
from hybrid.errors import BadRequest, NoSuchCertificate
from hybrid.model import NodeId, SiteId
from hybrid.sitehttp import Http as SiteHttp
from hybrid.view import NodeView
from tests.certs.authority import NOW_S
from tests.certs.fakeca import BASE, FakeCa
from tests.certs.test_service import BLOG, SHOP, Cluster, Node

DAY_S = 86400.0
N1, N2 = NodeId("n-1"), NodeId("n-2")


class Txt:
    """Zones of the cluster."""

    def __init__(self) -> None:
        self.zones = ("hybrid.test",)
        self.records: dict[str, list[str]] = {}

    def add(self, name: str, text: str) -> bool:
        """See `TxtRecords`."""
        if not name.endswith(self.zones):
            return False
        self.records.setdefault(name, []).append(text)
        return True

    def remove(self, name: str, text: str) -> None:
        """See `TxtRecords`."""
        self.records[name].remove(text)


class World(Cluster):
    """Two nodes, two sites, an authority."""

    def __init__(self) -> None:
        super().__init__()
        self.clock, self.txt = Clock(), Txt()
        self.ca = FakeCa(self.fetch)
        self.other_ca: Http | None = None
        self.now_s = NOW_S
        nodes = {node: node_view(node) for node in (N1, N2)}
        self.view = msgspec.structs.replace(self.view, nodes=nodes)
        self.issuing = {node.id: self._issuing(node) for node in (self.one, self.two)}
        for node in (self.one, self.two):
            node.certificates._wall_s = lambda: self.now_s

    def _issuing(self, node: Node) -> Issuing:
        return Issuing(
            self.clock,
            node.id,
            node.certificates,
            self.map,
            self.txt,
            lambda: self.view,
            lambda ca: self.ca,
            lambda: self.now_s,
        )

    def fetch(self, kind: str, subject: str) -> list[str]:
        """What both nodes show."""
        if kind == "dns-01":
            return self.txt.records.get(f"_acme-challenge.{subject}", [])
        shown = [node.shown.get(f"acme/{subject}") for node in (self.one, self.two)]
        return [shown[0]] if shown[0] and shown[0] == shown[1] else []

    def wants(self, site: SiteId, certificate: bool = True) -> None:
        """The site has one issued for its domains."""
        seen = self.view.sites[site]
        spec = msgspec.structs.replace(seen.spec, http=SiteHttp(certificate=certificate))
        self.view = msgspec.structs.replace(
            self.view, sites={**self.view.sites, site: msgspec.structs.replace(seen, spec=spec)}
        )

    def pass_time(self, seconds: float, every_s: float = 2.0) -> None:
        """All nodes look now and then."""
        running: dict[NodeId, Deferred[None]] = {}
        for _ in range(int(seconds / every_s)):
            for node in (self.one, self.two):
                node.certificates.look()
                done = running.get(node.id)
                if done is None or done.called:
                    running[node.id] = Deferred.fromCoroutine(self.issuing[node.id].look())
            self.clock.advance(every_s)
            self.now_s += every_s

    def trouble(self, name: str) -> Trouble:
        """What is said of a name."""
        found = self.issuing[N2].wanted()[name]
        assert found is not None
        return found


def node_view(node: NodeId, live: bool = True) -> NodeView:
    """A node."""
    return NodeView(id=node, name=node, dc="a", address="", cluster_port=1, interior_port=2, api_port=3, live=live)


@pytest.fixture
def world() -> World:
    """Somebody agreed to the terms, no site wants anything."""
    world = World()
    world.issuing[N1].agree(f"{BASE}/directory", "me@shop.test", "")
    return world


def test_a_site_gets_a_certificate_that_every_node_shows(world: World) -> None:
    """Asked for by its owner alone, answered by both nodes meanwhile; afterwards nothing of it is left."""
    world.wants(SHOP)
    world.pass_time(60)
    (record,) = world.two.certificates.all()
    assert (record.name, record.source, record.site) == ("shop.test", "issued", SHOP)
    assert set(world.one.shown) == set(world.two.shown) == {"cert/shop.test"}
    assert world.ca.asked.count("/newOrder") == world.ca.asked.count("/newAccount") == 1
    assert not world.map.prefix(wishes.ANSWER) and world.issuing[N2].wanted() == {"shop.test": None}
    world.wants(BLOG)
    world.pass_time(60)
    assert world.ca.asked.count("/newAccount") == 1 and len(world.two.certificates.all()) == 2


def test_nobody_is_asked_before_somebody_agreed() -> None:
    """To an authority's terms; a wish is refused with what to do."""
    world = World()
    world.wants(SHOP)
    world.pass_time(20)
    assert world.ca.asked == []
    with pytest.raises(BadRequest, match="hybrid cert account"):
        world.issuing[N1].wish("shop.test")
    for directory, ca in (("http://ca.test/directory", ""), (f"{BASE}/directory", "no PEM")):
        with pytest.raises(BadRequest):
            world.issuing[N1].agree(directory, "", ca)


def test_a_wildcard_is_proven_by_our_own_dns(world: World) -> None:
    """By a TXT record, which is taken back; a name in no zone of ours cannot be."""
    shop = world.view.sites[SHOP]
    spec = msgspec.structs.replace(shop.spec, domains=("shop.hybrid.test", "a.elsewhere.test"))
    sites = {**world.view.sites, SHOP: msgspec.structs.replace(shop, spec=spec)}
    world.view = msgspec.structs.replace(world.view, sites=sites)
    world.issuing[N2].wish("*.hybrid.test")
    world.pass_time(60)
    (record,) = world.two.certificates.all()
    assert record.names == ("*.hybrid.test",) and record.site is None
    assert world.txt.records == {"_acme-challenge.hybrid.test": []}
    world.issuing[N2].wish("*.elsewhere.test")
    world.pass_time(20)
    assert "no zone here" in world.trouble("*.elsewhere.test").why
    world.wants(SHOP)
    world.pass_time(20)
    assert ["/newOrder"] * 3 == [path for path in world.ca.asked if path == "/newOrder"], "the wildcard is enough"


def test_a_wish_of_somebody(world: World) -> None:
    """Only for names of sites here; taken back, the certificate goes and is not asked for again."""
    for name in ("other.test", "*.other.test", "no name"):
        with pytest.raises(BadRequest):
            world.issuing[N1].wish(name)
    world.issuing[N1].wish("shop.test")
    world.pass_time(60)
    assert len(world.one.certificates.all()) == 1
    world.issuing[N2].forget("shop.test")
    world.pass_time(60)
    assert world.one.certificates.all() == [] and world.ca.asked.count("/newOrder") == 1
    with pytest.raises(NoSuchCertificate):
        world.issuing[N2].forget("shop.test")


def test_it_is_renewed_in_time(world: World) -> None:
    """In the last third of its life, by whoever owns the site then."""
    world.wants(SHOP)
    world.pass_time(60)
    (first,) = world.one.certificates.all()
    world.now_s = renewed_from_s(first) - 100
    world.pass_time(60)
    assert world.one.certificates.all() == [first]
    shop = msgspec.structs.replace(world.view.sites[SHOP], owner=N2)
    world.view = msgspec.structs.replace(world.view, sites={**world.view.sites, SHOP: shop})
    world.now_s += 100
    world.pass_time(60)
    (second,) = world.one.certificates.all()
    assert second != first and world.ca.asked.count("/newOrder") == 2


def test_a_name_that_leads_elsewhere(world: World) -> None:
    """The authority's words and what to do are told by every node; the next try is later and later."""
    world.wants(SHOP)
    world.two.certificates._show = lambda secrets: None  # this node does not answer
    world.pass_time(30)
    trouble = world.trouble("shop.test")
    assert trouble.why == "shop.test shows something else" and "leads to this cluster" in trouble.try_
    assert trouble.failures == 1 and not world.map.prefix(wishes.ANSWER)
    world.pass_time(RESTS_S[0] * 1.5)
    assert world.trouble("shop.test").failures == 2
    world.pass_time(RESTS_S[0] * 1.5)
    assert world.trouble("shop.test").failures == 2, "five minutes are not over"
    world.issuing[N1].wish("shop.test")
    world.pass_time(30)
    assert world.trouble("shop.test").failures == 1, "somebody asked for another try"


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (Reply(500, {}, b"<html>"), "HTTP status 500"),
        (Reply(200, {}, b"[]"), "no JSON object"),
        (
            Reply(429, {}, b'{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "slow"}'),
            "slow",
        ),
    ],
)
def test_an_authority_that_says_no(world: World, fails: Reply, says: str) -> None:
    """Garbage, errors and limits are told as they are."""
    world.wants(SHOP)
    world.ca.fails = fails
    world.pass_time(10)
    assert says in world.trouble("shop.test").why
    world.ca.fails = None
    world.pass_time(RESTS_S[0] * 2)
    assert len(world.one.certificates.all()) == 1 and world.issuing[N1].wanted() == {"shop.test": None}


def test_an_authority_that_is_away(world: World) -> None:
    """Nothing is shown to anybody; it is tried again."""
    world.wants(SHOP)
    world.ca.down = True
    world.pass_time(10)
    assert world.trouble("shop.test").why == "no route"
    world.ca.down = False
    world.pass_time(RESTS_S[0] * 2)
    assert len(world.one.certificates.all()) == 1


def test_nonces_are_refused(world: World) -> None:
    """Some of them: asked again with the new one."""
    world.wants(SHOP)
    world.ca.refuse_nonces = 5
    world.pass_time(60)
    assert len(world.one.certificates.all()) == 1


def test_an_authority_that_never_decides(world: World) -> None:
    """It is given up after minutes, and asked anew."""
    world.wants(SHOP)
    world.ca.polls = 10**9
    world.pass_time(360)
    assert "takes too long" in world.trouble("shop.test").what


def test_answers_left_behind_go(world: World) -> None:
    """Of a node that died in between."""
    world.map.put(wishes.ANSWER + "old", '{"text": "x", "at_s": 1}')
    world.map.put(wishes.ANSWER + "odd", "x")
    world.pass_time(4)
    assert not world.map.prefix(wishes.ANSWER)


def record(days_left: float, source: str = "issued", names: tuple[str, ...] = ("a.test",)) -> Record:
    """Of ninety days."""
    ends_s = int(NOW_S + days_left * DAY_S)
    return Record(
        name=names[0],
        names=names,
        chain="",
        key=Sealed("", b""),
        not_before_s=int(ends_s - 90 * DAY_S),
        not_after_s=ends_s,
        issuer="",
        source=source,  # type: ignore[arg-type]
    )


def test_when_it_is_due() -> None:
    """Without one; in its last third or a little before; an uploaded one once it is over; not while backing off."""
    assert is_due("a.test", None, [], None, NOW_S)
    assert not is_due("a.test", None, [record(38)], None, NOW_S)
    assert is_due("a.test", None, [record(29)], None, NOW_S)
    assert not is_due("a.test", None, [record(1, "uploaded")], None, NOW_S)
    assert is_due("a.test", None, [record(-1, "uploaded")], None, NOW_S)
    assert not is_due("x.a.test", None, [record(80, names=("*.a.test",))], None, NOW_S)
    assert is_due("a.test", None, [record(80, names=("*.a.test",))], None, NOW_S)
    assert is_due("*.a.test", None, [record(80, names=("x.a.test",))], None, NOW_S)
    later = failed("a.test", None, ("x", "", ""), 0.0, NOW_S)
    assert not is_due("a.test", None, [], later, NOW_S + 59) and is_due("a.test", None, [], later, NOW_S + 76)
    assert failed("a.test", later, ("x", "", ""), 9999.0, NOW_S).next_s == int(NOW_S + 9999)
    spread = {renewed_from_s(record(50, names=(f"{letter}.test",))) for letter in "abcdefgh"}
    assert len(spread) == 8 and max(spread) - min(spread) <= 90 * DAY_S / 12


def test_who_asks() -> None:
    """The owner of the site; without one, or for a name of no site, the first of the living."""
    view = Cluster().view
    nodes = {N1: node_view(N1, live=False), N2: node_view(N2)}
    assert issuer(msgspec.structs.replace(view, nodes=nodes), SHOP) == N2
    assert issuer(msgspec.structs.replace(view, nodes={N1: node_view(N1), N2: node_view(N2)}), SHOP) == N1
    assert issuer(view, None) == view.me
    assert wished(view, ["none.test"]) == {}


def test_tokens_are_checked(world: World) -> None:
    """What an authority sends as a token goes into a path of ours: nothing else may be in it."""
    world.wants(SHOP)
    original = world.ca._authorization

    def odd(path: str, who: str, wish: object) -> Reply:
        return Reply(200, original(path, who, wish).headers, original(path, who, wish).body.replace(b"tok_", b"../"))

    world.ca._authorization = odd  # type: ignore[method-assign]
    world.pass_time(10)
    assert "a token that is none" in world.trouble("shop.test").why


def test_a_retry_after_is_minded(world: World) -> None:
    """Where the authority says when to come back, nobody comes before."""
    world.wants(SHOP)
    world.ca.fails = world.ca.problem(429, "rateLimited", "slow", **{"retry-after": "7200"})
    world.pass_time(10)
    trouble = world.trouble("shop.test")
    assert trouble.next_s - trouble.at_s == 7200 and isinstance(AcmeError("x"), Exception)


def test_an_account_that_is_gone_is_made_anew(world: World) -> None:
    """At the next try."""
    world.wants(SHOP)
    world.pass_time(60)
    world.wants(BLOG)
    world.ca.fails = world.ca.problem(400, "accountDoesNotExist", "who?")
    world.pass_time(10)
    assert world.trouble("blog.test").why == "who?"
    world.ca.fails = None
    world.pass_time(RESTS_S[0] * 2)
    assert world.ca.asked.count("/newAccount") == 2 and len(world.one.certificates.all()) == 2
