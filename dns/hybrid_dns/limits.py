"""
Response rate limiting: a forged source address must not turn this server on its owner. Pure.

As in BIND and NSD: equal replies to one network (/24, /56) are counted a second at a time; beyond the limit most are
dropped and every second one goes out empty with TC set, so that a real resolver behind that address asks again by TCP.
Who returned a cookie of ours is not limited: it does receive where it says it is.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from hybrid_dns.finished import BEST, Counts, Form
from hybrid_dns.table import HEADER_SIZE

Verdict = Literal["send", "slip", "drop"]
_QUESTION = b"?"
"""Before the question in the kind of a reply: no rcode, and no key of a finished reply, begins so."""


class Limits:
    """
    Counts replies by network and kind.

    Args:
        errors: Equal error replies (by rcode) or "no such data" replies (by question) a second; 0: no limit at all.
        same: Equal good answers (by question) a second to one network.
        answers: Good answers a second to one network, whatever they say.
        slip: Each how-many-th suppressed reply goes out truncated.
        size: Most networks and kinds counted in one second; beyond it, replies to unseen ones are not limited
            (an attack spread over that many networks amplifies onto none of them).
        form: Of what counts.
    """

    def __init__(
        self,
        errors: int = 5,
        same: int = 50,
        answers: int = 1000,
        slip: int = 2,
        size: int = 50_000,
        form: Form = BEST,
    ) -> None:
        self.errors, self.answers, self._same, self._slip = errors, answers, same, slip
        self.form, self._second = form, 0
        self._counts = form.counts(size)

    def counts(self, second: int) -> Counts:
        """
        Those of `second`, for `Replies.drain`, which passes the first `errors` answers to a question unseen.

        The others are `judge`'s.
        """
        if second != self._second:
            self._second = second
            self._counts.clear()
        return self._counts

    def judge(self, source: str, reply: bytes, now_s: float) -> Verdict:
        """What to do with `reply` to `source` (an address as text) at `now_s`."""
        if not self.errors:
            return "send"
        add = self.counts(int(now_s)).add
        network, rcode = _network(source), reply[3] & 15
        if rcode:
            over = add(network, bytes([rcode])) - self.errors
        else:
            is_good = reply[6:8] != b"\0\0"
            question = reply[HEADER_SIZE : question_end(reply)].lower()
            over = add(network, _QUESTION + question) - (self._same if is_good else self.errors)
            if is_good:
                over = max(over, add(network, b"") - self.answers)
        if over <= 0:
            return "send"
        return "slip" if over % self._slip == 0 else "drop"


def _network(source: str) -> str:
    """The /24 of an IPv4 address, the /56 of an IPv6 address."""
    if ":" in source:
        return ipaddress.IPv6Address(source.partition("%")[0]).packed[:7].hex()
    return source.rpartition(".")[0]


def question_end(reply: bytes) -> int:
    """Where the question of a reply of ours ends: after the header when it has none."""
    if not reply[5]:
        return HEADER_SIZE
    at = HEADER_SIZE
    while reply[at]:
        at += reply[at] + 1  # names in our questions are never compressed
    return at + 5


def truncated(reply: bytes) -> bytes:
    """`reply` cut down to header and question, with TC set."""
    head = reply[:2] + bytes([reply[2] | 0x02, reply[3]]) + reply[4:6] + bytes(6)
    return head + reply[HEADER_SIZE : question_end(reply)]
