"""
Keys of signed zones, on the node's side: made, replaced, opened for the name servers. Shell.

They lie in the shared map under `dnssec/<zone>`, sealed. A key is replaced in two steps: `roll` makes a new one, with
which everything is signed besides the old one; once the parent has its DS record (and the old one's TTL is over),
`finish` drops the old one.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hybrid.certs.vault import Sealed
from hybrid.errors import Conflict
from hybrid_dns.dnssec import ZoneSigner, decoded
from hybrid_dns.records import Shared
from hybrid_dns.tsigkeys import Seals

KEY = "dnssec/"
TOLD = "dns/keys/"
"""What name servers are told of a zone: its keys, opened."""


class ZoneKeyRecord(msgspec.Struct, frozen=True):
    """The keys of a zone, oldest first."""

    zone: str
    keys: tuple[Sealed, ...]


class ZoneKeys:
    """See the module. `seals`: seals and opens secrets in `shared`."""

    def __init__(self, shared: Shared, seals: Seals) -> None:
        self._shared, self._seals = shared, seals
        self._records: dict[str, ZoneKeyRecord] | None = None
        self._opened: dict[str, tuple[ZoneKeyRecord, str]] = {}

    def heard(self, key: str) -> None:
        """The shared map has a new value of `key`."""
        if key.startswith(KEY):
            self._records = None

    @property
    def is_behind(self) -> bool:
        """Whether there are keys that could not be opened when name servers were told."""
        return len(self._opened) < len(self._known())

    def zones(self) -> set[str]:
        """Those that are signed."""
        return set(self._known())

    def told(self) -> Mapping[str, str]:
        """What name servers are to be told; a zone whose keys cannot be opened here yet is left out."""
        known = self._known()
        self._opened = {zone: found for zone, found in self._opened.items() if known.get(zone) is found[0]}
        for zone, record in known.items():
            if zone not in self._opened:
                self._open(record)
        return {TOLD + zone: text for zone, (_, text) in self._opened.items()}

    def _open(self, record: ZoneKeyRecord) -> None:
        keys = [self._seals.open(sealed, KEY + record.zone) for sealed in record.keys]
        found = [base64.b64encode(key).decode() for key in keys if key is not None]
        if len(found) == len(keys):
            self._opened[record.zone] = record, msgspec.json.encode(found).decode()

    def ds(self, zone: str) -> tuple[str, ...]:
        """The DS record that the parent of a signed zone is to have; empty for others."""
        text = self.told().get(TOLD + zone)
        return (ZoneSigner(zone, read(text)).ds().to_text(),) if text is not None else ()

    def change(self, zone: str, what: Literal["on", "off", "roll", "finish"]) -> None:
        """Begin or end to sign a zone, or replace its key. Raises `Conflict`."""
        known = self._known().get(zone)
        keys = known.keys if known is not None else ()
        match what:
            case "on" if not keys:
                keys = (self._new(zone),)
            case "off" if keys:
                keys = ()
            case "roll" if len(keys) == 1:
                keys = (*keys, self._new(zone))
            case "finish" if len(keys) == 2:
                keys = keys[1:]
            case _:
                state = ("not signed", "signed with one key", "signed with an old and a new key")[len(keys)]
                raise Conflict(f"DNSSEC of {zone} cannot be turned {what}", f"it is {state}")
        record = ZoneKeyRecord(zone, keys)
        self._shared.put(KEY + zone, msgspec.json.encode(record).decode() if keys else None)
        self._records = None

    def _new(self, zone: str) -> Sealed:
        key = ec.generate_private_key(ec.SECP256R1())
        data = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return self._seals.seal(data, KEY + zone)

    def _known(self) -> dict[str, ZoneKeyRecord]:
        if self._records is None:
            before = {record.zone: record for record, _ in self._opened.values()}
            self._records = {}
            for key, value in self._shared.prefix(KEY).items():
                try:
                    record = msgspec.json.decode(value, type=ZoneKeyRecord)
                except msgspec.MsgspecError:
                    continue
                if key == KEY + record.zone and 1 <= len(record.keys) <= 2:
                    same = before.get(record.zone)
                    self._records[record.zone] = same if same is not None and same == record else record
        return self._records


def read(text: str) -> list[bytes]:
    """Keys as they are told."""
    return decoded(msgspec.json.decode(text, type=list[str]))
