"""The story's own arithmetic: figures that flatter nobody."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hybrid.lab import measures, promises, report
from hybrid.lab.command import LabError
from hybrid.lab.counting import ids_in_database
from hybrid.lab.measures import Answered, Resolved, Sighting

KEPT = promises.Figures(
    **{promise.name: True if promise.limit is True else 0 for promise in promises.PROMISES},  # type: ignore[arg-type]  # by name
    writes_acked=7,
    writes_on_main_line=5,
    writes_in_stash=2,
    stashes=1,
)


def test_a_lag_ends_when_a_peer_holds_a_snapshot_taken_surely_after_the_write() -> None:
    """A snapshot of the same second may be older than the write, so it does not count."""
    sightings = [Sighting(13.0, 12.0), Sighting(11.0, 10.0), Sighting(12.0, 11.0)]
    assert measures.lags([10.5, 10.0, 12.5], sightings) == [1.5, 1.0, None]


@pytest.mark.parametrize(("part", "value"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_percentiles_are_measured_values(part: float, value: float) -> None:
    """Nearest rank: no interpolation that nobody experienced."""
    assert measures.percentile([4.0, 1.0, 3.0, 2.0], part) == value
    assert measures.percentile([], part) is None


def test_served_again_means_for_good() -> None:
    """A success between failures is none; requests from before the kill prove nothing; quiet must last."""
    heard = [
        Answered(9.0, 21.0, True),
        Answered(10.5, 11.0, True),
        Answered(12.0, 13.0, False),
        Answered(14.0, 20.0, True),
        Answered(20.2, 20.3, True),
    ]
    assert measures.served_again_s(10.0, 26.0, heard, 5.0) == 10.0
    assert measures.served_again_s(10.0, 24.0, heard, 5.0) is None
    assert measures.served_again_s(10.0, 26.0, heard[:3], 5.0) is None


def test_dns_has_moved_when_no_later_answer_names_the_dead() -> None:
    """Owner first and the dead address nowhere; silence is no wrong answer, but no proof either."""
    heard = [
        Resolved(9.0, ("dead",)),
        Resolved(11.0, ("new", "dead")),
        Resolved(12.0, ("other", "new")),
        Resolved(13.0, None),
        Resolved(14.0, ("new", "other")),
    ]
    assert measures.moved_s(10.0, heard, "dead", "new") == 4.0
    assert measures.moved_s(10.0, heard[:4], "dead", "new") is None
    assert measures.moved_s(10.0, heard[3:4], "dead", "new") is None


def test_all_promises_kept() -> None:
    """The file has every figure the issue names."""
    judged = promises.verdicts(KEPT)
    assert promises.all_kept(judged)
    written = promises.as_json(KEPT, judged)
    assert set(written) == {*promises.NAMES, "promises_kept"}
    assert written["promises_kept"][0] == {"name": "lag_p50_s", "target": "<= 5 s", "measured": 0, "ok": True}
    assert "7 writes acknowledged: 5 on the main line, 2 only in a stash, 0 lost; 1 stashes." in report.table(
        KEPT, judged
    )


@pytest.mark.parametrize(("name", "value", "ok"), [("failover_s", 20.1, False), ("writes_lost", 1, False)])
def test_a_broken_promise_fails_the_story(name: str, value: float, ok: bool) -> None:
    """One is enough."""
    figures = promises.Figures(**{key: getattr(KEPT, key) for key in promises.NAMES})
    setattr(figures, name, value)
    judged = promises.verdicts(figures)
    assert not promises.all_kept(judged)
    assert [verdict.ok for verdict in judged if verdict.promise.name == name] == [ok]


def test_what_was_not_measured_is_not_kept() -> None:
    """It says so, with the reason, in the file and in the table."""
    figures = promises.Figures(**{key: getattr(KEPT, key) for key in promises.NAMES})
    figures.failover_s, figures.reasons["failover_s"] = None, "the owner would not die"
    judged = promises.verdicts(figures)
    entry = next(entry for entry in promises.as_json(figures, judged)["promises_kept"] if entry["name"] == "failover_s")
    assert entry == {
        "name": "failover_s",
        "target": "<= 20 s",
        "measured": None,
        "ok": None,
        "reason": "the owner would not die",
    }
    assert not promises.all_kept(judged)
    assert "the owner would not die" in report.table(figures, judged)


def test_a_database_with_a_hot_journal_is_rolled_back_as_after_a_crash(tmp_path: Path) -> None:
    """What a snapshot caught half-way counts as SQLite would count it, not as garbage."""
    live = tmp_path / "live.sqlite"
    database = sqlite3.connect(live, isolation_level=None)
    database.execute("CREATE TABLE entry (id TEXT)")
    database.execute("INSERT INTO entry VALUES ('kept')")
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN")
    database.executemany("INSERT INTO entry VALUES (?)", [(f"half-{n}-{'x' * 500}",) for n in range(500)])
    copy = tmp_path / "guestbook.sqlite"
    copy.write_bytes(live.read_bytes())
    journal = Path(f"{live}-journal").read_bytes()
    assert journal
    Path(f"{copy}-journal").write_bytes(journal)
    assert ids_in_database(copy) == ["kept"]


def test_a_stash_without_a_guestbook_says_so(tmp_path: Path) -> None:
    """It is not counted as empty."""
    with pytest.raises(LabError, match="no /srv/data"):
        ids_in_database(tmp_path / "none")
