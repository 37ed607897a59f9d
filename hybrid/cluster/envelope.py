"""
Seals datagrams with the cluster's keys: AES-256-GCM, each sender with a key derived for it. No I/O.

    version 1 | key id 4 | counter 8 | salt 4 | length 1 | sender | ciphertext and tag

All but the ciphertext is authenticated too. The nonce is salt and counter; the counter begins with the incarnation of
this start, so it never comes twice under one derived key, and a receiver knows what it has seen.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hybrid.cluster.keyring import Key, Keyring
from hybrid.cluster.packets import MAX_ID
from hybrid.cluster.replay import Window
from hybrid.errors import HybridError
from hybrid.model import NodeId

VERSION = 1
MAX_DATAGRAM = 1400
MAX_SENDERS = 20_000
_HEAD = struct.Struct(">B4sQ4sB")
_TAG = 16


class Unreadable(HybridError):
    """A datagram is not for us, or was seen before. `what` is one of a few fixed reasons, for counting."""


class Envelopes:
    """Seals what this node sends, opens what it gets."""

    def __init__(self, me: NodeId, incarnation: int, salt: bytes, ring: Callable[[], Keyring | None]) -> None:
        """
        Args:
            me: The sender.
            incarnation: Of this start: larger than at every earlier one.
            salt: 4 random bytes: two nodes with a cloned disk do not use one nonce twice.
            ring: The keys of this moment.
        """
        self._me, self._salt, self._ring = me, salt, ring
        self._counter = (incarnation << 32) % 2**64
        self._known: Keyring | None = None
        self._keys: dict[bytes, Key] = {}
        self._ciphers: dict[tuple[bytes, str], AESGCM] = {}
        self._windows: dict[str, Window] = {}

    def seal(self, payload: bytes) -> bytes | None:
        """A datagram; `None` when it would be too long, or there is no key yet."""
        self._refresh()
        if self._known is None:
            return None
        self._counter += 1
        key, sender = self._known.sealing, self._me.encode()
        head = _HEAD.pack(VERSION, key.id, self._counter, self._salt, len(sender)) + sender
        if len(head) + len(payload) + _TAG > MAX_DATAGRAM:
            return None
        return head + self._cipher(key, self._me).encrypt(head[5:17], payload, head)

    def open(self, datagram: bytes) -> tuple[NodeId, bytes]:
        """
        Who sent it, and what.

        Raises:
            Unreadable: Foreign, damaged, of another version, sealed with a key not known here, or seen before.
        """
        self._refresh()
        if not _HEAD.size + _TAG <= len(datagram) <= MAX_DATAGRAM:
            raise Unreadable("not one of ours")
        version, key_id, counter, _, length = _HEAD.unpack_from(datagram)
        if version != VERSION:
            raise Unreadable("another version")
        begin = _HEAD.size + length
        if length > MAX_ID or len(datagram) < begin + _TAG:
            raise Unreadable("not one of ours")
        key = self._keys.get(key_id)
        if key is None:
            raise Unreadable("an unknown key")
        head = datagram[:begin]
        try:
            sender = head[_HEAD.size :].decode("ascii")
            payload = self._cipher(key, sender).decrypt(head[5:17], datagram[begin:], head)
        except (InvalidTag, UnicodeDecodeError):
            raise Unreadable("not authentic") from None
        if sender == self._me:
            raise Unreadable("our own name")
        if not self._window(sender).fresh(counter):
            raise Unreadable("seen before")
        return NodeId(sender), payload

    def _window(self, sender: str) -> Window:
        window = self._windows.get(sender)
        if window is None:
            if len(self._windows) >= MAX_SENDERS:
                raise Unreadable("too many senders")
            window = self._windows[sender] = Window()
        return window

    def _cipher(self, key: Key, sender: str) -> AESGCM:
        cipher = self._ciphers.get((key.id, sender))
        if cipher is None:
            derived = hashlib.blake2b(sender.encode(), key=key.raw, digest_size=32, person=b"hybrid datagram")
            cipher = AESGCM(derived.digest())
            if len(self._ciphers) < MAX_SENDERS:
                self._ciphers[key.id, sender] = cipher
        return cipher

    def _refresh(self) -> None:
        ring = self._ring()
        if ring is not self._known:
            self._known = ring
            self._keys = {key.id: key for key in ring.keys} if ring is not None else {}
            self._ciphers.clear()
