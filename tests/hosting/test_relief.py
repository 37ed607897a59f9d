"""Sites leave a full pool, one after the other, for where there is room."""

from __future__ import annotations

import msgspec
from twisted.internet.task import Clock

from hybrid.deeds import Progress
from hybrid.detach import detach
from hybrid.errors import Conflict
from hybrid.hosting.relief import AGAIN_S, PATIENCE_S, Relief, choose, is_full
from hybrid.model import NodeId, SiteId
from hybrid.view import View
from tests.api.test_status import view_of

A, B, C = (NodeId(name) for name in "abc")
FIRST, SECOND = SiteId("s-0"), SiteId("s-1")


def with_room(free: dict[str, int], *held: str) -> View:
    """Nodes whose pools of 1000 bytes have so much room; the second site takes more than the first."""
    view = view_of("a@p b@p c@q", *held)
    nodes = {
        key: msgspec.structs.replace(node, size_bytes=1000, free_bytes=free.get(node.name, 900))
        for key, node in view.nodes.items()
    }
    sites = {
        key: msgspec.structs.replace(site, data_bytes=number * 10)
        for number, (key, site) in enumerate(view.sites.items())
    }
    return msgspec.structs.replace(view, nodes=nodes, sites=sites)


def test_the_largest_goes_first_to_its_best_copy_with_room() -> None:
    """Never to a node that is filling up itself, nor to one that does not hold the site."""
    assert choose(with_room({"a": 0}, "abc", "abc"), ()) == (SECOND, B)
    assert choose(with_room({"a": 0, "b": 90}, "abc", "abc"), ()) == (SECOND, C)
    assert choose(with_room({"a": 0}, "abc", "abc"), (SECOND,)) == (FIRST, B)
    assert choose(with_room({"a": 0}, "abc", "a"), ()) == (FIRST, B)
    assert choose(with_room({"a": 0, "b": 0, "c": 0}, "abc"), ()) is None
    assert choose(with_room({"a": 0}, "bc"), ()) is None


def test_only_a_pool_at_its_end_is_full() -> None:
    """At 97 %, while it answers."""
    assert [is_full(with_room({"a": free}, "a")) for free in (900, 40, 30, 0)] == [False, False, True, True]


class Moves:
    """A relief on a clock, and what it did."""

    def __init__(self) -> None:
        self.clock, self.view = Clock(), with_room({}, "abc", "abc")
        self.moved: list[tuple[SiteId, NodeId]] = []
        self.told: list[str] = []
        self.fails = False
        self.relief = Relief(
            self.clock, lambda: self.view, self._move, lambda kind, site, text: self.told.append(kind), lambda: None
        )

    async def _move(self, site: SiteId, node: NodeId, progress: Progress) -> None:
        self.moved.append((site, node))
        if self.fails:
            raise Conflict("it is at work")

    def passes(self, seconds: float) -> None:
        """Looks every second."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            detach(self.relief.look())


def test_a_moment_of_fullness_moves_nothing() -> None:
    """A large file that comes and goes is no reason to move sites."""
    moves = Moves()
    moves.view = with_room({"a": 0}, "abc", "abc")
    moves.passes(PATIENCE_S - 2)
    moves.view = with_room({}, "abc", "abc")
    moves.passes(2)
    moves.view = with_room({"a": 0}, "abc", "abc")
    moves.passes(PATIENCE_S - 2)
    assert moves.moved == []


def test_a_site_that_cannot_be_moved_holds_up_no_other() -> None:
    """What failed is tried again later; meanwhile the next one goes."""
    moves = Moves()
    moves.view, moves.fails = with_room({"a": 0}, "abc", "abc"), True
    moves.passes(PATIENCE_S + 2)
    assert moves.moved[:2] == [(SECOND, B), (FIRST, B)]
    moves.passes(30)
    assert len(moves.moved) == 2
    moves.passes(AGAIN_S)
    assert moves.moved[2] == (SECOND, B)
    assert moves.told[:2] == ["relieved", "relief-failed"]


def test_where_nobody_has_room_people_are_told() -> None:
    """An alarm stands until somebody has room, or the pool is not full any more."""
    moves = Moves()
    moves.view = with_room({"a": 0, "b": 10, "c": 20}, "abc")
    moves.passes(PATIENCE_S + 2)
    assert moves.moved == []
    assert "no other server has room" in moves.relief.alarms[0]
    moves.view = with_room({}, "abc")
    moves.passes(1)
    assert moves.relief.alarms == ()
