"""
Finished replies to plain queries, by question: only the id, the RD bit, the case of letters and the OPT record differ.

Pure.

The replies about hosts of sites, which are nearly all, are put together here byte by byte, a hundred times faster than
by dnspython, which makes all others; both ways give the same bytes (a test compares them for any contents).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

import dns.name

from hybrid_dns.finished import BEST, Form, Heads, Replies
from hybrid_dns.lookup import NEGATIVE_TTL_S, Zones
from hybrid_dns.options import ROOM

HEADER_SIZE = 12
UDP_SIZE = 1232
LIMIT = 200_000
EXACT_LIMIT = 100_000
SHORT = 512 - ROOM
"""Replies in the table fit every client, with our options in them too."""
OPT = {do: b"\0\0\x29" + UDP_SIZE.to_bytes(2, "big") + bytes([0, 0, do, 0, 0, 0]) for do in (0, 0x80)}
OPT_SIZE = 11

_ONE_QUESTION = b"\0\1\0\0\0\0"
_A, _AAAA = b"\0\1\0\1", b"\0\x1c\0\1"
_SIZE = {_A: 4, _AAAA: 16}
_SERVER_LABELS = (b"ns1", b"hostmaster")
_Entry = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes]
"""Bytes 2..12: by RD; with an OPT record, by RD. What follows the question: alone, with OPT, with OPT and DO."""


def entry_of(wire: bytes, end: int, is_signed: bool) -> _Entry:
    """
    The entry of `wire`: a reply without OPT whose id does not matter, RD clear, its question ending at `end`.

    Where its zone `is_signed`, who wants proof gets the long way's.
    """
    head, tail = wire[2:HEADER_SIZE], wire[end:]
    more = head[:8] + (int.from_bytes(head[8:], "big") + 1).to_bytes(2, "big")
    set_rd, more_rd = bytes([head[0] | 1]) + head[1:], bytes([more[0] | 1]) + more[1:]
    return head, set_rd, more, more_rd, tail, tail + OPT[0], b"" if is_signed else tail + OPT[0x80]


class Table:
    """
    Of one state of the zones.

    Args:
        zones: What to make replies from; `None`: of nothing.
        before: The table of the state before; what still holds is taken from it.
        changed: Names whose hosts differ between both. `None`: nothing of it still holds.
        signed: Zones that are signed.
        form: Of the table of finished replies.
    """

    def __init__(
        self,
        zones: Zones | None,
        before: Table | None = None,
        changed: set[str] | None = None,
        signed: frozenset[str] = frozenset(),
        form: Form = BEST,
    ) -> None:
        self._zones, self._signed = zones, signed
        self._entries: dict[bytes, _Entry] = {}
        self.exact: Replies = form.replies()
        """By all that follows the flags of a query; for who wants no call for each."""
        self._dated: list[bytes] = []
        """Questions whose replies have the serial in them, or depend on more than hosts."""
        self._soas: dict[tuple[str, int], bytes] = {}
        if before is not None and changed is not None and len(changed) < len(before._entries):
            self._entries = before._entries
            for key in before._dated:
                self._entries.pop(key, None)
            for name in changed:
                for kind in (_A, _AAAA):
                    self._entries.pop(_wire(name) + kind, None)

    def quick(self, query: bytes) -> bytes | None:
        """The reply to `query`; `None` where it is not plain, or not in the table."""
        end = query.find(b"\0", HEADER_SIZE) + 5
        if query[4:10] != _ONE_QUESTION or query[2] & 0xFE or end < 17 or len(query) < end:
            return None
        key = query[HEADER_SIZE : end - 4].lower() + query[end - 4 : end]
        entry = self._entries.get(key)
        if entry is None:
            entry = self._made(key)
            if entry is None:
                return None
        opt = query[end:]
        if opt:
            if len(opt) != OPT_SIZE or query[10:12] != b"\0\1" or opt[:3] != b"\0\0\x29" or opt[9:] != b"\0\0":
                return None
            if opt[5] or opt[6]:
                return None
            heads, tail = entry[2:4], entry[6 if opt[7] & 0x80 else 5]
            if not tail:
                return None
        elif query[10:12] == b"\0\0":
            heads, tail = entry[:2], entry[4]
        else:
            return None
        self._find_again(query, heads, end, tail)
        return query[:2] + heads[query[2]] + query[HEADER_SIZE:end] + tail

    def _find_again(self, query: bytes, heads: Heads, end: int, tail: bytes) -> None:
        """Remember how `query` is answered, unless lower case could make it another."""
        rest = query[end - 4 :]
        if rest.lower() == rest and rest.upper() == rest:
            if len(self.exact) >= EXACT_LIMIT:
                self.exact.clear()
            self.exact.put(query[4:].lower(), heads, end, tail)

    def keep(self, key: bytes, wire: bytes, is_signed: bool) -> None:
        """Remember `wire`, the reply to the plain question `key` (name in lower case, type, class)."""
        if len(self._entries) < LIMIT and len(wire) + OPT_SIZE <= SHORT:
            self._entries[key] = entry_of(wire, HEADER_SIZE + len(key), is_signed)
            self._dated.append(key)

    def _made(self, key: bytes) -> _Entry | None:
        """The reply about addresses of a host of a site."""
        size = _SIZE.get(key[-4:])
        zones = self._zones
        if size is None or zones is None:
            return None
        labels = _labels(key[:-5])
        hosts = zones.hosts_only(b".".join(labels).decode("latin-1")) if labels else None
        if hosts is None:
            return None
        packed = [data for data in map(_packed, hosts.addresses) if len(data) == size]
        if packed:
            fixed = b"\xc0\x0c" + key[-4:] + hosts.ttl_s.to_bytes(4, "big") + size.to_bytes(2, "big")
            counts, tail = len(packed).to_bytes(2, "big") + bytes(4), b"".join(fixed + data for data in packed)
        else:
            counts, tail = b"\0\0\0\1\0\0", self._soa(zones, labels)
        if tail == b"" or HEADER_SIZE + len(key) + len(tail) + OPT_SIZE > SHORT:
            return None
        entry = entry_of(
            b"\0\0\x84\0\0\1" + counts + key + tail, HEADER_SIZE + len(key), self._is_signed(zones, labels)
        )
        if len(self._entries) < LIMIT:
            self._entries[key] = entry
            if not packed:
                self._dated.append(key)
        return entry

    def _is_signed(self, zones: Zones, labels: list[bytes]) -> bool:
        if not self._signed:
            return False
        match = zones.find(dns.name.Name((*labels, b"")))
        return match is not None and match.origin in self._signed

    def _soa(self, zones: Zones, labels: list[bytes]) -> bytes:
        """The SOA at the end of "no such data" for a name of `labels`; `b""` where its names need more thought."""
        place = HEADER_SIZE
        for depth in range(len(labels) + 1):
            origin = b".".join(labels[depth:]).decode("latin-1")
            if zones.is_origin(origin):
                break
            place += len(labels[depth]) + 1 if depth < len(labels) else 0
        else:
            return b""
        if (depth and labels[depth - 1] in _SERVER_LABELS) or not zones.is_own_server(origin):
            return b""
        made = self._soas.get((origin, place))
        if made is None:
            pointer = (0xC000 | place).to_bytes(2, "big")
            numbers = (zones.serial, 3600, 600, 604800, NEGATIVE_TTL_S)
            data = b"\3ns1" + pointer + b"\x0ahostmaster" + pointer + b"".join(n.to_bytes(4, "big") for n in numbers)
            fixed = b"\0\6\0\1" + NEGATIVE_TTL_S.to_bytes(4, "big") + len(data).to_bytes(2, "big")
            made = self._soas[origin, place] = pointer + fixed + data
        return made


def _labels(name: bytes) -> list[bytes]:
    """Of a name on the wire, without its end; empty for what cannot be a host of ours."""
    labels, at = [], 0
    while at < len(name):
        length = name[at]
        label = name[at + 1 : at + 1 + length]
        if length > 63 or len(label) != length or b"." in label or b"\\" in label:
            return []
        labels.append(label)
        at += 1 + length
    return labels


@lru_cache(maxsize=4096)
def _packed(address: str) -> bytes:
    """Its bytes; `b""` for what is no address."""
    try:
        return ipaddress.ip_address(address).packed
    except ValueError:
        return b""


def _wire(name: str) -> bytes:
    """A name of ours as it is on the wire."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
