"""The head of a stream is read and compared before anything else sees a byte of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.model import NO_CLAIM, Guid, Snapshot
from hybrid.storage.begin import Begin, pack
from hybrid.wire import Offer
from hybrid_replicator.header import SIZE, BadStream, check, read

TO, FROM = Guid(16892213233518478086), Guid(77)
OFFER = Offer(dataset="sites/s-1", claim=NO_CLAIM, base=FROM, to=Snapshot(TO, "hyb-000001-a-0000001", 0))
GOOD = Begin(TO, FROM, "pool/hybrid/sites/s-1@hyb-000001-a-0000001", 9, features=1 << 2)


@pytest.mark.parametrize("order", "<>")
def test_a_record_of_either_byte_order_is_read(order: str) -> None:
    """Servers of both byte orders understand each other's streams."""
    assert len(pack(GOOD, order)) == SIZE
    assert read(pack(GOOD, order) + b"more") == GOOD
    check(GOOD, OFFER)


def test_a_full_stream_is_one_that_starts_at_nothing() -> None:
    """`base=None` in the offer wants `fromguid` 0 in the stream."""
    whole = Offer(dataset="images/x", claim=NO_CLAIM, base=None, to=OFFER.to)
    check(replace(GOOD, from_guid=None), whole)
    with pytest.raises(BadStream, match="starts at 77"):
        check(GOOD, whole)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"header_type": 2}, "compound"),
        ({"header_type": 3}, "unknown type"),
        ({"objset_type": 3}, "not of a file system"),
        ({"features": 1}, "deduplicated"),
        ({"features": 1 << 15}, "feature 15"),
        ({"features": 1 << 21}, "redacted"),
        ({"flags": 1 << 9}, "flags"),
        ({"payload_bytes": 65537}, "65537 bytes"),
        ({"to_guid": 5}, "announced"),
        ({"from_guid": 5}, "announced"),
        ({"from_guid": None}, "nothing"),
    ],
)
def test_what_was_not_announced_is_refused_with_the_reason(change: dict[str, int | None], says: str) -> None:
    """A stream that carries properties, another file system or another snapshot never reaches the pool."""
    with pytest.raises(BadStream, match=says):
        check(read(pack(replace(GOOD, **change))), OFFER)  # type: ignore[arg-type]  # its numbers only


def test_what_is_no_stream_is_refused() -> None:
    """Short, foreign or other records are told apart from a stream."""
    with pytest.raises(BadStream, match="ended after 3 bytes"):
        read(b"abc")
    with pytest.raises(BadStream, match="magic"):
        read(bytes(SIZE))
    with pytest.raises(BadStream, match="type 5"):
        read(b"\5" + pack(GOOD)[1:])


@given(st.binary(max_size=400))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    """Garbage is refused, never a crash."""
    try:
        read(data)
    except BadStream:
        return
    raise AssertionError("random bytes were taken for a stream")
