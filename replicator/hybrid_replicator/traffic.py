"""The transfers of this node: paced, counted, and told of while they are under way. Shell; `pace` decides the waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.deeds import TransferSeen, Way
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.ports import ByteSink, ByteSource, IncomingStream, Moved, PipedSource, SourcePipe
from hybrid_replicator.pace import Paces, Strain
from hybrid_replicator.ports import Probe

REST_EVERY_S = 60.0
"""Between two looks at a pool at rest."""
LARGE_BYTES = 4 * 1024 * 1024
"""What is received beyond this waits for what the pool can bear; less is over before anybody notices."""
LONGEST_S = 20.0
"""No single wait is longer: both ends take silence of a minute for a cut."""


@dataclass(slots=True, eq=False)
class Transfer:
    """Bytes that are being moved; see `hybrid.deeds.TransferSeen`."""

    way: Way
    dataset: str
    node: str
    size_bytes: int | None
    began_s: float
    bytes: int = 0
    saved_bytes: int = 0

    def seen(self, now_s: float) -> TransferSeen:
        """As it is now."""
        seconds = max(now_s - self.began_s, 0.001)
        rate = self.bytes / seconds
        left = None if self.size_bytes is None or not rate else max(0, self.size_bytes - self.bytes) / rate
        return TransferSeen(
            way=self.way,
            dataset=self.dataset,
            node=self.node,
            bytes=self.bytes,
            size_bytes=self.size_bytes,
            bytes_per_s=round(rate),
            seconds=round(seconds, 1),
            left_s=None if left is None else round(left, 1),
            saved_bytes=self.saved_bytes,
        )


class Traffic:
    """All of them."""

    def __init__(self, clock: IReactorTime, out: Paces, into: Paces, strain: Strain) -> None:
        self._clock, self._out, self._into, self._strain = clock, out, into, strain
        self._under_way: list[Transfer] = []

    def seen(self) -> tuple[TransferSeen, ...]:
        """Those under way, longest first."""
        now_s = self._clock.seconds()
        return tuple(transfer.seen(now_s) for transfer in self._under_way)

    @property
    def receives_much(self) -> bool:
        """Whether a large stream is coming in."""
        return any(one.way == "receive" and one.bytes > LARGE_BYTES for one in self._under_way)

    @contextmanager
    def transfer(self, way: Way, dataset: str, node: str, size_bytes: int | None) -> Iterator[Transfer]:
        """While one is under way."""
        transfer = Transfer(way, dataset, node, size_bytes, self._clock.seconds())
        self._under_way.append(transfer)
        try:
            yield transfer
        finally:
            self._under_way.remove(transfer)

    def wait_s(self, transfer: Transfer, size_bytes: int, saved_bytes: int = 0) -> float:
        """A piece of it came, of which some did not travel; the seconds after which the next may."""
        transfer.bytes += size_bytes
        transfer.saved_bytes += saved_bytes
        now_s, travelled_bytes = self._clock.seconds(), size_bytes - saved_bytes
        if transfer.way == "send":
            wait_s = self._out.take(NodeId(transfer.node), travelled_bytes, now_s)
        else:
            wait_s = self._into.take(NodeId(transfer.node), travelled_bytes, now_s)
            if transfer.bytes > LARGE_BYTES:
                wait_s = max(wait_s, self._strain.take(size_bytes, now_s))
        return min(wait_s, LONGEST_S)

    def paced(self, source: ByteSource, transfer: Transfer) -> PacedSource:
        """`source`, as fast as it may be."""
        return PacedSource(self._clock, source, lambda size_bytes, saved: self.wait_s(transfer, size_bytes, saved))


class PacedSource:
    """See `hybrid.ports.ByteSource`; a wait ends at once when it is aborted."""

    def __init__(self, clock: IReactorTime, source: ByteSource, wait_s: Callable[[int, int], float]) -> None:
        self._clock, self._source, self._wait_s = clock, source, wait_s
        self._pause: Deferred[None] | None = None

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        data = await self._source.read()
        if data:
            await self.moved(len(data))
        return data

    async def source_pipe(self) -> SourcePipe | None:
        """See `hybrid.ports.PipedSource`."""
        pipe = await self._source.source_pipe() if isinstance(self._source, PipedSource) else None
        return pipe and replace(pipe, moved=self.moved)

    async def moved(self, size_bytes: int, saved_bytes: int = 0) -> None:
        """So much came: wait until more may. Raises `PeerError` when it is aborted meanwhile."""
        wait_s = self._wait_s(size_bytes, saved_bytes)
        if wait_s > 0.0:
            self._pause = deferLater(self._clock, wait_s, lambda: None)
            try:
                await self._pause
            except CancelledError:
                raise PeerError("a stream was cut", "it was aborted") from None
            finally:
                self._pause = None

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        if self._pause is not None:
            self._pause.cancel()
        await self._source.abort()


class PacedStream:
    """See `hybrid.ports.IncomingStream`."""

    def __init__(self, stream: IncomingStream, paced: PacedSource) -> None:
        self._stream, self._paced = stream, paced
        self.accept, self.read, self.abort = stream.accept, paced.read, paced.abort

    def lead_into(self, sink: ByteSink, moved: Moved) -> None:
        """See `hybrid.ports.IncomingStream`."""

        async def paced(size_bytes: int, saved_bytes: int = 0) -> None:
            await moved(size_bytes, saved_bytes)
            await self._paced.moved(size_bytes, saved_bytes)

        self._stream.lead_into(sink, paced)


class Gentle:
    """Looks at what others notice of large receives, once a second while there are any, else rarely."""

    log = Logger()

    def __init__(self, clock: IReactorTime, traffic: Traffic, strain: Strain, probe: Probe) -> None:
        self._clock, self._traffic, self._strain, self._probe = clock, traffic, strain, probe
        self._looked_s = float("-inf")
        self._looking = False

    async def look(self) -> None:
        """Called every second."""
        loaded = self._traffic.receives_much
        now_s = self._clock.seconds()
        if self._looking or (not loaded and now_s - self._looked_s < REST_EVERY_S):
            return
        self._looked_s, self._looking = now_s, True
        try:
            await self._sample(loaded)
        finally:
            self._looking = False

    async def _sample(self, loaded: bool) -> None:
        """A few writes; they count only if the pool was at rest, or at work, from the first to the last."""
        before = self._strain.bytes_per_s
        samples = await self._probe.writes_s()
        if self._traffic.receives_much != loaded:
            return
        for latency_s in samples:
            (self._strain.under_load if loaded else self._strain.at_rest)(latency_s)
        if loaded and self._strain.bytes_per_s < before:
            self.log.debug("receiving {rate} bytes/s: writes here take too long", rate=round(self._strain.bytes_per_s))


def unlimited(clock: IReactorTime) -> Traffic:
    """For a node without limits."""
    none = Paces("send", (), lambda node: (), lambda: 0)
    return Traffic(clock, none, none, Strain())
