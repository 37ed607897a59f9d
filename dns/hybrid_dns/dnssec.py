"""
Signing answers as they are given: RFC 4033 to 4035, ECDSA P-256 (RFC 6605), minimally covering NSEC (RFC 4470). Pure.

Keys sign alike on all nodes: signatures are deterministic (RFC 6979) and their times are whole days, so that whichever
node answers gives the same bytes. While a key is being replaced, old and new sign everything, and the new one is what
the parent is asked to point to (CDS and CDNSKEY, RFC 7344).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

import dns.dnssec
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType

from hybrid_dns.lookup import NEGATIVE_TTL_S, Match, Zones

DAY_S = 86_400
VALID_DAYS = 8
DNSKEY_TTL_S = 3600
CACHED = 50_000
_NSEC = (RdataType.RRSIG, RdataType.NSEC)
Step = tuple[dns.name.Name, Match]


class ZoneSigner:
    """The keys of a zone, oldest first (PKCS #8, DER)."""

    def __init__(self, zone: str, keys: Sequence[bytes]) -> None:
        self.origin = dns.name.from_text(zone)
        self._keys = [_private(data) for data in keys]
        self._public = [
            dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257) for key in self._keys
        ]
        self._made: dict[tuple[object, ...], dns.rrset.RRset] = {}

    def keys(self) -> dns.rrset.RRset:
        """The DNSKEY RRset."""
        return dns.rrset.from_rdata_list(self.origin, DNSKEY_TTL_S, self._public)

    def ds(self) -> dns.rdata.Rdata:
        """What the parent is to have: of the newest key."""
        return dns.dnssec.make_ds(self.origin, self._public[-1], "SHA256")

    def wishes(self, kind: RdataType) -> dns.rrset.RRset:
        """CDS or CDNSKEY."""
        text = self.ds().to_text() if kind is RdataType.CDS else self._public[-1].to_text()
        return dns.rrset.from_text(self.origin, DNSKEY_TTL_S, "IN", kind, text)

    def signature(self, rrset: dns.rrset.RRset, now_s: float, wild: dns.name.Name | None = None) -> dns.rrset.RRset:
        """The RRSIGs of `rrset`; `wild`: the wildcard it was made from."""
        day = int(now_s) // DAY_S
        key = rrset.name, rrset.rdtype, rrset.ttl, tuple(sorted(rdata.to_wire() or b"" for rdata in rrset)), wild, day
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= CACHED:
                self._made.clear()
            signed = rrset if wild is None else dns.rrset.from_rdata_list(wild, rrset.ttl, list(rrset))
            begin_s = (day - 1) * DAY_S
            rdatas = [
                dns.dnssec.sign(
                    signed,
                    private,
                    self.origin,
                    public,
                    inception=begin_s,
                    expiration=begin_s + VALID_DAYS * DAY_S,
                    deterministic=True,
                )
                for private, public in zip(self._keys, self._public, strict=True)
            ]
            found = self._made[key] = dns.rrset.from_rdata_list(rrset.name, rrset.ttl, rdatas)
        return found


