"""A pool that says which datasets it is about to change, before it does, and when it has. Shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from hybrid.model import Guid, Snapshot
from hybrid.ports import ByteSink, PipedSink, Pool, SinkPipe


class Witness(Protocol):
    """Who is told."""

    def change(self, *datasets: str) -> AbstractContextManager[None]:
        """Entered before the histories of `datasets` may change, left when that is over, well or not."""

    def akin(self, dataset: str) -> tuple[str, ...]:
        """`dataset`, and those to which its snapshots may move."""


def witnessed(pool: Pool, witness: Witness) -> Pool:
    """`pool`, with a witness of all that changes which snapshots a dataset has."""
    return cast(Pool, _Witnessed(pool, witness))


class _Witnessed:
    """See `hybrid.ports.Pool`."""

    def __init__(self, pool: Pool, witness: Witness) -> None:
        self._pool, self._change, self._akin = pool, witness.change, witness.akin

    def __getattr__(self, name: str) -> Any:  # all that changes no history
        return getattr(self._pool, name)

    async def create(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            await self._pool.create(name, properties)

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            await self._pool.clone(origin, guid, name, properties)

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            return await self._pool.snapshot(name, snapshot_name)

    async def snapshot_if_changed(self, name: str, snapshot_name: str) -> Snapshot | None:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            return await self._pool.snapshot_if_changed(name, snapshot_name)

    async def snapshots(self, names: Sequence[str], snapshot_name: str) -> tuple[Snapshot, ...]:
        """See `hybrid.ports.Pool`."""
        with self._change(*names):
            return await self._pool.snapshots(names, snapshot_name)

    async def destroy_snapshot(self, name: str, guid: Guid) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            await self._pool.destroy_snapshot(name, guid)

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(name):
            await self._pool.destroy(name, with_history)

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(name, new_name):
            await self._pool.rename(name, new_name)

    async def promote(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        with self._change(*self._akin(name)):
            await self._pool.promote(name)

    async def receive(self, name: str, resumable: bool = False) -> ByteSink:
        """See `hybrid.ports.Pool`."""
        return _Sink(await self._pool.receive(name, resumable), lambda: self._change(name))


class _Sink:
    """See `hybrid.ports.ByteSink`: nothing takes effect before `finish`."""

    def __init__(self, sink: ByteSink, change: Callable[[], AbstractContextManager[None]]) -> None:
        self._sink, self._change = sink, change
        self.write, self.abort = sink.write, sink.abort

    async def sink_pipe(self) -> SinkPipe | None:
        """See `hybrid.ports.PipedSink`."""
        return await self._sink.sink_pipe() if isinstance(self._sink, PipedSink) else None

    async def finish(self) -> None:
        """See `hybrid.ports.ByteSink`."""
        with self._change():
            await self._sink.finish()
