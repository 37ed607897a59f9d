"""A mapping that shares what did not change with the ones it was made from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid.leaves import FULL, Leaves, unlike

keys = st.text("abc", max_size=3)
entries = st.dictionaries(keys, st.integers(0, 3), max_size=10)


@given(entries, st.lists(st.tuples(entries, st.lists(keys, max_size=4)), max_size=8))
def test_behaves_like_a_dictionary(first: dict[str, int], steps: list[tuple[dict[str, int], list[str]]]) -> None:
    """Whatever is put in and taken out, it holds what a dictionary would; and no earlier one is ever changed."""
    plain, leaves = dict(first), Leaves(first)
    kept = [(dict(plain), leaves)]
    for put, gone in steps:
        leaves = leaves.replaced(put, gone)
        plain = {key: value for key, value in (plain | put).items() if key not in gone}
        kept.append((dict(plain), leaves))
    for expected, made in kept:
        assert dict(made) == dict(made.items()) == expected
        assert sorted(made.values()) == sorted(expected.values())
        assert len(made) == len(expected)


@given(entries, entries, st.lists(keys))
def test_what_differs(old: dict[str, int], put: dict[str, int], gone: list[str]) -> None:
    """The difference of two is what turns the one into the other, whether or not they are related."""
    before = Leaves(old)
    after = before.replaced(put, gone)
    for newer, older in ((after, before), (Leaves(dict(after)), before), (after, dict(before)), (dict(after), before)):
        changed, removed = unlike(newer, older)
        assert before.replaced(changed, removed) == after
        assert all(old.get(key) != value for key, value in changed.items())
        assert removed == sorted(old.keys() - dict(after).keys())


def test_large_ones_share() -> None:
    """Of very many entries a change copies and compares few: values of others are not even looked at."""

    class Loud:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

    many: Leaves[str, object] = Leaves({f"s-{number}": Loud() for number in range(FULL * 100)})
    changed, gone = many.replaced({"s-new": 1}, ["s-7"]).unlike(many)
    assert (changed, gone) == ({"s-new": 1}, ["s-7"])
