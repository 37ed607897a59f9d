"""
How long small synchronous writes to the pool take, as a database's commits would. Shell; a child writes.

They go to a dataset of its own under `temporary/`, made when first wanted, and never replicated.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hybrid.errors import AlreadyExists, HybridError, StorageError
from hybrid.ports import Pool
from hybrid.storage.children import Children, Reactor

DATASET = "temporary/probe"
WRITES = 8
WITHIN_S = 10.0

_SCRIPT = """
import os, sys, time
folder = sys.argv[1]
if os.stat(folder).st_dev == os.stat(os.path.dirname(folder)).st_dev:
    sys.exit("it is not mounted")
file = os.open(os.path.join(folder, "probe"), os.O_CREAT | os.O_WRONLY, 0o600)
for number in range(int(sys.argv[2])):
    began_s = time.perf_counter()
    os.pwrite(file, os.urandom(4096), 4096 * number)
    os.fsync(file)
    print(time.perf_counter() - began_s)
"""


class SyncProbe:
    """See `hybrid_replicator.ports.Probe`."""

    def __init__(self, reactor: Reactor, pool: Pool, folder: Path) -> None:
        """The dataset is mounted at `folder`, where nothing else is."""
        self._children, self._pool, self._folder = Children(reactor, limit=1), pool, folder
        self._is_mounted = False

    async def writes_s(self) -> list[float]:
        """See `hybrid_replicator.ports.Probe`."""
        try:
            if not self._is_mounted:
                await self._mount()
            argv = (sys.executable, "-I", "-S", "-c", _SCRIPT, str(self._folder), str(WRITES))
            ended = await self._children.run(argv, WITHIN_S)
            if ended.status != 0:
                raise StorageError("the pool cannot be written to", ended.stderr)
        except HybridError:
            self._is_mounted = False
            return []
        return [float(line) for line in ended.stdout.split()]

    async def _mount(self) -> None:
        try:
            await self._pool.create(DATASET)
        except AlreadyExists:
            pass
        await self._pool.mount(DATASET, str(self._folder))
        self._is_mounted = True
