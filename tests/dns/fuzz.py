"""
The way of messages under a hail of odd ones: `python -m tests.dns.fuzz SECONDS [SEED]`.

Queries, updates and transfers, signed and not, with options, are changed by chance in a few places, and put to all that
parses them: the name server's quick and long way, both forms of its finished replies, its limits, and what it passes on
to the node process. Nothing may raise; a reply answers its query, is no larger than its client takes, and is the same
by all ways.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

import dns.edns
import dns.message
import dns.name
import dns.tsig
import dns.update

from hybrid.dns_deeds import Edit, NewKey, ZoneChanges
from hybrid.model import NodeId, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View
from hybrid_dns import zonekeys
from hybrid_dns.answer import ELSEWHERE, Answers
from hybrid_dns.authority import Authority
from hybrid_dns.dnssec import ZoneSigner
from hybrid_dns.finished import PLAIN
from hybrid_dns.limits import Limits, truncated
from hybrid_dns.options import Cookies, without_options
from hybrid_dns.respond import Responder
from hybrid_dns.table import UDP_SIZE
from tests.dns.world import World

SOURCE = "192.0.2.1"


def world() -> World:
    """One node, a site, a zone with records of all sorts."""
    node = NodeView(
        id=NodeId("n-1"), name="n1", dc="x", address="10.0.0.1", cluster_port=1, interior_port=2, api_port=3, live=True
    )
    spec = SiteSpec(id=SiteId("s-1"), version=Version(1, 1), name="a", domains=("a.t", "b.ex"), image="x@1", number=1)
    site = SiteView(spec=spec, state="serving", owner=node.id, holders=(node.id,))
    made = World(View(me=node.id, serial=1, zones=("t",), nodes={node.id: node}, sites={spec.id: site}))
    made.registry.create("own.example")
    for name, kind, text in (
        ("*", "A", "192.0.2.1"),
        ("c", "CNAME", "a.t."),
        ("loop", "CNAME", "loop.own.example."),
        ("sub", "NS", "ns.sub.own.example."),
        ("@", "MX", "10 mail.own.example."),
        ("big", "TXT", " ".join(['"' + "x" * 200 + '"'] * 10)),
    ):
        made.registry.edit("own.example", [Edit(name=name, type=kind, records=(text,))])
    made.keys.add(NewKey(name="k"))
    made.registry.create("signed.example")
    made.registry.edit("signed.example", [Edit(name="*.w", type="A", records=("192.0.2.1",))])
    made.registry.change("signed.example", ZoneChanges(dnssec="on"))
    made.registry.look()
    return made


def corpus(ring: dict[dns.name.Name, dns.tsig.Key]) -> list[bytes]:
    """Good messages to begin with."""
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes(8))
    nsid = dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")
    names = [
        "a.t",
        "b.ex",
        "own.example",
        "x.own.example",
        "c.own.example",
        "loop.own.example",
        "y.sub.own.example",
        "x.w.signed.example",
    ]
    found: list[dns.message.Message] = []
    for name in [*names, "big.own.example", "none.t", "signed.example", "no.signed.example", "elsewhere.org", "."]:
        for kind in ("A", "AAAA", "MX", "TXT", "NS", "SOA", "ANY", "HTTPS", "AXFR", "IXFR"):
            found.append(dns.message.make_query(name, kind, use_edns=-1))
            found.append(dns.message.make_query(name, kind, use_edns=0, options=[cookie, nsid], want_dnssec=True))
    signed: list[dns.message.Message] = []
    for kind in ("AXFR", "IXFR", "SOA"):
        signed.append(dns.message.make_query("own.example", kind))
    update = dns.update.UpdateMessage("own.example")
    update.present("own.example.", "MX")
    update.add("new", 60, "A", "192.0.2.5")
    update.delete("old")
    signed.append(update)
    for message in signed:
        message.use_tsig(ring)
    return [message.to_wire() for message in (*found, *signed)]


def changed(message: bytes, chance: random.Random) -> bytes:
    """`message` with a few bytes others, gone, doubled, or more."""
    data = bytearray(message)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if data:
                data[place % len(data)] = chance.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, chance.randrange(256)))
            case 1:
                del data[place : place + chance.randrange(1, 20)]
            case 2:
                data[place:place] = data[place : place + chance.randrange(1, 20)]
            case 3:
                data[place:place] = chance.randbytes(chance.randrange(1, 12))
            case _ if len(data) > 11:
                data[chance.randrange(2, 12)] ^= 1 << chance.randrange(8)
    return bytes(data)


class Target:
    """All that parses."""

    def __init__(self) -> None:
        self.world = world()
        (text,) = self.world.signing.told().values()
        signers = {"signed.example": ZoneSigner("signed.example", zonekeys.read(text))}
        self.answers = Answers(self.world.registry.now, signers=signers, wall_s=lambda: 1e9)
        self._plain = Answers(self.world.registry.now, signers=signers, wall_s=lambda: 1e9, form=PLAIN)
        self._respond = Responder(
            lambda query, stream, source: self.answers.answer(query, stream), b"n1", Cookies([bytes(16)]), lambda: 1e9
        )
        self._limits = Limits()
        self._authority = Authority(self.world.registry, self.world.keys.opened, lambda text: None)

    def put(self, message: bytes, stream: bool, now_s: float) -> None:
        """One message. Raises `AssertionError` where the reply is not one to it."""
        quick = self.answers.quick(message)
        if quick is not None:
            assert quick == self._plain._slow(message, False), message.hex()
            self._plain.quick(message)
        assert self.answers.exact.reply(message) == self._plain.exact.reply(message), message.hex()
        plain = without_options(message)
        if plain is not None and (quick := self.answers.quick(plain)) is not None:
            assert quick == self._plain._slow(message, False), message.hex()
        found = self._respond(message, SOURCE, stream)
        if found is None:
            return
        reply, _ = found
        if reply == ELSEWHERE:
            for one in self._authority.answer(message, SOURCE, stream):
                assert one[:2] == message[:2] and one[2] & 0x80, message.hex()
            return
        assert reply[:2] == message[:2] and reply[2] & 0x80 and len(reply) >= 12, message.hex()
        assert stream or len(reply) <= UDP_SIZE, message.hex()
        self._limits.judge(SOURCE, reply, now_s)
        dns.message.from_wire(reply)
        dns.message.from_wire(truncated(reply))


def run(seconds: float, seed: int, clock: Callable[[], float] = time.monotonic) -> int:
    """Go on for so long; how many messages that were."""
    chance, target = random.Random(seed), Target()
    _, ring = target.world.keys.opened()
    messages, count, until_s = corpus(ring), 0, clock() + seconds
    while clock() < until_s:
        for _ in range(100):
            count += 1
            target.put(changed(chance.choice(messages), chance), chance.random() < 0.3, count / 1000)
    return count


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print(f"seed {number}", flush=True)
    print(run(float(sys.argv[1]), number), "messages")
