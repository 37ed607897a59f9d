"""Values that have no owner: of two writes of a key the later one wins, by a hybrid logical clock. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hybrid.model import NodeId, Shared


class SharedMap:
    """Keys to values, tombstones among them."""

    def __init__(self, me: NodeId) -> None:
        self._me = me
        self._entries: dict[str, Shared] = {}
        self._stamp = (0, 0)

    def __iter__(self) -> Iterator[tuple[str, Shared]]:
        return iter(self._entries.items())

    def get(self, key: str) -> Shared | None:
        """The entry of `key`, a tombstone too."""
        return self._entries.get(key)

    def entries(self, keys: Iterable[str] | None = None) -> dict[str, Shared]:
        """The entries of `keys` (or all), tombstones too; unknown keys are left out."""
        return {key: self._entries[key] for key in (self._entries if keys is None else keys) if key in self._entries}

    def write(self, key: str, value: str | None, wall_ms: int) -> Shared:
        """Write here and now (`None`: remove); later than everything known, whatever the wall clock says."""
        millis, count = self._stamp
        self._stamp = (wall_ms, 0) if wall_ms > millis else (millis, count + 1)
        entry = Shared(stamp=(*self._stamp, self._me), value=value)
        self._entries[key] = entry
        return entry

    def merge(self, key: str, entry: Shared) -> bool:
        """Take `entry` if it is later than what is known; whether it was."""
        known = self._entries.get(key)
        if known is not None and known.stamp >= entry.stamp:
            return False
        self._stamp = max(self._stamp, entry.stamp[:2])
        self._entries[key] = entry
        return True

    def prune(self, before_ms: int) -> list[str]:
        """Drop tombstones written before `before_ms` (wall time). Returns their keys."""
        old = [key for key, entry in self._entries.items() if entry.value is None and entry.stamp[0] < before_ms]
        for key in old:
            del self._entries[key]
        return sorted(old)
