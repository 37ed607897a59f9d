"""
Zones copied from somebody else's primary: what is kept of them, and when the primary is asked again. Pure.

RFC 1034 §4.3.5 (refresh, retry, expire), RFC 1982 (serials). A copy is one value of the shared map, so each node has
all of it or nothing, and whichever node asks the primary next goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import dns.rdata
import dns.rdatatype
import dns.serial
import dns.zone
import msgspec

from hybrid_dns.records import COPY, RecordSet, Sets

CHECKED = "dnscopy/checked/"
"""When a primary was last heard, by zone: of no use to name servers."""
NOTIFIED = "dnscopy/notified/"
"""Another value each time when a primary says that there is something new: clocks of nodes differ."""
MAX_SETS = 20_000
MAX_BYTES = 700_000
"""Of one copy, packed."""
MAX_PLAIN = 32 * 1024 * 1024
LEAST_S = 10.0
"""A primary is not asked more often than this for its timers' sake."""
AFTER_NOTIFY_S = 1.0
FIRST_S, LONGEST_S = 10.0, 600.0
"""Between tries, as long as there is no copy; the first is doubled each time."""
STEP = 200
Steps = Generator[None, None, None]
_SIGNATURES = frozenset({dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3})
_encode = msgspec.msgpack.Encoder().encode


class Unfit(ValueError):
    """A zone that cannot be served from a copy; says why."""


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    zone: str
    soa: str
    soa_ttl_s: int
    sets: tuple[tuple[str, str, int, tuple[str, ...]], ...]


_decode = msgspec.msgpack.Decoder(_Packed).decode


class Checked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of asking the primary."""

    at_s: float = 0.0
    """Seconds since the epoch when it last said that the copy is right; 0: never."""
    notified: str = ""
    """What stood under `NOTIFIED` when it was asked."""
    trouble: str = ""
    """Why it could not be asked, or copied, since."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A zone as its primary has it."""

    zone: str
    soa: str
    """As in a zone file."""
    soa_ttl_s: int
    sets: Sets
    """All but the SOA."""
    serial: int
    refresh_s: int
    retry_s: int
    expire_s: int
    minimum_s: int

    @property
    def servers(self) -> tuple[str, ...]:
        """Names of the zone's name servers."""
        top = self.sets.get(self.zone, {}).get("NS")
        return tuple(text.removesuffix(".").lower() for text in top.records) if top else ()


def packed(zone: dns.zone.Zone) -> Generator[None, None, str]:
    """
    The value of the shared map for `zone`, whose names are absolute; with a pause after every few hundred RRsets.

    Raises:
        Unfit: It is too large, signed, or has no SOA.
    """
    name = zone.origin.canonicalize().to_text(omit_final_dot=True) if zone.origin is not None else ""
    soa, sets = None, []
    for number, (owner, found) in enumerate(zone.iterate_rdatasets()):
        if number >= MAX_SETS:
            raise Unfit(f"it has more than {MAX_SETS} sets of records")
        if found.rdtype in _SIGNATURES:
            raise Unfit("it is signed: its proofs cannot be given from a copy")
        text = owner.canonicalize().to_text(omit_final_dot=True)
        if found.rdtype == dns.rdatatype.SOA:
            soa = found if owner == zone.origin else soa
            continue
        kind = dns.rdatatype.to_text(found.rdtype)
        sets.append((text, kind, int(found.ttl), tuple(rdata.to_text() for rdata in found)))
        if number % STEP == STEP - 1:
            yield
    if soa is None:
        raise Unfit("it has no SOA record")
    data = zlib.compress(_encode(_Packed(name, soa[0].to_text(), int(soa.ttl), tuple(sorted(sets)))))
    value = base64.b64encode(data).decode()
    if len(value) > MAX_BYTES:
        raise Unfit(f"it is larger than {MAX_BYTES} bytes")
    return value


@lru_cache(maxsize=1024)
def read(zone: str, value: str) -> Copy | None:
    """What was packed; `None` for what cannot be read, or is of another zone."""
    try:
        unpack = zlib.decompressobj()
        found = _decode(unpack.decompress(base64.b64decode(value, validate=True), MAX_PLAIN))
        words = found.soa.split()
        serial, refresh_s, retry_s, expire_s, minimum_s = map(int, words[2:])
    except (msgspec.MsgspecError, zlib.error, binascii.Error, ValueError):
        return None
    sets: Sets = {}
    for name, kind, ttl_s, texts in found.sets:
        sets.setdefault(name, {})[kind] = RecordSet(zone=zone, name=name, type=kind, ttl_s=ttl_s, records=texts)
    timers = (serial, refresh_s, retry_s, expire_s, minimum_s)
    return Copy(found.zone, found.soa, found.soa_ttl_s, sets, *timers) if found.zone == zone else None


def checked(value: str | None) -> Checked:
    """What stands under `CHECKED`; nothing for what cannot be read."""
    try:
        return msgspec.json.decode(value or "", type=Checked)
    except msgspec.MsgspecError:
        return Checked()


def is_newer(theirs: int, ours: int) -> bool:
    """Whether serial `theirs` comes after `ours` (RFC 1982)."""
    return bool(dns.serial.Serial(theirs) > dns.serial.Serial(ours))


@dataclass(frozen=True, slots=True)
class Tries:
    """What this node did about a zone since the primary last was heard."""

    at_s: float = 0.0
    failures: int = 0
    notified: str = ""
    """What stood under `NOTIFIED` then."""


def due_s(copy: Copy | None, known: Checked, notified: str, tries: Tries) -> float:
    """
    When the primary is to be asked, in seconds since the epoch.

    Args:
        copy: What there is.
        known: What came of asking before.
        notified: What stands under `NOTIFIED`.
        tries: What was tried since.
    """
    if notified not in (known.notified, tries.notified):
        return max(known.at_s, tries.at_s) + AFTER_NOTIFY_S
    if copy is None:
        wait_s = min(FIRST_S * 2 ** min(tries.failures - 1, 10), LONGEST_S) if tries.failures else 0.0
        return tries.at_s + wait_s
    if tries.failures:
        return tries.at_s + max(float(copy.retry_s), LEAST_S)
    return known.at_s + max(float(copy.refresh_s), LEAST_S)


def expired(entries: Mapping[str, str], checks: Mapping[str, str], now_s: float) -> set[str]:
    """Keys of copies in `entries` that are too old to be answered from, by what stands in `checks`."""
    found = set()
    for key, value in entries.items():
        if key.startswith(COPY):
            zone = key.removeprefix(COPY)
            copy = read(zone, value)
            if copy is None or now_s - checked(checks.get(CHECKED + zone)).at_s > copy.expire_s:
                found.add(key)
    return found
