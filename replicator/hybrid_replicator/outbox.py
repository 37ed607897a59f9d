"""
Decides what to send next, to whom. Pure.

At most one entry per site and peer: what is sent is always the newest snapshot at that moment, so a slow peer never
builds a backlog. Each peer has its own slots; the bound on all sends together never keeps a peer with nothing under
way from its first, so a slow or dead one delays nobody else. Whole copies (a new place, a lost node's sites made again
elsewhere) take one slot of a peer at most and two in all: the newest changes of all other sites never wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from hybrid.model import NodeId, SiteId

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 300.0
BUSY_RETRY_S = 1.0


@dataclass(slots=True)
class _Waiting:
    """A site that waits to be sent to one peer."""

    since_s: float
    whole: bool = False
    not_before_s: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class _Peer:
    """One peer's entries."""

    waiting: dict[SiteId, _Waiting] = field(default_factory=dict)
    sending: dict[SiteId, _Waiting] = field(default_factory=dict)
    not_before_s: float = 0.0
    failures: int = 0


class Outbox:
    """What waits for every peer."""

    def __init__(self, jitter: Callable[[], float], per_peer: int = 2, in_all: int = 6, whole: int = 2) -> None:
        """`jitter()` is between 0 and 1; `per_peer` and `in_all` bound the sends under way, `whole` whole copies."""
        self._jitter, self._per_peer, self._in_all, self._whole = jitter, per_peer, in_all, whole
        self._peers: dict[NodeId, _Peer] = {}

    def want(self, site: SiteId, peer: NodeId, now_s: float, whole: bool = False) -> None:
        """
        `peer` should have the newest snapshot of `site`. Waiting or under way already: fine.

        Args:
            whole: It holds nothing of it, as far as is known.
        """
        entries = self._peers.setdefault(peer, _Peer())
        if site not in entries.sending:
            entries.waiting.setdefault(site, _Waiting(now_s)).whole = whole

    def keep(self, wanted: Iterable[tuple[SiteId, NodeId]]) -> None:
        """Forget what waits and is not in `wanted`."""
        pairs = set(wanted)
        for peer, entries in self._peers.items():
            for site in [site for site in entries.waiting if (site, peer) not in pairs]:
                del entries.waiting[site]

    def start(self, now_s: float) -> list[tuple[SiteId, NodeId]]:
        """What to begin now, longest waiting first; it counts as under way until `sent` or `failed`."""
        begun = []
        while (entry := min(self._ready(now_s), default=None)) is not None:
            _, site, peer = entry
            self._peers[peer].sending[site] = self._peers[peer].waiting.pop(site)
            begun.append((site, peer))
        return begun

    def _ready(self, now_s: float) -> Iterator[tuple[float, SiteId, NodeId]]:
        """What may begin now: since when it waits, site, peer."""
        for peer, entries in self._peers.items():
            if entries.waiting and entries.not_before_s <= now_s and self._may_start(entries):
                room = self._room_for_whole(entries)
                for site, entry in entries.waiting.items():
                    if entry.not_before_s <= now_s and (room or not entry.whole):
                        yield entry.since_s, site, peer

    def sent(self, site: SiteId, peer: NodeId) -> None:
        """A send ended well."""
        entries = self._peers[peer]
        entries.sending.pop(site, None)
        entries.failures, entries.not_before_s = 0, 0.0

    def postponed(self, site: SiteId, peer: NodeId, now_s: float, delay_s: float = BUSY_RETRY_S) -> None:
        """It could not be sent just now (somebody else is at work on it): soon again, at the same pace."""
        self._back(site, peer, now_s + delay_s * self._spread())

    def failed(self, site: SiteId, peer: NodeId, now_s: float) -> None:
        """The peer did not take this site: again after a while that doubles, other sites go on."""
        entry = self._peers[peer].sending.get(site)
        failures = entry.failures if entry else 0
        self._back(site, peer, now_s + self._delay_s(failures))
        if site in self._peers[peer].waiting:
            self._peers[peer].waiting[site].failures = failures + 1

    def unreachable(self, site: SiteId, peer: NodeId, now_s: float) -> None:
        """The peer as a whole could not be reached: nothing for it until a while has passed, or `revive`."""
        self._back(site, peer, now_s)
        entries = self._peers[peer]
        if entries.not_before_s <= now_s:
            entries.not_before_s = now_s + self._delay_s(entries.failures)
            entries.failures += 1

    def revive(self, peer: NodeId) -> None:
        """The peer is there again: everything that waits for it may go at once."""
        entries = self._peers.setdefault(peer, _Peer())
        entries.not_before_s, entries.failures = 0.0, 0
        for entry in entries.waiting.values():
            entry.not_before_s, entry.failures = 0.0, 0

    def hurry(self, site: SiteId) -> None:
        """The reason why peers refused `site` may be gone: it may go at once."""
        for entries in self._peers.values():
            if site in entries.waiting:
                entries.waiting[site].not_before_s, entries.waiting[site].failures = 0.0, 0

    def under_way(self) -> int:
        """Sends begun and not ended."""
        return sum(len(entries.sending) for entries in self._peers.values())

    def _may_start(self, entries: _Peer) -> bool:
        mine = len(entries.sending)
        return mine == 0 or (mine < self._per_peer and self.under_way() < self._in_all)

    def _room_for_whole(self, entries: _Peer) -> bool:
        """Whether a whole copy may begin to a peer."""
        if any(entry.whole for entry in entries.sending.values()):
            return False
        return sum(entry.whole for peer in self._peers.values() for entry in peer.sending.values()) < self._whole

    def _back(self, site: SiteId, peer: NodeId, not_before_s: float) -> None:
        entry = self._peers[peer].sending.pop(site, None)
        if entry is not None:
            entry.not_before_s = not_before_s
            self._peers[peer].waiting[site] = entry

    def _delay_s(self, failures: int) -> float:
        return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures, 16)) * self._spread()

    def _spread(self) -> float:
        return 0.75 + 0.5 * self._jitter()
