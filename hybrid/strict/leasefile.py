"""The id of this node's lease in etcd, kept for the next process of the node. Does I/O (one small file)."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import Logger


class LeaseFile:
    """Where it is kept. Losing it costs a restart of the strict sites, no more: it is not synced."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int | None:
        """The lease; `None` where nothing readable is kept."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def write(self, lease: int) -> None:
        """Keep `lease`. Never half of it; trouble is logged."""
        beside = self._path.with_suffix(".new")
        try:
            beside.write_text(f"{lease}\n")
            os.replace(beside, self._path)
        except OSError as error:
            self.log.warn("the lease cannot be kept for a restart: {error}", error=str(error))
