"""Files come back out of a snapshot, and no path, link or race leads anywhere else."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.utils import getProcessOutput

from hybrid import filenames
from hybrid.deeds import Entry, Folder, Form
from hybrid.errors import NoSuchPath, StorageError, StorageSick
from hybrid.storage.children import Reactor
from hybrid_replicator import jail
from hybrid_replicator.children import ChildFiles
from hybrid_replicator.copying import CHUNK, STAGING, Copying, TooMuch, beside, closing
from hybrid_replicator.files import do
from hybrid_replicator.filework import Copied, CopyTree, Counted, Listed, ListFolder, NotDone, ReadOut, Tidy
from hybrid_replicator.tally import TELL_S, Tally, size_of

REACTOR = cast(Reactor, reactor)
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


def copied(snapshot: Path, live: Path, path: str, copy: str = "") -> int:
    """Restore `path`; the number of files, or the reason as an assertion."""
    answer = do(CopyTree(str(snapshot), str(live), path, copy))
    assert isinstance(answer, Copied), answer
    return answer.files


def listed(root: Path, path: str, after: str = "", limit: int = 1000) -> Folder:
    """The directory, or the reason why not as an assertion."""
    answer = do(ListFolder(str(root), path, after, limit))
    assert isinstance(answer, Listed), answer
    return answer.folder


def read_out(root: Path, path: str, form: Form) -> bytes | NotDone:
    """What would be downloaded, or why nothing is."""
    out = io.BytesIO()
    refused = do(ReadOut(str(root), path, form), out)
    assert refused is None or isinstance(refused, NotDone)
    return refused or out.getvalue()


@pytest.fixture(params=["openat2", "walk"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel in one step, or one component after the other where it cannot."""
    if request.param == "walk":
        monkeypatch.setattr(jail, "SYS_OPENAT2", 9999)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_outside_can_be_listed_read_or_restored(snapshot: Path, live: Path, path: str) -> None:
    """Neither dots nor links nor /proc lead out of a site."""
    forms: tuple[Form, ...] = ("file", "tar", "zip")
    answers = [do(ListFolder(str(snapshot), path, "", 10))]
    answers += (
        [] if path in ("out", "absolute") else [do(ReadOut(str(snapshot), path, form), io.BytesIO()) for form in forms]
    )
    for answer in answers:
        assert isinstance(answer, NotDone) and answer.trouble == "no such path", (path, answer)
    if path not in ("out", "absolute"):
        answer = do(CopyTree(str(snapshot), str(live), path))
        assert isinstance(answer, NotDone) and answer.trouble == "no such path", (path, answer)
        assert list(live.iterdir()) == []


def test_a_directory_is_listed_by_name_with_kinds(snapshot: Path) -> None:
    """People see what was there, links as links."""
    assert [(entry.name, entry.kind) for entry in listed(snapshot, "/").entries] == [
        ("a", "directory"),
        ("absolute", "link"),
        ("fifo", "other"),
        ("file", "file"),
        ("out", "link"),
        ("up", "link"),
        ("within", "link"),
    ]
    at_s = int((snapshot / "a" / "one").stat().st_mtime)
    assert listed(snapshot, "/a/").entries[1] == Entry("one", "file", 1, at_s)


def test_a_large_directory_comes_in_pages(snapshot: Path) -> None:
    """Page after page gives each entry once, whatever its name."""
    names = {f"{number:04}".encode() for number in range(50)} | {b"\xff", b"\\", b"new\nline", "für".encode()}
    for name in names:
        (snapshot / "a" / "b" / os.fsdecode(name)).write_text("")
    found: list[str] = []
    while (page := listed(snapshot, "a/b", found[-1] if found else "", 7)).more:
        assert len(page.entries) == 7
        found += [entry.name for entry in page.entries]
    found += [entry.name for entry in page.entries]
    assert [filenames.given(name) for name in found] == sorted(names | {b"two"})


@given(st.binary(max_size=40))
def test_each_name_has_one_text(name: bytes) -> None:
    """What a listing shows may be given back to any other call, whatever bytes the name has."""
    text = filenames.shown(name)
    assert filenames.given(text) == name
    text.encode()


def test_a_backslash_that_escapes_nothing_is_one() -> None:
    """Who types a name as it is mostly gets what they mean."""
    assert filenames.given("a\\b\\x4") == b"a\\b\\x4"
    assert filenames.given("\\xff\\\\") == b"\xff\\"


def test_names_that_are_no_utf8_are_listed_read_and_restored(snapshot: Path, live: Path) -> None:
    """Odd names are seen, and can be used as they are shown."""
    (snapshot / "a" / os.fsdecode(b"\xff\n")).write_text("odd")
    name = listed(snapshot, "a").entries[-1].name
    assert name == "\\xff\n"
    assert read_out(snapshot, f"a/{name}", "file") == b"odd"
    assert copied(snapshot, live, f"a/{name}") == 1
    assert os.listdir(os.fsencode(live / "a")) == [b"\xff\n"]


