"""Lines of access logs that wait: none lost while there is room, none twice, and never more than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid.hosting.backlog import ALL_BYTES, PIECE_BYTES, SITE_BYTES, Backlog
from hybrid.model import SiteId

SHOP, BLOG = SiteId("s-shop"), SiteId("s-blog")


def drained(backlog: Backlog, site: SiteId) -> list[bytes]:
    """All that waits, taken piece by piece."""
    found: list[bytes] = []
    while site in backlog.sites():
        taken = backlog.take(site)
        assert taken and sum(map(len, taken)) <= PIECE_BYTES
        found += taken
    return found


@given(st.lists(st.tuples(st.sampled_from(["add", "fail", "take"]), st.integers(1, 40_000)), max_size=60))
def test_nothing_is_lost_or_twice(steps: list[tuple[str, int]]) -> None:
    """Whatever fails in between: lines come out whole, in their order, once, but for the oldest beyond the bound."""
    backlog, written, said = Backlog(), [], []
    for number, (step, size) in enumerate(steps):
        if step == "add":
            said.append(b"%06d%s\n" % (number, b"x" * size))
            backlog.add(SHOP, said[-1])
        elif SHOP in backlog.sites():
            taken = backlog.take(SHOP)
            if step == "take":
                written += taken
            else:
                backlog.put_back(SHOP, taken)
    written += drained(backlog, SHOP)
    assert len(written) == len(said) - backlog.lost
    assert written == sorted(set(written)) and set(written) <= set(said)
    if sum(map(len, said)) <= SITE_BYTES:
        assert written == said


def test_a_site_that_cannot_be_written_to() -> None:
    """Keeps its newest lines, within its bound, and takes no room from others."""
    backlog, line = Backlog(), b"x" * 9_999 + b"\n"
    for _ in range(1000):
        backlog.add(SHOP, line)
    backlog.add(BLOG, b"one\n")
    assert len(drained(backlog, SHOP)) == SITE_BYTES // len(line) and backlog.lost == 1000 - SITE_BYTES // len(line)
    assert drained(backlog, BLOG) == [b"one\n"]


def test_thousands_of_sites_that_cannot_be_written_to() -> None:
    """There is one bound for all of them; what there is no room for is counted, and forgetting some makes room."""
    backlog, line = Backlog(), b"x" * 99_999 + b"\n"
    sites = [SiteId(f"s-{number}") for number in range(2 * ALL_BYTES // len(line))]
    for site in sites:
        backlog.add(site, line)
    assert len(backlog.sites()) == ALL_BYTES // len(line) and backlog.lost == len(sites) - ALL_BYTES // len(line)
    backlog.forget(sites[0])
    backlog.add(SHOP, line)
    assert drained(backlog, SHOP) == [line]


def test_a_line_that_is_too_long() -> None:
    """Is left out, rather than stand in the way of all others."""
    backlog = Backlog()
    backlog.add(SHOP, b"x" * (PIECE_BYTES + 1))
    assert backlog.sites() == [] and backlog.lost == 1
