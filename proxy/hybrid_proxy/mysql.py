"""
MySQL and MariaDB: the start of a connection (MySQL's "Client/Server Protocol", MariaDB's "Connection phase"). Pure.

The server speaks first, so the client is greeted before its site is known; what it answers to this greeting's scramble
is thrown away. When the site's server has greeted too, the client is asked again by an AuthSwitchRequest with that
scramble and plugin, and its answer goes to the server: no password is known here. Packets of the authentication are
numbered anew on the way; after it the numbers of each command begin at 0 and bytes only pass.

The site is, in this order: what follows the `@` of the user (taken off), the host of TLS, the database, the user. A
`#moment` behind user or database means the site as it was then.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace

from hybrid.model import SiteId
from hybrid_proxy.dialogue import (
    TEXTS,
    Again,
    Effect,
    Effects,
    End,
    Find,
    Relay,
    Secure,
    Setting,
    ToClient,
    ToSite,
    Trouble,
    login_names,
    split_moment,
)

MAX_CLIENT = 8192
"""Bytes of a packet before the login is over; programs send some hundred."""
MAX_SERVER = 65536
VERSION = b"5.5.5-10.11.0-MariaDB"
"""Shown before the site is known: replication's prefix, which all clients know to take off, then MariaDB."""

CONNECT_WITH_DB, SSL, PROTOCOL_41, SECURE = 1 << 3, 1 << 11, 1 << 9, 1 << 15
PLUGIN_AUTH, ATTRIBUTES, LENGTH_CODED = 1 << 19, 1 << 20, 1 << 21
SESSION_TRACK, DEPRECATE_EOF = 1 << 23, 1 << 24
_PLAIN = (0, 1, 2, 4, 6, 7, 8, 10, 13, 16, 17, 18)
"""LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, NO_SCHEMA, ODBC, LOCAL_FILES, IGNORE_, INTERACTIVE, TRANSACTIONS, MULTI."""
OFFERED = sum(1 << bit for bit in _PLAIN) | CONNECT_WITH_DB | PROTOCOL_41 | SECURE
OFFERED |= PLUGIN_AUTH | ATTRIBUTES | LENGTH_CODED | SESSION_TRACK | DEPRECATE_EOF
"""Not COMPRESS: the site's server may have none."""
NEEDED = PROTOCOL_41 | SECURE | PLUGIN_AUTH
_UNSURE = SESSION_TRACK | DEPRECATE_EOF | 0b111 << 16
"""What client and server must agree on to understand each other; the rest a server may lack."""
_ERRORS: dict[Trouble, tuple[int, bytes]] = {
    "stopped": (1053, b"08S01"),
    "unavailable": (1053, b"08S01"),
    "waited": (1053, b"08S01"),
    "crowded": (1040, b"08004"),
    "slow": (1159, b"08S01"),
    "unknown": (1049, b"42000"),
}
SHUTDOWN = b"\xff" + struct.pack("<H", 1053)
BAD_HANDSHAKE = 1043, b"08S01"


class Broken(Exception):
    """A packet is not what it must be."""


@dataclass(frozen=True, slots=True)
class Login:
    """A HandshakeResponse41 without the answer to a scramble."""

    capabilities: int
    head: bytes
    """Largest packet, character set and filler, as they were sent."""
    user: str
    database: str | None
    rest: bytes
    """Attributes, as they were sent."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """A server's handshake."""

    capabilities: int
    scramble: bytes
    plugin: bytes


