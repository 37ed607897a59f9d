"""Mail that came in on both sides of a partition is all there afterwards, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_replicator.maildir import Bring, Files, Move, Remove, Step, message, union

NAMES = ["1.a", "2.a,S=7", "3.b"]
FOLDERS = ["", "box", "box/.Sent"]


@st.composite
def branches(draw: st.DrawFn) -> Files:
    """A few messages, in few folders, with few flags, so that branches meet often."""
    files: dict[str, int] = {}
    for folder in draw(st.sets(st.sampled_from(FOLDERS))):
        for name in draw(st.sets(st.sampled_from(NAMES))):
            info = draw(st.sampled_from(["", ":2,", ":2,S", ":2,FS", ":2,RSa"]))
            place = "cur" if info else "new"
            files["/".join(filter(None, (folder, place, name + info)))] = draw(st.sampled_from([7, 8]))
    return files


def done(main: Files, other: Files, steps: tuple[Step, ...]) -> Files:
    """The main line after the steps."""
    files = dict(main)
    for step in steps:
        match step:
            case Bring(source, target):
                files[target] = other[source]
            case Move(source, target):
                files[target] = files.pop(source)
            case Remove(path):
                del files[path]
    return files


def contents(files: Files) -> dict[tuple[str, str], tuple[frozenset[str], int]]:
    """What people see: messages by folder and name, their flags, their sizes."""
    read = [one for path, size in files.items() if (one := message(path, size))]
    return {one.key: (one.flags, one.size_bytes) for one in read}


@given(branches(), branches(), branches())
def test_nothing_that_came_in_is_lost(base: Files, main: Files, other: Files) -> None:
    """Every message of either side is there, but for those that a side deleted and the other did not touch."""
    before, ours, theirs = contents(base), contents(main), contents(other)
    after = contents(done(main, other, union(base, main, other, "t")))
    for key in ours.keys() | theirs.keys():
        sides = [side[key] for side in (ours, theirs) if key in side]
        deleted = len(sides) == 1 and key in before and sides[0][0] == before[key][0]
        assert (key in after) != deleted
    assert sum(size for _, size in after.values()) >= max(
        sum(size for key, (_, size) in side.items() if key not in before) for side in (ours, theirs)
    )


@given(branches(), branches(), branches())
def test_uniting_again_changes_nothing(base: Files, main: Files, other: Files) -> None:
    """Done twice is done once."""
    once = done(main, other, union(base, main, other, "t"))
    assert union(base, once, other, "t") == ()


@given(branches(), branches(), branches(), st.integers(0, 12))
def test_a_crash_in_the_middle_changes_nothing(base: Files, main: Files, other: Files, number: int) -> None:
    """Whatever steps were done before the power went, doing all of it again comes to the same."""
    steps = union(base, main, other, "t")
    whole = done(main, other, steps)
    part = done(main, other, steps[:number])
    assert done(part, other, union(base, part, other, "t")) == whole


@given(branches(), branches(), branches())
def test_who_won_does_not_matter(base: Files, main: Files, other: Files) -> None:
    """Whichever branch became the main line, people find the same messages with the same flags."""
    same = {path: 7 for path in main}, {path: 7 for path in other}
    one = done(same[0], same[1], union(base, same[0], same[1], "t"))
    two = done(same[1], same[0], union(base, same[1], same[0], "t"))
    assert contents(one) == contents(two)


@given(branches(), branches())
def test_a_side_that_did_nothing_changes_nothing(base: Files, main: Files) -> None:
    """If the other branch is as the base was, the main line stays as it is; if the main line is, it takes all over."""
    sized = {path: 7 for path in base}
    assert contents(done(main, sized, union(sized, main, sized, "t"))) == contents(main)
    assert contents(done(sized, main, union(sized, sized, main, "t"))).keys() == contents(main).keys()


@pytest.mark.parametrize(
    ("base", "main", "other", "steps"),
    [
        ({}, {}, {"new/1": 5}, (Bring("new/1", "new/1"),)),
        ({"new/1": 5}, {"new/1": 5}, {"cur/1:2,S": 5}, (Move("new/1", "cur/1:2,S"),)),
        ({"new/1": 5}, {"new/1": 5}, {"cur/1:2,": 5}, (Move("new/1", "cur/1:2,"),)),
        ({"new/1": 5}, {"cur/1:2,F": 5}, {"cur/1:2,S": 5}, (Move("cur/1:2,F", "cur/1:2,FS"),)),
        ({"cur/1:2,S": 5}, {"cur/1:2,Sa": 5}, {"cur/1:2,b": 5}, (Move("cur/1:2,Sa", "cur/1:2,a"),)),
        ({"cur/1:2,S": 5}, {"cur/1:2,S": 5}, {}, (Remove("cur/1:2,S"),)),
        ({"cur/1:2,S": 5}, {"cur/1:2,FS": 5}, {}, ()),
        ({"cur/1:2,S": 5}, {}, {"cur/1:2,S": 5}, ()),
        ({"cur/1:2,S": 5}, {}, {"cur/1:2,RS": 5}, (Bring("cur/1:2,RS", "cur/1:2,RS"),)),
        ({"new/1": 5}, {"cur/1:2,": 5}, {}, (Remove("cur/1:2,"),)),
        ({}, {"new/1,S=5": 5}, {"new/1,S=5": 6}, (Bring("new/1,S=5", "new/1_t,S=5"),)),
        (
            {"cur/1:2,S": 5},
            {"cur/1:2,S": 5},
            {".Archive/cur/1:2,S": 5},
            (Bring(".Archive/cur/1:2,S", ".Archive/cur/1:2,S"), Remove("cur/1:2,S")),
        ),
        ({}, {}, {"tmp/1": 5, "dovecot.index": 9, "cur/.hidden": 1, "cur": 2, "new/": 3}, ()),
    ],
)
def test_each_rule(base: Files, main: Files, other: Files, steps: tuple[Step, ...]) -> None:
    """What is decided for one message, case by case."""
    assert union(base, main, other, "t") == steps
