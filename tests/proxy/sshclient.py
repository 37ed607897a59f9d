"""A client of SSH in memory: Conch's, with keys, on a wire to a door without sockets."""

from __future__ import annotations

import struct
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger, LogPublisher

from hybrid_proxy.ssh.door import HOST_KEY, SshFactory
from tests.proxy.conftest import SESSIONS, Wire, World, plug

_quiet = Logger(observer=LogPublisher())


def key_of(number: int) -> Key:
    """One of many keys, always the same for a number."""
    return Key(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def line_of(key: Key, comment: str = "ann@work") -> str:
    """The line of its public file."""
    return f"{key.public().toString('OPENSSH').decode()} {comment}"


def door_of(world: World, sessions: str = SESSIONS) -> SshFactory:
    """A door of `world` that shows key 99."""
    door = SshFactory(world.house, world.connect, world.clock, sessions)
    door.follow_secrets({HOST_KEY: key_of(99).toString("OPENSSH").decode()})
    return door


class Auth(SSHService):
    """Offers keys one after the other, as ssh-agent does, without asking first whether one would do."""

    name = b"ssh-userauth"
    protocolMessages = {51: "MSG_FAILURE", 52: "MSG_SUCCESS", 60: "MSG_KEY_IS_GOOD"}  # noqa: N815, RUF012
    _log = _quiet

    def __init__(self, client: Client) -> None:
        self._client = client

    def serviceStarted(self) -> None:  # noqa: N802 (Conch's)
        """See `SSHService`."""
        self.next()

    def next(self) -> None:
        """Offer the next key, if there is one."""
        client = self._client
        if client.offered < len(client.keys):
            key = client.keys[client.offered]
            client.offered += 1
            self.offer(key)

    def offer(self, key: Key, service: bytes = b"ssh-connection", user: bytes = b"") -> None:
        """Log in by `key`."""
        client = self._client
        user = user or client.user
        blob = key.public().blob()
        asked = NS(user) + NS(service) + NS(b"publickey") + b"\1" + NS(b"ssh-ed25519") + NS(blob)
        assert self.transport is not None and self.transport.sessionID is not None
        signature = key.sign(NS(self.transport.sessionID) + b"\x32" + asked)
        self.transport.sendPacket(50, asked + NS(signature))

    def ssh_FAILURE(self, packet: bytes) -> None:  # noqa: N802 (Conch's)
        """That key was none."""
        self._client.refused.append(packet)
        self.next()

    def ssh_KEY_IS_GOOD(self, packet: bytes) -> None:  # noqa: N802 (Conch's)
        """Asked whether one would do: it would."""
        self._client.good.append(packet)

    def ssh_SUCCESS(self, packet: bytes) -> None:  # noqa: N802 (Conch's)
        """In."""
        client = self._client
        client.connection = SSHConnection()
        client.connection._log = _quiet
        client.setService(client.connection)


class Client(SSHClientTransport):
    """See the module. What the door says of its own is in `disconnected`."""

    _log = _quiet

    def __init__(self, user: bytes, keys: tuple[Key, ...]) -> None:
        self.user, self.keys, self.offered = user, keys, 0
        self.refused: list[bytes] = []
        self.good: list[bytes] = []
        self.connection: SSHConnection | None = None
        self.disconnected = b""
        self.auth = Auth(self)

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[bool]:  # noqa: N802, N803 (Conch's)
        """See `SSHClientTransport`."""
        assert hostKey == key_of(99).public().blob()
        return succeed(True)

    def connectionSecure(self) -> None:  # noqa: N802 (Conch's)
        """See `SSHClientTransport`: said after each exchange of keys."""
        if self.connection is None:
            self.requestService(self.auth)

    def receiveError(self, reasonCode: int, description: bytes) -> None:  # noqa: N802, N803 (Conch's)
        """See `SSHTransportBase`."""
        self.disconnected = description


class Channel(SSHChannel):
    """A session of the client; `said`, `errors`: what came; `ended`: requests of the door, by name."""

    name = b"session"
    _log = _quiet

    def __init__(self, window: int = 0) -> None:
        super().__init__(window)
        self.said, self.errors = b"", b""
        self.ended: dict[bytes, bytes] = {}
        self.is_open = self.is_closed = False
        self.failure: Any = None

    def channelOpen(self, specificData: bytes) -> None:  # noqa: N802, N803 (Conch's)
        """See `SSHChannel`."""
        self.is_open = True

    def openFailed(self, reason: Any) -> None:  # noqa: N802 (Conch's)
        """See `SSHChannel`."""
        self.failure = reason

    def dataReceived(self, data: bytes) -> None:
        """See `SSHChannel`."""
        self.said += data

    def extReceived(self, dataType: int, data: bytes) -> None:  # noqa: N802, N803 (Conch's)
        """See `SSHChannel`."""
        self.errors += data

    def requestReceived(self, requestType: bytes, data: bytes) -> bool:  # noqa: N802, N803 (Conch's)
        """See `SSHChannel`."""
        self.ended[requestType] = data
        return True

    def closed(self) -> None:
        """See `SSHChannel`."""
        self.is_closed = True

    @property
    def status(self) -> int:
        """Its exit status."""
        return cast(int, struct.unpack("!I", self.ended[b"exit-status"])[0])

    @property
    def signal(self) -> bytes:
        """The signal that ended it."""
        return getNS(self.ended[b"exit-signal"])[0]


class Pair:
    """A client and its door's end."""

    def __init__(
        self, world: World, door: SshFactory, user: bytes = b"x", keys: tuple[Key, ...] = (key_of(1),)
    ) -> None:
        self._clock = world.clock
        self.client = Client(user, keys)
        self.door_end: Wire = world.plug(door)
        self.client_end: Wire = plug(self.client)
        self.pump()

    def pump(self) -> None:
        """Pass on what both said, until nobody says anything any more."""
        while True:
            self._clock.advance(0)
            there, back = self.client_end.taken(), self.door_end.taken()
            if not there and not back:
                return
            if there and not self.door_end.closed:
                self.door_end.send(there)
            if back and not self.client_end.closed:
                self.client_end.send(back)

    def open(self, channel: Channel | None = None, data: bytes = b"") -> Channel:
        """Open a session."""
        channel = channel or Channel()
        assert self.client.connection is not None
        self.client.connection.openChannel(channel, data)
        self.pump()
        return channel

    def ask(self, channel: Channel, request: bytes, data: bytes = b"") -> bool:
        """Ask for something; whether it was granted."""
        assert self.client.connection is not None
        granted: list[bool] = []
        asked = self.client.connection.sendRequest(channel, request, data, wantReply=1)
        asked.addCallbacks(lambda _: granted.append(True), lambda _: granted.append(False))
        self.pump()
        return granted == [True]
