"""
What every node says about itself and its sites, as registers each of which one node writes. Pure.

A site's register has two parts that travel and are outdone apart: its word goes to everybody, its copy, which changes
with each snapshot, to the nodes that hold the site too. Of two values of a part the later version wins, so merging is
commutative, associative and idempotent, and needs no tombstones (a node that holds nothing of a site says role
`none`). Values without an owner are `Shared`: last writer wins by a hybrid logical clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from sys import intern
from types import MappingProxyType
from typing import TypeVar

import msgspec

from hybrid.cluster.candidates import HOLDING, largest_claim
from hybrid.cluster.news import CopyOf, News, Self, Value, Word
from hybrid.cluster.removal import REMOVED
from hybrid.cluster.sealing import Seals
from hybrid.cluster.sharing import SharedMap
from hybrid.cluster.sums import SELF, Sums
from hybrid.cluster.vouching import Vouching
from hybrid.model import NO_CLAIM, Claim, Copy, NodeId, NodeRegister, Shared, SiteId, SiteRegister, SiteSpec, Version
from hybrid.wire import Gossip

_EMPTY: Mapping[NodeId, SiteRegister] = MappingProxyType({})
_UNSAID = Version(0, 0)
_SILENT = SiteRegister(role="none")
SHARED = NodeId("")
"""In sums: the writer of values without an owner."""
T = TypeVar("T")


class Merged(msgspec.Struct, frozen=True):
    """What a merge changed."""

    sites: frozenset[SiteId] = frozenset()
    nodes: frozenset[NodeId] = frozenset()
    shared: frozenset[str] = frozenset()
    disputed: frozenset[SiteId] = frozenset()
    """Sites about which others hold a later word of this node than it has said: publish them again from facts."""

    def __bool__(self) -> bool:
        return bool(self.sites or self.nodes or self.shared or self.disputed)


NOTHING_NEW = Merged()


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A whole ledger as a plain value, to be kept over a restart."""

    incarnation: int = 0
    nodes: dict[NodeId, NodeRegister] = {}
    sites: dict[SiteId, dict[NodeId, SiteRegister]] = {}
    shared: dict[str, Shared] = {}


