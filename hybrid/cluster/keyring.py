"""
The keys that seal what nodes send each other by UDP, and how they follow one another. Pure.

One value of the shared map, so it travels over TLS and is in every newcomer's welcome. One key seals, all of them open:
a new key is first spread, then used, and the old ones are dropped when nobody seals with them any more.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

KEYRING = "keyring"
"""The key in the shared map."""
ROTATE_MS = 30 * 86_400_000
SPREAD_MS = 120_000
"""From a key's making to its use: by then every node that has links has it."""
DROP_MS = 3_600_000
"""From a key's use to the end of the ones before."""
HURRIED_SPREAD_MS = 10_000
HURRIED_DROP_MS = 30_000
MAX_KEYS = 8
SECRET_BYTES = 32


class Key(msgspec.Struct, frozen=True):
    """A secret, and when it was made."""

    secret: str
    made_ms: int

    @property
    def raw(self) -> bytes:
        """The secret itself."""
        return base64.b64decode(self.secret)

    @property
    def id(self) -> bytes:
        """What names it in a packet: 4 bytes that tell nothing of it."""
        return hashlib.blake2b(self.raw, digest_size=4, person=b"hybrid key id").digest()


class Keyring(msgspec.Struct, frozen=True):
    """Keys, oldest first."""

    keys: tuple[Key, ...]
    primary: int = 0
    """Which of them seals."""
    used_ms: int = 0
    """Since when it does."""
    hurried: bool = False
    """A node was removed, which knows the old keys: the steps follow quickly."""

    @property
    def sealing(self) -> Key:
        """The key that seals."""
        return self.keys[self.primary]


def made(secret: bytes, now_ms: int) -> Key:
    """A key of a fresh secret."""
    return Key(base64.b64encode(secret).decode("ascii"), now_ms)


def first(secret: bytes, now_ms: int) -> Keyring:
    """The ring of a new cluster."""
    return Keyring((made(secret, now_ms),), used_ms=now_ms)


def begun(ring: Keyring, secret: bytes, now_ms: int, hurried: bool = False) -> Keyring:
    """The first step: a new key is known, and not used yet. Of too many, the oldest unused ones go."""
    sealing = ring.sealing
    keys = [*ring.keys, made(secret, now_ms)]
    while len(keys) > MAX_KEYS:
        keys.remove(next(key for key in keys if key != sealing))
    return Keyring(tuple(keys), keys.index(sealing), ring.used_ms, hurried or ring.hurried)


def stepped(ring: Keyring, known_ms: int, now_ms: int) -> Keyring:
    """
    The ring after the step that is due; the same one when none is.

    Args:
        ring: As it is.
        known_ms: For how long it has been so, for the node that asks, by its monotonic clock: what another one's clock
            said when it made a key delays nothing.
        now_ms: Wall time, for people.
    """
    spread_ms, drop_ms = (HURRIED_SPREAD_MS, HURRIED_DROP_MS) if ring.hurried else (SPREAD_MS, DROP_MS)
    newest = len(ring.keys) - 1
    if ring.primary != newest:
        if known_ms < spread_ms:
            return ring
        return Keyring(ring.keys, newest, now_ms, ring.hurried)
    if newest and known_ms >= drop_ms:
        return Keyring(ring.keys[newest:], 0, ring.used_ms)
    return ring


def old(ring: Keyring, now_ms: int) -> bool:
    """Whether it is time for a new key, also because the present one says that it was made in the future."""
    age_ms = now_ms - ring.sealing.made_ms
    return len(ring.keys) == 1 and not -ROTATE_MS < age_ms < ROTATE_MS


def dumps(ring: Keyring) -> str:
    """The value for the shared map."""
    return msgspec.json.encode(ring).decode()


def loads(value: str | None) -> Keyring | None:
    """The ring in a value of the shared map; `None` when there is none, or it is not one."""
    if value is None:
        return None
    try:
        ring = msgspec.json.decode(value, type=Keyring)
        usable = 0 <= ring.primary < len(ring.keys) <= MAX_KEYS
        return ring if usable and all(len(key.raw) == SECRET_BYTES for key in ring.keys) else None
    except (msgspec.MsgspecError, ValueError):
        return None
