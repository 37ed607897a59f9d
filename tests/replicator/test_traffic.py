"""Streams on their way: paced, told of, and cut at once when need be."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.deeds import TransferSeen
from hybrid.errors import PeerError
from hybrid.model import NodeId
from hybrid.settings import RateLimit, Replication, Settings
from hybrid.traffic import goes_squeezed
from hybrid.view import NodeView, View
from hybrid_replicator.pace import FEW, Paces, Strain
from hybrid_replicator.traffic import LARGE_BYTES, LONGEST_S, REST_EVERY_S, Gentle, Traffic
from tests.replicator.conftest import Run

A = NodeId("n-a")
PIECE = 250_000


class Source:
    """So many pieces."""

    def __init__(self, pieces: int) -> None:
        self.left, self.aborted = pieces, False

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if self.aborted:
            raise PeerError("it was aborted")
        self.left -= 1
        return bytes(PIECE) if self.left >= 0 else b""

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`."""
        self.aborted = True


class Probe:
    """Writes take as long as the test says."""

    def __init__(self) -> None:
        self.takes_s = [0.001] * FEW
        self.asked = 0

    async def writes_s(self) -> list[float]:
        """See `hybrid_replicator.ports.Probe`."""
        self.asked += 1
        return self.takes_s


def traffic_on(clock: Clock, *limits: RateLimit, strain: Strain | None = None) -> Traffic:
    """Of a node with these limits."""
    out, into = (Paces(way, limits, lambda node: (), lambda: 0) for way in ("send", "receive"))
    return Traffic(clock, out, into, strain or Strain())


def test_a_stream_takes_as_long_as_the_limit_says(clock: Clock, run: Run[float]) -> None:
    """A limited link is not overrun, and what is under way is told with its rate and the time left."""
    traffic = traffic_on(clock, RateLimit(bytes_per_s=1_000_000))
    told: list[TransferSeen] = []

    async def story() -> float:
        with traffic.transfer("send", "sites/s-1", A, 10_000_000) as transfer:
            source = traffic.paced(Source(40), transfer)
            while await source.read():
                told.extend(traffic.seen())
        return clock.seconds()

    assert run(story()) == pytest.approx(9.0)
    assert traffic.seen() == ()
    middle = told[20]
    assert (middle.way, middle.dataset, middle.node) == ("send", "sites/s-1", A)
    assert middle.bytes == 21 * PIECE
    assert middle.left_s == pytest.approx((10_000_000 - middle.bytes) / middle.bytes_per_s, rel=0.05)


def test_what_did_not_travel_takes_no_time_of_the_line(clock: Clock) -> None:
    """Compressed to a quarter, a stream is four times as fast over a limited line, and people see what was saved."""
    traffic = traffic_on(clock, RateLimit(bytes_per_s=1_000_000))
    with traffic.transfer("send", "sites/s-1", A, None) as transfer:
        waits = [traffic.wait_s(transfer, PIECE, PIECE * 3 // 4) for _ in range(40)]
        (seen,) = traffic.seen()
    assert max(waits) == pytest.approx(1.5)
    assert (seen.bytes, seen.saved_bytes) == (40 * PIECE, 30 * PIECE)


def test_lines_that_are_slow_are_named_by_place_or_node() -> None:
    """What goes to a data centre, to one server, or to all is compressed; what stays near is not."""
    settings = Settings(name="a", address="127.0.0.1")
    nodes = {
        NodeId(name): NodeView(
            id=NodeId(name), name=name, dc=dc, address="", cluster_port=1, interior_port=2, api_port=3, live=True
        )
        for name, dc in (("near", "paris"), ("far", "tokyo"), ("odd", "paris"))
    }
    view = View(me=A, serial=1, zones=(), nodes=nodes, sites={})

    def squeezed(*to: str) -> set[str]:
        wanted = replace(settings, replication=Replication(compress_to=to))
        return {node for node in nodes if goes_squeezed(wanted, view, node)}

    assert squeezed() == set()
    assert squeezed("tokyo", "odd") == {"far", "odd"}
    assert squeezed("*") == set(nodes)
    assert goes_squeezed(settings, view, NodeId("n-gone")) is False


def test_a_wait_ends_at_once_when_the_stream_is_cut(clock: Clock) -> None:
    """Who opens or closes a site does not wait for a slow link."""
    traffic = traffic_on(clock, RateLimit(bytes_per_s=65536))
    outcomes: list[object] = []

    async def story() -> None:
        with traffic.transfer("receive", "sites/s-1", A, None) as transfer:
            paced = traffic.paced(inner, transfer)
            sources.append(paced)
            while await paced.read():
                pass

    inner, sources = Source(100), []  # type: ignore[var-annotated]  # of what `paced` gives
    Deferred.fromCoroutine(story()).addBoth(lambda result: outcomes.append(result.value))
    clock.advance(1.0)
    assert outcomes == []
    Deferred.fromCoroutine(sources[0].abort())
    assert [type(outcome) for outcome in outcomes] == [PeerError]
    assert inner.aborted
    assert clock.getDelayedCalls() == []


def test_no_wait_is_so_long_that_it_looks_like_a_cut(clock: Clock) -> None:
    """Many streams on one slow link: each moves a piece often enough for both ends to know that it lives."""
    traffic = traffic_on(clock, RateLimit(bytes_per_s=65536))
    with traffic.transfer("send", "sites/s-1", A, None) as transfer:
        waits = [traffic.wait_s(transfer, PIECE) for _ in range(50)]
    assert max(waits) == LONGEST_S


def test_large_receives_yield_to_writes_and_small_ones_do_not_wait(clock: Clock, run: Run[bool]) -> None:
    """The pool is looked at each second while much comes in, rarely otherwise; small changes pass as they are."""
    strain, probe = Strain(), Probe()
    traffic = traffic_on(clock, strain=strain)
    gentle = Gentle(clock, traffic, strain, probe)

    async def story() -> bool:
        await gentle.look()
        await gentle.look()
        assert probe.asked == 1
        probe.takes_s = [0.050] * FEW
        with traffic.transfer("receive", "sites/s-1", A, None) as small:
            assert traffic.wait_s(small, PIECE) == 0.0
            with traffic.transfer("receive", "sites/s-2", A, None) as large:
                traffic.wait_s(large, LARGE_BYTES + 1)
                for _ in range(60):
                    await gentle.look()
                assert strain.bytes_per_s < 2e6
                assert traffic.wait_s(large, 8_000_000) > 1.0
                assert traffic.wait_s(small, PIECE) == 0.0
                probe.takes_s = []
                await gentle.look()
        asked = probe.asked
        clock.advance(REST_EVERY_S)
        await gentle.look()
        assert probe.asked == asked + 1
        return True

    assert run(story())
