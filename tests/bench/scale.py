"""
What a cluster of 1,000 nodes with 100,000 sites, three copies each, costs a node: `make bench AREA=scale`.

Writes `build/bench-scale.json`. One ledger of full size is built and measured; a thousand of them, with fewer sites,
talk to each other in one process. What was counted there for fewer sites is multiplied, and says so.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from hybrid.cluster import comparing
from hybrid.cluster.comparing import Topic
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.news import Name, Self, Word
from hybrid.cluster.parcels import parcel
from hybrid.cluster.sealing import KeySeals
from hybrid.cluster.viewing import Views
from hybrid.model import Claim, NodeId, NodeRegister, SiteId, Version
from hybrid.view import difference
from hybrid.wire import Gossip, encode
from tests.bench import swim
from tests.bench.crowd import DELAY_S, Crowd, register, spec_of

NODES, SITES, COPIES = 1000, 100_000, 3
EACH = SITES // NODES
BUSY = 0.1
SNAPSHOT_S = 30.0
SPECIMENS = 300
"""Sites of the thousand that talk."""
ELECTIONS = 5

T = TypeVar("T")
Row = dict[str, Any]
NO_TARGET = "no target is stated for it"


def row(case: str, unit: str, ours: float | None, target: float | None = None, note: str = "") -> Row:
    """One figure, in the form of every benchmark's file; smaller is better. `None`: it could not be measured."""
    return {
        "case": case,
        "unit": unit,
        "ours": None if ours is None else round(ours, 4),
        "peer": None,
        "peer_name": None,
        "ratio": None,
        "target": target,
        "ok": None if target is None or ours is None else ours <= target,
        "reason": note or (NO_TARGET if target is None else ""),
    }


def timed(deed: Callable[[], T]) -> tuple[T, float]:
    """What `deed` gives, and the seconds of processor it took."""
    began_s = time.process_time()
    result = deed()
    return result, time.process_time() - began_s


def resident_bytes() -> int:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# ------------------------------------------------------------------------------------------ one node's state


def full_ledger() -> tuple[Ledger, list[NodeId]]:
    """What each node knows: all nodes, and all words about all sites; signatures of true size."""
    names = [NodeId(f"n-{number:016d}") for number in range(NODES)]
    ledger = Ledger(names[0], 1)
    seal = os.urandom(71)
    for name in names[1:]:
        described = NodeRegister(
            id=name,
            name=name,
            dc="x",
            address="10.0.0.1",
            key=os.urandom(91),
            seal=os.urandom(71),
            version=Version(1, 1),
        )
        ledger.merge(Gossip(nodes={name: described}), spread=False)
    for number in range(SITES):
        spec = spec_of(number)
        holders = [names[(number * 7 + place * 331) % NODES] for place in range(COPIES)]
        words = {
            holder: {
                spec.id: msgspec.structs.replace(
                    register(spec, holders[0], owner=not place, head=1).word,
                    version=Version(1, number + 2),
                    seal=seal + number.to_bytes(4, "big"),
                )
            }
            for place, holder in enumerate(holders)
        }
        arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(Gossip(sites=words)), type=Gossip)
        ledger.merge(arrived, spread=False)
    return ledger, names


def state() -> list[Row]:
    """Size of what a node knows, and what it costs to look at it."""
    before = resident_bytes()
    (ledger, names), fill_s = timed(full_ledger)
    rows = [
        row("state in memory, 300,000 words", "bytes", resident_bytes() - before),
        row("a word merged", "seconds of CPU", fill_s / (SITES * COPIES), note="with making and decoding it"),
    ]
    everything: list[Name] = [Self(name) for name in ledger.nodes()]
    everything += [Word(name, site) for site in ledger.sites() for name in ledger.registers(site)]
    size, largest, began_s = 0, 0, time.process_time()
    left: list[Name] = everything
    while left:
        message, rest = parcel(ledger, left[:600])
        left = rest + left[600:]
        size, largest = size + len(encode(message)), max(largest, len(encode(message)))
    rows += [
        row("full state, sent to a new node", "bytes", size),
        row("full state, the largest message of it", "bytes", largest, target=8 * 1024 * 1024),
        row("full state, packed", "seconds of CPU", time.process_time() - began_s),
        row("comparison: the question", "bytes", len(encode(comparing.question(ledger, names[1])))),
        row("comparison: sums of all writers, where something differs", "bytes", sums_bytes(ledger)),
        row("comparison: versions of one writer", "bytes", len(encode(comparing.pull(ledger, Topic((names[5],)))))),
        row("comparison: the question", "seconds of CPU", timed(lambda: comparing.question(ledger, names[1]))[1]),
    ]
    return rows + view(ledger, names) + signatures()


