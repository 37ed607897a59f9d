"""The compiled parsers and those in Python are one parser, so what `test_head` and `test_reply` say holds for both."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from hybrid_proxy import head, reply
from hybrid_proxy.head import COMPILED
from tests.proxy.fuzz_heads import REPLIES, REQUESTS, disagreements, reply_seen, request_seen

pytestmark = pytest.mark.skipif(not COMPILED, reason="the compiled parsers are not built: make native needs a compiler")
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
    """A request that comes in pieces is the same to both at each byte."""
    for end in range(len(data) + 1):
        assert request_seen(head.parse_request, data[:end]) == request_seen(head.parse_strictly, data[:end])


@pytest.mark.parametrize("data", REPLIES)
def test_replies_cut_anywhere(data: bytes) -> None:
    """And a response."""
    for end in range(len(data) + 1):
        assert reply_seen(reply.parse_reply, data[:end]) == reply_seen(reply.parse_carefully, data[:end])


def test_ordinary_heads_are_taken_by_the_compiled_one() -> None:
    """It is not that all is left to Python."""
    from hybrid_proxy import _heads

    assert _heads.parse_request(REQUESTS[1]) is not None
    assert _heads.parse_reply(REPLIES[0]) is not None
    with pytest.raises(TypeError):
        _heads.parse_request("GET / HTTP/1.1")  # type: ignore[arg-type]  # not bytes
