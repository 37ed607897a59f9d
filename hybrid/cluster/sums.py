"""
A checksum of all that is known of each writer, kept while it changes: two nodes compare it instead of all registers.

Pure. Each `(what it is about, version)` is hashed to 64 bits; a writer's sum is that of its hashes modulo 2^64, so the
order does not matter, and replacing one is a subtraction and an addition. Against chance, not against forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from hybrid.model import Version

_MODULUS = 1 << 64
SELF = ""
"""A node's register about itself, among those about sites."""


def checksum(parts: Iterable[tuple[str, Version]]) -> int:
    """The sum of some parts: `(what it is about, version)`."""
    return sum([_hash(about, version) for about, version in parts]) % _MODULUS


class Sums:
    """The sums of all writers."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    def replace(self, writer: str, about: str, old: Version | None, new: Version | None) -> None:
        """`writer` has another version of what it says `about` something; `None`: there was, or is, none."""
        added = (_hash(about, new) if new is not None else 0) - (_hash(about, old) if old is not None else 0)
        total = (self._of.get(writer, 0) + added) % _MODULUS
        if total:
            self._of[writer] = total
        else:
            self._of.pop(writer, None)

    def forget(self, writer: str) -> None:
        """Nothing is known of `writer` any more."""
        self._of.pop(writer, None)

    def each(self) -> dict[str, int]:
        """Writer to sum; one of which nothing is known is left out."""
        return dict(self._of)

    def total(self) -> int:
        """One number for all of it."""
        return checksum((writer, Version(total, 0)) for writer, total in self._of.items())


@lru_cache(8192)
def _hash(about: str, version: Version) -> int:
    text = f"{about} {version.major} {version.minor}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
