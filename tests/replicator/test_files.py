"""Files come back out of a snapshot, and no path, link or race leads anywhere else."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from hybrid.deeds import MAX_FILE_READ, Entry
from hybrid.errors import NoSuchPath, StorageError, StorageSick, TooLarge
from hybrid_replicator.children import ChildFiles
from hybrid_replicator.copying import Copying, TooMuch
from hybrid_replicator.files import do
from hybrid_replicator.filework import Content, Copied, CopyTree, Listed, ListEntries, NotDone, ReadContent

ESCAPES = [
    "../secret",
    "/../secret",
    "a/../../secret",
    "out",
    "out/passwd",
    "up/secret",
    "absolute",
    "/proc/self/root/etc/passwd",
    "a/b/../../../secret",
    "missing",
    "file/inside-a-file",
    "x" * 300,
    "zero\0byte",
]


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A mounted snapshot with a secret beside it and links that try to reach it."""
    (tmp_path / "secret").write_text("secret")
    root = tmp_path / "snapshot"
    (root / "a" / "b").mkdir(parents=True)
    (root / "file").write_text("old")
    (root / "a" / "one").write_text("1")
    (root / "a" / "b" / "two").write_text("2")
    (root / "out").symlink_to("/etc")
    (root / "up").symlink_to("..")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "within").symlink_to("a/one")
    os.mkfifo(root / "fifo")
    return root


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Live data, empty."""
    (tmp_path / "live").mkdir()
    return tmp_path / "live"


def copied(snapshot: Path, live: Path, path: str) -> int:
    """Restore `path`; the number of files, or the reason as an assertion."""
    answer = do(CopyTree(str(snapshot), str(live), path))
    assert isinstance(answer, Copied), answer
    return answer.files


@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_outside_can_be_listed_read_or_restored(snapshot: Path, live: Path, path: str) -> None:
    """Neither dots nor links nor /proc lead out of a site."""
    for work in (
        ListEntries(str(snapshot), path),
        ReadContent(str(snapshot), path, 100),
    ):
        answer = do(work)
        assert isinstance(answer, NotDone) and answer.trouble == "no such path", (path, answer)
    if path not in ("out", "absolute"):
        answer = do(CopyTree(str(snapshot), str(live), path))
        assert isinstance(answer, NotDone) and answer.trouble == "no such path", (path, answer)
        assert list(live.iterdir()) == []


def test_a_directory_is_listed_by_name_with_kinds(snapshot: Path) -> None:
    """People see what was there, links as links."""
    answer = do(ListEntries(str(snapshot), "/"))
    assert isinstance(answer, Listed)
    assert [(entry.name, entry.kind) for entry in answer.entries] == [
        ("a", "directory"),
        ("absolute", "link"),
        ("fifo", "other"),
        ("file", "file"),
        ("out", "link"),
        ("up", "link"),
        ("within", "link"),
    ]
    inner = do(ListEntries(str(snapshot), "/a/"))
    assert isinstance(inner, Listed)
    assert inner.entries[1] == Entry("one", "file", 1, int((snapshot / "a" / "one").stat().st_mtime))


def test_names_that_are_no_utf8_are_shown_escaped(snapshot: Path) -> None:
    """Odd names are seen, and break nothing."""
    (Path(os.fsdecode(os.fsencode(snapshot) + b"/a/\xff\n"))).write_text("odd")
    answer = do(ListEntries(str(snapshot), "a"))
    assert isinstance(answer, Listed) and answer.entries[-1].name == "\\xff\n"


def test_only_regular_files_are_read_and_only_up_to_the_limit(snapshot: Path) -> None:
    """Fifos do not hang, links are not followed, and large files are refused before they are read."""
    assert do(ReadContent(str(snapshot), "a/one", 100)) == Content(b"1")
    for path in ("fifo", "within", "a"):
        answer = do(ReadContent(str(snapshot), path, 100))
        assert isinstance(answer, NotDone) and answer.trouble == "no such path"
    answer = do(ReadContent(str(snapshot), "file", 2))
    assert isinstance(answer, NotDone) and answer.trouble == "too large"


def test_one_file_comes_back_as_it_was(snapshot: Path, live: Path) -> None:
    """Content, owner, permissions, times; the folder it was in comes back with it."""
    two = snapshot / "a" / "b" / "two"
    os.chown(two, 1033, 1034)
    os.chown(two.parent, 1035, 1036)
    two.chmod(0o4751)
    two.parent.chmod(0o2710)
    os.utime(two, (1000, 2000))
    assert copied(snapshot, live, "/a/b/two") == 1
    status = (live / "a" / "b" / "two").stat()
    assert (live / "a" / "b" / "two").read_text() == "2"
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime) == (1033, 1034, 0o751, 2000)
    folder = (live / "a" / "b").stat()
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (1035, 1036, 0o710)
    assert sorted(path.name for path in (live / "a" / "b").iterdir()) == ["two"]


def test_a_folder_comes_back_and_newer_files_stay(snapshot: Path, live: Path) -> None:
    """A restore overwrites what is in the snapshot and removes nothing."""
    (live / "a").mkdir()
    (live / "a" / "one").write_text("changed")
    (live / "a" / "new").write_text("new")
    assert copied(snapshot, live, "a") == 2
    assert (live / "a" / "one").read_text() == "1"
    assert (live / "a" / "new").read_text() == "new"
    assert (live / "a" / "b" / "two").read_text() == "2"


def test_everything_comes_back(snapshot: Path, live: Path) -> None:
    """The whole site: links as links, no fifos."""
    assert copied(snapshot, live, "/") == 7
    assert os.readlink(live / "out") == "/etc" and os.readlink(live / "within") == "a/one"
    assert not (live / "fifo").exists()


def test_what_is_of_another_kind_is_renamed_and_kept(snapshot: Path, live: Path) -> None:
    """A folder where a file was, or the other way round, is not lost."""
    (live / "file").mkdir()
    (live / "file" / "precious").write_text("kept")
    (live / "a").write_text("kept too")
    copied(snapshot, live, "file")
    copied(snapshot, live, "a")
    assert (live / "file").read_text() == "old"
    assert (live / "a" / "one").read_text() == "1"
    kept = sorted(path.name for path in live.iterdir() if "before-restore" in path.name)
    assert len(kept) == 2
    assert (live / kept[0]).read_text() == "kept too"
    assert (live / kept[1] / "precious").read_text() == "kept"


def test_links_in_live_data_do_not_lead_a_restore_astray(snapshot: Path, live: Path, tmp_path: Path) -> None:
    """A user who turns a folder into a link to somewhere else gets nothing written there."""
    (tmp_path / "elsewhere").mkdir()
    (live / "a").symlink_to(tmp_path / "elsewhere")
    answer = do(CopyTree(str(snapshot), str(live), "a/one"))
    assert isinstance(answer, NotDone) and answer.trouble == "no such path"
    copied(snapshot, live, "a")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (live / "a").is_dir() and not (live / "a").is_symlink()
    (live / "file").symlink_to(tmp_path / "secret")
    copied(snapshot, live, "file")
    assert (tmp_path / "secret").read_text() == "secret"
    assert (live / "file").read_text() == "old"


def test_holes_stay_holes(snapshot: Path, live: Path) -> None:
    """A sparse file of a gigabyte does not fill the disk."""
    with (snapshot / "sparse").open("wb") as sparse:
        sparse.truncate(64 * 1024 * 1024)
        sparse.seek(32 * 1024 * 1024)
        sparse.write(b"data")
    copied(snapshot, live, "sparse")
    assert (live / "sparse").read_bytes() == (snapshot / "sparse").read_bytes()
    assert (live / "sparse").stat().st_blocks * 512 < 4 * 1024 * 1024


def test_limits_end_a_restore(snapshot: Path, live: Path) -> None:
    """Neither a million entries nor endless folders keep a server busy for ever."""
    folder = snapshot / "deep"
    for _ in range(20):
        folder.mkdir()
        folder = folder / "d"
    root, target = os.open(snapshot, os.O_RDONLY), os.open(live, os.O_RDONLY)
    try:
        with pytest.raises(TooMuch, match="deep"):
            Copying(max_depth=10).copy(root, target, "deep")
        with pytest.raises(TooMuch, match="many"):
            Copying(max_entries=3).copy(root, target, "")
    finally:
        os.close(root)
        os.close(target)


def test_nothing_temporary_stays_when_a_file_cannot_be_written(snapshot: Path, live: Path) -> None:
    """A restore that fails leaves the old file, and no half of the new one."""
    (live / "file").write_text("newer")
    os.setxattr(live, "user.x", b"")
    (live / "a").mkdir()
    os.chmod(live / "a", 0o500)
    answer = do(CopyTree(str(snapshot), str(live / "nowhere"), "file"))
    assert isinstance(answer, NotDone)
    assert (live / "file").read_text() == "newer"
    assert [path.name for path in live.iterdir() if path.name.startswith(".hybrid")] == []


# ------------------------------------------------------------------------------------------- the child process


@pytest_twisted.ensureDeferred
async def test_a_child_does_the_work_and_its_errors_are_ours(snapshot: Path, live: Path) -> None:
    """The node itself never opens a tenant's file; what the child says comes back as the port's errors."""
    files = ChildFiles(reactor, reactor)
    assert [entry.name for entry in await files.entries(str(snapshot), "a")] == ["b", "one"]
    assert await files.content(str(snapshot), "a/one") == b"1"
    assert await files.copy(str(snapshot), str(live), "a") == 2
    with pytest.raises(NoSuchPath):
        await files.entries(str(snapshot), "../secret")
    with (snapshot / "huge").open("wb") as huge:
        huge.truncate(MAX_FILE_READ + 1)
    with pytest.raises(TooLarge):
        await files.content(str(snapshot), "huge")
    with pytest.raises(NoSuchPath):
        await files.entries(str(snapshot / "gone"), "/")


@pytest_twisted.ensureDeferred
async def test_a_child_that_does_not_answer_is_killed_at_the_deadline(snapshot: Path, live: Path) -> None:
    """A pool that hangs keeps one child waiting and nobody else."""
    (live / "a").mkdir()
    files = ChildFiles(reactor, reactor, look_s=0.001)
    began_s = time.monotonic()
    with pytest.raises(StorageSick):
        await files.entries(str(snapshot), "a")
    assert time.monotonic() - began_s < 5


@pytest_twisted.ensureDeferred
async def test_a_child_that_breaks_off_is_told(snapshot: Path) -> None:
    """A crash of the worker is an error with its last words, not an empty listing."""
    files = ChildFiles(reactor, reactor, command=[sys.executable, "-m", "hybrid_replicator.no_such_module"])
    with pytest.raises(StorageError, match="no_such_module"):
        await files.entries(str(snapshot), "a")
