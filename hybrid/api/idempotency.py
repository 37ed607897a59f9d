"""
`Idempotency-Key`: a POST sent twice is done once (draft-ietf-httpapi-idempotency-key-header). Pure.

A key belongs to an actor, a method and a path; with another body it is refused. Remembered for a day, bounded.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

KEEP_S = 24 * 3600.0
MAX_KEYS = 10_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fresh:
    """Never seen: go on, then call `remember` (or `forget`, when nothing was done)."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The first one has not been answered yet."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The key came before with another body."""


@dataclass(frozen=True, slots=True)
class Again(Generic[T]):
    """The answer the first one got."""

    answer: T


class Keys(Generic[T]):
    """Keys seen, with the answers given."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._seen: OrderedDict[str, tuple[float, bytes, T | None]] = OrderedDict()

    def seen(self, key: str, body: bytes, now_s: float) -> Fresh | UnderWay | Reused | Again[T]:
        """Note `key` (already made unique per actor, method and path) and say whether it came before."""
        self._expire(now_s)
        digest = hashlib.sha256(body).digest()
        if key not in self._seen:
            self._seen[key] = (now_s, digest, None)
            return Fresh()
        _, first_digest, answer = self._seen[key]
        if digest != first_digest:
            return Reused()
        return UnderWay() if answer is None else Again(answer)

    def remember(self, key: str, answer: T) -> None:
        """What to answer when `key` comes again."""
        if key in self._seen:
            at_s, digest, _ = self._seen[key]
            self._seen[key] = (at_s, digest, answer)

    def forget(self, key: str) -> None:
        """Nothing was done under `key`: let it be tried again."""
        self._seen.pop(key, None)

    def _expire(self, now_s: float) -> None:
        """Drop the oldest beyond age and number."""
        while self._seen and (len(self._seen) >= self._max_keys or next(iter(self._seen.values()))[0] < now_s - KEEP_S):
            self._seen.popitem(last=False)
