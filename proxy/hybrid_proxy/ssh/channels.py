"""
Channels of an SSH connection (RFC 4254): sessions, and nothing else. No forwarding of ports, agents or displays. Shell.

What a client sends is kept within its window, which is opened again only as fast as the session takes it; what the
session says stops coming while the client's window is closed or its connection full.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.conch.error import ConchError
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import (
    EXTENDED_DATA_STDERR,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_UNKNOWN_CHANNEL_TYPE,
    SSHConnection,
)
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger, LogPublisher

from hybrid import sessions
from hybrid.sessions import Kind, Size
from hybrid_proxy.ssh.userauth import Login

if TYPE_CHECKING:
    from hybrid_proxy.ssh.transport import SshTransport

CHANNELS = 10
WINDOW = 1024 * 1024
PACKET = 32 * 1024
SMALLEST_PACKET = 256
VARIABLES = 32
LONGEST_COMMAND = 32 * 1024
FAILED = 255
"""Exit status of a session that did not end by itself, as that of `ssh` when a connection fails."""
_RESOURCE_SHORTAGE = 4
_quiet = Logger(observer=LogPublisher())


class Connection(SSHConnection):
    """The channels of one client."""

    _log = _quiet
    transport: SshTransport

    def __init__(self, transport: SshTransport, login: Login) -> None:
        super().__init__()
        self.login, self.source = login, transport.source
        self.begin = transport.factory.begin

    def later(self, deed: Callable[[], None]) -> None:
        """Do it when what is under way is done."""
        self.transport.factory.clock.callLater(0, deed)

    def getChannel(self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes) -> SSHChannel:
        """See `SSHConnection`. Raises `ConchError`."""
        if channelType in (b"direct-tcpip", b"direct-streamlocal@openssh.com"):
            raise ConchError("ports are not forwarded here", OPEN_ADMINISTRATIVELY_PROHIBITED)
        if channelType != b"session":
            raise ConchError("there are only sessions", OPEN_UNKNOWN_CHANNEL_TYPE)
        if len(self.channels) >= CHANNELS or maxPacket < SMALLEST_PACKET:
            raise ConchError("too many sessions on one connection", _RESOURCE_SHORTAGE)
        return SessionChannel(self, windowSize, min(maxPacket, PACKET))

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """See `SSHConnection`: none is granted; that is an answer too, for who asks only whether anybody is there."""
        return 0

    def adjustWindow(self, channel: SSHChannel, bytesToAdd: int) -> None:
        """See `SSHConnection`: not while the session does not take what it has."""
        if not (isinstance(channel, SessionChannel) and channel.is_full):
            super().adjustWindow(channel, bytesToAdd)

    def flow(self) -> None:
        """The client's connection is full, or is no longer."""
        for channel in list(self.channels.values()):
            channel.flow()


