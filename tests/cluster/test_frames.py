"""Frames and the hand-over behind them: whatever the pieces, what arrives is what was sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from hybrid.cluster.pipe import Pipe
from hybrid.errors import PeerError
from hybrid.frames import Frames, FrameTooLarge, frame, header

Run = Callable[[Coroutine[Deferred[Any], Any, Any]], Any]


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 40)))
def test_frames_do_not_depend_on_how_they_were_cut(bodies: list[bytes], sizes: list[int]) -> None:
    """TCP may cut anywhere: the frames that come out are those that went in."""
    sent, frames, found = b"".join(map(frame, bodies)), Frames(50), []
    for size in [*sizes, len(sent) + 1]:
        piece, sent = sent[:size], sent[size:]
        found += frames.feed(piece)
    assert found == bodies


def test_too_long_a_frame_is_refused_at_its_header() -> None:
    """A length out of bounds ends it before a byte of the frame has come."""
    frames = Frames(100)
    assert frames.feed(frame(b"x" * 100)) == [b"x" * 100]
    with pytest.raises(FrameTooLarge, match="101"):
        frames.feed(header(101))


class Pushed:
    """A pipe of ten bytes, and how often there was room again."""

    def __init__(self) -> None:
        self.room = 0
        self.pipe = Pipe(10, self._room)

    def _room(self) -> None:
        self.room += 1


def test_pipe_keeps_order_and_ends_for_good(run: Run) -> None:
    """What was pushed is read in order, then there is an end, and it stays."""
    pushed = Pushed()
    for part in (b"a", b"b"):
        pushed.pipe.push(part)
    pushed.pipe.end()
    pushed.pipe.push(b"too late")
    assert [run(pushed.pipe.read()) for _ in range(4)] == [b"a", b"b", b"", b""]


def test_full_pipe_says_so_and_calls_when_there_is_room(run: Run) -> None:
    """The pusher is told to stop at the bound, and to go on once below it."""
    pushed = Pushed()
    pushed.pipe.push(b"12345")
    assert not pushed.pipe.full
    pushed.pipe.push(b"67890")
    assert pushed.pipe.full
    run(pushed.pipe.read())
    assert pushed.room == 1 and not pushed.pipe.full
    run(pushed.pipe.read())
    assert pushed.room == 1


def test_waiting_reader_gets_what_comes() -> None:
    """A reader that came first waits for bytes, or for the cut."""
    pushed = Pushed()
    results: list[object] = []
    Deferred.fromCoroutine(pushed.pipe.read()).addBoth(results.append)
    assert results == []
    pushed.pipe.push(b"x")
    assert results == [b"x"]


def test_cut_pipe_raises_and_drops_what_was_not_read(run: Run) -> None:
    """A cut is an error at once and for ever, never an end."""
    pushed = Pushed()
    pushed.pipe.push(b"half")
    pushed.pipe.fail(PeerError("cut"))
    for _ in range(2):
        with pytest.raises(PeerError, match="cut"):
            run(pushed.pipe.read())
    assert not pushed.pipe.full


def test_connection_lost_after_the_end_is_no_cut(run: Run) -> None:
    """A complete stream stays complete when its connection closes before it was read."""
    pushed = Pushed()
    pushed.pipe.push(b"all")
    pushed.pipe.end()
    pushed.pipe.fail(PeerError("closed"))
    assert [run(pushed.pipe.read()) for _ in range(2)] == [b"all", b""]
