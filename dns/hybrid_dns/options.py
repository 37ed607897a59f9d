"""
What a query's OPT record asks for besides its plain meaning: our name (NSID, RFC 5001) and cookies (RFC 7873). Pure.

Server cookies are those of RFC 9018 §4: version 1, SipHash-2-4. Whoever returns one that is ours does receive at the
address it sends from, so its replies are not rate-limited.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

NSID = 3
COOKIE = 10
CLIENT_BYTES = 8
SERVER_BYTES = 16
SECRET_BYTES = 16
TOLD = "dns/cookies"
"""What name servers are told: the secret of their cookies, in hex."""
MAX_NSID = 32
ROOM = 4 + MAX_NSID + 4 + CLIENT_BYTES + SERVER_BYTES
"""Bytes that our options take at most."""
OLD_S = 3600
RENEW_S = 1800
AHEAD_S = 300
_VERSION = b"\1\0\0\0"
_MASK = 0xFFFF_FFFF_FFFF_FFFF


class BadOptions(ValueError):
    """The options of a query are cut, or a cookie has a length that none has."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of a query say; `cookie` is as it came, client part and server part."""

    nsid: bool = False
    cookie: bytes = b""


def asked(query: bytes) -> Asked | None:
    """
    What `query` asks for in the options of an OPT record right behind its question; `None` when there are none.

    Raises:
        BadOptions: To be answered with FORMERR (RFC 7873 §5.2.2).
    """
    if query[10:12] != b"\0\1" or (query[-2:] == b"\0\0" and query[-11:-8] == b"\0\0\x29"):
        return None  # mostly so, and cheap to see
    start = _question_end(query)
    if not start or query[start : start + 3] != b"\0\0\x29":
        return None
    options = query[start + 11 :]
    if int.from_bytes(query[start + 9 : start + 11], "big") != len(options):
        return None
    nsid, cookie = False, b""
    for code, data in _parted(options):
        if code == NSID:
            nsid = True
        elif code == COOKIE and not cookie:
            if not is_cookie(data):
                raise BadOptions("a cookie of an impossible length")
            cookie = data
    return Asked(nsid, cookie) if nsid or cookie else None


def without_options(query: bytes) -> bytes | None:
    """
    `query` without a cookie and the wish for our name, which many resolvers send with every question.

    `None` where it has neither, or anything else.
    """
    start = _question_end(query) if query[10:12] == b"\0\1" else 0
    if not start or query[start : start + 3] != b"\0\0\x29":
        return None
    options = query[start + 11 :]
    if not options or int.from_bytes(query[start + 9 : start + 11], "big") != len(options):
        return None
    try:
        if not all(code == NSID or (code == COOKIE and is_cookie(data)) for code, data in _parted(options)):
            return None
    except BadOptions:
        return None
    return query[: start + 9] + b"\0\0"


def is_cookie(data: bytes) -> bool:
    """Whether it has the length of one: a client's part, and maybe a server's (RFC 7873 §4)."""
    return len(data) == CLIENT_BYTES or CLIENT_BYTES * 2 <= len(data) <= 40


def _question_end(query: bytes) -> int:
    """Where the question ends; 0 when its name is cut or compressed."""
    at = 12
    while at < len(query) and query[at] < 64:
        if not query[at]:
            return at + 5
        at += query[at] + 1
    return 0


def _parted(options: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(options):
        length = int.from_bytes(options[at + 2 : at + 4], "big")
        if at + 4 + length > len(options):
            raise BadOptions("an option is cut")
        yield int.from_bytes(options[at : at + 2], "big"), options[at + 4 : at + 4 + length]
        at += 4 + length


def with_options(reply: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    """`reply` with `options` in the empty OPT record of ours at its end, where it has one."""
    if reply[-11:-8] != b"\0\0\x29" or reply[-2:] != b"\0\0":
        return reply
    data = b"".join(code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for code, value in options)
    return reply[:-2] + len(data).to_bytes(2, "big") + data


class Cookies:
    """
    Makes and knows server cookies.

    Args:
        secrets: Of `SECRET_BYTES`; the first makes new cookies, all of them are known.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = tuple(secrets)

    def replaced(self, secret: bytes) -> Cookies:
        """With a new secret; cookies of the one before are still known."""
        return self if secret == self._secrets[0] else Cookies((secret, self._secrets[0]))

    def knows(self, cookie: bytes, source: str, now_s: float) -> bool:
        """Whether `cookie` (client and server part) was made for `source` within the last hour."""
        client, server = cookie[:CLIENT_BYTES], cookie[CLIENT_BYTES:]
        if len(server) != SERVER_BYTES or server[:4] != _VERSION or not _is_fresh(server, now_s, OLD_S):
            return False
        made = (self._server(secret, client, server[4:8], source) for secret in self._secrets)
        return any(hmac.compare_digest(ours, server) for ours in made)

    def reply(self, cookie: bytes, known: bool, source: str, now_s: float) -> bytes:
        """The cookie to send back: the same while it is young, else a new one."""
        if known and _is_fresh(cookie[CLIENT_BYTES:], now_s, RENEW_S):
            return cookie
        client = cookie[:CLIENT_BYTES]
        return client + self._server(self._secrets[0], client, _stamp(now_s).to_bytes(4, "big"), source)

    def _server(self, secret: bytes, client: bytes, stamp: bytes, source: str) -> bytes:
        head = _VERSION + stamp
        return head + siphash24(secret, client + head + ipaddress.ip_address(source).packed)


def _stamp(now_s: float) -> int:
    return int(now_s) & 0xFFFF_FFFF


def _is_fresh(server: bytes, now_s: float, old_s: int) -> bool:
    """By serial number arithmetic (RFC 1982), as the stamp has 32 bits."""
    age_s = (_stamp(now_s) - int.from_bytes(server[4:8], "big") + AHEAD_S) & 0xFFFF_FFFF
    return age_s <= old_s + AHEAD_S


def siphash24(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 (Aumasson, Bernstein 2012) of `data`, 8 bytes in the order of its paper (little-endian)."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, 4)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def _rounds(v: list[int], count: int) -> None:
    v0, v1, v2, v3 = v
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v1 = ((v1 << 13) | (v1 >> 51)) & _MASK ^ v0
        v0 = ((v0 << 32) | (v0 >> 32)) & _MASK
        v2 = (v2 + v3) & _MASK
        v3 = ((v3 << 16) | (v3 >> 48)) & _MASK ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = ((v3 << 21) | (v3 >> 43)) & _MASK ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = ((v1 << 17) | (v1 >> 47)) & _MASK ^ v2
        v2 = ((v2 << 32) | (v2 >> 32)) & _MASK
    v[:] = v0, v1, v2, v3
