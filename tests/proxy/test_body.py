"""Where bodies end: however they are cut on the way, and nowhere else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_proxy.body import LAST_CHUNK, BadBody, BodyReader, ChunkedReader, EndReader, LengthReader, chunk

PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def fed(reader: BodyReader, data: bytes, cuts: list[int]) -> bytes:
    """What `reader` makes of `data` cut at `cuts`; what comes after its end is in `rest`."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    body, rest = b"", b""
    for start, end in itertools.pairwise(edges):
        if reader.done:
            rest += data[start:end]
        else:
            body += reader.feed(data[start:end])
            rest += reader.rest if reader.done else b""
    reader.rest = rest
    return body


@given(PIECES, st.binary(max_size=10), st.lists(st.integers(0, 1000), max_size=20))
def test_chunks_come_through_whole(pieces: list[bytes], after: bytes, cuts: list[int]) -> None:
    """A chunked body arrives as it was sent, and what follows it is left for the next request."""
    reader = ChunkedReader()
    data = b"".join(map(chunk, pieces)) + LAST_CHUNK + after
    assert fed(reader, data, cuts) == b"".join(pieces)
    assert (reader.done, reader.rest) == (True, after)


@given(st.binary(max_size=50), st.binary(max_size=10), st.lists(st.integers(0, 1000), max_size=20))
def test_a_length_is_kept_to(body: bytes, after: bytes, cuts: list[int]) -> None:
    """A body of known length is neither longer nor shorter."""
    reader = LengthReader(len(body))
    assert fed(reader, body + after, cuts) == body
    assert (reader.done, reader.rest) == (True, after)


def test_extensions_and_trailers_are_dropped() -> None:
    """What old programs put around chunks harms nobody and is not passed on."""
    reader = ChunkedReader()
    assert reader.feed(b'3;a=b;c="d"\r\nabc\r\n0;x\r\nTrailer: yes\r\nX: y\r\n\r\nrest') == b"abc"
    assert reader.done and reader.rest == b"rest"


def test_many_tiny_chunks_with_long_extensions_are_refused() -> None:
    """Nobody can make the platform read a hundred times what it passes on."""
    reader = ChunkedReader()
    with pytest.raises(BadBody):
        for _ in range(100):
            reader.feed(b"1;" + b"x" * 400 + b"\r\na\r\n")


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=5))
def test_garbage_never_upsets_the_reader(data: bytes, cuts: list[int]) -> None:
    """Any bytes are a body, an incomplete one, or refused."""
    reader = ChunkedReader()
    try:
        fed(reader, data, cuts)
    except BadBody:
        pass


@pytest.mark.parametrize(
    "data", [b"x", b"4 4\r\n", b"0x1\r\n", b"\r\n", b"4\n", b"4\r4", b"1\r\naXX", b"fffffffffffffffff\r\n"]
)
def test_broken_chunks_are_refused_at_once(data: bytes) -> None:
    """Framing that cannot be right is refused without waiting for more."""
    with pytest.raises(BadBody):
        ChunkedReader().feed(data)


def test_until_the_end() -> None:
    """A body without any framing is all there is."""
    reader = EndReader()
    assert reader.feed(b"abc") == b"abc" and not reader.done