def test_only_regular_files_are_read_as_they_are(snapshot: Path) -> None:
    """Fifos do not hang, and links are not followed."""
    assert read_out(snapshot, "a/one", "file") == b"1"
    for path in ("fifo", "within", "a"):
        answer = read_out(snapshot, path, "file")
        assert isinstance(answer, NotDone) and answer.trouble == "no such path"


def test_a_folder_as_tar(snapshot: Path, tmp_path: Path) -> None:
    """Any tar unpacks it: files, folders, links as links, odd names; no fifos, no setuid, nobody's number."""
    (snapshot / "a" / os.fsdecode(b"\xff")).write_text("odd")
    (snapshot / "a" / "one").chmod(0o4755)
    (snapshot / "a" / "inner").symlink_to("b/two")
    os.mkfifo(snapshot / "a" / "fifo")
    data = read_out(snapshot, "a", "tar")
    assert isinstance(data, bytes)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {os.fsencode(member.name): member for member in tar.getmembers()}
        assert sorted(members) == [b"a", b"a/b", b"a/b/two", b"a/inner", b"a/one", b"a/\xff"]
        assert (members[b"a/one"].mode, members[b"a/one"].uid) == (0o755, 0)
        assert members[b"a/inner"].linkname == "b/two"
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=data, check=True)
    assert (tmp_path / "a" / "b" / "two").read_text() == "2"


def test_a_folder_as_zip(snapshot: Path, tmp_path: Path) -> None:
    """The same for those who have no tar; a file alone will do, and so will the whole site."""
    data = read_out(snapshot, "/", "zip")
    assert isinstance(data, bytes)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read("site/a/b/two") == b"2"
        link = archive.getinfo("site/within")
        assert stat.S_ISLNK(link.external_attr >> 16) and archive.read(link) == b"a/one"
        assert "site/fifo" not in archive.namelist()
    alone = read_out(snapshot, "a/one", "zip")
    assert isinstance(alone, bytes)
    with zipfile.ZipFile(io.BytesIO(alone)) as archive:
        assert archive.namelist() == ["one"]


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


def test_a_copy_appears_whole_beside_what_is_there(snapshot: Path, live: Path) -> None:
    """Who is not sure takes a copy: nothing that is there changes, and a second copy gets a number."""
    (live / "a").mkdir()
    (live / "a" / "one").write_text("changed")
    assert copied(snapshot, live, "/a/one", "then") == 1
    assert copied(snapshot, live, "a", "then") == 2
    answer = do(CopyTree(str(snapshot), str(live), "a/", "then"))
    assert answer == Copied(2, "/a (then) 2")
    assert (live / "a" / "one").read_text() == "changed"
    assert (live / "a" / "one (then)").read_text() == "1"
    assert (live / "a (then)" / "b" / "two").read_text() == "2"
    assert sorted(path.name for path in live.iterdir()) == ["a", "a (then)", "a (then) 2"]
    for path in ("fifo", "/", "missing"):
        refused = do(CopyTree(str(snapshot), str(live), path, "copy"))
        assert isinstance(refused, NotDone) and refused.trouble == "no such path"
    assert len(list(live.iterdir())) == 3


def test_names_of_copies_keep_their_endings_and_fit() -> None:
    """A copy of a page is still a page; the longest name has a copy, too."""
    assert beside("one", "2026-11-20 14.05.10") == "one (2026-11-20 14.05.10)"
    assert beside("page.html", "then") == "page (then).html"
    assert beside(".htaccess", "then") == ".htaccess (then)"
    assert beside("archive.some-long-ending", "then") == "archive.some-long-ending (then)"
    assert len(os.fsencode(beside("ü" * 127, "2026-11-20 14.05.10") + " 99")) <= 255


def test_what_a_killed_restore_left_is_removed(snapshot: Path, live: Path) -> None:
    """Half a file lies in one place only, where the next restore and the next start of the node find it."""
    (live / f"{STAGING}dead" / "deep").mkdir(parents=True)
    (live / f"{STAGING}dead" / "deep" / "half").write_text("ha")
    (live / "out").symlink_to("/etc")
    assert do(Tidy(str(live))) == Counted(1)
    assert do(Tidy(str(live))) == Counted(0)
    (live / f"{STAGING}dead").mkdir()
    copied(snapshot, live, "file")
    assert sorted(path.name for path in live.iterdir()) == ["file", "out"]


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
        for copying, path, why in ((Copying(max_depth=10), "deep", "deep"), (Copying(max_entries=3), "", "many")):
            with pytest.raises(TooMuch, match=why), copying.staging(target):
                copying.copy(root, target, path)
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
    files = ChildFiles(REACTOR, REACTOR)
    assert [entry.name for entry in (await files.folder(str(snapshot), "a", "", 10)).entries] == ["b", "one"]
    assert await files.copy(str(snapshot), str(live), "a", "") == (2, "/a")
    assert (await files.compare(str(snapshot / "a"), str(live / "a"), "/", 0)).changes == ()
    (live / f"{STAGING}dead").mkdir()
    assert await files.tidy(str(live)) == 1
    with pytest.raises(NoSuchPath):
        await files.folder(str(snapshot), "../secret", "", 10)
    with pytest.raises(NoSuchPath):
        await files.folder(str(snapshot / "gone"), "/", "", 10)


