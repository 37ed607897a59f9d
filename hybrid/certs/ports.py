"""What certificates need of the node, as protocols. Pure declarations."""

from __future__ import annotations

from typing import Protocol


class Shared(Protocol):
    """The cluster's shared map. See `hybrid.api.ports.SharedMap`."""

    def get(self, key: str) -> str | None:
        """The value, or `None`."""

    def put(self, key: str, value: str | None) -> None:
        """Write it; `None` deletes."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values."""


class TxtRecords(Protocol):
    """TXT records in the zones that this cluster serves."""

    def add(self, name: str, text: str) -> bool:
        """Add a record; `False`: no zone here has the name. Raises `HybridError`."""

    def remove(self, name: str, text: str) -> None:
        """Remove it. Raises `HybridError`."""
