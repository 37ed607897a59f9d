"""TLS begun on a stream that is in use (STARTTLS): the layer is Twisted's, over the stream's own sending. Shell."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from hybrid_proxy.lean.stream import Stream


@implementer(ISSLTransport)
class Secured(Stream):
    """A stream whose `protocol` is the TLS layer: what the application writes goes there."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.connected:
            self.protocol.write(data)

    def writeSequence(self, data: Any) -> None:
        """See `ITransport`."""
        if self.connected:
            self.protocol.writeSequence(data)

    def loseConnection(self) -> None:
        """See `ITransport`: the layer says good-bye first."""
        if self.connected and not self.disconnecting:
            self.protocol.loseConnection()

    def loseWriteConnection(self) -> None:
        """TLS as Twisted has it knows no half-close."""
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self.protocol is None:
            producer.stopProducing()
        else:
            self.protocol.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        if self.protocol is not None:
            self.protocol.unregisterProducer()

    def getHandle(self) -> Any:
        """See `ISSLTransport`: the TLS connection."""
        return self.protocol.getHandle()

    def getPeerCertificate(self) -> Any:
        """See `ISSLTransport`."""
        return self.protocol.getPeerCertificate()


class _Below:
    """The stream as the TLS layer sees it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> None:
        Stream.write(self._stream, data)

    def writeSequence(self, data: Any) -> None:
        Stream.write(self._stream, b"".join(data))

    def loseConnection(self) -> None:
        Stream.loseConnection(self._stream)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        Stream.registerProducer(self._stream, producer, streaming)

    def unregisterProducer(self) -> None:
        Stream.unregisterProducer(self._stream)


def secure(stream: Stream, creator: Any, client: bool) -> None:
    """
    Begin TLS now, after what was written so far.

    Args:
        stream: In use, without TLS.
        creator: As `ITLSTransport.startTLS` takes it.
        client: Which side of the handshake this end takes.
    """
    producer, streaming = stream.producer, stream.streamingProducer
    if producer is not None:
        stream.unregisterProducer()
    factory = TLSMemoryBIOFactory(creator, client, Factory(), stream.reactor)
    layer = factory.protocol(factory, stream.protocol, False)
    stream.protocol = layer
    stream.__class__ = Secured
    layer.makeConnection(_Below(stream))
    if producer is not None:
        stream.registerProducer(producer, streaming)
