"""When a snapshot is due that the application knows of; and what a snapshot's name says of its kind."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster import consistency
from hybrid.manifest import Hooks
from hybrid.model import Claim, Guid, NodeId, SiteId, SiteSpec, Snapshot, Version, name_parts, snapshot_name

NOW_S = 1_790_000_000
SPEC = SiteSpec(
    id=SiteId("s-x"),
    version=Version(1, 0),
    name="x",
    domains=("x.test",),
    image="i@1",
    number=1,
    hooks=Hooks(before=("lock",), after=("unlock",)),
    consistent_every_s=900.0,
)


def history(*taken: tuple[float, str]) -> tuple[Snapshot, ...]:
    """Snapshots so many seconds old, each with its mark."""
    claim = Claim(1, NodeId("n-abcdefgh"))
    names = [snapshot_name(claim, number, mark) for number, (_, mark) in enumerate(taken)]  # type: ignore[arg-type]
    return tuple(Snapshot(Guid(n), names[n], int(NOW_S - ago_s)) for n, (ago_s, _) in enumerate(taken))


def test_due_when_something_changed_since_the_last() -> None:
    """A site at rest is left alone; one that changes is asked every so often, and not with each snapshot."""
    assert consistency.due(SPEC, history((5000, "")), NOW_S)
    assert consistency.due(SPEC, history((5000, "c"), (10, "")), NOW_S)
    assert not consistency.due(SPEC, history((5000, ""), (4000, "c")), NOW_S)
    assert not consistency.due(SPEC, history((500, "c"), (10, "")), NOW_S)
    assert not consistency.due(SPEC, history((500, "b"), (10, "")), NOW_S)
    assert consistency.due(SPEC, history((5000, "c"), (500, "g")), NOW_S)
    assert not consistency.due(SPEC, (), NOW_S)


def test_never_without_hooks_or_where_it_is_not_wanted() -> None:
    """Sites whose images have no hooks cost nothing; an interval of 0 turns it off."""
    changed = history((5000, ""))
    assert not consistency.due(msgspec.structs.replace(SPEC, hooks=Hooks()), changed, NOW_S)
    assert not consistency.due(msgspec.structs.replace(SPEC, consistent_every_s=0.0), changed, NOW_S)


def test_a_snapshot_from_the_future_is_as_if_it_were_not_there() -> None:
    """A clock that was wrong once does not keep a site from having consistent snapshots."""
    assert consistency.due(SPEC, history((-9e6, "c"), (10, "")), NOW_S)


@given(st.integers(0, 999999), st.integers(0, 10**7 - 1), st.sampled_from(["", "c", "g", "b"]))
def test_a_mark_changes_nothing_about_epoch_and_number(epoch: int, counter: int, mark: str) -> None:
    """Elections and retention see the same in a marked name as in a plain one."""
    name = snapshot_name(Claim(epoch, NodeId("n-abcdefgh")), counter, mark)  # type: ignore[arg-type]
    assert name_parts(name) == (epoch, counter)
    kinds = {"": "crash", "c": "consistent", "g": "group", "b": "consistent group"}
    assert Snapshot(Guid(1), name, 0).kind == ("crash" if (epoch, counter) == (0, 0) else kinds[mark])


def test_names_given_by_hand_say_nothing() -> None:
    """Whatever they end with."""
    for name in ("before-the-sale-c", "hyb-1-a-c", "hyb-000001-a-0000001x", "magic", "hyb-000001-a-", ""):
        assert (name_parts(name), Snapshot(Guid(1), name, 0).kind) == ((0, 0), "crash")
