"""
Sealing what goes far away. Pure.

Each stream has a random id, and with it a key of its own (HKDF-SHA256, RFC 5869, of the store's key). Its pieces are
AES-256-GCM with the piece's number and whether it is the last in the nonce: the STREAM construction (Hoang,
Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015), so
that pieces can be neither changed, exchanged, left out nor cut off. An id is never used for two streams: a new try is
a new stream.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hybrid.errors import BadRequest, Damaged

KEY_BYTES = 32
_INFO = b"hybrid away 1 "
_PREFIX = "hyr1-"
_LABEL = 2**64 - 1
"""The number of the piece that describes the stream."""


class Sealed:
    """Seals and opens the pieces of one stream."""

    def __init__(self, key: bytes, stream: str) -> None:
        """`key`: of the store. `stream`: its id."""
        derived = HKDF(hashes.SHA256(), KEY_BYTES, None, _INFO + stream.encode()).derive(key)
        self._stream, self._cipher = stream, AESGCM(derived)

    def seal(self, number: int, last: bool, data: bytes) -> bytes:
        """Piece `number` (from 0) of the stream."""
        return self._cipher.encrypt(_nonce(number, last), data, None)

    def open(self, number: int, last: bool, data: bytes) -> bytes:
        """What was sealed as piece `number`. Raises `Damaged`."""
        try:
            return self._cipher.decrypt(_nonce(number, last), data, None)
        except InvalidTag:
            what = "the label" if number == _LABEL else f"piece {number}"
            why = "it was changed, or sealed with another key"
            raise Damaged(f"{what} of stream {self._stream} cannot be opened", why, "use another moment") from None

    def seal_label(self, data: bytes) -> bytes:
        """What describes the stream."""
        return self.seal(_LABEL, True, data)

    def open_label(self, data: bytes) -> bytes:
        """What `seal_label` sealed. Raises `Damaged`."""
        return self.open(_LABEL, True, data)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(8) + bytes((last, 0, 0, 0))


def recovery_text(key: bytes) -> str:
    """A store's key as people keep it: groups of letters and digits with a checksum."""
    text = base64.b32encode(key + zlib.crc32(key).to_bytes(4)).decode().rstrip("=").lower()
    return _PREFIX + "-".join(text[place : place + 6] for place in range(0, len(text), 6))


def recovery_key(text: str) -> bytes:
    """The key in what `recovery_text` wrote; spaces and case do not matter. Raises `BadRequest`."""
    letters = "".join(text.split()).lower()
    hint = "copy all of what `hybrid away add` printed"
    if not letters.startswith(_PREFIX):
        raise BadRequest("this is not a recovery key", f"it does not begin with {_PREFIX}", hint)
    body = letters.removeprefix(_PREFIX).replace("-", "").upper()
    try:
        data = base64.b32decode(body + "=" * (-len(body) % 8))
    except (binascii.Error, ValueError):
        raise BadRequest("this recovery key is damaged", "a character cannot be one of it", hint) from None
    key, check = data[:KEY_BYTES], data[KEY_BYTES:]
    if len(data) != KEY_BYTES + 4 or zlib.crc32(key).to_bytes(4) != check:
        raise BadRequest("this recovery key is damaged", "a character is wrong or missing", hint)
    return key
