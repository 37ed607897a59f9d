"""Consistency groups: what may be one, which instants all have, what is left of a roll-back that was cut short."""

from __future__ import annotations

import pytest

from hybrid.cluster import groups
from hybrid.cluster.groups import Group, Step
from hybrid.errors import BadRequest, Conflict
from hybrid.history import History
from hybrid.model import Claim, Guid, NodeId, SiteId, SiteSpec, Snapshot, Version, snapshot_name
from hybrid.view import SiteState, SiteView, View

A, B = NodeId("n-a"), NodeId("n-b")
WEB, DB, MAIL = SiteId("s-web"), SiteId("s-db"), SiteId("s-mail")
NOW_S = 1_790_000_000
BLOG = Group(name="blog", sites=(WEB, DB))


def view(me: NodeId, state: SiteState = "serving", **owners: NodeId | None) -> View:
    """The sites, each with its owner."""
    sites = {}
    for name, owner in owners.items():
        id_ = SiteId(f"s-{name}")
        spec = SiteSpec(id=id_, version=Version(1, 0), name=name, domains=(f"{name}.t",), image="i@1", number=1)
        sites[id_] = SiteView(spec=spec, state=state, owner=owner)
    return View(me=me, serial=1, zones=("t",), nodes={}, sites=sites)


def line(*taken: tuple[int, int, str]) -> History:
    """Snapshots as (number, seconds ago, mark); equal numbers with a mark are of one instant."""
    return tuple(
        Snapshot(Guid(n * 10), snapshot_name(Claim(0 if mark else 1, A), n, mark), NOW_S - ago_s)  # type: ignore[arg-type]
        for n, ago_s, mark in taken
    )


def test_what_may_be_a_group() -> None:
    """Two to eight sites of no other group, under a name that is free and can be said."""
    seen = view(A, web=A, db=A, mail=A)
    made = groups.new("shop", [WEB, DB, WEB], 60.0, [], seen)
    assert (made.sites, made.every_s) == ((WEB, DB), 60.0)
    for name, sites in (("a/b", [WEB, DB]), ("", [WEB, DB]), ("x", [WEB]), ("x", [WEB, WEB])):
        with pytest.raises(BadRequest):
            groups.new(name, sites, 60.0, [], seen)
    with pytest.raises(Conflict, match="belongs to group blog"):
        groups.new("shop", [MAIL, DB], 60.0, [BLOG], seen)
    with pytest.raises(Conflict, match="there is a group"):
        groups.new("blog", [MAIL, WEB], 60.0, [BLOG], seen)


def test_what_is_written_is_what_is_read() -> None:
    """And what nobody can read, of a later release or by hand, is as if it were not there."""
    busy = Group(name="x", sites=(WEB, DB), under_way=(Step(WEB, Guid(2**63), Guid(1)), Step(DB, None, Guid(3))))
    assert groups.read(dict([groups.encode(BLOG), groups.encode(busy)])) == [BLOG, busy]
    assert groups.read({"group/x": "{", "group/y": '{"name": 1}'}) == []


def test_sites_gather_where_the_first_one_is() -> None:
    """Each owner sends its own there, once that is served; nobody moves anything while it is not."""
    assert groups.strays(BLOG, view(B, web=A, db=B)) == [DB]
    assert groups.strays(BLOG, view(A, web=A, db=B)) == []
    assert groups.strays(BLOG, view(A, web=A, db=A)) == []
    assert groups.strays(BLOG, view(B, web=None, db=B)) == []
    assert groups.strays(BLOG, view(B, state="changing", web=A, db=B)) == []
    assert groups.strays(BLOG, view(B, db=B)) == []


def test_instants_that_all_have() -> None:
    """Only what was taken of all at once, and is still there of all."""
    web = line((1, 900, ""), (2, 600, "g"), (3, 300, "b"), (5, 100, "g"))
    db = line((2, 600, "g"), (3, 300, "b"), (4, 200, ""))
    assert [one.counter for one in groups.moments({WEB: web, DB: db})] == [2, 3]
    assert groups.moments({WEB: web, DB: ()}) == []
    assert groups.moments({}) == []


def test_when_an_instant_is_due() -> None:
    """When any of them changed since the last one, and that is long enough ago."""
    common = (2, 600, "g")
    assert groups.due(BLOG, {WEB: line(common, (3, 10, "")), DB: line(common)}, NOW_S)
    assert not groups.due(BLOG, {WEB: line(common), DB: line(common)}, NOW_S)
    assert not groups.due(BLOG, {WEB: line((2, 100, "g"), (3, 10, "")), DB: line((2, 100, "g"))}, NOW_S)
    assert groups.due(BLOG, {WEB: line((1, 900, "")), DB: line((1, 900, ""))}, NOW_S)
    assert not groups.due(BLOG, {WEB: line((1, 900, "")), DB: ()}, NOW_S)
    never = Group(name="blog", sites=(WEB, DB), every_s=0.0)
    assert not groups.due(never, {WEB: line((1, 900, "")), DB: line((1, 900, ""))}, NOW_S)


def test_what_is_left_of_a_rollback_that_was_cut_short() -> None:
    """History itself tells which sites are done; the last comes first, so that a website finds its database."""
    steps = (Step(WEB, Guid(20), Guid(50)), Step(DB, Guid(20), Guid(40)))
    before = {WEB: line((2, 9, "g"), (5, 1, "")), DB: line((2, 9, "g"), (4, 1, ""))}
    assert groups.left_to_do(steps, before) == [steps[1], steps[0]]
    half = {**before, DB: line((2, 9, "g"), (6, 0, ""))}
    assert groups.left_to_do(steps, half) == [steps[0]]
    undo = (Step(WEB, None, Guid(50)),)
    assert groups.left_to_do(undo, half) == []
    assert groups.left_to_do(undo, {WEB: line((2, 9, "g"))}) == [undo[0]]
