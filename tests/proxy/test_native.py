"""
The quick parsers, compiled and in Python, and those that define what is allowed are one parser: what `test_head` and
`test_reply` say of it holds for all.
"""

from __future__ import annotations

import itertools
from collections import Counter
from functools import partial

import pytest

from hybrid_proxy import head, plain, reply
from hybrid_proxy.head import COMPILED
from tests.proxy.fuzz_heads import REPLIES, REQUESTS, disagreements, reply_seen, request_seen

INPUTS = 30_000


def test_they_agree() -> None:
    """Whatever is sent, right or wrong, whole or not: what is refused by one is refused by both, for one reason."""
    kinds: Counter[str] = Counter()
    for data, kind in itertools.islice(disagreements(seed=5), INPUTS):
        assert data is None
        kinds[kind] += 1
    assert all(count > INPUTS / 200 for count in kinds.values()) and len(kinds) == 6, kinds


@pytest.mark.parametrize("data", REQUESTS)
def test_requests_cut_anywhere(data: bytes) -> None:
    """A request that comes in pieces is the same to all at each byte."""
    for end in range(len(data) + 1):
        expected = request_seen(head.parse_strictly, data[:end])
        assert request_seen(head.parse_request, data[:end]) == expected
        assert request_seen(partial(head.parse_request, quick=plain.parse_request), data[:end]) == expected


@pytest.mark.parametrize("data", REPLIES)
def test_replies_cut_anywhere(data: bytes) -> None:
    """And a response."""
    for end in range(len(data) + 1):
        expected = reply_seen(reply.parse_carefully, data[:end])
        assert reply_seen(reply.parse_reply, data[:end]) == expected
        assert reply_seen(partial(reply.parse_reply, quick=plain.parse_reply), data[:end]) == expected


def test_ordinary_heads_are_taken_quickly() -> None:
    """It is not that all is left to the others."""
    assert plain.parse_request(REQUESTS[1]) is not None
    assert plain.parse_reply(REPLIES[0]) is not None


@pytest.mark.skipif(not COMPILED, reason="the compiled parsers are not built: make native needs a compiler")
def test_the_compiled_ones_are_as_those_in_python() -> None:
    """They give the same, and take nothing but bytes."""
    from hybrid_proxy import _heads

    assert _heads.parse_request(REQUESTS[1]) == plain.parse_request(REQUESTS[1]) is not None
    assert _heads.parse_reply(REPLIES[0]) == plain.parse_reply(REPLIES[0]) is not None
    with pytest.raises(TypeError):
        _heads.parse_request("GET / HTTP/1.1")  # type: ignore[arg-type]  # not bytes
