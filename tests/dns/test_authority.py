"""Updates and transfers: who may, what is done, what is answered."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone
import pytest

from hybrid.dns_deeds import NewKey
from hybrid.errors import BadRequest, Conflict, NoSuchKey
from hybrid.view import View
from hybrid_dns.answer import ELSEWHERE, Answers
from hybrid_dns.authority import Authority
from hybrid_dns.transfer import VERSIONS
from tests.dns.world import World

Change = Callable[[dns.update.UpdateMessage], object]
MakeView = Callable[..., View]
ORIGIN = "own.example"
CLIENT = "192.0.2.1"


class Served(World):
    """A world with a zone, keys, and an authority."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.registry.create(ORIGIN)
        self.said: list[str] = []
        self.authority = Authority(self.registry, self.keys.opened, self.said.append)
        self.ring: dict[dns.name.Name, dns.tsig.Key] = {}
        self.key("all.key")
        self.registry.look()

    def key(self, name: str, **more: object) -> None:
        """Make a key and know it."""
        seen, secret = self.keys.add(NewKey(name=name, **more))  # type: ignore[arg-type]  # as given
        full = dns.name.from_text(name)
        self.ring[full] = dns.tsig.Key(full, base64.b64decode(secret), f"{seen.algorithm}.")

    def sign(self, message: dns.message.Message, key: str = "all.key") -> bytes:
        """Its wire, signed."""
        message.use_tsig(self.ring, dns.name.from_text(key))
        return message.to_wire()

    def update(
        self, change: Callable[[dns.update.UpdateMessage], object], key: str = "all.key", zone: str = ORIGIN
    ) -> int:
        """Send an update; the code of its reply, whose signature is checked."""
        message = dns.update.UpdateMessage(zone)
        change(message)
        (wire,) = self.authority.answer(self.sign(message, key), CLIENT, False)
        reply = dns.message.from_wire(wire, keyring=self.ring, request_mac=message.mac)
        assert reply.had_tsig or reply.rcode() == dns.rcode.NOTAUTH
        return reply.rcode()

    def transfer(self, zone: dns.zone.Zone | None = None, key: str = "all.key") -> dns.zone.Zone:
        """All of the zone, or what changed since `zone` had it; signatures are checked."""
        target = zone if zone is not None else dns.zone.Zone(ORIGIN, relativize=False)
        query, serial = dns.xfr.make_query(target, keyring=self.ring, keyname=dns.name.from_text(key))
        wires = self.authority.answer(query.to_wire(), CLIENT, True)
        kind = query.question[0].rdtype
        context = None
        with dns.xfr.Inbound(target, kind, serial) as inbound:
            for wire in wires:
                message = dns.message.from_wire(
                    wire,
                    keyring=self.ring,
                    request_mac=query.mac,
                    xfr=True,
                    tsig_ctx=context,
                    multi=True,
                    one_rr_per_rrset=kind == dns.rdatatype.IXFR,
                )
                context = message.tsig_ctx
                assert message.had_tsig
                done = inbound.process_message(message)
        assert done
        return target


@pytest.fixture
def served(make_view: MakeView) -> Served:
    """As it is without trouble."""
    return Served(make_view())


def test_records_are_added_replaced_and_deleted(served: Served) -> None:
    """As `nsupdate` asks for it."""
    assert served.update(lambda m: m.add("a", 60, "A", "192.0.2.1")) == dns.rcode.NOERROR
    assert served.update(lambda m: m.add("a", 90, "A", "192.0.2.2")) == dns.rcode.NOERROR
    assert served.texts("a.own.example", "A") == ["192.0.2.1", "192.0.2.2"]
    assert served.ask("a.own.example", "A").answer[0].ttl == 90
    assert served.update(lambda m: m.delete("a", "A", "192.0.2.1")) == dns.rcode.NOERROR
    assert served.texts("a.own.example", "A") == ["192.0.2.2"]
    assert served.update(lambda m: m.replace("a", 60, "A", "192.0.2.3")) == dns.rcode.NOERROR
    assert served.texts("a.own.example", "A") == ["192.0.2.3"]
    served.update(lambda m: m.add("a", 60, "TXT", "x"))
    assert served.update(lambda m: m.delete("a")) == dns.rcode.NOERROR
    assert served.ask("a.own.example", "TXT").rcode() == dns.rcode.NXDOMAIN
    assert served.update(lambda m: m.delete("a")) == dns.rcode.NOERROR


