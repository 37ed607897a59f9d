"""What lies in a store of one site, and what follows from it."""

from __future__ import annotations

import pytest

from hybrid.away import lines
from hybrid.away.lines import Due, Stream
from hybrid.errors import AwayError
from hybrid.model import Guid, SiteId, Snapshot

SITE, DAY_S = SiteId("s-one"), 86400


def stream(number: int, base: int | None, at_s: int | None = None, epoch: int = 1) -> Stream:
    """One that ends at snapshot `number`."""
    at_s = number if at_s is None else at_s
    return Stream(at_s, epoch, Guid(number), None if base is None else Guid(base), f"{at_s:010x}{number:022x}")


def history(*numbers: int) -> tuple[Snapshot, ...]:
    """Of these snapshots."""
    return tuple(Snapshot(Guid(number), f"hyb-000001-a-{number:07d}", number) for number in numbers)


def ids(chain: tuple[Stream, ...]) -> list[int]:
    """Heads of streams."""
    return [one.head for one in chain]


def test_names_say_all_that_matters() -> None:
    """A stream is found again by the name of its label; what is not ours in the bucket is passed over."""
    both = (stream(7, None), stream(2**63 + 5, 7, at_s=9))
    names = [lines.label(SITE, one) for one in both]
    assert all(name.startswith(lines.labels_of(SITE)) for name in names)
    assert lines.streams([*names, "sites/s-one/labels/readme.txt", "x", ""]) == both


def test_first_all_then_what_changed_since_the_newest_that_is_still_here() -> None:
    """Whole the first time; nothing when it is there; else from the newest base that both have."""
    assert lines.due((), ()) is None
    assert lines.due((), history(1, 2)) == Due(Guid(2), None)
    stored = (stream(2, None), stream(4, 2), stream(6, 4))
    assert lines.due(stored, history(1, 2, 4, 6)) is None
    assert lines.due(stored, history(1, 2, 4, 6, 7)) == Due(Guid(7), Guid(6))
    assert lines.due(stored, history(1, 2, 7)) == Due(Guid(7), Guid(2))
    assert lines.due(stored, history(7, 8)) == Due(Guid(8), None)


def test_a_line_begins_anew_before_it_is_too_long_to_restore() -> None:
    """After `MOST_STREAMS` a whole stream begins the next line."""
    stored = [stream(1, None)]
    while (wanted := lines.due(stored, history(*range(1, len(stored) + 2)))) and wanted.base is not None:
        stored.append(stream(wanted.head, wanted.base))
    assert len(stored) == lines.MOST_STREAMS


def test_what_lacks_its_beginning_does_not_count() -> None:
    """Streams whose base is not there cannot be restored, in whatever order they are listed."""
    stored = (stream(9, 8), stream(5, 3), stream(3, None), stream(4, 3))
    assert {head: ids(chain) for head, chain in lines.chains(stored).items()} == {3: [3], 5: [3, 5], 4: [3, 4]}
    newest = lines.newest(stored)
    assert newest is not None and newest.head == 5


def test_a_moment_is_the_newest_not_later() -> None:
    """A restore takes the newest moment, or the newest at or before a time; a later term goes before a later clock."""
    stored = (stream(3, None), stream(5, 3), stream(4, 3, epoch=2))
    assert ids(lines.chain_at(stored, None)) == [3, 4]
    assert ids(lines.chain_at(stored, 3)) == [3]
    with pytest.raises(AwayError, match="all that is there is newer"):
        lines.chain_at(stored, 2)
    with pytest.raises(AwayError, match="nothing whole"):
        lines.chain_at((stream(9, 8),), None)


def test_old_moments_go_and_never_what_newer_ones_need() -> None:
    """Of two lines the old one goes whole; the newest moment stays however old it is, with all that leads to it."""
    old = [stream(number, number - 1 if number > 1 else None, number * DAY_S) for number in range(1, 10)]
    new = [stream(number, number - 1 if number > 20 else None, number * DAY_S) for number in range(20, 40)]
    going = lines.expendable((*old, *new), 10 * DAY_S, 41 * DAY_S)
    assert {one.head for one in going} == set(range(1, 10))
    left = [one for one in (*old, *new) if one not in going]
    assert len(lines.chains(left)) == len(left)
    assert lines.expendable(old, DAY_S, 500 * DAY_S) == ()


def test_at_any_time_during_tidying_every_chain_is_whole() -> None:
    """Streams go from the end of their line on, so that a crash in the middle leaves nothing without beginning."""
    old = [stream(number, number - 1 if number > 1 else None, number * DAY_S) for number in range(1, 10)]
    stored = [*old, stream(50, None, 50 * DAY_S)]
    for one in lines.expendable(stored, DAY_S, 60 * DAY_S):
        stored.remove(one)
        assert len(lines.chains(stored)) == len(stored)
    assert ids(tuple(stored)) == [50]


def test_pieces_without_a_label_are_what_a_try_left() -> None:
    """They are told from pieces of complete streams."""
    whole, lost = stream(1, None), stream(2, 1)
    names = {lines.piece(SITE, one.id, number): 5 for one in (whole, lost) for number in range(2)}
    assert lines.lost_pieces(names, [whole]) == [lines.piece(SITE, lost.id, number) for number in range(2)]


def test_what_is_here_already_is_not_fetched_again() -> None:
    """A copy that ends on the chain lacks the rest of it; one that ends elsewhere cannot go on with it."""
    chain = (stream(1, None), stream(2, 1), stream(3, 2))
    assert lines.missing(chain, ()) == chain
    assert lines.missing(chain, history(1, 2)) == chain[2:]
    assert lines.missing(chain, history(1, 2, 3)) == ()
    assert lines.missing(chain, history(1, 2, 9)) is None


def test_another_clusters_line_is_known_by_its_term() -> None:
    """Later terms than any known here, under heads that are not here; our own past is none."""
    ours, theirs = (stream(1, None), stream(2, 1)), stream(8, 2, epoch=5)
    assert lines.foreign(ours, history(2), 1) is None
    assert lines.foreign((*ours, theirs), history(2), 4) == theirs
    assert lines.foreign((*ours, theirs), history(2), 5) is None
    assert lines.foreign((*ours, theirs), history(2, 8), 4) is None
