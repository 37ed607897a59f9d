"""The mail of both sides of a partition, on real files, with a mail server that goes on meanwhile."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet import reactor

from hybrid.storage.children import Reactor
from hybrid_replicator.children import ChildFiles
from hybrid_replicator.files import do
from hybrid_replicator.filework import Counted, NotDone, UniteMail
from hybrid_replicator.uniting import MARKS

REACTOR = cast(Reactor, reactor)
BOX = "srv/mail/anna"


def put(root: Path, *paths: str, text: str = "mail") -> None:
    """Files, with the three directories that a Maildir has."""
    for path in paths:
        for place in ("cur", "new", "tmp"):
            (root / path).parent.parent.joinpath(place).mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def mail(root: Path) -> set[str]:
    """All files, but for the marks."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and MARKS not in path.parts}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Base, the other branch, and live data, which both come from the base."""
    base, other, live = (tmp_path / name for name in ("base", "other", "live"))
    put(base, f"{BOX}/new/1", f"{BOX}/cur/2:2,S", f"{BOX}/cur/3:2,")
    for branch in (other, live):
        shutil.copytree(base, branch)
    return base, other, live


def united(base: Path | None, other: Path, live: Path, tag: str = "t") -> int:
    """Steps done, or the reason as an assertion."""
    answer = do(UniteMail(str(base) if base else None, str(other), str(live), "", tag))
    assert isinstance(answer, Counted), answer
    return answer.steps


def test_mail_of_both_sides_is_there(trees: tuple[Path, Path, Path]) -> None:
    """New mail, read mail, deleted mail and new folders of the other side come to what happened here."""
    base, other, live = trees
    put(other, f"{BOX}/new/4", f"{BOX}/.Sent/cur/5:2,S", text="from there")
    (other / BOX / "new" / "1").rename(other / BOX / "cur" / "1:2,S")
    (other / BOX / "cur" / "3:2,").unlink()
    put(live, f"{BOX}/new/6", text="from here")
    assert united(base, other, live) == 4
    assert mail(live) == {f"{BOX}/{path}" for path in ("cur/1:2,S", "cur/2:2,S", "new/4", "new/6", ".Sent/cur/5:2,S")}
    assert (live / BOX / "new" / "4").read_text() == "from there"
    assert {path.name for path in (live / BOX / ".Sent").iterdir()} == {"cur", "new", "tmp"}


def test_done_once_it_is_not_done_again(trees: tuple[Path, Path, Path]) -> None:
    """A message that was brought and then deleted stays deleted, wherever the data went meanwhile."""
    base, other, live = trees
    put(other, f"{BOX}/new/4")
    assert united(base, other, live) == 1
    (live / BOX / "new" / "4").unlink()
    elsewhere = live.with_name("elsewhere")
    shutil.copytree(live, elsewhere)
    assert (united(base, other, live), united(base, other, elsewhere)) == (0, 0)
    assert f"{BOX}/new/4" not in mail(live) | mail(elsewhere)
    assert united(base, other, live, tag="another stash") == 1


def test_what_a_crash_left_half_done_is_finished(trees: tuple[Path, Path, Path]) -> None:
    """Whatever was done before the power went, the next call does the rest."""
    base, other, live = trees
    put(other, *(f"{BOX}/new/{number}" for number in range(10, 20)))
    (other / BOX / "cur" / "2:2,S").rename(other / BOX / "cur" / "2:2,RS")
    put(live, *(f"{BOX}/new/{number}" for number in range(10, 15)), f"{BOX}/new/.hybrid-restoring-abc-1")
    assert united(base, other, live) == 6
    assert {f"{BOX}/new/{number}" for number in range(10, 20)} | {f"{BOX}/cur/2:2,RS"} <= mail(live)


def test_without_a_base_nothing_is_removed(trees: tuple[Path, Path, Path]) -> None:
    """Two histories with nothing in common: all mail of both."""
    _, other, live = trees
    (other / BOX / "cur" / "3:2,").unlink()
    put(other, f"{BOX}/new/9")
    assert united(None, other, live) == 1
    assert f"{BOX}/cur/3:2," in mail(live)


def test_two_messages_of_one_name_are_both_kept(trees: tuple[Path, Path, Path]) -> None:
    """Both servers may have made the same name in the same second."""
    base, other, live = trees
    put(live, f"{BOX}/new/7.x", text="one")
    put(other, f"{BOX}/new/7.x", text="another")
    assert united(base, other, live) == 1
    assert (live / BOX / "new" / "7.x").read_text() == "one"
    assert (live / BOX / "new" / "7.x_t").read_text() == "another"


def test_other_files_and_links_are_left_alone(trees: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Only mail: no index, no configuration; and no link leads anywhere."""
    base, other, live = trees
    (tmp_path / "secret").mkdir()
    put(tmp_path / "secret", "box/new/1")
    for branch in (other, live):
        (branch / "srv" / "link").symlink_to(tmp_path / "secret" / "box")
        (branch / "etc").mkdir()
    (other / "etc" / "passwd").write_text("theirs")
    (other / BOX / "dovecot.index").write_text("theirs")
    (other / BOX / "cur" / "8:2,").symlink_to("/etc/passwd")
    assert united(base, other, live) == 0
    assert mail(live) == mail(base)


def test_a_mark_that_is_a_link_is_refused(trees: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A tenant cannot make the node write elsewhere."""
    base, other, live = trees
    (tmp_path / "elsewhere").mkdir()
    (live / MARKS).symlink_to(tmp_path / "elsewhere")
    answer = do(UniteMail(str(base), str(other), str(live), "", "t"))
    assert isinstance(answer, NotDone)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_by_the_child_process(trees: tuple[Path, Path, Path]) -> None:
    """As the node does it."""
    base, other, live = trees
    put(other, f"{BOX}/new/4")
    files = ChildFiles(REACTOR, REACTOR, command=(sys.executable, "-m", "hybrid_replicator.files"))
    assert await files.unite(str(base), str(other), str(live), "", "t") == 1
    assert f"{BOX}/new/4" in mail(live)