def test_a_challenge_of_a_certificate(served: Served) -> None:
    """What lego and certbot do, below a site's domain in the cluster's own zone too."""
    name = "_acme-challenge.blog"
    assert served.update(lambda m: m.add(name, 60, "TXT", "token"), zone="hybrid.test") == dns.rcode.NOERROR
    assert served.texts(f"{name}.hybrid.test", "TXT") == ['"token"']


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda m: m.present("here"), dns.rcode.NOERROR),
        (lambda m: m.present("gone"), dns.rcode.NXDOMAIN),
        (lambda m: m.present("here", "A"), dns.rcode.NOERROR),
        (lambda m: m.present("here", "TXT"), dns.rcode.NXRRSET),
        (lambda m: m.present("here", "A", "192.0.2.1"), dns.rcode.NOERROR),
        (lambda m: m.present("here", "A", "192.0.2.2"), dns.rcode.NXRRSET),
        (lambda m: m.absent("gone"), dns.rcode.NOERROR),
        (lambda m: m.absent("here"), dns.rcode.YXDOMAIN),
        (lambda m: m.absent("here", "TXT"), dns.rcode.NOERROR),
        (lambda m: m.absent("here", "A"), dns.rcode.YXRRSET),
        (lambda m: m.present("x.elsewhere.org."), dns.rcode.NOTZONE),
    ],
)
def test_prerequisites(served: Served, change: Callable[[dns.update.UpdateMessage], None], rcode: int) -> None:
    """Each kind of RFC 2136 section 3.2; what does not hold keeps all from being done."""
    served.set(ORIGIN, "here", "A", "192.0.2.1")

    def both(message: dns.update.UpdateMessage) -> None:
        change(message)
        message.add("new", 60, "A", "192.0.2.9")

    assert served.update(both) == rcode
    assert bool(served.texts("new.own.example", "A")) == (rcode == dns.rcode.NOERROR)


@pytest.mark.parametrize(
    ("zone", "change", "rcode"),
    [
        ("shop.example", lambda m: m.add("@", 60, "A", "192.0.2.1"), dns.rcode.REFUSED),
        ("shop.example", lambda m: m.delete("@", "A"), dns.rcode.REFUSED),
        ("hybrid.test", lambda m: m.add("ns1", 60, "TXT", "x"), dns.rcode.REFUSED),
        (ORIGIN, lambda m: m.add("@", 60, "NS", "ns.elsewhere.org."), dns.rcode.REFUSED),
        (ORIGIN, lambda m: m.add("x.elsewhere.org.", 60, "A", "192.0.2.1"), dns.rcode.NOTZONE),
        ("elsewhere.org", lambda m: m.add("x", 60, "A", "192.0.2.1"), dns.rcode.NOTAUTH),
        ("sub.own.example", lambda m: m.add("x", 60, "A", "192.0.2.1"), dns.rcode.NOTAUTH),
    ],
)
def test_what_cannot_be_updated(
    served: Served, zone: str, change: Callable[[dns.update.UpdateMessage], None], rcode: int
) -> None:
    """What the platform keeps, and what is not there; all of the message is refused."""

    def both(message: dns.update.UpdateMessage) -> None:
        message.add("new", 60, "A", "192.0.2.9")
        change(message)

    before = dict(served.shared.values)
    assert served.update(both, zone=zone) == rcode
    assert served.shared.values == before


def test_a_cname_beside_other_records_is_ignored(served: Served) -> None:
    """RFC 2136 section 3.4.2.2, both ways; a new CNAME takes the place of the old one."""
    served.update(lambda m: m.add("a", 60, "A", "192.0.2.1"))
    served.update(lambda m: m.add("c", 60, "CNAME", "a"))
    assert served.update(lambda m: m.add("a", 60, "CNAME", "c")) == dns.rcode.NOERROR
    assert served.update(lambda m: m.add("c", 60, "A", "192.0.2.1")) == dns.rcode.NOERROR
    assert served.update(lambda m: m.add("c", 60, "CNAME", "b")) == dns.rcode.NOERROR
    assert served.texts("a.own.example", "A") == ["192.0.2.1"]
    assert served.texts("c.own.example", "CNAME") == ["b.own.example."]


def test_who_may_not(served: Served) -> None:
    """No signature, a wrong one, an unknown key, a key for other things, zones, networks: refused, and told of."""
    served.key("reader.key", may="transfer")
    served.key("other.key", zones=("other.example",))
    served.key("inside.key", sources=("10.0.0.0/8",))

    def add(message: dns.update.UpdateMessage) -> None:
        message.add("a", 60, "A", "192.0.2.1")

    for key in ("reader.key", "other.key", "inside.key"):
        assert served.update(add, key) == dns.rcode.REFUSED
    message = dns.update.UpdateMessage(ORIGIN)
    add(message)
    wire = message.to_wire()
    (reply,) = served.authority.answer(wire, CLIENT, False)
    assert reply[3] & 15 == dns.rcode.REFUSED and len(reply) == 12
    signed = bytearray(served.sign(message))
    signed[-20] ^= 1
    (reply,) = served.authority.answer(bytes(signed), CLIENT, False)
    assert reply[3] & 15 == dns.rcode.NOTAUTH
    served.keys.remove("all.key")
    (reply,) = served.authority.answer(served.sign(message), CLIENT, False)
    assert reply[3] & 15 == dns.rcode.NOTAUTH
    assert served.texts("a.own.example", "A") == [] and len(served.said) == 6


