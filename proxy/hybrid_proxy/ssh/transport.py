"""
The SSH transport (RFC 4253) of one connection: Conch's, with fewer algorithms, deadlines and bounds. Shell.

Whatever a client sends that Conch cannot make sense of ends its connection, and nothing else. Until a key was shown
there are `Limits.login_s` and `BEFORE_LOGIN` bytes for all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.conch.ssh import _kex
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    SSHServerTransport,
)
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from hybrid import sshkeys
from hybrid_proxy.relay import IStream
from hybrid_proxy.ssh.channels import Connection
from hybrid_proxy.ssh.userauth import Login, UserAuth

if TYPE_CHECKING:
    from hybrid_proxy.ssh.door import SshFactory

BEFORE_LOGIN = 128 * 1024
SLICE = 4096
"""Conch copies what it has not used yet for each packet: small pieces keep that small. A longer first piece it refuses,
whatever is in it."""
_KEX = (b"mlkem768x25519-sha256", b"curve25519-sha256", b"curve25519-sha256@libssh.org", b"ecdh-sha2-nistp256")
"""All of them cheap; in the order of preference."""
_quiet = Logger(observer=LogPublisher())


@implementer(IPushProducer)
class SshTransport(SSHServerTransport):
    """See the module. `source`: address and port of the client."""

    log = Logger()
    _log = _quiet
    factory: SshFactory  # type: ignore[assignment]  # what is needed of Conch's it has
    transport: IStream
    ourVersionString = b"SSH-2.0-Hybrid"
    supportedKeyExchanges = [name for name in _KEX if name in _kex.getSupportedKeyExchanges()]
    supportedCiphers = [b"aes128-ctr", b"aes256-ctr", b"aes192-ctr"]
    supportedMACs = [b"hmac-sha2-256", b"hmac-sha2-512"]
    supportedPublicKeys = [b"ssh-ed25519"]
    supportedCompressions = [b"none"]

    def __init__(self, source: tuple[str, int]) -> None:
        self.source = source
        self.login: Login | None = None
        self._is_full = False
        self.due_s = 0.0
        self._over = False
        self._heard_bytes = 0
        self._idle_at_bytes = -1
        self._exchanges = 0
        self._wait: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        house = self.factory.house
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.due_s = house.deadlines.now_s + house.limits.login_s
        house.deadlines.watch(self)
        self.factory.transports.add(self)
        self.factory.strangers.add(self)
        super().connectionMade()
        wait_s = self.factory.guesses.wait_s(self.source[0], self.factory.clock.seconds())
        if wait_s > 0:
            self.transport.pauseProducing()
            self._wait = self.factory.clock.callLater(wait_s, self.transport.resumeProducing)

    def dataReceived(self, data: bytes) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        self._heard_bytes += len(data)
        if self.login is None and self._heard_bytes > BEFORE_LOGIN:
            self._end(b"too much was said before a key was shown")
        try:
            for at in range(0, len(data), SLICE):
                if self._over:
                    return
                super().dataReceived(data[at : at + SLICE])
        except Exception as error:
            self.log.info("no SSH from {source}: {error!r}", source=self.source[0], error=error)
            self._end(b"this is not understood")

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """See `SSHServerTransport`: before somebody logged in, keys are exchanged once."""
        self._exchanges += 1
        if self.login is None and self._exchanges > 1:
            self._end(b"show a key first")
        else:
            super().ssh_KEXINIT(packet)

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """See `SSHServerTransport`: only `ssh-userauth`, once, encrypted."""
        if not self.isEncrypted("both") or self.service is not None or packet != b"\0\0\0\x0cssh-userauth":
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, b"no such service")
            return
        factory = self.factory
        self.sendPacket(6, packet)
        self.setService(UserAuth(factory.ring, factory.clock, self._wrong))

    def sendExtInfo(self, extensions: list[tuple[bytes, bytes]]) -> None:
        """See `SSHTransportBase`: what keys of users may sign by (RFC 8308 §3.1)."""
        super().sendExtInfo([(b"server-sig-algs", ",".join(sshkeys.ALGORITHMS).encode())])

    def _wrong(self) -> float:
        return self.factory.guesses.wrong(self.source[0], self.factory.clock.seconds())

    def logged_in(self, login: Login) -> None:
        """Somebody showed a key."""
        house = self.factory.house
        self.login = login
        self.factory.strangers.discard(self)
        self.due_s = house.deadlines.now_s + house.limits.tunnel_idle_s
        self.factory.guesses.right(self.source[0])
        self.log.info("{key} logs in to {site}", key=login.key, site=login.site, moment=login.moment)
        self.setService(Connection(self, login))

    # -------------------------------------------------------------------------------------------------- the end

    def overdue(self) -> None:
        """See `hybrid_proxy.deadlines.Watched`."""
        house = self.factory.house
        if self._over:
            self.transport.abortConnection()
        elif self.login is not None and self._heard_bytes != self._idle_at_bytes:
            self._idle_at_bytes = self._heard_bytes
            self.due_s = house.deadlines.now_s + house.limits.tunnel_idle_s
        else:
            self._end(b"nothing was said for too long" if self.login is not None else b"no key was shown in time")

    def _end(self, why: bytes) -> None:
        self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, why)

    def close(self, why: bytes) -> None:
        """The node ends it."""
        if not self._over:
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, why)

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """See `SSHTransportBase`: what was heard and not looked at yet is not looked at any more."""
        if self._over:
            return
        house = self.factory.house
        self._over, self.buf = True, b""
        self.due_s = house.deadlines.now_s + house.limits.linger_s
        self.transport.unregisterProducer()  # it would be waited for
        super().sendDisconnect(reason, desc)

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """See `SSHTransportBase`: the client says goodbye."""
        self._over, self.buf = True, b""

    def connectionLost(self, reason: Failure | None = connectionDone) -> None:
        """See `twisted.internet.protocol.Protocol`."""
        house = self.factory.house
        self._over = True
        house.deadlines.forget(self)
        self.factory.transports.discard(self)
        self.factory.strangers.discard(self)
        if self._wait is not None and self._wait.active():
            self._wait.cancel()
        if self.login is None and self._exchanges:
            self._wrong()
        house.sources.leave(self.source[0])
        service: Any = self.service
        if service is not None:
            service.serviceStopped()

    # ------------------------------------------------------------------------------------------- back-pressure

    @property
    def congested(self) -> bool:
        """Whether the client does not read, or keys are exchanged anew, so that what is said has to wait."""
        return self._is_full or self._keyExchangeState != self._KEY_EXCHANGE_NONE

    def sendKexInit(self) -> None:
        """See `SSHTransportBase`: what sessions say is not piled up for as long as the client takes its time."""
        super().sendKexInit()
        self._flow()

    def _newKeys(self) -> None:
        super()._newKeys()
        self._flow()

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._is_full = True
        self._flow()

    def resumeProducing(self) -> None:
        """It does again."""
        self._is_full = False
        self._flow()

    def stopProducing(self) -> None:
        """`connectionLost` follows."""

    def _flow(self) -> None:
        if isinstance(self.service, Connection):
            self.service.flow()