class MySQL:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._host = ""
        self._client, self._server = b"", b""
        self._next = 0
        """The number of the next packet, whoever sends it."""
        self._secured = False
        self._login: Login | None = None
        self._greeting: Greeting | None = None
        self._shift: int | None = None
        """The client's numbers less the server's, once the client has answered the server's scramble."""

    def begin(self) -> Effects:
        """See `Dialogue`."""
        offered = OFFERED | (SSL if self._setting.tls else 0)
        return (self._say(greeting(VERSION, self._setting.nonce, offered)),)

    def _say(self, payload: bytes) -> ToClient:
        said = ToClient(packet(self._next, payload))
        self._next += 1
        return said

    def _fail(self, code: tuple[int, bytes], text: str) -> Effects:
        return self._say(error(*code, text)), End()

    # ------------------------------------------------------------------------------------------------ the client

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        self._client += data
        effects: list[Effect] = []
        try:
            while (found := next_packet(self._client, MAX_CLIENT)) is not None:
                number, payload = found
                if number != self._next & 0xFF:
                    raise Broken("packets out of order")
                self._next += 1
                self._client = self._client[4 + len(payload) :]
                effects += self._understood(payload)
                if effects and isinstance(effects[-1], Find | Secure | End):
                    break
        except Broken as broken:
            effects += self._fail(BAD_HANDSHAKE, f"bad handshake: {broken}")
        return effects

    def _understood(self, payload: bytes) -> Effects:
        if self._login is None:
            return self._log_in(payload)
        if self._greeting is None:
            raise Broken("nobody asked")
        if self._shift is None:
            self._shift = self._next - 2
            return (ToSite(packet(1, response(self._login, self._greeting, payload))),)
        return (ToSite(packet(self._next - 1 - self._shift, payload)),)

    def _log_in(self, payload: bytes) -> Effects:
        if len(payload) == 32 and not self._secured:
            (capabilities,) = struct.unpack_from("<I", payload)
            if capabilities & SSL and self._setting.tls and not self._client:
                return (Secure(),)
            raise Broken("no TLS here")
        login = read_login(payload)
        full, past = split_moment(login.user)
        user, named = login_names(full)
        database, its_past = split_moment(login.database or "")
        names = self._setting.names
        by_user = names.site([named]) if named else None
        site = by_user or names.site([self._host, database, full])
        if site is None:
            text = f"{TEXTS['unknown']}: log in as USER@SITE, or to a database that is called like the site"
            return self._fail(_ERRORS["unknown"], text)
        self._login = replace(login, user=user if by_user else full, database=database or None)
        return self._find(site, past or its_past)

    def _find(self, site: SiteId, past: str) -> Effects:
        if self._client:
            raise Broken("more was said than was asked")
        return (Find(site, past),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`."""
        self._host, self._secured = host, True
        return ()

    # ------------------------------------------------------------------------------------------------- the server

    def joined(self) -> Effects:
        """See `Dialogue`: the server speaks first."""
        return ()

    def heard_site(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        self._server += data
        effects: list[Effect] = []
        try:
            while (found := next_packet(self._server, MAX_SERVER)) is not None:
                _, payload = found
                self._server = self._server[4 + len(payload) :]
                effects += self._answered(payload)
                if isinstance(effects[-1], Relay):
                    effects.insert(-1, ToClient(self._server))
                    break
                if isinstance(effects[-1], End | Again):
                    break
        except Broken as broken:
            effects += self._fail(BAD_HANDSHAKE, f"the site's server cannot be understood: {broken}")
        return effects

    def _answered(self, payload: bytes) -> Effects:
        if payload[:3] == SHUTDOWN and self._greeting is None:
            return self._again()
        if payload[:1] == b"\xff":
            return self._say(without_state(payload) if self._greeting is None else payload), End()
        if self._greeting is None:
            return self._ask_again(payload)
        if self._shift is None:
            raise Broken("it speaks out of turn")
        return (self._say(payload), Relay()) if payload[:1] == b"\0" else (self._say(payload),)

    def _again(self) -> Effects:
        """It shuts down."""
        self._server = b""
        return (Again(),)

    def _ask_again(self, payload: bytes) -> Effects:
        assert self._login is not None
        self._greeting = read_greeting(payload)
        lacks = self._login.capabilities & _UNSURE & ~self._greeting.capabilities
        if lacks or NEEDED & ~self._greeting.capabilities:
            raise Broken(f"it is too old (capabilities {self._greeting.capabilities:#x})")
        return (self._say(b"\xfe" + self._greeting.plugin + b"\0" + self._greeting.scramble + b"\0"),)

    # -------------------------------------------------------------------------------------------------- bad ends

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        return self._fail(_ERRORS[trouble], TEXTS[trouble])

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: told to those who wait for nothing."""
        text = "the site moves to another server, connect again"
        if self._greeting is None:
            return self._again()
        if self._shift is None:
            return self._fail(_ERRORS["waited"], text)
        return (ToClient(packet(0, error(*_ERRORS["waited"], text))), End()) if ends_answer(last) else (End(),)


def packet(number: int, payload: bytes) -> bytes:
    """A packet: 3 bytes of length, its number modulo 256, the payload."""
    return struct.pack("<I", len(payload) | (number & 0xFF) << 24) + payload


def next_packet(data: bytes, most: int) -> tuple[int, bytes] | None:
    """Number and payload of the packet at the start of `data`; `None` while incomplete. Raises `Broken` if too long."""
    if len(data) < 4:
        return None
    (word,) = struct.unpack_from("<I", data)
    length = word & 0xFFFFFF
    if not 0 <= length <= most:
        raise Broken("a packet is too long")
    return (word >> 24, data[4 : 4 + length]) if len(data) >= 4 + length else None


def greeting(version: bytes, nonce: bytes, capabilities: int) -> bytes:
    """Protocol::HandshakeV10 with a scramble made of 20 bytes of chance."""
    scramble = bytes(byte % 94 + 33 for byte in nonce)
    return (
        b"\x0a" + version + b"\0" + struct.pack("<I", 0) + scramble[:8] + b"\0"
        + struct.pack("<HBHHB", capabilities & 0xFFFF, 45, 2, capabilities >> 16, 21)
        + bytes(10) + scramble[8:20] + b"\0mysql_native_password\0"
    )  # fmt: skip


def read_greeting(payload: bytes) -> Greeting:
    """What a server said first. Raises `Broken`."""
    match = re.fullmatch(rb"\x0a[^\0]*\0.{4}(.{8})\0(..)...(..)(.).{10}(.*)", payload, re.DOTALL)
    if match is None:
        raise Broken("no greeting of protocol 10")
    first, low, high, length, rest = match.groups()
    more = max(13, length[0] - 8)
    plugin = rest[more:].split(b"\0")[0] or b"mysql_native_password"
    (capabilities,) = struct.unpack("<I", low + high)
    return Greeting(capabilities, first + rest[: more - 1], plugin)


def read_login(payload: bytes) -> Login:
    """What a client answered. Raises `Broken`."""
    if len(payload) < 33:
        raise Broken("too short")
    (capabilities,) = struct.unpack_from("<I", payload)
    if NEEDED & ~capabilities:
        raise Broken("this client is too old: it knows no authentication plugins")
    user, rest = _until_null(payload[32:])
    if capabilities & LENGTH_CODED:
        length, rest = _length(rest)
    else:
        length, rest = (rest[0], rest[1:]) if rest else (0, rest)
    if len(rest) < length:
        raise Broken("an answer is cut off")
    rest = rest[length:]
    database = None
    if capabilities & CONNECT_WITH_DB:
        found, rest = _until_null(rest)
        database = found.decode("utf-8", "surrogateescape")
    _, _, rest = rest.partition(b"\0")  # the plugin it guessed
    name = user.decode("utf-8", "surrogateescape")
    return Login(capabilities & OFFERED, payload[4:32], name, database or None, rest)


def response(login: Login, greeting: Greeting, answer: bytes) -> bytes:
    """Protocol::HandshakeResponse41 to a server of `greeting`, with the client's `answer` to its scramble."""
    capabilities = login.capabilities & (greeting.capabilities | 1) & ~(CONNECT_WITH_DB | SSL | LENGTH_CODED)
    if len(answer) > 255:
        raise Broken("an answer is too long")
    named = b""
    if login.database is not None:
        capabilities |= CONNECT_WITH_DB
        named = login.database.encode("utf-8", "surrogateescape") + b"\0"
    user = login.user.encode("utf-8", "surrogateescape")
    if not login.rest:
        capabilities &= ~ATTRIBUTES
    rest = login.rest if capabilities & ATTRIBUTES else b""
    head = struct.pack("<I", capabilities) + login.head
    return head + user + b"\0" + bytes([len(answer)]) + answer + named + greeting.plugin + b"\0" + rest


def error(code: int, state: bytes, text: str) -> bytes:
    """An ERR packet's payload."""
    return b"\xff" + struct.pack("<H", code) + b"#" + state + text.encode()


def without_state(payload: bytes) -> bytes:
    """An ERR that came in place of a greeting has no SQL state; clients that were greeted expect one."""
    return payload if payload[3:4] == b"#" else payload[:3] + b"#HY000" + payload[3:]


def ends_answer(last: bytes) -> bool:
    """Whether `last`, the end of what a server said, ends with a packet that ends an answer: OK, EOF or ERR."""
    for at in range(len(last) - 5):
        length = int.from_bytes(last[at : at + 3], "little")
        if length == len(last) - at - 4 and last[at + 4] in (0x00, 0xFE, 0xFF):
            return True
    return False


def _until_null(data: bytes) -> tuple[bytes, bytes]:
    found, null, rest = data.partition(b"\0")
    if not null:
        raise Broken("a text does not end")
    return found, rest


def _length(data: bytes) -> tuple[int, bytes]:
    """A length-encoded integer (of up to 2 bytes here), and what follows."""
    if not data or data[0] >= 0xFD or (data[0] == 0xFC and len(data) < 3):
        raise Broken("a length is wrong")
    if data[0] == 0xFC:
        return int.from_bytes(data[1:3], "little"), data[3:]
    return data[0], data[1:]
