"""What other nodes may send, byte by byte."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid import canonical, wire

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.binary(max_size=300)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=9), inner, max_size=20)
)


@given(values)
def test_what_our_encoder_writes_passes(value: object) -> None:
    """Nothing that a node says is ever taken for bad input, whatever a newer release adds to it."""
    canonical.check(msgspec.msgpack.encode(value))


@given(st.binary(max_size=60))
def test_garbage_is_a_value_error(data: bytes) -> None:
    """Whatever arrives, the answer is yes or `ValueError`; yes only for what decodes."""
    try:
        canonical.check(data)
    except ValueError:
        return
    msgspec.msgpack.decode(data)


BAD = {
    "a float that is no number": b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "an infinite float": b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00",
    "a float of four bytes": b"\xca\x00\x00\x00\x00",
    "a number longer than it must be": b"\xcf\x00\x00\x00\x00\x00\x00\x00\x05",
    "a small number in a byte of its own": b"\xcc\x7f",
    "a negative number longer than it must be": b"\xd1\xff\xff",
    "a string that is not UTF-8": b"\xa2\xc3\x28",
    "a map that says more than it has": b"\xdf\x7f\xff\xff\xff",
    "an array that says more than it has": b"\xdd\x00\x00\x00\x09" + b"\xc0" * 8,
    "33 arrays": b"\x91" * 33 + b"\xc0",
    "100,000 arrays": b"\x91" * 100_000 + b"\xc0",
    "an extension": b"\xd4\x01\x00",
    "the byte that is never used": b"\xc1",
    "a second value": b"\xc0\xc0",
    "half a string": b"\xa5abc",
    "nothing": b"",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_no_encoder_of_ours_writes(data: bytes) -> None:
    """Each of them is refused; none takes time or memory beyond its own length."""
    with pytest.raises(ValueError):
        canonical.check(data)


def test_thirty_two_arrays_are_few_enough() -> None:
    """The bound is where it says."""
    canonical.check(b"\x91" * 32 + b"\xc0")


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_bad_input_in_a_field_that_nobody_knows(data: bytes) -> None:
    """What the decoder would skip unread is refused too; a sound one of a newer release is not."""
    sound = b"\x92\x07\x82\xa4type\xa4Ping\xa3new"
    assert wire.unpack(sound + b"\x93\x01\x02\x03") == (7, wire.Ping())
    with pytest.raises(ValueError):
        wire.unpack(sound + data)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_are_no_numbers(number: float) -> None:
    """They would make comparisons lie wherever they got in."""
    with pytest.raises(ValueError):
        wire.unpack(wire.pack(1, wire.HistoryHeld(None))[:-1] + msgspec.msgpack.encode(number))
    with pytest.raises(ValueError, match="no number"):
        wire.unpack(b"\x92\x01\x82\xa4type\xa4Done\xa1x" + msgspec.msgpack.encode(number))


def test_messages_of_megabytes_are_not_looked_at_twice() -> None:
    """Uploads that happen to contain the bytes of a strange float pass as they are."""
    call = wire.ApiCall(method="PUT", path="/", body=b"\xcb\x7f\xf8" * 1_000_000)
    assert wire.unpack(wire.pack(3, call)) == (3, call)
