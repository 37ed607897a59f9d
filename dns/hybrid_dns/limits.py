"""
Response rate limiting: a forged source address must not turn this server on its owner. Pure.

As in BIND and NSD: equal replies to one network (/24, /56) are counted a second at a time; beyond the limit most are
dropped and every second one goes out empty with TC set, so that a real resolver behind that address asks again by TCP.
Who returned a cookie of ours is not limited: it does receive where it says it is.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from hybrid_dns.table import HEADER_SIZE

Verdict = Literal["send", "slip", "drop"]
_Key = str | tuple[str, int] | tuple[str, int, bytes] | tuple[str, bytes]


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
    """

    def __init__(self, errors: int = 5, same: int = 50, answers: int = 1000, slip: int = 2, size: int = 50_000) -> None:
        self._errors, self._same, self._answers, self._slip, self._size = errors, same, answers, slip, size
        self._second = 0
        self._counts: dict[_Key, int] = {}

    def begin(self, second: int) -> bool:
        """Count in `second`, before calls of `passes`; whether there are limits at all."""
        if second != self._second:
            self._second, self._counts = second, {}
        return bool(self._errors)

    def passes(self, source: str, key: bytes) -> bool:
        """
        Whether the answer to question `key` is one of the first few to a network in a second; then it is counted.

        Otherwise it is not, and `judge` is to be asked.
        """
        counts, network = self._counts, source.rpartition(".")[0]
        all_of_it = counts.get(network, 0)
        same = (network, key)
        count = counts.get(same, 0)
        if count >= self._errors or all_of_it >= self._answers or not network or len(counts) >= self._size:
            return False
        counts[network], counts[same] = all_of_it + 1, count + 1
        return True

    def judge(self, source: str, reply: bytes, now_s: float) -> Verdict:
        """What to do with `reply` to `source` (an address as text) at `now_s`."""
        if not self._errors:
            return "send"
        self.begin(int(now_s))
        network, rcode = _network(source), reply[3] & 15
        if rcode:
            over = self._count((network, rcode)) - self._errors
        else:
            is_good = reply[6:8] != b"\0\0"
            question = reply[HEADER_SIZE : question_end(reply)].lower()
            over = self._count((network, 0, question)) - (self._same if is_good else self._errors)
            if is_good:
                over = max(over, self._count(network) - self._answers)
        if over <= 0:
            return "send"
        return "slip" if over % self._slip == 0 else "drop"

    def _count(self, key: _Key) -> int:
        """How many there were of `key` in this second, this one included."""
        count = self._counts.get(key, 0) + 1
        if count > 1 or len(self._counts) < self._size:
            self._counts[key] = count
        return count


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
