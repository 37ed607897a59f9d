"""`hybrid.strict.ports.Guard`: the guardian process, over its Unix socket. Shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from hybrid.model import SiteId
from hybrid.strict.ports import GuardMissing

ANSWER_S = 2.0
Reactor = Any
"""`IReactorTime` and `IReactorUNIX`."""


class _Talk(LineOnlyReceiver):
    """One line out, one line in."""

    delimiter = b"\n"
    MAX_LENGTH = 4 * 1024 * 1024

    def __init__(self) -> None:
        self._answer: Deferred[bytes] | None = None

    def ask(self, line: bytes) -> Deferred[bytes]:
        """Send a line; fires with the next one that comes, or fails when the connection does."""
        self._answer = Deferred()
        self.sendLine(line)
        return self._answer

    def lineReceived(self, line: bytes) -> None:
        """See `LineOnlyReceiver`."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(line)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # as Twisted declares it
        """See `twisted.internet.interfaces.IProtocol`."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.errback(reason)


class GuardianLink:
    """See `hybrid.strict.ports.Guard`. One call at a time."""

    def __init__(self, reactor: Reactor, path: str, freezers: Callable[[SiteId], Sequence[str]]) -> None:
        """`freezers(site)`: the control groups that freeze its container, whether it runs or not."""
        self._reactor, self._freezers = reactor, freezers
        self._endpoint = UNIXClientEndpoint(reactor, path, timeout=ANSWER_S)
        self._talk: _Talk | None = None

    async def feed(self, deadlines: Mapping[SiteId, float]) -> None:
        """See `hybrid.strict.ports.Guard`."""
        groups = {group: at_s for site, at_s in deadlines.items() for group in self._freezers(site)}
        line = json.dumps({"deadlines": groups}).encode()
        try:
            if self._talk is None or not self._talk.connected:
                self._talk = await self._endpoint.connect(Factory.forProtocol(_Talk))
            asked = self._talk.ask(line)
            asked.addTimeout(ANSWER_S, self._reactor)
            await asked
        except Exception as error:  # whatever a connection can die of
            self.close()
            raise GuardMissing(
                "the guardian does not answer", str(error) or type(error).__name__, "see that `hybrid guardian` runs"
            ) from error

    def close(self) -> None:
        """Say no more. Deadlines stand."""
        talk, self._talk = self._talk, None
        if talk is not None and talk.transport is not None:
            talk.transport.loseConnection()
