"""The keys for updates and transfers, on the node's side: made, listed, removed, opened. Shell."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

import dns.name
import dns.tsig
import msgspec

from hybrid.dns_deeds import KeySeen, NewKey
from hybrid.errors import BadRequest, Conflict, NoSuchKey
from hybrid_dns import tsigkeys
from hybrid_dns.records import Shared, canonical
from hybrid_dns.tsigkeys import KEY, SECRET_BYTES, KeyRecord, Seals

MIN_SECRET = 16
MAX_SECRET = 256


class Keys:
    """
    See `hybrid.dns_deeds.DnsKeys`.

    Args:
        shared: The cluster's shared map.
        seals: Seals and opens secrets.
        entropy: So many bytes by chance.
    """

    def __init__(self, shared: Shared, seals: Seals, entropy: Callable[[int], bytes]) -> None:
        self._shared, self._seals, self._entropy = shared, seals, entropy
        self._records: dict[str, KeyRecord] | None = None
        self._ring: dict[dns.name.Name, dns.tsig.Key] = {}

    def heard(self, key: str) -> None:
        """The shared map has a new value of `key`."""
        if key.startswith(KEY):
            self._records = None

    def opened(self) -> tuple[dict[str, KeyRecord], dict[dns.name.Name, dns.tsig.Key]]:
        """Records by name, and those keys that this node can open."""
        if self._records is None or len(self._ring) < len(self._records):
            self._records = tsigkeys.decode(self._shared.prefix(KEY))
            self._ring = tsigkeys.keyring(self._records, self._seals)
        return self._records, self._ring

    def all(self) -> list[KeySeen]:
        """See `DnsKeys`."""
        return [_seen(record) for _, record in sorted(self.opened()[0].items())]

    def add(self, new: NewKey) -> tuple[KeySeen, str]:
        """See `DnsKeys`."""
        record = tsigkeys.checked(new.name, new.algorithm, new.may, new.zones, new.sources)
        if record.name in self.opened()[0]:
            raise Conflict(f"there is a key {record.name}", "", "take another name, or remove it first")
        secret = _decoded(new.secret) if new.secret else self._entropy(SECRET_BYTES)
        sealed = self._seals.seal(secret, KEY + record.name)
        self._shared.put(*tsigkeys.encode(msgspec.structs.replace(record, secret=sealed)))
        self._records = None
        return _seen(record), base64.b64encode(secret).decode()

    def remove(self, name: str) -> None:
        """See `DnsKeys`."""
        known = canonical(name)
        if known not in self.opened()[0]:
            raise NoSuchKey(f"there is no key {name[:255]}", "", "hybrid dns key list")
        self._shared.put(f"{KEY}{known}", None)
        self._records = None


def _seen(record: KeyRecord) -> KeySeen:
    return KeySeen(
        name=record.name, algorithm=record.algorithm, may=record.may, zones=record.zones, sources=record.sources
    )


def _decoded(text: str) -> bytes:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("the secret is not base64", str(error)) from error
    if not MIN_SECRET <= len(secret) <= MAX_SECRET:
        raise BadRequest("the secret has a wrong length", f"{MIN_SECRET} to {MAX_SECRET} bytes")
    return secret
