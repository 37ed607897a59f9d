"""The connection of a stream, which a process of its own may use for the bulk of it. Shell; see `pumping`."""

from __future__ import annotations

from twisted.internet.tcp import Connection

from hybrid import wire
from hybrid.cluster import tls
from hybrid.cluster.framed import Connections, Framed
from hybrid.cluster.pumping import Pump, Pumps, Way
from hybrid.model import NodeId
from hybrid.ports import Moved


class Lending(Framed):
    """
    Base of both ends of a stream.

    Args:
        pumps: `None`: all of it goes through this process.
    """

    is_stream = True

    def __init__(self, connections: Connections, node: NodeId, way: Way, pumps: Pumps | None) -> None:
        super().__init__(wire.MAX_FRAME, connections, node)
        self._way, self._pumps = way, pumps
        self._pump: Pump | None = None
        self._may_squeeze = pumps is not None and pumps.squeeze
        self._passed = 0
        self._is_lent = False

    def passed(self, size_bytes: int) -> None:
        """So much of a stream that may be pumped came by here. Raises `PeerError`."""
        self._passed += size_bytes
        pumps = self._pumps
        if self._pump is None and pumps is not None and self._passed >= pumps.begin_at:
            self._pumps = None
            if self._tls.negotiatedProtocol == tls.PUMPED_STREAM:
                self._pump = pumps.start(self._way, tls.verified(self._tls)[0])

    @property
    def pump_is_ready(self) -> bool:
        """Whether the rest could be moved by it now."""
        return self._pump is not None and self._pump.ready

    async def lend(self, pipe: int, moved: Moved, held: bytes = b"", squeeze: bool = False) -> bytes:
        """
        Have the rest moved between `pipe` and the connection; both sides have said their last frame before that.

        Nothing more is read here until it is over; the sender's end listens as soon as the pumps know each other, for
        an answer that comes early. See `hybrid.cluster.pumping.Pump.run`, also for what it raises: then this
        connection is good for a last answer, and no more.
        """
        pump, plain = self._pump, self._tls.transport
        assert pump is not None and isinstance(plain, Connection)
        self._is_lent = True
        self._tls.pauseProducing()
        shaken = self._tls.resumeProducing if self._way == "send" else None
        try:
            kept = await pump.run(plain.getHandle().fileno(), pipe, moved, held, shaken, squeeze)
        finally:
            await pump.end(("KILL",))
        self._is_lent = False
        self._tls.resumeProducing()
        return kept

    def cut_pump(self) -> None:
        """Let it move nothing more."""
        if self._pump is not None:
            self._pump.signal("KILL")

    async def reap_pump(self) -> None:
        """The stream is over."""
        if self._pump is not None:
            await self._pump.end(("KILL",))