class SessionChannel(SSHChannel):
    """A session: what is asked for it, then its bytes both ways."""

    name = b"session"
    _log = _quiet
    conn: Connection

    def __init__(self, connection: Connection, window: int, packet: int) -> None:
        super().__init__(WINDOW, PACKET, window, packet, connection)
        self.is_full = True
        """The session takes no more for now, or is not there yet."""
        self._session: Any = None
        self._producer: IPushProducer | None = None
        self._environment: dict[str, str] = {}
        self._terminal = ""
        self._size = Size()
        self._last: bytes | None = None
        """How it ended, to be told when all it said has been sent."""

    # -------------------------------------------------------------------------------------------- what is asked for

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:
        """See `SSHChannel`."""
        asked = _REQUESTS.get(requestType)
        return asked(self, data) if asked is not None else False

    def _pty(self, data: bytes) -> bool:
        term, rest = getNS(data)
        self._terminal = "".join(c for c in term.decode("ascii", "replace") if c.isprintable())[:64] or "dumb"
        self._size = Size(*struct.unpack("!4I", rest[:16]))
        return self._session is None

    def _resized(self, data: bytes) -> bool:
        self._size = Size(*struct.unpack("!4I", data[:16]))
        return self._tell(sessions.WINDOW, self._size.packed())

    def _env(self, data: bytes) -> bool:
        """Languages only: anything else could change what is run."""
        name, value, _ = getNS(data, 2)
        taken = name == b"LANG" or name.startswith(b"LC_")
        if not taken or len(name) + len(value) > 256 or len(self._environment) >= VARIABLES:
            return False
        if not (name.replace(b"_", b"").isalnum() and value.isascii() and value.decode().isprintable()):
            return False
        self._environment[name.decode()] = value.decode()
        return True

    def _signal(self, data: bytes) -> bool:
        return self._tell(sessions.SIGNAL, getNS(data)[0][:16])

    def _shell(self, data: bytes) -> bool:
        return self._begin("shell")

    def _exec(self, data: bytes) -> bool:
        command = getNS(data)[0]
        if len(command) > LONGEST_COMMAND or b"\0" in command:
            return False
        return self._begin("command", command.decode("utf-8", "surrogateescape"))

    def _subsystem(self, data: bytes) -> bool:
        return getNS(data)[0] == b"sftp" and self._begin("files")

    def _begin(self, kind: Kind, command: str = "") -> bool:
        if self._session is not None:
            return False
        terminal = "" if kind == "files" else self._terminal
        self._session = self.conn.begin(
            self, self.conn.login, self.conn.source, kind, command, terminal, self._size, self._environment
        )
        self.conn.later(self._find)  # the answer to this request comes before all that may be said
        return True

    def _find(self) -> None:
        if self._session is not None:
            self._session.connectionMade()

    # ------------------------------------------------------------------------------------------- to the session

    def _tell(self, kind: bytes, body: bytes) -> bool:
        if self._session is None:
            return False
        self._session.tell(kind, body)
        return True

    def dataReceived(self, data: bytes) -> None:
        """See `SSHChannel`."""
        self._tell(sessions.INPUT, data)

    def eofReceived(self) -> None:
        """See `SSHChannel`."""
        self._tell(sessions.END, b"")

    def take_input(self, is_full: bool) -> None:
        """Whether the session takes no more for now."""
        was_full, self.is_full = self.is_full, is_full
        owed = self.localWindowSize - self.localWindowLeft
        if was_full and not is_full and owed > self.localWindowSize // 2:
            self.conn.adjustWindow(self, owed)

    # ------------------------------------------------------------------------------------------- from the session

    def say(self, data: bytes, is_error: bool = False) -> None:
        """The session said this."""
        if self.localClosed or self._last is not None:
            return
        if is_error:
            self.writeExtended(EXTENDED_DATA_STDERR, data)
        else:
            self.write(data)

    def tell_user(self, text: str) -> None:
        """Words of our own: on standard error."""
        self.say(f"{text}\r\n".encode(), is_error=True)

    def end(self, request: bytes, data: bytes) -> None:
        """The session is over, as `request` (`exit-status`, `exit-signal`) says. Only the first time counts."""
        if self._last is None:
            self._last = NS(request) + data
            self._finish()

    def _finish(self) -> None:
        if self._last is None or self.buf or self.extBuf or self.localClosed:
            return
        request, data = getNS(self._last)
        self.conn.sendRequest(self, request, data)
        self.conn.sendEOF(self)
        self.loseConnection()

    def addWindowBytes(self, data: int) -> None:
        """See `SSHChannel`."""
        super().addWindowBytes(data)
        self.flow()
        self._finish()

    def closed(self) -> None:
        """See `SSHChannel`: the client has closed it, or is gone."""
        session, self._session = self._session, None
        self._last = self._last or b""
        if session is not None:
            session.client_gone()

    def openFailed(self, reason: object) -> None:
        """See `SSHChannel`: never opened from here."""

    # ---------------------------------------------------------------------------------------------- back-pressure

    def feed_from(self, producer: IPushProducer | None) -> None:
        """Who makes what is said here."""
        self._producer = producer
        self.flow()

    def stopWriting(self) -> None:
        """See `SSHChannel`."""
        self.flow()

    def flow(self) -> None:
        """Let the session say more, or not."""
        producer = self._producer
        if producer is None:
            return
        if self.conn.transport.congested or self.buf or self.extBuf or not self.areWriting:
            producer.pauseProducing()
        else:
            producer.resumeProducing()


_REQUESTS: dict[bytes, Any] = {
    b"pty-req": SessionChannel._pty,
    b"window-change": SessionChannel._resized,
    b"env": SessionChannel._env,
    b"signal": SessionChannel._signal,
    b"shell": SessionChannel._shell,
    b"exec": SessionChannel._exec,
    b"subsystem": SessionChannel._subsystem,
}
"""Everything else is refused."""
