"""
Answers of sites, kept in memory for as long as the sites say, within bounds. Pure.

At the owner of a site only: so every request is still counted, logged and bounded there. What is kept counts under the
claim and the number of purges it was made under: after a move, a rollback or a restore nothing of before is used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from hybrid.model import Claim, SiteId
from hybrid_proxy import caching
from hybrid_proxy.head import RequestHead
from hybrid_proxy.limits import Limits
from hybrid_proxy.reply import ReplyHead

Key = tuple[bytes, bytes, bytes]
Stamp = tuple[Claim, int]
"""Claim and number of purges of the site."""
VARIANTS = 4
OVERHEAD = 600
"""What an entry takes beside its bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer."""

    status: int
    reason: bytes
    lines: bytes
    lines_304: bytes
    body: bytes
    etag: bytes
    modified: bytes
    stored_s: float
    fresh: caching.Fresh
    stamp: Stamp

    @property
    def bytes(self) -> int:
        """What it takes."""
        return len(self.body) + len(self.lines) + len(self.lines_304) + OVERHEAD


class Visit:
    """One request of a site that has a cache. Made by `Cache.visit`."""

    __slots__ = ("_cache", "_head", "_key", "_parts", "_reply", "_size", "_stamp", "fresh", "site", "why")

    def __init__(self, cache: Cache, site: SiteId, key: Key | None, stamp: Stamp, head: RequestHead) -> None:
        self._cache, self.site, self._key, self._stamp, self._head = cache, site, key, stamp, head
        self.why = b"bypass" if key is None else caching.why_not_used(head)
        """Why it is asked of the site."""
        self.fresh: caching.Fresh | None = None
        self._reply: ReplyHead | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def kept(self) -> tuple[ReplyHead, bytes] | None:
        """The answer that is kept, if one is, and its body; that is empty where the client has it, or asks by HEAD."""
        if self.why or self._key is None:
            return None
        entry = self._cache.find(self.site, self._key, self._stamp, self._head)
        if not isinstance(entry, Entry):
            self.why = entry
            return None
        return self._cache.said(entry, self._head)

    def answered(self, reply: ReplyHead) -> None:
        """The site answers; that is told the client, and kept if it may be."""
        cache, key = self._cache, self._key
        if key is not None and self._head.method not in (b"GET", b"HEAD", b"OPTIONS") and reply.status < 400:
            cache.drop(self.site, key)  # RFC 9111 §4.4
        if key is not None:
            self.fresh = caching.storable(self._head, reply, cache.limits.cache_entry_bytes)
        self._reply = reply
        status = b"hybrid; fwd=%b%b" % (self.why, b"; stored" if self.fresh is not None else b"")
        reply.fields = [*reply.fields, (b"Cache-Status", status)]

    def piece(self, piece: bytes, done: bool) -> None:
        """More of its body."""
        if self.fresh is None or self._reply is None or self._key is None:
            return
        self._size += len(piece)
        if self._size > self._cache.limits.cache_entry_bytes:
            self.fresh, self._parts = None, []
            return
        if piece:
            self._parts.append(piece)
        if done:
            self._cache.store(self.site, self._key, self._stamp, self._reply, self.fresh, b"".join(self._parts))


class Cache:
    """
    Those of one front door.

    Args:
        now_s: Seconds, monotonic.
        limits: Bounds, of one answer, of one site and of all.
    """

    def __init__(self, now_s: Callable[[], float], limits: Limits) -> None:
        self._now_s, self.limits = now_s, limits
        self._sites: OrderedDict[SiteId, OrderedDict[Key, list[Entry]]] = OrderedDict()
        """The ones used last are last."""
        self._sizes: dict[SiteId, int] = {}
        self.bytes = 0
        """That all of it takes."""

    def visit(self, site: SiteId, head: RequestHead, came_from: bytes, stamp: Stamp) -> Visit:
        """A request of `site`, which has a cache."""
        return Visit(self, site, caching.address(head, came_from), stamp, head)

    def keep(self, sites: Collection[SiteId]) -> None:
        """Forget all others."""
        for site in [site for site in self._sites if site not in sites]:
            self.forget(site)

    def forget(self, site: SiteId) -> None:
        """Nothing of it is kept any more."""
        for key in list(self._sites.get(site, ())):
            self.drop(site, key)

    def find(self, site: SiteId, key: Key, stamp: Stamp, head: RequestHead) -> Entry | bytes:
        """What is kept; or why nothing is, as RFC 9211 calls it."""
        entries = self._of(site).get(key)
        if not entries:
            return b"uri-miss"
        if entries[0].stamp != stamp:
            self.forget(site)
            return b"uri-miss"
        entry = next((entry for entry in entries if caching.same(head, entry.fresh.varies)), None)
        if entry is None:
            return b"vary-miss"
        age_s, left_s = self._ages(entry)
        if left_s <= 0:
            self._replace(site, key, [one for one in entries if one is not entry])
            return b"stale"
        if not caching.enough(head, age_s, left_s):
            return b"request"
        self._sites.move_to_end(site)
        self._sites[site].move_to_end(key)
        return entry

    def said(self, entry: Entry, head: RequestHead) -> tuple[ReplyHead, bytes]:
        """As it is said now."""
        age_s, left_s = self._ages(entry)
        added = b"Age: %d\r\nCache-Status: hybrid; hit; ttl=%d\r\n" % (age_s, left_s)
        if entry.status == 200 and caching.not_modified(head, entry.etag, entry.modified):
            reply, lines, body = ReplyHead(304, b"Not Modified", 1, 0), entry.lines_304, b""
        else:
            reply, lines, body = ReplyHead(entry.status, entry.reason, 1, 0), entry.lines, entry.body
            reply.length = len(body)
        reply.tell(lines + added)
        return reply, b"" if head.method == b"HEAD" else body

    def store(self, site: SiteId, key: Key, stamp: Stamp, reply: ReplyHead, fresh: caching.Fresh, body: bytes) -> None:
        """Keep a whole answer, in place of the one before; others give way, those of its site first."""
        entry = Entry(
            status=reply.status,
            reason=reply.reason,
            lines=caching.kept_lines(reply),
            lines_304=caching.kept_lines(reply, only_304=True),
            body=body,
            etag=caching.values(reply, b"etag"),
            modified=caching.values(reply, b"last-modified"),
            stored_s=self._now_s(),
            fresh=fresh,
            stamp=stamp,
        )
        before = self._of(site).get(key, [])
        others = [one for one in before if one.stamp == stamp and one.fresh.varies != fresh.varies]
        self._replace(site, key, [*others[-(VARIANTS - 1) :], entry])
        while self._sizes.get(site, 0) > self.limits.cache_site_bytes:
            self.drop(site, next(iter(self._sites[site])))
        while self.bytes > self.limits.cache_bytes:
            oldest = next(iter(self._sites))
            self.drop(oldest, next(iter(self._sites[oldest])))

    def drop(self, site: SiteId, key: Key) -> None:
        """Forget what is at one address."""
        if key in self._sites.get(site, ()):
            self._replace(site, key, [])

    def _of(self, site: SiteId) -> Mapping[Key, list[Entry]]:
        return self._sites.get(site) or {}

    def _ages(self, entry: Entry) -> tuple[int, int]:
        """How old it is, and for how long it is fresh."""
        here_s = int(self._now_s() - entry.stored_s)
        return entry.fresh.age_s + here_s, entry.fresh.left_s - here_s

    def _replace(self, site: SiteId, key: Key, entries: list[Entry]) -> None:
        kept = self._sites.setdefault(site, OrderedDict())
        grown = sum(one.bytes for one in entries) - sum(one.bytes for one in kept.pop(key, []))
        self.bytes += grown
        self._sizes[site] = self._sizes.get(site, 0) + grown
        if entries:
            kept[key] = entries
            self._sites.move_to_end(site)
        elif not kept:
            del self._sites[site], self._sizes[site]