def test_transfers_want_a_key_too(served: Served) -> None:
    """A zone goes to nobody who does not sign; it goes whole and signed to who does, and not by UDP."""
    served.key("writer.key", may="update")
    query = dns.message.make_query(ORIGIN, "AXFR")
    (reply,) = served.authority.answer(query.to_wire(), CLIENT, True)
    assert reply[3] & 15 == dns.rcode.REFUSED
    for key, stream in (("writer.key", True), ("all.key", False)):
        (reply,) = served.authority.answer(served.sign(dns.message.make_query(ORIGIN, "AXFR"), key), CLIENT, stream)
        assert reply[3] & 15 == dns.rcode.REFUSED
    served.set(ORIGIN, "a", "A", "192.0.2.1")
    served.registry.look()
    zone = served.transfer()
    assert zone.find_rrset("a.own.example.", "A") and zone.find_rrset(f"{ORIGIN}.", "NS")


def test_a_plain_question_that_is_signed_gets_a_signed_answer(served: Served) -> None:
    """As knot asks for the serial."""
    query = dns.message.make_query(ORIGIN, "SOA")
    wire = served.sign(query)
    assert Answers(None).answer(wire) == ELSEWHERE
    (reply,) = served.authority.answer(wire, CLIENT, False)
    answer = dns.message.from_wire(reply, keyring=served.ring, request_mac=query.mac)
    assert answer.had_tsig and answer.answer[0][0].serial == served.registry.now.serial


def test_a_large_zone_takes_several_messages(served: Served) -> None:
    """Each signed; all of it arrives."""
    served.registry.load(ORIGIN, "$TTL 60\n" + "".join(f"h{n} IN TXT {'x' * 200}\n" for n in range(300)))
    served.registry.look()
    query = dns.message.make_query(ORIGIN, "AXFR")
    assert len(list(served.authority.answer(served.sign(query), CLIENT, True))) > 3
    assert len(list(served.transfer().iterate_rdatasets())) == 302


def test_a_secondary_gets_what_changed(served: Served) -> None:
    """From a version that is remembered the difference, from one that is not all; it ends up with the same zone."""
    zone = served.transfer()
    for number in range(3):
        served.set(ORIGIN, f"h{number}", "A", "192.0.2.1", "192.0.2.2")
        served.registry.look()
        served.transfer(zone)
    served.set(ORIGIN, "h1", "A", "192.0.2.2", "192.0.2.3")
    served.set(ORIGIN, "h2", "A")
    served.registry.look()
    query, _ = dns.xfr.make_query(zone, keyring=served.ring)
    (wire,) = served.authority.answer(query.to_wire(), CLIENT, True)
    assert len(wire) < 500
    assert served.transfer(zone) == served.transfer()
    for number in range(VERSIONS + 1):
        served.set(ORIGIN, "h0", "A", f"192.0.2.{number + 10}")
        served.registry.look()
        served.transfer()
    assert served.transfer(zone) == served.transfer()


def test_nothing_is_transferred_before_its_serial_is_known(served: Served) -> None:
    """A secondary must not keep other contents under a serial than its peers."""
    served.set(ORIGIN, "a", "A", "192.0.2.1")
    (reply,) = served.authority.answer(served.sign(dns.message.make_query(ORIGIN, "AXFR")), CLIENT, True)
    assert reply[3] & 15 == dns.rcode.SERVFAIL


def test_keys_are_made_once_and_their_secrets_told_once(served: Served) -> None:
    """With a secret of one's own or a new one; what makes no sense is refused."""
    seen, secret = served.keys.add(NewKey(name="Mine.Key.", secret=base64.b64encode(bytes(20)).decode()))
    assert (seen.name, base64.b64decode(secret)) == ("mine.key", bytes(20))
    assert [one.name for one in served.keys.all()] == ["all.key", "mine.key"]
    with pytest.raises(Conflict):
        served.keys.add(NewKey(name="mine.key"))
    for wrong in (
        {"name": ""},
        {"algorithm": "hmac-md5"},
        {"zones": ("a..b",)},
        {"sources": ("nowhere",)},
        {"secret": "?"},
        {"secret": "QQ=="},
    ):
        with pytest.raises(BadRequest):
            served.keys.add(NewKey(**({"name": "x.key"} | wrong)))
    with pytest.raises(NoSuchKey):
        served.keys.remove("none.key")


def elsewhere(queries: Iterable[bytes], stream: bool) -> list[bool]:
    """Whether a name server passes them on."""
    return [Answers(None).answer(query, stream) == ELSEWHERE for query in queries]


def test_name_servers_pass_on_only_what_needs_the_node(served: Served) -> None:
    """Signed updates and transfers; never plain questions, nor what is not signed."""
    update = dns.update.UpdateMessage(ORIGIN)
    plain = [dns.message.make_query(ORIGIN, kind).to_wire() for kind in ("A", "AXFR", "IXFR")] + [update.to_wire()]
    signed = [served.sign(dns.message.make_query(ORIGIN, kind)) for kind in ("AXFR", "IXFR")] + [served.sign(update)]
    for stream in (False, True):
        assert elsewhere(plain, stream) == [False] * 4
    assert elsewhere(signed, True) == [True] * 3
    assert elsewhere(signed, False) == [True] * 3
    assert not list(served.authority.answer(b"", CLIENT, True))