def sums_bytes(ledger: Ledger) -> int:
    """The answer to a comparison in which something differs."""
    return len(
        encode(
            comparing.compared(
                ledger, ledger.me, msgspec.structs.replace(comparing.question(ledger, ledger.me), total=1)
            )
        )
    )


def view(ledger: Ledger, names: list[NodeId]) -> list[Row]:
    """What the view costs, whole and when something changes."""
    views = Views(ledger.me, ledger, ("z",), lambda site: None)
    ledger.follow(views.touch)
    live, nobody = frozenset(names), frozenset[NodeId]()
    first, first_s = timed(lambda: views.renew(live, nobody))
    site = SiteId(f"s-{5:026d}")
    holder = next(iter(ledger.registers(site)))
    word = ledger.registers(site)[holder].word
    changed = msgspec.structs.replace(word, version=Version(2, 1), claim=Claim(9, holder))
    ledger.merge(Gossip(sites={holder: {site: changed}}), spread=False)
    second, change_s = timed(lambda: views.renew(live, nobody))
    _, difference_s = timed(lambda: difference(first, second))
    _, death_s = timed(lambda: views.renew(live - {names[5]}, nobody))
    return [
        row("view, the first", "seconds of CPU", first_s),
        row("view, after a change of one site", "seconds of CPU", change_s, target=0.01),
        row("view, what a feed finds changed", "seconds of CPU", difference_s, target=0.01),
        row("view, after a death (300 sites)", "seconds of CPU", death_s),
    ]


def signatures() -> list[Row]:
    """What it costs that registers prove themselves."""
    seals = KeySeals(ec.generate_private_key(ec.SECP256R1()))
    payload, count = os.urandom(300), 300
    seal, _ = timed(lambda: seals.sign(payload))
    _, sign_s = timed(lambda: [seals.sign(payload) for _ in range(count)])
    _, check_s = timed(lambda: [seals.valid(seals.key, payload, seal) for _ in range(count)])
    return [
        row("signature made", "seconds of CPU", sign_s / count),
        row("signature checked", "seconds of CPU", check_s / count),
        row("full state checked, once, by a new node", "seconds of CPU", check_s / count * SITES * COPIES),
    ]


# --------------------------------------------------------------------------------------- a thousand, talking


def talk() -> list[Row]:
    """Traffic and work of a thousand nodes, per node."""
    crowd = Crowd(NODES, SPECIMENS)
    return [*rest(crowd), *busy(crowd), *spread(crowd), *death(crowd)]


def per_node(crowd: Crowd, seconds: float, deed: Callable[[], None]) -> tuple[float, float]:
    """`(bytes/s, CPU s/s)` of one node while `deed` lets `seconds` pass."""
    began, (_, cpu_s) = crowd.sent()[0], timed(deed)
    return (crowd.sent()[0] - began) / NODES / seconds, cpu_s / NODES / seconds


def rest(crowd: Crowd) -> list[Row]:
    """Nothing changes: comparisons with one node each half minute."""
    sent, cpu = per_node(crowd, 60, lambda: crowd.pass_time(60))
    return [
        row("at rest: registers", "bytes/s per node", sent, note="liveness is measured apart"),
        row("at rest: registers", "CPU s/s per node", cpu, note="without TLS"),
    ]


def busy(crowd: Crowd) -> list[Row]:
    """All sites there are have a new snapshot every half minute, and so have their copies."""
    sites = sorted(crowd.holders)
    head = 10

    def half_a_minute() -> None:
        nonlocal head
        head += 1
        for turn in range(10):
            for site in sites[turn::10]:
                for place, holder in enumerate(crowd.holders[site]):
                    spec = crowd.ledgers[holder].registers(site)[holder].spec
                    assert spec is not None
                    owner = crowd.holders[site][0]
                    crowd.publish(holder, site, register(spec, owner, owner=not place, head=head))
            crowd.pass_time(SNAPSHOT_S / 10)

    sent, cpu = per_node(crowd, SNAPSHOT_S, half_a_minute)
    times = SITES * BUSY / SPECIMENS
    told = f"counted with {SPECIMENS} busy sites, multiplied by {times:.1f}"
    return [
        row("a tenth of the sites busy: heads", "bytes/s per node", sent * times, 60_000, told),
        row("a tenth of the sites busy: heads", "CPU s/s per node", cpu * times, 0.02, told + "; without TLS"),
    ]


