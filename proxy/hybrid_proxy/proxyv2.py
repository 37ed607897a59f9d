"""
The PROXY protocol, version 2 (haproxy's proxy-protocol.txt), between the front doors of two nodes. Pure.

A header opens every interior connection. It names the client and, in TLVs of the range kept for custom use, the site
and the claim under which the sender looks for it here, the public TCP port (0 for HTTP), and the hops so far; for a
service of `hybrid.model.Service` its name too. Each of our TLVs must be there exactly once (a service's only where it
is one); other TLVs are skipped, as the protocol asks.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from hybrid.model import Claim, NodeId, SiteId

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
MAX_LENGTH = 1024
"""Of what follows the 16 fixed bytes; ours need fewer than 200."""

_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_SITE, _CLAIM, _PORT, _HOPS, _SERVICE = 0xE0, 0xE1, 0xE2, 0xE3, 0xE4


class BadHeader(Exception):
    """These bytes are not a header of ours."""


@dataclass(frozen=True, slots=True)
class Passport:
    """What one front door tells another about a connection."""

    source: str
    """The client's address; for pooled HTTP connections, of the client it was opened for."""
    source_port: int
    site: SiteId
    claim: Claim
    public_port: int = 0
    hops: int = 1
    service: str = ""


def header_bytes(passport: Passport) -> bytes:
    """The header of `passport`."""
    address = ipaddress.ip_address(passport.source)
    family = _TCP4 if address.version == 4 else _TCP6
    nowhere = bytes(len(address.packed))
    body = address.packed + nowhere + struct.pack("!HH", passport.source_port, passport.public_port)
    body += _tlv(_SITE, passport.site.encode()) + _tlv(_CLAIM, str(passport.claim).encode())
    body += _tlv(_PORT, struct.pack("!H", passport.public_port)) + _tlv(_HOPS, bytes((passport.hops,)))
    if passport.service:
        body += _tlv(_SERVICE, passport.service.encode())
    return SIGNATURE + struct.pack("!BBH", _PROXY, family, len(body)) + body


def _tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def parse_header(data: bytes) -> tuple[Passport, int] | None:
    """
    The header at the start of `data`, and where it ends.

    Returns:
        `None` while it is incomplete.

    Raises:
        BadHeader: It is not one, or lacks something.
    """
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise BadHeader("not a PROXY protocol header")
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, 12)
    if command != _PROXY or family not in (_TCP4, _TCP6) or length > MAX_LENGTH:
        raise BadHeader("not a header of another front door")
    if len(data) < 16 + length:
        return None
    return _read(data[16 : 16 + length], 4 if family == _TCP4 else 16), 16 + length


def _read(body: bytes, size: int) -> Passport:
    at = 2 * size + 4
    if len(body) < at:
        raise BadHeader("too short for its addresses")
    source = str(ipaddress.ip_address(body[:size]))
    (source_port,) = struct.unpack_from("!H", body, 2 * size)
    found = _tlvs(body[at:])
    try:
        claim = found[_CLAIM].decode("ascii")
        (public_port,) = struct.unpack("!H", found[_PORT])
        (hops,) = struct.unpack("!B", found[_HOPS])
        site = found[_SITE].decode("ascii")
        service = found.get(_SERVICE, b"").decode("ascii")
        return Passport(source, source_port, SiteId(site), _claim(claim), public_port, hops, service)
    except (KeyError, ValueError, struct.error) as error:
        raise BadHeader(f"a TLV is missing or broken: {error}") from error


def _claim(text: str) -> Claim:
    epoch, _, node = text.partition(",")
    if not epoch.isdigit() or len(epoch) > 18:
        raise ValueError("epoch")
    return Claim(int(epoch), NodeId(node))


def _tlvs(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < 3:
            raise BadHeader("a TLV is cut off")
        kind, length = struct.unpack_from("!BH", data, at)
        value = data[at + 3 : at + 3 + length]
        if len(value) != length or (kind in found and kind >= _SITE):
            raise BadHeader("a TLV is cut off or there twice")
        found[kind] = value
        at += 3 + length
    return found
