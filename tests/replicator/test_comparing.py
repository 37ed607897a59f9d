"""What is told of two moments of a site."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from hybrid.deeds import Difference, Differences
from hybrid.ports import Change
from hybrid_replicator.comparing import Comparison, surely_untouched
from hybrid_replicator.copying import TooMuch
from hybrid_replicator.files import do
from hybrid_replicator.filework import Compare, Compared, NotDone
from hybrid_replicator.renames import Found, difference, paired
from hybrid_replicator.touched import MOST, folders


def settled_s() -> int:
    """All files are older."""
    return int(time.time()) + 100


def compared(old: Path, new: Path, path: str = "/") -> list[tuple[str, str, str]]:
    """`(change, path, was)` of each difference."""
    answer = do(Compare(str(old), str(new), path, settled_s()))
    assert isinstance(answer, Compared), answer
    return [(one.change, one.path, one.was) for one in answer.differences.changes]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The earlier moment. (Files of a snapshot keep their inodes; hard links stand in for that here.)"""
    root = tmp_path / "old"
    (root / "folder" / "deep").mkdir(parents=True)
    (root / "page").write_text("page")
    (root / "folder" / "deep" / "file").write_text("file")
    (root / "folder" / "other").write_text("other")
    (root / "link").symlink_to("page")
    return root


@pytest.fixture
def new(old: Path, tmp_path: Path) -> Path:
    """The later one, the same so far."""
    shutil.copytree(old, tmp_path / "new", symlinks=True, copy_function=os.link)
    return tmp_path / "new"


def replace(path: Path, text: str) -> None:
    """Other content under the same name."""
    path.unlink()
    path.write_text(text)


def test_nothing_changed(old: Path, new: Path) -> None:
    """Two equal moments are told to be equal, without reading what they hold."""
    assert compared(old, new) == []
    comparison = Comparison(settled_s())
    assert comparison.compare(os.open(old, os.O_RDONLY), os.open(new, os.O_RDONLY), "") == Differences(())


def test_added_changed_and_deleted(old: Path, new: Path) -> None:
    """Each kind of change, by path, with sizes."""
    replace(new / "page", "another page")
    (new / "folder" / "other").unlink()
    (new / "added").mkdir()
    (new / "added" / "inner").write_text("1")
    (new / "link").unlink()
    (new / "link").symlink_to("elsewhere")
    assert compared(old, new) == [
        ("added", "added", ""),
        ("added", "added/inner", ""),
        ("deleted", "folder/other", ""),
        ("changed", "link", ""),
        ("changed", "page", ""),
    ]
    answer = do(Compare(str(old), str(new), "/", settled_s()))
    assert isinstance(answer, Compared)
    page = answer.differences.changes[-1]
    assert page == Difference(change="changed", path="page", kind="file", old_bytes=4, new_bytes=12)


def test_a_file_that_was_restored_is_the_same(old: Path, new: Path) -> None:
    """Another inode and time with the same content, owner and mode are no change; another mode is one."""
    replace(new / "page", "page")
    assert compared(old, new) == []
    (new / "page").chmod(0o600)
    assert compared(old, new) == [("changed", "page", "")]
    replace(new / "page", "PAGE")
    (new / "page").chmod((old / "page").stat().st_mode)
    assert compared(old, new) == [("changed", "page", "")]


def test_a_change_within_a_second_is_seen(old: Path) -> None:
    """Where times are told in whole seconds, a file that changed right after the earlier moment looks untouched."""
    status = (old / "page").stat()
    assert surely_untouched(status, status, int(status.st_ctime) + 2)
    assert not surely_untouched(status, status, int(status.st_ctime))
    assert not surely_untouched(status, (old / "link").lstat(), int(status.st_ctime) + 2)


def test_a_file_that_was_moved(old: Path, new: Path) -> None:
    """A rename is told as one, with where it was."""
    (new / "page").rename(new / "folder" / "moved")
    assert compared(old, new) == [("renamed", "folder/moved", "page")]