def _private(data: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_der_private_key(data, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def decoded(keys: Iterable[str]) -> list[bytes]:
    """Keys as they are told to name servers: base64."""
    return [base64.b64decode(key) for key in keys]


Signers = dict[str, ZoneSigner]


def own_rrset(
    zones: Zones, signers: Signers, name: dns.name.Name, match: Match, kind: RdataType
) -> dns.rrset.RRset | None:
    """RRsets that only signed zones have."""
    signer = signers.get(match.origin)
    if signer is None or not match.exists or match.wild:
        return None
    if kind is RdataType.NSEC:
        return _at(name, _types(zones, signer, name, match))
    if name != signer.origin:
        return None
    if kind is RdataType.DNSKEY:
        return signer.keys()
    return signer.wishes(kind) if kind in (RdataType.CDS, RdataType.CDNSKEY) else None


def secure(zones: Zones, signers: Signers, reply: dns.message.Message, steps: Sequence[Step], now_s: float) -> None:
    """
    Add signatures and proofs to `reply`.

    Args:
        zones: What it was made from.
        signers: By zone; others are not signed.
        reply: All but its OPT record.
        steps: The names it went through, the question's first.
        now_s: Seconds since the epoch.
    """
    wilds = {name: dns.name.from_text(match.wild) for name, match in steps if match.wild}
    for name, match in steps:
        if match.origin in signers:
            _prove(zones, signers[match.origin], reply, name, match)
    for section in (reply.answer, reply.authority):
        for rrset in list(section):
            at = zones.find(rrset.name)
            signer = signers.get(at.origin) if at is not None else None
            if signer is None or at is None or (at.cut and rrset.rdtype not in (RdataType.DS, RdataType.NSEC)):
                continue
            wild = wilds.get(rrset.name) if section is reply.answer else None
            section.append(signer.signature(rrset, now_s, wild))


def _prove(zones: Zones, signer: ZoneSigner, reply: dns.message.Message, name: dns.name.Name, match: Match) -> None:
    """The NSEC records that say why `name` is not there, or lacks the type, or is answered for by a wildcard."""
    has_answer = any(rrset.name == name for rrset in reply.answer)
    if match.cut:
        secured = zones.cut_rrset(match.cut, "DS")
        if not has_answer:
            reply.authority.append(secured or _at(dns.name.from_text(match.cut), (RdataType.NS,)))
        return
    if not match.exists or match.wild:
        encloser = dns.name.from_text(match.encloser)
        above = _types(zones, signer, encloser, match)
        reply.authority.append(_around(_next_closer(name, match), above))
        if not match.exists:
            reply.authority.append(_around(dns.name.Name((b"*", *encloser.labels)), above))
    if match.exists and not has_answer:
        owner = dns.name.from_text(match.wild) if match.wild else name
        reply.authority.append(_at(owner, _types(zones, signer, owner, match)))


def _types(zones: Zones, signer: ZoneSigner, name: dns.name.Name, match: Match) -> list[RdataType]:
    """What `name` has."""
    found = [rrset.rdtype for rrset in zones.at(name, match.origin)]
    if name == signer.origin:
        found += [RdataType.DNSKEY, RdataType.CDS, RdataType.CDNSKEY]
    return found


def _next_closer(name: dns.name.Name, match: Match) -> dns.name.Name:
    """The name one label below the closest one that exists."""
    depth = len(dns.name.from_text(match.encloser).labels)
    return dns.name.Name(name.labels[-depth - 1 :])


def _at(name: dns.name.Name, types: Iterable[RdataType]) -> dns.rrset.RRset:
    """NSEC at a name that exists: what it has; the next name is the first that could follow."""
    following = dns.name.Name((b"\0", *name.labels)) if _fits(name) else name
    return _nsec(name, following, types)


def _fits(name: dns.name.Name) -> bool:
    return sum(len(label) + 1 for label in name.labels) + 2 <= 255


def _around(name: dns.name.Name, above: Iterable[RdataType]) -> dns.rrset.RRset:
    """NSEC from just before `name` to just after it and all below it; `above`: what the name above it has."""
    label, rest = name.labels[0].lower(), name.labels[1:]
    after = label + b"\0" if len(label) < 63 else label[:-1] + bytes([min(255, label[-1] + 1)])
    following = dns.name.Name((after, *rest))
    if label == b"\0":
        return _nsec(dns.name.Name(rest), following, above)
    last = label[-1] - 1
    if 0x41 <= last <= 0x5A:
        last = 0x40
    before = label[:-1] + (bytes([last, 0xFF])[: 63 - len(label) + 1] if last >= 0 else b"")
    return _nsec(dns.name.Name((before, *rest)), following, ())


def _nsec(owner: dns.name.Name, following: dns.name.Name, types: Iterable[RdataType]) -> dns.rrset.RRset:
    names = " ".join(dns.rdatatype.to_text(kind) for kind in sorted({*types, *_NSEC}))
    return dns.rrset.from_text(owner, NEGATIVE_TTL_S, "IN", "NSEC", f"{following.to_text()} {names}")