def spread(crowd: Crowd) -> list[Row]:
    """One node claims a site of which the others have not heard; until all know."""
    owner = crowd.names[0]
    site = SiteId("s-new")
    began, began_bytes = crowd.clock.seconds(), crowd.sent()[0]
    spec = msgspec.structs.replace(spec_of(1), id=site)
    crowd.publish(owner, site, register(spec, owner, owner=True, head=1))
    reached: dict[float, float] = {}
    for now_s in crowd.steps(90):
        known = sum(site in crowd.ledgers[name].sites_of(owner) for name in crowd.names)
        for part in (0.5, 0.99, 1.0):
            if known >= part * NODES:
                reached.setdefault(part, now_s - began)
        if known == NODES:
            break
    crowd.pass_time(2)
    told = f"{DELAY_S} s between any two nodes"
    hop_s = DELAY_S + 0.01
    return [
        row("a claim is known to half of all nodes", "seconds", reached[0.5], note=told),
        row("a claim is known to 99 %", "seconds", reached[0.99], 3.0, told),
        row("a claim is known to 99 %", "rounds", reached[0.99] / hop_s, 10.0, told),
        row("a claim is known to all", "seconds", reached.get(1.0, 90.0), 60.0, told),
        row("a claim: sent", "bytes per node", (crowd.sent()[0] - began_bytes) / NODES),
    ]


def death(crowd: Crowd) -> list[Row]:
    """A node dies that owned many sites: each gets a new owner, and its other copy learns of it."""
    dead = crowd.names[7]
    crowd.dead.add(dead)
    left = [site for site, holders in crowd.holders.items() if dead not in holders]
    elections = list(islice(left, ELECTIONS))
    began_bytes, began_s = crowd.sent()[0], crowd.clock.seconds()

    def all_of_them() -> None:
        for number, site in enumerate(elections):
            winner, other, _ = crowd.holders[site]
            spec = crowd.ledgers[winner].registers(site)[winner].spec
            assert spec is not None
            opening = register(spec, winner, owner=True, head=50, epoch=2)
            crowd.publish(winner, site, msgspec.structs.replace(opening, role="opening", serving=False))
            crowd.pass_time(0.1)
            crowd.publish(winner, site, opening)
            crowd.publish(other, site, register(spec, winner, owner=False, head=50, epoch=2))
            if number % 10 == 0:
                crowd.pass_time(0.5)
        crowd.pass_time(10)

    _, cpu_s = timed(all_of_them)
    seconds = crowd.clock.seconds() - began_s
    claims = sum(crowd.ledgers[crowd.names[1]].seen(site).epoch == 2 for site in elections)
    times = EACH / ELECTIONS
    told = f"{EACH} elections of three new words each, counted with {ELECTIONS} in {seconds:.0f} s, times {times:.0f}"
    return [
        row("a death: sent", "bytes per node", (crowd.sent()[0] - began_bytes) / NODES * times, note=told),
        row("a death: work", "CPU s per node", cpu_s / NODES * times, note=told + "; without TLS, signatures checked"),
        row("a death: new owners not known elsewhere after ten seconds", "sites", ELECTIONS - claims, 0.0, told),
    ]


LIFE = {
    "cpu_percent": ("liveness at rest", "% of a core per node"),
    "sent_bytes_per_s": ("liveness at rest", "bytes/s per node"),
    "first_p50_s": ("a death is known to the first", "seconds"),
    "known_max_s": ("a death is known to all", "seconds"),
    "false_deaths": ("taken for dead and alive", "nodes"),
}


def life() -> list[Row]:
    """A hundred processes that run nothing but membership."""
    figures = swim.measure()
    told = f"{figures['nodes']:.0f} processes"
    rows = [row(f"{case}, {told}", unit, figures[key]) for key, (case, unit) in LIFE.items() if key in figures]
    missed = [case for key, (case, _) in LIFE.items() if key not in figures]
    return rows + [row(case, "", None, note="it did not happen in the time given") for case in missed]


def main() -> None:
    """Measure, and write it down."""
    rows = [*life(), *state(), *talk()]
    path = Path("build/bench-scale.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")
    for one in rows:
        mark = {True: "ok", False: "MISSED", None: ""}[one["ok"]]
        ours = "not measured" if one["ours"] is None else f"{one['ours']:,.4f}"
        print(f"{one['case']:62} {ours:>16} {one['unit']:18} {mark}")
    if any(one["ok"] is False for one in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
