"""
The bulk of a stream leaves this process: a child (`hybrid.cluster.pump`) moves it past the reactor. Shell.

A large stream would keep the reactor busy with copying and encrypting, to the cost of all else on the node. So after
its first bytes each end lends its connection, between two records of its TLS session, to a child, which shakes hands
anew with the other node's child (the same certificates on both sides, and none but those of the first handshake) and
moves all that comes. Then the connection goes on where it was. How fast bytes may be moved is decided here; a child
that dies cuts its stream.
"""

from __future__ import annotations

import json
import socket
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.python.failure import Failure

from hybrid.cluster import squeezing
from hybrid.cluster.identity import Identity
from hybrid.cluster.keyfiles import key_pem
from hybrid.errors import PeerError
from hybrid.ports import Moved
from hybrid.storage.children import Child

BEGIN_AT = 4 * 1024 * 1024
"""What is shorter is over before a child could have begun."""
WINDOW = 16 * 1024 * 1024
"""So much may be moved before the reactor has to say a word."""
PIECE = 256 * 1024
"""The same where bytes have to wait: they come evenly."""
BLINK_S = 0.005
"""Who is told of what was moved may take so long without it being a wait."""

Way = Literal["send", "receive"]
_PROGRAM = str(Path(__file__).with_name("pump.py"))
_ARGV = ("setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-I", "-S", _PROGRAM)
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class Reactor(IReactorProcess, IReactorTime):
    """What pumps need of the reactor."""


class PipeBroken(Exception):
    """The pipe takes no more. Why, its other end knows."""


class Pumps:
    """
    Starts them for the streams of one node.

    Args:
        identity: Who this node is.
        begin_at: Bytes of a stream after which a pump is started.
        squeeze: Compress what is sent, where the other end takes that.
    """

    def __init__(self, reactor: Reactor, identity: Identity, begin_at: int = BEGIN_AT, squeeze: bool = False) -> None:
        self._reactor, self._identity, self.begin_at = reactor, identity, begin_at
        self.squeeze = squeeze and squeezing.library() is not None

    def start(self, way: Way, peer: x509.Certificate) -> Pump:
        """
        A pump for a stream to or from the node that showed `peer`.

        Raises:
            PeerError: It could not be started.
        """
        me = self._identity
        order = {
            "way": way,
            "identity": (key_pem(me.key) + b"".join(one.public_bytes(Encoding.PEM) for one in me.chain)).decode(),
            "root": b64encode(me.root.public_bytes(Encoding.DER)).decode(),
            "peer": b64encode(peer.public_bytes(Encoding.DER)).decode(),
            "library": squeezing.library() or "",
        }
        pump = Pump(self._reactor, order)
        pump.start(self._reactor)
        return pump


class Pump(Child):
    """One child, for one stream."""

    def __init__(self, reactor: IReactorTime, order: dict[str, str]) -> None:
        super().__init__(reactor, _ARGV)
        self.ready = False
        """Whether it would begin at once."""
        self._order = order
        self._orders, self._its_orders = socket.socketpair()
        self._orders.setblocking(False)
        self._unread = b""
        self._moved, self._saved = 0, 0
        self._last: bytes | None = None
        self._shaken: Callable[[], None] = _nothing
        self._news: Deferred[None] = Deferred()

    def start(self, reactor: IReactorProcess) -> None:
        """Raises `PeerError`."""
        descriptors: dict[int, int | str] = {0: self._its_orders.fileno(), 1: "r", 2: "r"}
        try:
            reactor.spawnProcess(self, _ARGV[0], _ARGV, _ENVIRONMENT, childFDs=descriptors)
        except OSError as error:
            self._orders.close()
            raise PeerError("a stream was cut", f"its pump could not be started: {error}") from error
        finally:
            self._its_orders.close()

    async def run(
        self,
        connection: int,
        pipe: int,
        moved: Moved,
        held: bytes = b"",
        shaken: Callable[[], None] | None = None,
        squeeze: bool = False,
    ) -> bytes:
        """
        Move everything. Both descriptors stay the caller's, who leaves them alone meanwhile.

        Args:
            moved: Told of what was moved; what comes next waits for it.
            held: To be moved before all else, when receiving; as much is kept back of the end.
            shaken: Called when nothing more is read from the connection, when sending.
            squeeze: Compress it, when sending.

        Returns:
            What was kept back.

        Raises:
            PeerError: The stream was cut, or the other end is not who it was.
            PipeBroken: The pipe takes no more.
        """
        self._shaken = shaken or _nothing
        order = {**self._order, "held": b64encode(held).decode(), "squeeze": squeeze}
        self._say(json.dumps(order), [connection, pipe])
        self._say(str(WINDOW))
        told = told_saved = 0
        while self._last is None or told < self._moved:
            if told < self._moved:
                began_s, total, saved = self._reactor.seconds(), self._moved, self._saved
                await moved(total - told, saved - told_saved)
                told, told_saved = total, saved
                waited = self._reactor.seconds() - began_s > BLINK_S
                self._say(str(told + (PIECE if waited else WINDOW)))
            elif self.ended is not None:
                raise PeerError("a stream was cut", f"its pump ended: {self.ended.stderr.strip() or self.ended.status}")
            else:
                self._news = Deferred()
                await self._news
        if self._last == b"broken":
            raise PipeBroken
        return b64decode(self._last.partition(b" ")[2])

    def outReceived(self, data: bytes) -> None:
        """Lines; see `hybrid.cluster.pump`."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if line[:1].isdigit():
                self._moved, self._saved = map(int, line.split())
            elif line == b"ready":
                self.ready = True
            elif line == b"shaken":
                self._shaken()
            else:
                self._last = line
        self._wake()

    def processEnded(self, reason: Failure) -> None:
        """Reaped."""
        super().processEnded(reason)
        self._orders.close()
        self._wake()

    def _say(self, line: str, descriptors: list[int] | None = None) -> None:
        """What is said is little, and answered before more is: there is always room."""
        try:
            socket.send_fds(self._orders, [line.encode() + b"\n"], descriptors or [])
        except OSError:
            self.signal("KILL")  # it is gone, or does not listen

    def _wake(self) -> None:
        if not self._news.called:
            self._news.callback(None)


def _nothing() -> None:
    """Nobody has to know."""