def test_a_folder_that_was_moved_is_one_change() -> None:
    """What moves along with its folder is not told again, what changed in it is."""
    before = [Found("a", "directory", 1, 0, 0), Found("a/x", "file", 2, 5, 7), Found("a/y", "file", 3, 5, 7)]
    after = [Found("b", "directory", 1, 0, 0), Found("b/x", "file", 2, 5, 7), Found("b/z", "file", 4, 5, 7)]
    told = [difference(pair) for pair in paired(before, after)]
    assert [(one.change, one.path, one.was) for one in told] == [
        ("renamed", "b", "a"),
        ("renamed", "b/x", "a/x"),
        ("deleted", "a/y", ""),
        ("added", "b/z", ""),
    ]


def test_a_number_that_was_used_again_is_no_rename() -> None:
    """ZFS gives the number of a deleted file to a new one: another kind, size or time is another file."""
    for new in (Found("b", "directory", 1, 5, 7), Found("b", "file", 1, 6, 7), Found("b", "file", 1, 5, 8)):
        assert [one.new is None for one in paired([Found("a", "file", 1, 5, 7)], [new])] == [True, False]


def test_a_file_that_became_a_folder(old: Path, new: Path) -> None:
    """Another kind is another thing."""
    (new / "page").unlink()
    (new / "page").mkdir()
    (new / "page" / "inner").write_text("")
    assert compared(old, new) == [("deleted", "page", ""), ("added", "page", ""), ("added", "page/inner", "")]


def test_a_folder_that_is_in_one_of_them_only(old: Path, new: Path) -> None:
    """A part of a site may be looked at that did not exist then, but not one that never did."""
    (new / "added").mkdir()
    (new / "added" / "inner").write_text("1")
    assert compared(old, new, "/added") == [("added", "added/inner", "")]
    for path in ("nowhere", "../old", "link", "page"):
        answer = do(Compare(str(old), str(new), path, settled_s()))
        assert isinstance(answer, NotDone) and answer.trouble == "no such path"


def test_limits(old: Path, new: Path) -> None:
    """A comparison of too much ends; one with too many changes tells the first of them, and that there are more."""
    for number in range(10):
        (new / f"n{number}").write_text("")
    before, after = os.open(old, os.O_RDONLY), os.open(new, os.O_RDONLY)
    told = Comparison(settled_s(), max_changes=3).compare(before, after, "")
    assert ([one.path for one in told.changes], told.complete) == (["n0", "n1", "n2"], False)
    with pytest.raises(TooMuch):
        Comparison(settled_s(), max_entries=5).compare(before, after, "")
    os.close(before)
    os.close(after)


def test_only_folders_that_were_touched_are_walked(old: Path, new: Path) -> None:
    """What the pool says is enough, renamed folders and all; what it does not name is not looked into."""
    replace(new / "page", "another page")
    replace(new / "folder" / "other", "another text")
    (new / "folder" / "deep").rename(new / "moved")
    everything = compared(old, new)
    changes = [
        Change("modified", b"page", "file"),
        Change("modified", b"folder/other", "file"),
        Change("renamed", b"folder/deep", "directory", b"moved"),
    ]
    answer = do(Compare(str(old), str(new), "/", settled_s(), folders(changes)))
    assert isinstance(answer, Compared)
    assert [(one.change, one.path, one.was) for one in answer.differences.changes] == everything != []
    answer = do(Compare(str(old), str(new), "/", settled_s(), folders(changes[:1])))
    assert isinstance(answer, Compared)
    assert [one.path for one in answer.differences.changes if one.path.startswith("folder/")] == []


def test_folders_are_told_with_all_above_them() -> None:
    """Of a renamed one both; of too many nothing, and the whole is walked."""
    assert folders([]) == ()
    assert folders([Change("added", b"top", "file")]) == (b"",)
    changes = [Change("renamed", b"a/b/c", "file", b"x/y"), Change("removed", b"a/z", "file")]
    assert folders(changes) == (b"", b"a", b"a/b", b"x")
    assert folders([Change("added", b"%d/x" % number, "file") for number in range(MOST + 1)]) is None