@pytest_twisted.ensureDeferred
async def test_a_download_is_a_stream_with_an_honest_end(snapshot: Path) -> None:
    """What is too large for memory comes all the same; what cannot be read is refused; what breaks off is no end."""
    files = ChildFiles(REACTOR, REACTOR)
    with (snapshot / "huge").open("wb") as huge:
        huge.truncate(40 * 1024 * 1024)
    source, size = await files.read(str(snapshot), "huge", "file"), 0
    while piece := await source.read():
        size += len(piece)
    assert size == 40 * 1024 * 1024
    (snapshot / "empty").write_text("")
    assert await (await files.read(str(snapshot), "empty", "file")).read() == b""
    with pytest.raises(NoSuchPath):
        await files.read(str(snapshot), "fifo", "file")
    cut = await files.read(str(snapshot), "huge", "tar")
    await cut.abort()
    with pytest.raises(StorageError):
        while await cut.read():
            pass


@pytest_twisted.ensureDeferred
async def test_a_child_reaches_nothing_but_what_it_is_asked_about(tmp_path: Path, snapshot: Path) -> None:
    """A bug in the worker, or a file made to find one, opens nothing of the server: no such file, no device, no key."""
    program = (
        "import os, sys, hybrid_replicator.confining as c\n"
        f"print(c.confine([{str(snapshot)!r}], []))\n"
        f"print(open({str(snapshot / 'file')!r}).read())\n"
        f"for path in ('/etc/passwd', {str(tmp_path / 'secret')!r}):\n"
        "    try: open(path); print('read', path)\n"
        "    except PermissionError: print('kept out')\n"
        f"try: open({str(snapshot / 'new')!r}, 'w'); print('wrote')\n"
        "except PermissionError: print('read only')\n"
        f"try: os.mknod({str(snapshot / 'device')!r}, 0o20600); print('made')\n"
        "except PermissionError: print('no devices')\n"
    )
    output = await getProcessOutput(sys.executable, ["-c", program], errortoo=True, reactor=reactor)
    said = output.decode().splitlines()
    if said[0] != "True":
        pytest.skip("this kernel has no Landlock")
    assert said[1:] == ["old", "kept out", "kept out", "read only", "no devices"]


@pytest_twisted.ensureDeferred
async def test_a_child_that_does_not_answer_is_killed_at_the_deadline(snapshot: Path, live: Path) -> None:
    """A pool that hangs keeps one child waiting and nobody else."""
    (live / "a").mkdir()
    files = ChildFiles(REACTOR, REACTOR, look_s=0.001)
    began_s = time.monotonic()
    with pytest.raises(StorageSick):
        await files.folder(str(snapshot), "a", "", 10)
    assert time.monotonic() - began_s < 5


@pytest_twisted.ensureDeferred
async def test_a_child_that_breaks_off_is_told(snapshot: Path) -> None:
    """A crash of the worker is an error with its last words, not an empty listing."""
    files = ChildFiles(REACTOR, REACTOR, command=[sys.executable, "-m", "hybrid_replicator.no_such_module"])
    with pytest.raises(StorageError, match="no_such_module"):
        await files.folder(str(snapshot), "a", "", 10)


@pytest_twisted.ensureDeferred
async def test_a_restore_tells_how_far_it_is(snapshot: Path, live: Path) -> None:
    """Who waits for a large folder sees the bytes that came and how many there are; links count for nothing."""
    (snapshot / "a" / "b" / "large").write_bytes(os.urandom(3 * CHUNK))
    told: list[tuple[int, int | None]] = []
    files = ChildFiles(REACTOR, REACTOR)
    assert await files.copy(str(snapshot), str(live), "a", "", lambda *both: told.append(both)) == (3, "/a")
    assert told and all(all_bytes == 3 * CHUNK + 2 for _, all_bytes in told)
    assert 0 < told[0][0] <= 3 * CHUNK + 2


def test_a_tally_tells_from_time_to_time(snapshot: Path) -> None:
    """A thousand small files are no thousand reports; what cannot be measured soon is copied without its size."""
    now_s, told = iter(range(100)), list[tuple[int, int | None]]()
    tally = Tally(lambda *both: told.append(both), None, lambda: next(now_s) * TELL_S / 4)
    for _ in range(10):
        tally.copied(100)
    assert [copied_bytes for copied_bytes, _ in told] == [100, 500, 900] or len(told) < 5
    with closing(jail.open_root(str(snapshot))) as root:
        assert size_of(root, "a") == 2 and size_of(root, "/a/one") == 1 and size_of(root, "../secret") is None
        hours = iter(range(0, 3600 * 100, 3600))
        assert size_of(root, "a", lambda: next(hours)) is None
