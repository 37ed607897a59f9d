"""
What every node says about itself and its sites, as registers each of which one node writes. Pure.

A site's register has two parts that travel and are outdone apart: its word goes to everybody, its copy, which changes
with each snapshot, to the nodes that hold the site too. Of two values of a part the later version wins, so merging is
commutative, associative and idempotent, and needs no tombstones (a node that holds nothing of a site says role
`none`). Values without an owner are `Shared`: last writer wins by a hybrid logical clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import msgspec

from hybrid.cluster.candidates import HOLDING, largest_claim
from hybrid.cluster.news import News, Pending
from hybrid.cluster.removal import REMOVED
from hybrid.model import NO_CLAIM, Claim, Copy, NodeId, NodeRegister, Shared, SiteId, SiteRegister, Version
from hybrid.wire import Gossip

_EMPTY: Mapping[NodeId, SiteRegister] = MappingProxyType({})
_UNSAID = Version(0, 0)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge changed."""

    sites: frozenset[SiteId] = frozenset()
    nodes: frozenset[NodeId] = frozenset()
    shared: frozenset[str] = frozenset()
    disputed: frozenset[SiteId] = frozenset()
    """Sites about which others hold a later word of this node than it has said: publish them again from facts."""

    def __bool__(self) -> bool:
        return bool(self.sites or self.nodes or self.shared or self.disputed)


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A whole ledger as a plain value, to be kept over a restart."""

    incarnation: int = 0
    nodes: dict[NodeId, NodeRegister] = {}
    sites: dict[SiteId, dict[NodeId, SiteRegister]] = {}
    shared: dict[str, Shared] = {}


def later(ours: SiteRegister | NodeRegister | None, theirs: SiteRegister | NodeRegister) -> bool:
    """Whether `theirs` replaces `ours`."""
    return ours is None or theirs.version > ours.version


class Ledger:
    """All registers this node knows."""

    def __init__(self, me: NodeId, incarnation: int) -> None:
        """`incarnation` is larger at each start."""
        self.me = me
        self._version = Version(incarnation, 0)
        self._sites: dict[SiteId, dict[NodeId, SiteRegister]] = {}
        self._sites_of: dict[NodeId, set[SiteId]] = {}
        self._nodes: dict[NodeId, NodeRegister] = {}
        self._shared: dict[str, Shared] = {}
        self._stamp_ms, self._stamp_count = 0, 0
        self._news = News()
        self._followers: list[Callable[[SiteId], None]] = []
        self._expelled: set[NodeId] = set()
        self._gave_way = False

    def follow(self, changed: Callable[[SiteId], None]) -> None:
        """Call `changed(site)` whenever anybody's register of a site became another, whoever said so."""
        self._followers.append(changed)

    @property
    def incarnation(self) -> int:
        """The first part of the versions this node gives."""
        return self._version.major

    def raise_to(self, incarnation: int) -> None:
        """Publish under a larger incarnation from now on; a smaller one changes nothing."""
        if incarnation > self._version.major:
            self._version = Version(incarnation, 0)

    # ---------------------------------------------------------------------------------------------- publishing

    def publish(self, site: SiteId, register: SiteRegister) -> SiteRegister:
        """
        Make `register` this node's word about `site`.

        Returns:
            It with the next version of what differs, and `seen` raised to the largest claim known; what was there
            before when that says the same.
        """
        before = self.registers(site).get(self.me)
        seen = max(register.seen, self.seen(site), register.claim or NO_CLAIM)
        register = msgspec.structs.replace(
            register,
            version=before.version if before else _UNSAID,
            copy_version=before.copy_version if before else _UNSAID,
            seen=seen,
        )
        if register == before:
            return before
        if before is None or register.word != before.word:
            register = msgspec.structs.replace(register, version=self._next())
        if before is None or register.copy != before.copy:
            register = msgspec.structs.replace(register, copy_version=self._next())
        self._put_site(site, self.me, register)
        return register

    def publish_node(self, register: NodeRegister) -> NodeRegister:
        """Make `register` this node's word about itself. Returns it with its version, which an equal one keeps."""
        before = self._nodes.get(self.me)
        register = msgspec.structs.replace(register, version=before.version if before else Version(0, 0))
        if register == before:
            return before
        register = msgspec.structs.replace(register, version=self._next())
        self._put_node(self.me, register)
        return register

    def share(self, key: str, value: str | None, wall_ms: int) -> Shared:
        """Write a value that has no owner (`None`: remove it). The newest write anywhere wins."""
        if value is None and key.startswith(REMOVED):
            raise ValueError("a removal is for ever")
        if wall_ms > self._stamp_ms:
            self._stamp_ms, self._stamp_count = wall_ms, 0
        else:
            self._stamp_count += 1
        shared = Shared(stamp=(self._stamp_ms, self._stamp_count, self.me), value=value)
        self._put_shared(key, shared)
        return shared

    def prune(self, before_ms: int) -> list[str]:
        """Drop tombstones of shared values older than `before_ms` (wall time). Returns their keys."""
        old = [key for key, entry in self._shared.items() if entry.value is None and entry.stamp[0] < before_ms]
        for key in old:
            del self._shared[key]
        return sorted(old)

    def _next(self) -> Version:
        self._version = self._version.next()
        return self._version

    # ------------------------------------------------------------------------------------------------- merging

    def merge(self, gossip: Gossip, sender: NodeId | None = None) -> Merged:
        """
        Take what is later than what is known. Nobody else writes this node's own registers.

        Args:
            gossip: From a peer.
            sender: That peer, to which what it said is not sent back.

        Returns:
            What changed.
        """
        disputed = self._merge_disputed(gossip)
        sites = {site for node, site, word in _entries(gossip.sites) if self._merge_word(site, node, word, sender)}
        sites |= {site for node, site, copy in _entries(gossip.copies) if self._merge_copy(site, node, copy, sender)}
        nodes = {
            node
            for node, register in gossip.nodes.items()
            if not self._not_for_others(node)
            and later(self._nodes.get(node), register)
            and self._put_node(node, register, sender)
        }
        shared = {key for key, entry in gossip.shared.items() if self._merge_shared(key, entry, sender)}
        return Merged(frozenset(sites), frozenset(nodes), frozenset(shared), frozenset(disputed))

    def expel(self, node: NodeId) -> None:
        """A node was removed from the cluster: what it said counts no more, whoever passes it on."""
        self._expelled.add(node)
        self._nodes.pop(node, None)
        for site in sorted(self._sites_of.pop(node, ())):
            del self._sites[site][node]
            for changed in self._followers:
                changed(site)

    def give_way(self) -> None:
        """Another node has this one's key and goes on: it is not outdone any more, and nobody is told of sites here."""
        self._gave_way = True

    def _speaks_of(self, node: NodeId) -> bool:
        return not (self._gave_way and node == self.me)

    def _not_for_others(self, node: NodeId) -> bool:
        """Whether nobody may bring news of `node`: it is this one, or removed."""
        return node == self.me or node in self._expelled

    def _merge_word(self, site: SiteId, node: NodeId, word: SiteRegister, sender: NodeId | None) -> bool:
        known = self.registers(site).get(node)
        if self._not_for_others(node) or not later(known, word):
            return False
        self._put_site(site, node, word.with_copy(known.copy if known else Copy()), sender)
        return True

    def _merge_copy(self, site: SiteId, node: NodeId, copy: Copy, sender: NodeId | None) -> bool:
        known = self.registers(site).get(node) or SiteRegister(role="none")
        if self._not_for_others(node) or copy.version <= known.copy_version:
            return False
        self._put_site(site, node, known.with_copy(copy), sender)
        return True

    def _merge_disputed(self, gossip: Gossip) -> set[SiteId]:
        """Where others hold a later word of this node than it has: an earlier life said it. Outdo it."""
        if self._gave_way:
            return set()
        node, ours = gossip.nodes.get(self.me), self._nodes.get(self.me)
        node_disputed = node is not None and later(ours, node)
        words, copies = gossip.sites.get(self.me, {}), gossip.copies.get(self.me, {})
        said = {site: word.version for site, word in words.items() if word.version > self._mine(site).version}
        for site, copy in copies.items():
            if copy.version > self._mine(site).copy_version:
                said[site] = max(said.get(site, _UNSAID), copy.version)
        majors = [version.major for version in said.values()]
        majors += [node.version.major] if node is not None and node_disputed else []
        if not majors:
            return set()
        self.raise_to(max(majors) + 1)
        for site in said:
            known = self.registers(site).get(self.me)
            if known is not None:
                known = msgspec.structs.replace(known, version=self._next(), copy_version=self._next())
                self._put_site(site, self.me, known)
        if node_disputed and ours is not None:
            self._put_node(self.me, msgspec.structs.replace(ours, version=self._next()))
        return set(said)

    def _mine(self, site: SiteId) -> SiteRegister:
        return self.registers(site).get(self.me) or SiteRegister(role="none")

    def _merge_shared(self, key: str, entry: Shared, sender: NodeId | None) -> bool:
        known = self._shared.get(key)
        if known is not None and known.stamp >= entry.stamp:
            return False
        if entry.value is None and key.startswith(REMOVED):
            return False
        self._stamp_ms, self._stamp_count = max((self._stamp_ms, self._stamp_count), entry.stamp[:2])
        return self._put_shared(key, entry, sender)

    def _put_site(self, site: SiteId, node: NodeId, register: SiteRegister, sender: NodeId | None = None) -> None:
        registers = self._sites.setdefault(site, {})
        before = registers.get(node)
        registers[node] = register
        self._sites_of.setdefault(node, set()).add(site)
        if before is None or before.version != register.version:
            self._news.site(node, site, sender)
        if self._holds(self.me, site):
            if before is None or before.copy_version != register.copy_version:
                self._news.copy(node, site, self._audience(site), sender)
            if register.role in HOLDING and (before is None or before.role not in HOLDING):
                self._introduce(node, site)
        for changed in self._followers:
            changed(site)

    def _introduce(self, newcomer: NodeId, site: SiteId) -> None:
        """`newcomer` holds `site` now: it is told of all copies; being it ourselves, we tell all of ours."""
        if newcomer == self.me:
            self._news.copy(self.me, site, self._audience(site))
        for node in self._sites[site]:
            self._news.copy(node, site, [newcomer])

    def _holds(self, node: NodeId, site: SiteId) -> bool:
        register = self.registers(site).get(node)
        return register is not None and register.role in HOLDING

    def _audience(self, site: SiteId) -> list[NodeId]:
        """Whom copies of `site` concern."""
        return [node for node in self.registers(site) if self._holds(node, site)]

    def _put_node(self, node: NodeId, register: NodeRegister, sender: NodeId | None = None) -> bool:
        before = self._nodes.get(node)
        self._nodes[node] = register
        told = before is None or before.boot == register.boot
        self._news.node(node, sender if told else None)  # of two nodes with one key, each must hear of the other
        return True

    def _put_shared(self, key: str, entry: Shared, sender: NodeId | None = None) -> bool:
        self._shared[key] = entry
        self._news.shared(key, sender)
        return True

    # --------------------------------------------------------------------------------------------------- links

    def news_for(self, peer: NodeId) -> Gossip:
        """
        What the link to `peer` has not carried yet, at most `hybrid.cluster.news.AT_ONCE` entries of it.

        Args:
            peer: Whom it is sent to. Everything is news to a peer not heard of before.
        """
        pending = self._news.take(peer, lambda: self._everything(peer))
        sites: dict[NodeId, dict[SiteId, SiteRegister]] = {}
        for node, site in pending.sites:
            register = self._sites[site].get(node)
            if register is not None and register.version != _UNSAID and self._speaks_of(node):
                sites.setdefault(node, {})[site] = register.word
        copies: dict[NodeId, dict[SiteId, Copy]] = {}
        for node, site in pending.copies:
            register = self._sites[site].get(node)
            if register is not None and register.copy_version != _UNSAID and self._speaks_of(node):
                copies.setdefault(node, {})[site] = register.copy
        return Gossip(
            nodes={node: self._nodes[node] for node in pending.nodes if node in self._nodes},
            sites=sites,
            copies=copies,
            shared={key: self._shared[key] for key in pending.shared if key in self._shared},
        )

    def forget_peer(self, peer: NodeId) -> None:
        """The link to `peer` broke: what it carried may not have arrived, so all of it is news again."""
        self._news.forget(peer)

    def _everything(self, peer: NodeId) -> Pending:
        pairs = ((node, site) for site, registers in self._sites.items() for node in registers)
        held = (site for site in self.sites_of(peer) if self._holds(peer, site) and self._holds(self.me, site))
        copies = ((node, site) for site in sorted(held) for node in self._sites[site])
        return Pending(
            dict.fromkeys(pairs), dict.fromkeys(copies), dict.fromkeys(self._nodes), dict.fromkeys(self._shared)
        )

    # ------------------------------------------------------------------------------------------------- reading

    def registers(self, site: SiteId) -> Mapping[NodeId, SiteRegister]:
        """What each node says about `site`; empty for an unknown one. Do not keep: it changes."""
        return self._sites.get(site, _EMPTY)

    def sites(self) -> Iterable[SiteId]:
        """Every site any node ever spoke of."""
        return self._sites.keys()

    def sites_of(self, node: NodeId) -> Iterable[SiteId]:
        """Every site of which `node` ever spoke. Do not keep: it changes."""
        return self._sites_of.get(node, ())

    def nodes(self) -> Mapping[NodeId, NodeRegister]:
        """What each node says about itself."""
        return self._nodes

    def shared(self) -> Mapping[str, str]:
        """Values without an owner, removed ones left out."""
        return {key: entry.value for key, entry in self._shared.items() if entry.value is not None}

    def shared_value(self, key: str) -> str | None:
        """One value without an owner, or `None`."""
        entry = self._shared.get(key)
        return entry.value if entry else None

    def shared_entries(self, keys: Iterable[str] | None = None) -> dict[str, Shared]:
        """The entries of `keys` (or all) as they are kept, with stamps and tombstones."""
        return {key: self._shared[key] for key in (self._shared if keys is None else keys) if key in self._shared}

    def seen(self, site: SiteId) -> Claim:
        """The largest claim on `site` held or heard of anywhere; `NO_CLAIM` when there is none."""
        return largest_claim(self.registers(site).values())

    # ------------------------------------------------------------------------------------------------- keeping

    def snapshot(self) -> Saved:
        """All of it as a plain value."""
        return Saved(
            incarnation=self.incarnation,
            nodes=dict(self._nodes),
            sites={site: dict(registers) for site, registers in self._sites.items()},
            shared=dict(self._shared),
        )

    def restore(self, saved: Saved) -> None:
        """Take back at start what `snapshot` gave, what this node said included; publish what is true now after it."""
        self.raise_to(saved.incarnation + 1)
        for site, registers in saved.sites.items():
            for node, register in registers.items():
                known = self.registers(site).get(node)
                if known is None:
                    self._put_site(site, node, register)
                    continue
                word = register if later(known, register) else known
                copy = max(register.copy, known.copy, key=lambda copy: copy.version)
                self._put_site(site, node, word.with_copy(copy))
        for node, described in saved.nodes.items():
            if later(self._nodes.get(node), described):
                self._put_node(node, described)
        for key, entry in saved.shared.items():
            self._merge_shared(key, entry, None)


def _entries(said: Mapping[NodeId, Mapping[SiteId, T]]) -> Iterator[tuple[NodeId, SiteId, T]]:
    return ((node, site, entry) for node, entries in said.items() for site, entry in entries.items())
