"""
The host key by which clients know the cluster's SSH: one for all nodes, or a failover would alarm them. Shell.

It lies in the shared map, sealed, under the time at which it was made. Where two were made (on both sides of a
partition, or by a node that had not heard of the first), the older one is shown, by everybody, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from twisted.logger import Logger

from hybrid.certs.ports import Shared
from hybrid.certs.vault import Sealed
from hybrid.view import View

KEY = "sshhost/"
"""Shared keys: `sshhost/<seconds since the epoch, ten digits>-<16 digits>`."""
TOLD = "ssh/host"
"""What front doors are told: the private key, as OpenSSH has it."""
KIND = "ssh-ed25519"


class HostKeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A host key with its private half sealed."""

    public: str
    """Kind and key, as in `known_hosts`."""
    key: Sealed


class Seals(Protocol):
    """See `hybrid.certs.service.Certificates`."""

    def seal(self, secret: bytes, about: str) -> Sealed:
        """Seal a secret for all nodes."""

    def open(self, sealed: Sealed, about: str) -> bytes | None:
        """What was sealed; `None` while this node cannot open it."""


def oldest(entries: Mapping[str, str]) -> tuple[str, HostKeyRecord] | None:
    """Place and record of the key that counts among what lies under `KEY`; `None`: there is none."""
    for place in sorted(entries):
        try:
            return place, msgspec.json.decode(entries[place], type=HostKeyRecord)
        except msgspec.MsgspecError:
            continue
    return None


class HostKey:
    """
    See the module.

    Args:
        shared: The cluster's shared map.
        seals: Seals and opens secrets in it.
        view: The newest.
        wall_s: Seconds since the epoch.
        entropy: So many bytes by chance.
    """

    log = Logger()

    def __init__(
        self,
        shared: Shared,
        seals: Seals,
        view: Callable[[], View],
        wall_s: Callable[[], float],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._shared, self._seals, self._view = shared, seals, view
        self._wall_s, self._entropy = wall_s, entropy
        self._opened: tuple[str, str] | None = None

    def told(self) -> dict[str, str]:
        """What front doors are to be told; makes the key when it is wanted first and this node's to make."""
        found = oldest(self._shared.prefix(KEY))
        if found is None:
            if not self._is_mine():
                return {}
            found = self._make()
        place, record = found
        if self._opened is None or self._opened[0] != place:
            secret = self._seals.open(record.key, place)
            if secret is None:
                return {}
            self._opened = place, secret.decode("ascii", "replace")
        return {TOLD: self._opened[1]}

    def _is_mine(self) -> bool:
        """The owner of the first site that people can log in to makes it."""
        view = self._view()
        first = min((seen.spec.id for seen in view.sites.values() if seen.spec.ssh_keys), default=None)
        return first is not None and view.sites[first].owner == view.me

    def _make(self) -> tuple[str, HostKeyRecord]:
        private = Ed25519PrivateKey.from_private_bytes(self._entropy(32))
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        place = f"{KEY}{int(self._wall_s()):010d}-{self._entropy(8).hex()}"
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        record = HostKeyRecord(public=public, key=self._seals.seal(pem, place))
        self._shared.put(place, msgspec.json.encode(record).decode())
        self.log.info("the cluster has a host key for SSH now: {public}", public=public)
        return place, record
