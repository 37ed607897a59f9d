"""Probes: threads that ask every node over and over, by HTTP, DNS and API, and note when they heard what."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import dns.exception
import dns.message
import dns.query
import dns.rcode

from hybrid.lab.client import Api, ApiError
from hybrid.lab.measures import Answered, Happened, Resolved, Sighting
from hybrid.lab.visitor import PATIENCE_S, Unanswered, visit

_END = 2**62 - 1
"""Larger than the number of any event: only the newest number is told."""


class Probe:
    """
    Calls `ask` again and again in a thread of its own, until `stop`.

    Args:
        ask: Notes what it hears; must not raise.
        every_s: Pause between two calls.
    """

    def __init__(self, ask: Callable[[], None], every_s: float) -> None:
        self._ask, self._every_s = ask, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._ask()

    def stop(self) -> None:
        """No more calls are begun; one under way ends by itself."""
        self._stop.set()


@contextmanager
def probing(probes: Sequence[Probe]) -> Iterator[None]:
    """Probes that run while the block does."""
    with ExitStack() as stack:
        for probe in probes:
            stack.callback(probe.stop)
            probe.start()
        yield


class HttpProbe(Probe):
    """Asks one node for a page of a site, and waits `patience_s` for it. `heard` is oldest first."""

    def __init__(
        self, address: str, host: str, path: str = "/health", every_s: float = 0.2, patience_s: float = PATIENCE_S
    ) -> None:
        super().__init__(self._visit, every_s)
        self._target, self._patience_s = (address, host, path), patience_s
        self.heard: list[Answered] = []

    def _visit(self) -> None:
        begin_s, why = time.monotonic(), ""
        try:
            visit(*self._target, patience_s=self._patience_s)
        except Unanswered as error:
            why = str(error)
        self.heard.append(Answered(begin_s, time.monotonic(), not why, why))


class DnsProbe(Probe):
    """Asks one node's DNS server for the addresses of a name. `heard` is oldest first."""

    def __init__(self, address: str, host: str, every_s: float = 0.25) -> None:
        super().__init__(self._resolve, every_s)
        self._address, self._host = address, host
        self.heard: list[Resolved] = []

    def _resolve(self) -> None:
        self.heard.append(Resolved(time.monotonic(), resolve(self._address, self._host)))


def resolve(address: str, host: str) -> tuple[str, ...] | None:
    """The addresses of `host`, in order, as the server at `address` says; `None` when it does not."""
    try:
        reply = dns.query.udp(dns.message.make_query(host, "A"), address, timeout=1)
    except (OSError, dns.exception.DNSException):
        return None
    if reply.rcode() != dns.rcode.NOERROR:
        return None
    return tuple(str(record) for rrset in reply.answer for record in rrset)


class PeerProbe(Probe):
    """Asks a peer of the owner which snapshot of a site is the newest it holds itself. `heard` is oldest first."""

    def __init__(self, api: Api, node: str, site: str, every_s: float = 0.25) -> None:
        super().__init__(self._look, every_s)
        self._api, self._node, self._site = api, node, site
        self.heard: list[Sighting] = []

    def _look(self) -> None:
        try:
            answer = self._api.call("GET", f"/sites/{self._site}/snapshots?limit=1", deadline_s=5.0)
        except ApiError:
            return
        if answer["from_node"] == self._node and answer["items"]:
            taken_s = datetime.datetime.fromisoformat(answer["items"][0]["created_at"]).timestamp()
            self.heard.append(Sighting(time.time(), taken_s))


class EventProbe(Probe):
    """Reads one node's log of events from now on, as long as the node answers. `heard` is oldest first."""

    def __init__(self, api: Api, node: str, every_s: float = 0.5) -> None:
        super().__init__(self._read, every_s)
        self._api, self._node = api, node
        self._since: int | None = None
        self.heard: list[Happened] = []

    def _read(self) -> None:
        since = _END if self._since is None else self._since
        try:
            answer = self._api.call("GET", f"/events?since={since}", deadline_s=3.0)
        except ApiError:
            return
        self._since = int(answer["newest"])
        for event in answer["items"]:
            at_s = datetime.datetime.fromisoformat(event["at"]).timestamp()
            self.heard.append(Happened(at_s, self._node, event["kind"], event["text"]))
