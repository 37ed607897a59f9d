"""Which name a snapshot's guid has, as last seen, so that a call by guid needs no listing. Pure."""

from __future__ import annotations

from hybrid.history import History
from hybrid.model import Guid, Snapshot


class SnapshotIndex:
    """Histories as last seen. Names are checked against the pool before use, so an old entry only costs time."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[Guid, Snapshot]] = {}

    def learn(self, name: str, history: History) -> None:
        """The whole history of a dataset."""
        self._seen[name] = {snapshot.guid: snapshot for snapshot in history}

    def add(self, name: str, snapshot: Snapshot) -> None:
        """A snapshot newer than all others of a known history; without one it is not kept."""
        if name in self._seen:
            self._seen[name][snapshot.guid] = snapshot

    def knows(self, name: str) -> bool:
        """Whether the whole history of a dataset was seen."""
        return name in self._seen

    def find(self, name: str, guid: Guid) -> Snapshot | None:
        """The snapshot, if it was seen."""
        return self._seen.get(name, {}).get(guid)

    def newest(self, name: str) -> Snapshot | None:
        """The head, if it was seen."""
        seen = self._seen.get(name)
        return seen[next(reversed(seen))] if seen else None

    def line(self, name: str) -> History:
        """All that was seen of a dataset, oldest first."""
        return tuple(self._seen.get(name, {}).values())

    def holder(self, guid: Guid) -> str | None:
        """A dataset in which the snapshot was seen."""
        return next((name for name, seen in self._seen.items() if guid in seen), None)

    def remove(self, name: str, guid: Guid) -> None:
        """The snapshot is gone."""
        self._seen.get(name, {}).pop(guid, None)

    def forget(self, *names: str) -> None:
        """These datasets changed in a way that is easier read again."""
        for name in names:
            self._seen.pop(name, None)

    def move(self, name: str, new_name: str) -> None:
        """A dataset was renamed."""
        self.forget(new_name)
        if name in self._seen:
            self._seen[new_name] = self._seen.pop(name)
