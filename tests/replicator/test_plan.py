"""What is sent, decided from both histories."""

from hypothesis import given
from hypothesis import strategies as st

from hybrid.history import History
from hybrid.model import Guid, Snapshot
from hybrid_replicator.plan import Nothing, NothingInCommon, SendImageFirst, Step, TheyDiverged, plan

IMAGE = Guid(1000)


def line(*guids: int) -> History:
    """A history of these guids; names say nothing."""
    return tuple(Snapshot(Guid(guid), "same-name", 0) for guid in guids)


def test_nothing_to_send_without_a_snapshot_or_when_equal() -> None:
    """No byte travels without need."""
    assert plan((), None, None) == Nothing(None)
    assert plan(line(1, 2), line(1, 2), None) == Nothing(Guid(2))
    assert plan(line(1, 2), line(2), IMAGE) == Nothing(Guid(2))


def test_a_peer_behind_gets_one_increment_from_where_it_ends() -> None:
    """However many snapshots it missed, it takes one step to be up to date."""
    assert plan(line(1, 2, 3, 4), line(1, 2), None) == Step(Guid(2), line(4)[0])


def test_a_new_peer_gets_the_image_first_and_then_an_increment_on_it() -> None:
    """Sites stay thin clones of their image on every node."""
    assert plan(line(1, 2), None, IMAGE) == SendImageFirst(IMAGE)
    assert plan(line(1, 2), None, IMAGE, origin_held=True) == Step(IMAGE, line(2)[0])


def test_a_site_without_an_image_is_sent_whole() -> None:
    """A site that was not cloned travels too."""
    assert plan(line(1, 2), None, None) == Step(None, line(2)[0])


def test_a_peer_that_went_on_by_itself_is_told_so() -> None:
    """It keeps its tail as a stash; also when we wrote nothing since (a rollback, say)."""
    assert plan(line(1, 2, 5), line(1, 2, 3), None) == TheyDiverged(Guid(2), line(5)[0])
    assert plan(line(1, 2), line(1, 2, 3), None) == TheyDiverged(Guid(2), line(2)[0])


def test_nothing_in_common_means_keep_both() -> None:
    """A peer with another line of the same site takes ours beside it."""
    assert plan(line(1, 2), line(7, 8), None) == NothingInCommon(None, line(2)[0])
    assert plan(line(1, 2), (), IMAGE, origin_held=True) == NothingInCommon(IMAGE, line(2)[0])
    assert plan(line(1, 2), line(7), IMAGE) == SendImageFirst(IMAGE)


guid_lists = st.lists(st.integers(1, 12), unique=True, max_size=8)


@given(guid_lists, guid_lists, st.none() | st.just(IMAGE))
def test_every_plan_ends_at_our_head_and_starts_at_something_both_have(
    ours: list[int], theirs: list[int], origin: Guid | None
) -> None:
    """Whatever the histories, the plan is one the peer can follow."""
    match plan(line(*ours), line(*theirs), origin, origin_held=True):
        case Nothing(head):
            assert not ours or (head == ours[-1] == theirs[-1])
        case Step(base, to) | TheyDiverged(base, to) if base != origin:
            assert to.guid == ours[-1]
            assert base in ours and base in theirs
        case Step(_, to) | NothingInCommon(_, to) | TheyDiverged(_, to):
            assert to.guid == ours[-1]
            assert not set(ours) & set(theirs)
        case SendImageFirst():
            raise AssertionError("the image is there")


def test_a_base_that_is_gone_here_is_as_good_where_a_bookmark_stands() -> None:
    """An increment from it; nothing of the peer's is set aside but what it wrote after it."""
    assert plan(line(1, 4), line(1, 2), None, bookmarks=[Guid(2)]) == Step(Guid(2), line(4)[0])
    assert plan(line(4), line(2), IMAGE, bookmarks=[Guid(2)]) == Step(Guid(2), line(4)[0])
    assert plan(line(1, 4), line(1, 2, 3), None, bookmarks=[Guid(2), Guid(7)]) == TheyDiverged(Guid(2), line(4)[0])
    assert plan(line(1, 2, 4), line(1, 2), None, bookmarks=[Guid(1)]) == Step(Guid(2), line(4)[0])
    assert plan(line(4), line(7), None, bookmarks=[Guid(2)]) == NothingInCommon(None, line(4)[0])
