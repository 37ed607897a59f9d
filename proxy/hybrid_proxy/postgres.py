"""
PostgreSQL: the start of a connection (PostgreSQL's manual, "Frontend/Backend Protocol"). Pure.

The client speaks first and names user and database, so no password is needed to find the site: its StartupMessage is
sent on and the authentication passes through. The site is, in this order: what follows the `@` of the user (taken off
before it is sent on; md5 passwords hash the user's name and so do not work then, SCRAM does), the host of TLS, the
database, the user. A `#moment` behind user or database means the site as it was then.

A CancelRequest comes on a connection of its own, maybe to another process: it has only the key that the server gave
out. The upper 15 bits of its process id therefore say the site's number, as long as process ids are below 2**17.
"""

from __future__ import annotations

import struct

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

MAX_STARTUP = 10000
"""Bytes; the server's own bound."""
MAX_MESSAGE = 65536
"""Of the server, before it is ready."""
PID_BITS = 17
_PROTOCOL_3 = 3
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_CODES: dict[Trouble, str] = {
    "stopped": "57P03",
    "unavailable": "57P03",
    "waited": "57P03",
    "crowded": "53300",
    "slow": "08P01",
    "unknown": "3D000",
}


class Postgres:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._host = ""
        self._asked: set[int] = set()
        self._secured = False
        self._client, self._server = b"", b""
        self._first = b""
        """What the site's server is told first."""
        self._number_bits = 0
        self._cancel = False
        self._found = self._joined = self._heard = self._ready = False

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return ()

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        if self._joined:
            return (ToSite(data),)
        if self._found:
            self._first += data  # what came in one piece of TLS with the login
            return () if len(self._first) <= 2 * MAX_STARTUP else (End(),)
        self._client += data
        if len(self._client) < 8:
            return ()
        length, code = struct.unpack_from("!II", self._client)
        if not 8 <= length <= MAX_STARTUP:
            return (End(),)
        if len(self._client) < length:
            return ()
        packet, self._client = self._client[:length], self._client[length:]
        if code in (_SSL, _GSS):
            return self._asked_for(code, length)
        if code == _CANCEL:
            return self._cancelled(packet)
        return self._started(packet)

    def _asked_for(self, code: int, length: int) -> Effects:
        """Encryption: each kind once, and nothing said in the clear may follow the question."""
        if length != 8 or self._client or code in self._asked or self._secured:
            return (End(),)
        self._asked.add(code)
        if code == _SSL and self._setting.tls:
            return ToClient(b"S"), Secure()
        return (ToClient(b"N"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`."""
        self._host, self._secured = host, True
        return ()

    def _cancelled(self, packet: bytes) -> Effects:
        if not 16 <= len(packet) <= 12 + 256:
            return (End(),)
        (pid,) = struct.unpack_from("!I", packet, 8)
        site = self._setting.names.numbered(pid >> PID_BITS)
        if site is None:
            return (End(),)
        self._cancel = True
        own = struct.pack("!I", pid & ((1 << PID_BITS) - 1))
        return self._find(site, packet[:8] + own + packet[12:])

    def _started(self, packet: bytes) -> Effects:
        (code,) = struct.unpack_from("!I", packet, 4)
        said = parameters(packet[8:]) if code >> 16 == _PROTOCOL_3 else None
        if said is None or not said.get("user"):
            return ToClient(error("0A000", "this is no start of protocol 3")), End()
        full, past = split_moment(said["user"])
        user, named = login_names(full)
        if said.get("database") == said["user"]:
            del said["database"]  # the client's default, where none was named
        database, its_past = split_moment(said.get("database", ""))
        names = self._setting.names
        by_user = names.site([named]) if named else None
        site = by_user or names.site([self._host, database, full])
        if site is None:
            text = f"{TEXTS['unknown']}: log in as USER@SITE, or to a database that is called like the site"
            return ToClient(error(_CODES["unknown"], text)), End()
        said["user"] = user if by_user is not None else full
        said["database"] = database or said["user"]
        return self._find(site, startup(code, said), past or its_past)

    def _find(self, site: SiteId, first: bytes, past: str = "") -> Effects:
        self._found, self._first = True, first
        self._number_bits = self._setting.names.number(site) << PID_BITS
        early, self._client = self._client, b""
        if early:
            self._first += early
        return (Find(site, past),)

    def joined(self) -> Effects:
        """See `Dialogue`."""
        self._joined = True
        first = ToSite(self._first)
        return (first, Relay()) if self._cancel else (first,)

    def heard_site(self, data: bytes) -> Effects:
        """See `Dialogue`: messages pass until the server is ready, with the key rewritten."""
        self._server += data
        passed, ready, effects = bytearray(), False, list[Effect]()
        while len(self._server) >= 5 and not ready:
            kind, length = self._server[:1], int.from_bytes(self._server[1:5], "big")
            if not 4 <= length <= MAX_MESSAGE:
                effects = [ToClient(error("08P01", "the site's server speaks no PostgreSQL")), End()]
                break
            if len(self._server) <= length:
                break
            message, self._server = self._server[: length + 1], self._server[length + 1 :]
            if not self._heard and kind == b"E" and b"\0C57P03\0" in message:
                return self._again()
            self._heard = True
            passed += self._renumbered(message) if kind == b"K" and length == 12 else message
            ready = kind == b"Z"
        if ready:
            self._ready = True
            passed += self._server
            self._server = b""
            effects.append(Relay())
        return [ToClient(bytes(passed)), *effects] if passed else effects

    def _again(self) -> Effects:
        """It starts up, or shuts down."""
        self._server, self._joined = b"", False
        return (Again(),)

    def _renumbered(self, message: bytes) -> bytes:
        (pid,) = struct.unpack_from("!I", message, 5)
        if pid >> PID_BITS:
            return message
        return message[:5] + struct.pack("!I", pid | self._number_bits) + message[9:]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        return (End(),) if self._cancel else (ToClient(error(_CODES[trouble], TEXTS[trouble])), End())

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: told to those who wait for nothing, as the server itself does when it stops."""
        if not self._heard and not self._cancel:
            return self._again()
        idle = last[-6:-1] == b"Z\0\0\0\x05" if self._ready else not self._server
        if not idle or self._cancel:
            return (End(),)
        return ToClient(error("57P01", "terminating connection: the site moves to another server")), End()


def parameters(data: bytes) -> dict[str, str] | None:
    """What a StartupMessage says after its code, name to value; `None` when it is broken."""
    if not data.endswith(b"\0\0") or b"\0" in data[:1]:
        return None
    parts = data[:-2].split(b"\0")
    if len(parts) % 2:
        return None
    texts = [part.decode("utf-8", "surrogateescape") for part in parts]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def startup(code: int, said: dict[str, str]) -> bytes:
    """A StartupMessage of `said`."""
    body = b"".join(
        name.encode("utf-8", "surrogateescape") + b"\0" + value.encode("utf-8", "surrogateescape") + b"\0"
        for name, value in said.items()
    )
    return struct.pack("!II", 9 + len(body), code) + body + b"\0"


def error(code: str, text: str) -> bytes:
    """An ErrorResponse that ends the connection."""
    body = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + struct.pack("!I", 4 + len(body)) + body
