"""The client's side of an exchange, as the exchange sees it. An interface."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from hybrid_proxy.head import RequestHead
from hybrid_proxy.pages import Page
from hybrid_proxy.relay import IStream, Splice
from hybrid_proxy.route import Destination, Route
from hybrid_proxy.upstream import Upstream


class Client(Protocol):
    """To an upstream's transport it is the producer of the request's body."""

    transport: IStream

    def route(self, head: RequestHead) -> Route | Page:
        """Where the request goes now, or what it is answered."""

    def open(self, destination: Destination) -> Deferred[Upstream]:
        """A new connection there on this client's behalf."""

    def due_in(self, seconds: float) -> None:
        """Call the exchange's `overdue` unless told otherwise before."""

    def take_body(self) -> None:
        """Read the request's body, at the pace a client must keep."""

    def pauseProducing(self) -> None:
        """Read no more for now."""

    def resumeProducing(self) -> None:
        """Read on."""

    def answer(self, page: Page) -> None:
        """Send an answer of our own; the exchange is over."""

    def ended(self, keep_alive: bool) -> None:
        """The response is complete."""

    def cut(self) -> None:
        """The response cannot be completed: let the client see that."""

    def tunnel(self, splice: Splice) -> None:
        """From now on all that comes is for `splice`."""
