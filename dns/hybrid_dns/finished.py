"""
Finished replies by their whole question, and counts of replies: what nearly every datagram needs, and nothing else.

Pure, but for `Replies.drain`, which is given its socket. Both classes have a compiled form (`_finished.c`) that does
just the same; where it was not built, these are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hybrid_dns import trays
from hybrid_dns.trays import LENGTHS_FIRST, LENGTHS_STEP, PLACE, SIZES_FIRST, SIZES_STEP, STRIDE, Trays

MAX_KEY = 320
MAX_REPLY = trays.MAX_OUT
MAX_QUERY = trays.MAX_IN
BATCH = 256
"""Datagrams read before the reactor looks after others."""
UNPRIVILEGED = 1024
"""From this port on no service is known that answers whatever it gets."""
Place = tuple[str, int]
Heads = tuple[bytes, bytes]
"""Bytes 2..12 of a reply by the RD bit of its query."""


class Socket(Protocol):
    """What is needed of a `socket.socket`."""

    def fileno(self) -> int:
        """See there."""


class Counts(Protocol):
    """How many replies there were to a network (as text) of a kind; of `size` networks and kinds at most."""

    def __len__(self) -> int:
        """Networks and kinds."""

    def clear(self) -> None:
        """Begin anew."""

    def add(self, network: str, kind: bytes) -> int:
        """Count one; how many there are now. One of a kind for which there is no room is the first each time."""

    def passes(self, network: str, kind: bytes, same: int, answers: int) -> bool:
        """
        Whether fewer than `same` were counted of `kind`, fewer than `answers` of `b""`, and there is room.

        Then both are counted, otherwise nothing is. `kind` is not `b""`.
        """


class Replies(Protocol):
    """Replies by what follows the flags of a query, in lower case."""

    def __len__(self) -> int:
        """Known questions."""

    def clear(self) -> None:
        """Forget all."""

    def put(self, key: bytes, heads: Heads, end: int, tail: bytes) -> None:
        """
        Know one more; what is too long for any of this is left out.

        Args:
            key: Its question and all that follows, from the counts in the header on, in lower case.
            heads: See there.
            end: Where the question of the query ends.
            tail: What follows the question in the reply.
        """

    def reply(self, query: bytes) -> bytes | None:
        """The reply to `query`, its letters as they came; `None` where it is not known."""

    def drain(self, bound: Socket, counts: Counts, same: int, answers: int) -> list[tuple[bytes, Place]]:
        """
        Answer the datagrams that have come to `bound`, which does not block, at most `BATCH` of them.

        Args:
            bound: A UDP socket of IPv4.
            counts: Those of this second.
            same: See `Counts.passes`; 0: nothing is counted.
            answers: See there.

        Returns:
            Those that are not for here, as they came: not known, limited, or from a port of the system.
        """


class PlainCounts:
    """See `Counts`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: dict[str | tuple[str, bytes], int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def clear(self) -> None:
        """See `Counts`."""
        self._counts = {}

    def add(self, network: str, kind: bytes) -> int:
        """See `Counts`."""
        key = (network, kind) if kind else network
        count = self._counts.get(key, 0) + 1
        if count > 1 or len(self._counts) < self._size:
            self._counts[key] = count
        return count

    def passes(self, network: str, kind: bytes, same: int, answers: int) -> bool:
        """See `Counts`."""
        counts, key = self._counts, (network, kind)
        all_of_it, count = counts.get(network, 0), counts.get(key, 0)
        if count >= same or all_of_it >= answers or len(counts) + 2 > self._size:
            return False
        counts[network], counts[key] = all_of_it + 1, count + 1
        return True


class PlainReplies:
    """See `Replies`."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[Heads, int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def clear(self) -> None:
        """See `Replies`."""
        self._found.clear()

    def put(self, key: bytes, heads: Heads, end: int, tail: bytes) -> None:
        """See `Replies`."""
        if 8 <= len(key) <= MAX_KEY and 12 <= end <= len(key) + 4 and end + len(tail) <= MAX_REPLY:
            self._found[key] = heads, end, tail

    def reply(self, query: bytes) -> bytes | None:
        """See `Replies`."""
        found = self._found.get(query[4:].lower())
        if found is None or query[2] > 1:
            return None
        heads, end, tail = found
        return query[:2] + heads[query[2]] + query[12:end] + tail

    def drain(self, bound: Socket, counts: Counts, same: int, answers: int) -> list[tuple[bytes, Place]]:
        """See `Replies`."""
        rest: list[tuple[bytes, Place]] = []
        room, descriptor = trays.trays(), bound.fileno()
        for _ in range(BATCH // trays.COUNT):
            count = room.receive(descriptor)
            self._answer(room, descriptor, count, rest, (counts, same, answers))
            if count < trays.COUNT or rest:
                break
        return rest

    def _answer(
        self,
        room: Trays,
        descriptor: int,
        count: int,
        rest: list[tuple[bytes, Place]],
        limits: tuple[Counts, int, int],
    ) -> None:
        """Answer `count` datagrams that are in `room`; what is left goes to `rest`."""
        came, lengths, places, replies, sizes = room.came, room.lengths, room.places, room.replies, room.sizes
        find, join, (counts, same, answers), unsent = self._found.get, b"".join, limits, 0
        for number in range(count):
            at = number * STRIDE
            query = bytes(came[at : at + lengths[number * LENGTHS_STEP + LENGTHS_FIRST]])
            key = query[4:].lower()
            found = find(key)
            if (
                found is None
                or query[2] > 1
                or places[number * PLACE + 2] < UNPRIVILEGED >> 8
                or (same and not counts.passes(_network(places, number), key, same, answers))
            ):
                room.send(descriptor, unsent, number)
                unsent = number + 1
                rest.append((query, _place(places, number)))
                continue
            heads, end, tail = found
            reply = join((query[:2], heads[query[2]], query[12:end], tail))
            at = number * MAX_REPLY
            replies[at : at + len(reply)] = reply
            sizes[number * SIZES_STEP + SIZES_FIRST] = len(reply)
        room.send(descriptor, unsent, count)


def _network(places: memoryview, number: int) -> str:
    """The /24 that datagram `number` came from."""
    at = number * PLACE + 4
    return f"{places[at]}.{places[at + 1]}.{places[at + 2]}"


def _place(places: memoryview, number: int) -> Place:
    """Where it came from."""
    at = number * PLACE
    return f"{_network(places, number)}.{places[at + 7]}", places[at + 2] << 8 | places[at + 3]


@dataclass(frozen=True, slots=True)
class Form:
    """Both classes of one form; they are only used together."""

    replies: Callable[[], Replies]
    counts: Callable[[int], Counts]


PLAIN = Form(PlainReplies, PlainCounts)
try:
    from hybrid_dns import _finished

    COMPILED: Form | None = Form(_finished.Replies, _finished.Counts)
except ImportError:
    COMPILED = None
BEST = COMPILED or PLAIN
