"""
What lies in a store of one site, and what follows from it. Pure: from the names of objects alone.

    sites/<site>/labels/<at>.<epoch>.<head>.<base>.<stream>     one stream: sealed JSON, written last
    sites/<site>/data/<stream>/<number>                         its pieces

A stream makes a history that ends at `base` (or nothing, `whole`) end at `head`. Nodes that do not hear each other may
both put streams there: heads are guids, so both lines stand beside each other and neither disturbs the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hybrid.errors import AwayError
from hybrid.history import History
from hybrid.model import Guid, SiteId

SITES = "sites/"
MOST_STREAMS = 48
"""Of a line; then a whole one begins, so that what a restore has to fetch stays bounded and old ones can go."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that is complete in the store."""

    at_s: int
    """When its head was taken, seconds since the epoch."""
    epoch: int
    head: Guid
    base: Guid | None
    id: str
    """32 hex digits."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stream that should be put there: up to `head`, from `base` on (`None`: whole)."""

    head: Guid
    base: Guid | None


@dataclass(frozen=True, slots=True)
class AwaySite:
    """What a store holds of a site."""

    site: SiteId
    name: str
    newest_at_s: int
    moments: int
    """That can be restored."""
    bytes: int
    """Of all that is there."""


def labels_of(site: SiteId) -> str:
    """The prefix of the labels of a site."""
    return f"{SITES}{site}/labels/"


def label(site: SiteId, stream: Stream) -> str:
    """The name of a stream's label."""
    base = "whole" if stream.base is None else f"{stream.base:016x}"
    return f"{labels_of(site)}{stream.at_s:012d}.{stream.epoch:010d}.{stream.head:016x}.{base}.{stream.id}"


def piece(site: SiteId, stream: str, number: int) -> str:
    """The name of a piece."""
    return f"{pieces_of(site, stream)}{number:08d}"


def pieces_of(site: SiteId, stream: str) -> str:
    """The prefix of a stream's pieces."""
    return f"{SITES}{site}/data/{stream}/"


def streams(names: Iterable[str]) -> tuple[Stream, ...]:
    """What the names of labels say, oldest first; other names are none of ours."""
    found = (_stream(name.rpartition("/")[2]) for name in names)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.epoch, one.at_s, one.head)))


def _stream(name: str) -> Stream | None:
    try:
        at_s, epoch, head, base, stream = name.split(".")
        origin = None if base == "whole" else Guid(int(base, 16))
        return Stream(int(at_s), int(epoch), Guid(int(head, 16)), origin, stream)
    except ValueError:
        return None


def chains(stored: Sequence[Stream]) -> dict[Guid, tuple[Stream, ...]]:
    """For each head that can be restored, the streams that lead there, the whole one first; the shortest such chain."""
    found: dict[Guid, tuple[Stream, ...]] = {}
    waiting = list(stored)
    while waiting:
        ready = [stream for stream in waiting if stream.base is None or stream.base in found]
        if not ready:
            break
        for stream in ready:
            chain = (*(found[stream.base] if stream.base is not None else ()), stream)
            if stream.head not in found or len(chain) < len(found[stream.head]):
                found[stream.head] = chain
        waiting = [stream for stream in waiting if stream not in ready]
    return found


def newest(stored: Sequence[Stream]) -> Stream | None:
    """The newest head that can be restored."""
    return max(chains(stored).values(), key=_age, default=(None,))[-1]


def due(stored: Sequence[Stream], history: History) -> Due | None:
    """What should be put there so that the head of `history` can be restored; `None`: it can be already."""
    known = chains(stored)
    if not history or history[-1].guid in known:
        return None
    base = next((one.guid for one in reversed(history) if one.guid in known), None)
    too_long = base is not None and len(known[base]) >= MOST_STREAMS
    return Due(history[-1].guid, None if too_long else base)


def chain_at(stored: Sequence[Stream], at_s: int | None) -> tuple[Stream, ...]:
    """
    The streams to restore, in order.

    Args:
        at_s: The newest moment not later than this; `None`: the newest there is.

    Raises:
        AwayError: There is none.
    """
    fitting = [chain for chain in chains(stored).values() if at_s is None or chain[-1].at_s <= at_s]
    if not fitting:
        why = "nothing whole is there" if at_s is None else "all that is there is newer"
        raise AwayError("there is nothing to restore", why, "`hybrid away sites` shows what is there")
    return max(fitting, key=_age)


def missing(chain: Sequence[Stream], history: History) -> tuple[Stream, ...] | None:
    """What of `chain` a dataset with `history` lacks; `None` where it does not end on that chain."""
    if not history:
        return tuple(chain)
    place = next((place for place, stream in enumerate(chain, 1) if stream.head == history[-1].guid), None)
    return None if place is None else tuple(chain[place:])


def foreign(stored: Sequence[Stream], history: History, epoch: int) -> Stream | None:
    """The newest head there that is of a later term than any known here, and not in `history`: another cluster's."""
    ours = {one.guid for one in history}
    return next((one for one in reversed(stored) if one.epoch > epoch and one.head not in ours), None)


def _age(chain: tuple[Stream, ...]) -> tuple[int, int, int, Guid]:
    """Orders what can be restored: a later term first, within it the later moment; within a second what goes on."""
    head = chain[-1]
    return head.epoch, head.at_s, len(chain), head.head


def expendable(stored: Sequence[Stream], keep_s: float, now_s: float) -> tuple[Stream, ...]:
    """
    Streams that may go, in an order in which they can: no chain is ever left that lacks its beginning.

    Kept: the newest head, all heads younger than `keep_s`, the newest of those older, and what any of them needs.
    """
    known = chains(stored)
    heads = [chain[-1] for chain in sorted(known.values(), key=_age)]
    old = [stream for stream in heads if now_s - stream.at_s > keep_s]
    kept = {*heads[-1:], *old[-1:], *(stream for stream in heads if stream not in old)}
    needed = {stream.id for head in kept for stream in known[head.head]}
    going = [stream for stream in stored if stream.id not in needed and now_s - stream.at_s > keep_s]
    return tuple(sorted(going, key=lambda stream: -len(known.get(stream.head, ()))))


def lost_pieces(names: Mapping[str, int], stored: Collection[Stream]) -> list[str]:
    """Of names of pieces, those whose stream has no label: what a try left that did not come to its end."""
    complete = {stream.id for stream in stored}
    return [name for name in names if name.split("/")[3] not in complete]
