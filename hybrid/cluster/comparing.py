"""
Finding what two nodes do not both know, from checksums to versions to registers. Pure.

Anti-entropy with checksums (Demers et al., PODC 1987): one sum over all says whether there is anything to find, a sum
per writer where, the versions of these writers' registers what. One side asks; the answers also name what the other
lacks. Whatever was lost on the way is found so, however it was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from hybrid.cluster.candidates import HOLDING
from hybrid.cluster.ledger import SHARED, Ledger
from hybrid.cluster.news import CopyOf, Name, Self, Value, Word
from hybrid.cluster.parcels import parcel
from hybrid.cluster.sums import SELF, checksum
from hybrid.model import NodeId, SiteId, Version
from hybrid.wire import Compare, Compared, Gossip, Pull, Pulled

FEW = 200
"""So many registers that one side lacked may be news to everybody, and are told on; more are an old gap, here only."""
WRITERS_AT_ONCE = 32
"""Whose versions are sent in one question."""
SITES_AT_ONCE = 500
"""The same for questions about sites."""
_UNSAID = Version(0, 0)
Stamp = tuple[int, int, NodeId]
_NEVER: Stamp = (0, 0, NodeId(""))
T = TypeVar("T")


def held_by_both(ledger: Ledger, peer: NodeId) -> list[SiteId]:
    """The sites of which `peer` and this node both hold copies, as far as is known here; by id."""
    held = (site for site in ledger.sites_of(ledger.me) if _holds(ledger, ledger.me, site))
    return sorted(site for site in held if _holds(ledger, peer, site))


def copies_sum(ledger: Ledger, peer: NodeId) -> int:
    """A checksum of all copies of the sites that `peer` holds too."""
    return checksum(
        (f"{node} {site}", register.copy_version)
        for site in held_by_both(ledger, peer)
        for node, register in ledger.registers(site).items()
        if register.copy_version != _UNSAID
    )


def question(ledger: Ledger, peer: NodeId) -> Compare:
    """How to begin with `peer`."""
    return Compare(ledger.sums.total(), copies_sum(ledger, peer))


def compared(ledger: Ledger, asker: NodeId, asked: Compare) -> Compared:
    """The answer to `asked`."""
    sums = None if asked.total == ledger.sums.total() else _each(ledger)
    return Compared(sums, asked.copies == copies_sum(ledger, asker))


def differing(ledger: Ledger, answer: Compared) -> list[NodeId]:
    """The writers of whom the two know different things, by id; `SHARED` first if it is among them."""
    mine, theirs = _each(ledger), answer.sums or {}
    if answer.sums is None:
        return []
    return sorted(writer for writer in mine.keys() | theirs.keys() if mine.get(writer) != theirs.get(writer))


@dataclass(frozen=True, slots=True)
class Topic:
    """What one question is about."""

    writers: tuple[NodeId, ...] = ()
    sites: tuple[SiteId, ...] = ()
    """All words about them."""
    copies: tuple[SiteId, ...] = ()
    """All copies of them."""


def topics(writers: Sequence[NodeId] = (), sites: Sequence[SiteId] = (), copies: Sequence[SiteId] = ()) -> list[Topic]:
    """Questions of a bearable size: what nodes, sites and copies are asked about, in this order."""
    return [
        *(Topic(writers=some) for some in _batches(writers, WRITERS_AT_ONCE)),
        *(Topic(sites=some) for some in _batches(sites, SITES_AT_ONCE)),
        *(Topic(copies=some) for some in _batches(copies, SITES_AT_ONCE)),
    ]


def pull(ledger: Ledger, topic: Topic) -> Pull:
    """The question, with what is known of it now."""
    shared = {key: entry.stamp for key, entry in ledger.shared_entries().items()} if SHARED in topic.writers else None
    return Pull(
        words={writer: _versions(ledger, writer) for writer in topic.writers if writer != SHARED},
        sites={site: {node: said.version for node, said in ledger.registers(site).items()} for site in topic.sites},
        copies={
            site: {node: said.copy_version for node, said in ledger.registers(site).items()} for site in topic.copies
        },
        shared=shared,
    )


def pulled(ledger: Ledger, asked: Pull) -> Pulled:
    """The answer to `asked`: registers of nodes first, so that their keys are there to check the rest with."""
    later: list[Name] = []
    lacking: list[Name] = []
    for name, stamp in _all_asked(ledger, asked):
        mine = _stamp_of(ledger, name)
        if mine > stamp:
            later.append(name)
        elif mine < stamp:
            lacking.append(name)
    later.sort(key=lambda name: not isinstance(name, Self))
    news, left = parcel(ledger, later)
    news = msgspec.structs.replace(news, quiet=len(later) > FEW)
    if left:
        return Pulled(news=news, more=True)
    return Pulled(
        news=news,
        words=tuple((name.node, name.site) for name in lacking if isinstance(name, Word)),
        nodes=tuple(name.node for name in lacking if isinstance(name, Self)),
        copies=tuple((name.node, name.site) for name in lacking if isinstance(name, CopyOf)),
        shared=tuple(name.key for name in lacking if isinstance(name, Value)),
    )


def lacked(ledger: Ledger, answer: Pulled) -> Iterator[Gossip]:
    """What the answering node lacks, as messages."""
    left: list[Name] = [
        *(Self(node) for node in answer.nodes),
        *(Value(key) for key in answer.shared),
        *(Word(node, site) for node, site in answer.words),
        *(CopyOf(node, site) for node, site in answer.copies),
    ]
    quiet = len(left) > FEW
    while left:
        news, left = parcel(ledger, left)
        yield msgspec.structs.replace(news, quiet=quiet)


def _holds(ledger: Ledger, node: NodeId, site: SiteId) -> bool:
    register = ledger.registers(site).get(node)
    return register is not None and register.role in HOLDING


def _each(ledger: Ledger) -> dict[NodeId, int]:
    return {NodeId(writer): total for writer, total in ledger.sums.each().items()}


def _versions(ledger: Ledger, writer: NodeId) -> dict[SiteId, Version]:
    """Of all that `writer` is known to have said."""
    versions = {site: ledger.registers(site)[writer].version for site in ledger.sites_of(writer)}
    described = ledger.nodes().get(writer)
    return versions if described is None else {**versions, SiteId(SELF): described.version}


def _all_asked(ledger: Ledger, asked: Pull) -> Iterator[tuple[Name, Stamp]]:
    """All that `asked` is about, in order, with the stamp it has there."""
    for site, by_node in asked.sites.items():
        for node in sorted(by_node.keys() | ledger.registers(site).keys()):
            yield Word(node, site), _stamp(by_node.get(node))
    for writer, by_site in asked.words.items():
        yield Self(writer), _stamp(by_site.get(SiteId(SELF)))
        for site in sorted((by_site.keys() | set(ledger.sites_of(writer))) - {SELF}):
            yield Word(writer, site), _stamp(by_site.get(site))
    for site, by_node in asked.copies.items():
        for node in sorted(by_node.keys() | ledger.registers(site).keys()):
            yield CopyOf(node, site), _stamp(by_node.get(node))
    if asked.shared is not None:
        for key in sorted(asked.shared.keys() | ledger.shared_entries().keys()):
            yield Value(key), asked.shared.get(key, _NEVER)


def _stamp_of(ledger: Ledger, name: Name) -> Stamp:
    match name:
        case Word(node, site):
            register = ledger.registers(site).get(node)
            return _stamp(register.version if register is not None else None)
        case CopyOf(node, site):
            register = ledger.registers(site).get(node)
            return _stamp(register.copy_version if register is not None else None)
        case Self(node):
            described = ledger.nodes().get(node)
            return _stamp(described.version if described is not None else None)
        case Value(key):
            entry = ledger.shared_entry(key)
            return entry.stamp if entry is not None else _NEVER


def _stamp(version: Version | None) -> Stamp:
    return _NEVER if version is None else (version.major, version.minor, NodeId(""))


def _batches(names: Sequence[T], size: int) -> Iterator[tuple[T, ...]]:
    return (tuple(names[at : at + size]) for at in range(0, len(names), size))