class Ledger:
    """
    All registers this node knows.

    Attributes:
        news: What has still to be told to others, and to whom.
        sums: One number per writer, to compare with what another node knows.
        vouching: Whom is believed what; how much was not.
    """

    def __init__(self, me: NodeId, incarnation: int, seals: Seals | None = None) -> None:
        """
        `incarnation` is larger at each start. Without `seals` nothing is signed or checked.
        """
        self.me = me
        self.news = News()
        self.sums = Sums()
        self.vouching = Vouching(me, seals, self._key_of)
        self._version = Version(incarnation, 0)
        self._sites: dict[SiteId, dict[NodeId, SiteRegister]] = {}
        self._sites_of: dict[NodeId, set[SiteId]] = {}
        self._nodes: dict[NodeId, NodeRegister] = {}
        self._shared = SharedMap(me)
        self._followers: list[Callable[[SiteId], None]] = []
        self._earlier: dict[SiteId, Claim] = {}
        """The largest claims an earlier life of this node told of: outdoing its word must not make them forgotten."""
        self._expelled: set[NodeId] = set()
        self._disbelieved: set[NodeId] = set()
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
        before = self._mine(site)
        word = msgspec.structs.replace(
            register.word,
            seen=max(register.seen, self.seen(site), register.claim or NO_CLAIM),
            version=before.version,
            seal=before.seal,
        )
        copy = msgspec.structs.replace(register.copy, version=before.copy_version, seal=before.copy_seal)
        if before.version != _UNSAID and (word, copy) == (before.word, before.copy):
            return before
        return self._say(
            site,
            word if word == before.word and before.version != _UNSAID else None,
            copy if copy == before.copy and before.copy_version != _UNSAID else None,
            word.with_copy(copy),
        )

    def _say(
        self, site: SiteId, same_word: SiteRegister | None, same_copy: Copy | None, register: SiteRegister
    ) -> SiteRegister:
        """Put `register` as this node's own, each part with a new version and signature unless it is the same."""
        word, copy = same_word, same_copy
        if word is None:
            word = msgspec.structs.replace(register.word, version=self._next())
            word = self.vouching.signed(word, site)
        if copy is None:
            copy = self.vouching.signed(msgspec.structs.replace(register.copy, version=self._next()), site)
        said = word.with_copy(copy)
        self._put_site(site, self.me, said)
        return said

    def publish_node(self, register: NodeRegister) -> NodeRegister:
        """Make `register` this node's word about itself. Returns it with its version, which an equal one keeps."""
        before = self._nodes.get(self.me)
        if before is not None:
            register = msgspec.structs.replace(register, version=before.version, seal=before.seal)
        if register == before:
            return before
        register = self.vouching.signed(msgspec.structs.replace(register, version=self._next()))
        self._put_node(self.me, register)
        return register

    def share(self, key: str, value: str | None, wall_ms: int) -> Shared:
        """Write a value that has no owner (`None`: remove it). The newest write anywhere wins."""
        if value is None and key.startswith(REMOVED):
            raise ValueError("a removal is for ever")
        before = self._shared.get(key)
        entry = self._shared.write(key, value, wall_ms)
        self._put_shared(key, before, entry)
        return entry

    def prune(self, before_ms: int) -> list[str]:
        """Drop tombstones of shared values older than `before_ms` (wall time). Returns their keys."""
        before = self._shared.entries()
        pruned = self._shared.prune(before_ms)
        for key in pruned:
            self._sum_shared(key, before[key], None)
        return pruned

    def _next(self) -> Version:
        self._version = self._version.next()
        return self._version

    def _mine(self, site: SiteId) -> SiteRegister:
        return self.registers(site).get(self.me, _SILENT)

    def _key_of(self, node: NodeId) -> bytes | None:
        register = self._nodes.get(node)
        return register.key if register is not None else None

    # ------------------------------------------------------------------------------------------------- merging

    def merge(self, gossip: Gossip, sender: NodeId | None = None, spread: bool = True) -> Merged:
        """
        Take what is later than what is known, and said by its writer. Nobody else writes this node's own registers.

        Args:
            gossip: From a peer.
            sender: That peer; `None` for this node's own memory.
            spread: Tell it on, but not back to the sender.

        Returns:
            What changed.
        """
        told_by = (sender or self.me) if spread else None
        nodes = {node for node, register in gossip.nodes.items() if self._merge_node(node, register, sender, told_by)}
        disputed = self._merge_disputed(gossip, sender)
        sites = {
            site
            for node, words in gossip.sites.items()
            for site, word in words.items()
            if self._merge_word(site, node, word, sender, told_by)
        }
        for node, copies in gossip.copies.items():
            sites.update(site for site, copy in copies.items() if self._merge_copy(site, node, copy, sender, told_by))
        shared = {key for key, entry in gossip.shared.items() if self._merge_shared(key, entry, told_by)}
        if not (sites or nodes or shared or disputed):
            return NOTHING_NEW
        return Merged(frozenset(sites), frozenset(nodes), frozenset(shared), frozenset(disputed))

    def expel(self, node: NodeId) -> None:
        """A node was removed from the cluster: what it said counts no more, whoever passes it on."""
        self._expelled.add(node)
        self._nodes.pop(node, None)
        self.sums.forget(node)
        for site in sorted(self._sites_of.pop(node, ())):
            del self._sites[site][node]
            for changed in self._followers:
                changed(site)

    def disbelieve(self, node: NodeId) -> None:
        """What `node` said until now stands, and nothing new of it is taken, in this life."""
        self._disbelieved.add(node)

    def give_way(self) -> None:
        """Another node has this one's key and goes on: it is not outdone any more, and nobody is told of sites here."""
        self._gave_way = True

    def speaks_of(self, node: NodeId) -> bool:
        """Whether others are told what `node` says of sites."""
        return not (self._gave_way and node == self.me)

    def _not_for_others(self, node: NodeId) -> bool:
        """Whether nobody may bring news of `node`: it is this one, removed, or not believed."""
        return node == self.me or node in self._expelled or node in self._disbelieved

    def _merge_node(self, node: NodeId, register: NodeRegister, sender: NodeId | None, told_by: NodeId | None) -> bool:
        known = self._nodes.get(node)
        if self._not_for_others(node) or (known is not None and register.version <= known.version):
            return False
        if not self.vouching.believes(register, node, sender):
            return False
        self._put_node(node, register, told_by)
        return True

    def _merge_word(
        self, site: SiteId, node: NodeId, word: SiteRegister, sender: NodeId | None, told_by: NodeId | None
    ) -> bool:
        known = self.registers(site).get(node, _SILENT)
        if self._not_for_others(node) or word.version <= known.version:
            return False
        if not self.vouching.believes(word, node, sender, site):
            return False
        spec = self._same_spec(site, word)
        if spec is not word.spec:
            word = msgspec.structs.replace(word, spec=spec)
        self._put_site(site, node, word if word.copy == known.copy else word.with_copy(known.copy), told_by)
        return True

    def _same_spec(self, site: SiteId, word: SiteRegister) -> SiteSpec | None:
        """The spec in `word`; where another register has the same one, that one: it is kept once."""
        for said in self.registers(site).values():
            if said.spec is not None and said.spec == word.spec:
                return said.spec
        return word.spec

    def _merge_copy(
        self, site: SiteId, node: NodeId, copy: Copy, sender: NodeId | None, told_by: NodeId | None
    ) -> bool:
        known = self.registers(site).get(node, _SILENT)
        if self._not_for_others(node) or copy.version <= known.copy_version:
            return False
        if not self.vouching.believes(copy, node, sender, site):
            return False
        self._put_site(site, node, known.with_copy(copy), told_by)
        return True

    def _merge_shared(self, key: str, entry: Shared, told_by: NodeId | None) -> bool:
        before = self._shared.get(key)
        if (entry.value is None and key.startswith(REMOVED)) or not self._shared.merge(key, entry):
            return False
        self._put_shared(key, before, entry, told_by)
        return True

    def _merge_disputed(self, gossip: Gossip, sender: NodeId | None) -> set[SiteId]:
        """Where others hold a later word of this node than it has: an earlier life said it. Outdo it."""
        if self._gave_way or not any(self.me in said for said in (gossip.copies, gossip.sites, gossip.nodes)):
            return set()
        node, mine = gossip.nodes.get(self.me), self._nodes.get(self.me)
        about_me = node is not None and (mine is None or node.version > mine.version)
        about_me = about_me and node is not None and self.vouching.believes(node, self.me, sender)
        said: dict[SiteId, int] = {}
        for site, word in gossip.sites.get(self.me, {}).items():
            if word.version > self._mine(site).version and self.vouching.believes(word, self.me, sender, site):
                said[site] = word.version.major
                self._earlier[site] = max(self._earlier.get(site, NO_CLAIM), word.seen, word.claim or NO_CLAIM)
        for site, copy in gossip.copies.get(self.me, {}).items():
            if copy.version > self._mine(site).copy_version and self.vouching.believes(copy, self.me, sender, site):
                said[site] = max(said.get(site, 0), copy.version.major)
        majors = [*said.values(), *([node.version.major] if about_me and node is not None else [])]
        if not majors:
            return set()
        self.raise_to(max(majors) + 1)
        for site in said:
            known = self.registers(site).get(self.me)
            if known is not None:
                self._say(site, None, None, known)
        if about_me and mine is not None:
            self._put_node(self.me, self.vouching.signed(msgspec.structs.replace(mine, version=self._next())))
        return set(said)

    # ------------------------------------------------------------------------------------------------- keeping

    def _put_site(self, site: SiteId, node: NodeId, register: SiteRegister, told_by: NodeId | None = None) -> None:
        """Keep it. `told_by`: who said so, this node itself for its own; `None`: it is not told on."""
        site, node = SiteId(intern(site)), NodeId(intern(node))  # else each message brings its own, 300,000 in all
        told_by = self.me if node == self.me else told_by
        registers = self._sites.setdefault(site, {})
        before = registers.get(node, _SILENT)
        registers[node] = register
        self._sites_of.setdefault(node, set()).add(site)
        if before.version != register.version:
            self.sums.replace(node, site, _said(before.version), _said(register.version))
        if told_by is not None:
            self._tell(site, node, before, register, told_by)
        for changed in self._followers:
            changed(site)

    def _tell(self, site: SiteId, node: NodeId, before: SiteRegister, register: SiteRegister, told_by: NodeId) -> None:
        """A word goes to all, and at once from its writer to those who hold the site; a copy only to these."""
        audience = self._audience(site, told_by)
        if before.version != register.version:
            self.news.spread(Word(node, site), told_by)
            self.news.owe([Word(node, site)], audience if node == self.me else ())
        if not self._holds(self.me, site):
            return
        if before.copy_version != register.copy_version:
            self.news.owe([CopyOf(node, site)], audience)
        if register.role in HOLDING and before.role not in HOLDING:
            newcomers = audience if node == self.me else [node]
            self.news.owe([CopyOf(other, site) for other in self._sites[site]], newcomers)

    def _holds(self, node: NodeId, site: SiteId) -> bool:
        return self.registers(site).get(node, _SILENT).role in HOLDING

    def _audience(self, site: SiteId, told_by: NodeId) -> list[NodeId]:
        """Whom copies of `site` concern, besides this node and who told of one."""
        return [node for node in self.registers(site) if node not in (self.me, told_by) and self._holds(node, site)]

    def _put_node(self, node: NodeId, register: NodeRegister, told_by: NodeId | None = None) -> None:
        before = self._nodes.get(node)
        self._nodes[node] = register
        self.sums.replace(node, SELF, before.version if before else None, register.version)
        if node == self.me or told_by is not None:
            same_life = before is None or before.boot == register.boot
            self.news.spread(Self(node), told_by if same_life else None)  # twins are to hear of each other

    def _put_shared(self, key: str, before: Shared | None, entry: Shared, told_by: NodeId | None = None) -> None:
        self._sum_shared(key, before, entry)
        if entry.stamp[2] == self.me or told_by is not None:
            self.news.spread(Value(key), told_by)

    def _sum_shared(self, key: str, before: Shared | None, after: Shared | None) -> None:
        for entry, put in ((before, False), (after, True)):
            if entry is not None:
                version = Version(*entry.stamp[:2])
                self.sums.replace(SHARED, f"{entry.stamp[2]} {key}", None if put else version, version if put else None)

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
        return {key: entry.value for key, entry in self._shared if entry.value is not None}

    def shared_value(self, key: str) -> str | None:
        """One value without an owner, or `None`."""
        entry = self._shared.get(key)
        return entry.value if entry else None

    def shared_entry(self, key: str) -> Shared | None:
        """The entry of `key` as it is kept, a tombstone too."""
        return self._shared.get(key)

    def shared_entries(self, keys: Iterable[str] | None = None) -> dict[str, Shared]:
        """The entries of `keys` (or all) as they are kept, with stamps and tombstones."""
        return self._shared.entries(keys)

    def seen(self, site: SiteId) -> Claim:
        """The largest claim on `site` held or heard of anywhere; `NO_CLAIM` when there is none."""
        return max(largest_claim(self.registers(site).values()), self._earlier.get(site, NO_CLAIM))

    # ---------------------------------------------------------------------------------------- over a restart

    def snapshot(self) -> Saved:
        """All of it as a plain value."""
        return Saved(
            incarnation=self.incarnation,
            nodes=dict(self._nodes),
            sites={site: dict(registers) for site, registers in self._sites.items()},
            shared=self._shared.entries(),
        )

    def restore(self, saved: Saved) -> None:
        """Take back at start what `snapshot` gave, what this node said included; publish what is true now after it."""
        self.raise_to(saved.incarnation + 1)
        for site, registers in saved.sites.items():
            for node, register in registers.items():
                known = self.registers(site).get(node, _SILENT)
                word = register if register.version > known.version else known
                copy = max(register.copy, known.copy, key=lambda copy: copy.version)
                self._put_site(site, node, word.with_copy(copy))
        for node, described in saved.nodes.items():
            if node not in self._nodes or described.version > self._nodes[node].version:
                self._put_node(node, described)
        for key, entry in saved.shared.items():
            self._merge_shared(key, entry, None)


def _said(version: Version) -> Version | None:
    """In sums a part that was never said does not count."""
    return version if version != _UNSAID else None
