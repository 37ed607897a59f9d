"""What OpenZFS says of an interrupted receive is read, and nothing else is taken for it."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.model import Guid
from hybrid.ports import Partial
from hybrid.storage.features import COMPRESSED, RAW
from hybrid.storage.token import NoToken, parse

INCREMENT = (
    "1-fd3f3ea61-130-789c636064000310a501c49c50360710a715e5e7a69766a6304081e4c3753e7696b1cd0a40363b92bafca4acd4e412081f0"
    "430e4d3d28a534b18e00024cf86249f5459925acc802a8facbf241fe28aaa90ef315b8e16ea3920c97382e5f312735319188a528b4b7353816695"
    "e8a7e62517e9266764e6a43894679664e826eaa665e6a42299cfcd80f077727e6e01506f717e36444c02ea3e987c5162394c8a010013de2bc9"
)
WHOLE = (
    "1-eb46e146b-d0-789c636064000310a500c4ec50360710e72765a5269730307441d560c8a7a515a7968064d6b1c0e4d990e4932a4b528b81740"
    "3d31a566cfa4bf2d34b335318187a2da5b789c459fb3920c97382e5f3127353191852124b12758b4bf28b12d353f50d8ce2931293b34b0b1c924a"
    "e38d0c0c2d0d8c0c2c19e0000029161d79"
)
"""Both of OpenZFS itself, as people published them with what they mean."""


def test_a_token_says_where_a_stream_goes_on() -> None:
    """Which snapshot, from which other one, at which object and offset, and how the stream was made."""
    assert parse(INCREMENT) == Partial(
        to=Guid(3346673376557487226),
        base=Guid(9465784931539935513),
        object=1,
        offset=0,
        received_bytes=0,
        features=COMPRESSED | RAW,
    )
    whole = parse(WHOLE)
    assert (whole.to, whole.base, whole.object, whole.offset) == (5637202801631902093, None, 394, 78512128)
    assert (whole.received_bytes, whole.features) == (95158912, 0)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("-", "version"),
        ("", "version"),
        ("2" + INCREMENT[1:], "version '2'"),
        (INCREMENT[:-8], "bytes long"),
        (INCREMENT.replace("-130-", "-131-"), "bytes long"),
        (INCREMENT.replace("789c", "789d"), "error"),
        (INCREMENT + "zz", "ValueError"),
        ("1-0-0-" + zlib.compress(bytes(10_000_000)).hex(), "bytes long"),
        ("1-0-10-" + zlib.compress(b"\0\1\0\0" + bytes(12)).hex(), "toguid"),
        ("1-0-14-" + zlib.compress(b"\0\1\0\0" + bytes(8) + struct.pack("<i", 9) + bytes(4)).hex(), "error"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(token: str, says: str) -> None:
    """Another version, a part of one, a damaged one, one that would fill the memory."""
    with pytest.raises(NoToken, match=says):
        parse(token)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Whatever is packed as a token is refused, never a crash nor an endless loop."""
    with pytest.raises(NoToken):
        parse(f"1-0-{len(data):x}-{zlib.compress(data).hex()}")
