"""Access logs are written among a site's files as the site's user, whatever a tenant left in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_containers import logfiles
from hybrid_containers.logfiles import FILE_BYTES, KEPT

BASE = 1_065_536
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


class Site:
    """Data of a site, mounted; its log, and what it was told of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "var/log/hybrid/access.log"

    def append(self, *lines: bytes, owner: int = BASE) -> str:
        """As the platform does it; why it could not be done."""
        data = b"".join(lines)
        (why,) = written((str(self.root), owner, data))
        return why


def written(*records: tuple[str, int, bytes]) -> list[str]:
    """Several sites in one child."""
    script = [sys.executable, "-I", "-S", logfiles.__file__]
    given = b"".join(json.dumps([root, owner, len(data)]).encode() + b"\n" + data for root, owner, data in records)
    done = subprocess.run(script, input=given, capture_output=True, check=True, timeout=60)
    whys: list[str] = json.loads(done.stdout)
    return whys


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A small one, of 64 MiB."""
    root = tmp_path / "site"
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "hybrid-test", root], capture_output=True)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    for folder in ("", "var", "var/log"):
        (root / folder).mkdir(exist_ok=True)
        os.chown(root / folder, BASE, BASE)
    yield Site(root)
    subprocess.run(["umount", root], check=True)


def test_lines_are_added_as_the_site_s_user(site: Site) -> None:
    """The file counts for its quota, can be read and removed by its root, and by nobody else in it."""
    assert site.append(b"one\n") == site.append(b"two\n", b"three\n") == ""
    assert site.log.read_bytes() == b"one\ntwo\nthree\n"
    for path in (site.log, site.log.parent):
        assert (path.stat().st_uid, path.stat().st_gid) == (BASE, BASE)
    assert site.log.stat().st_mode & 0o777 == 0o640


def test_files_are_put_aside(site: Site) -> None:
    """A log takes no more than a bounded part of a quota: whole files go, the oldest first, and none is cut."""
    line = b"x" * (FILE_BYTES // 2 - 1) + b"\n"
    for number in range(2 * KEPT + 4):
        assert site.append(b"%c" % (97 + number) + line[1:]) == ""
    names = sorted(path.name for path in site.log.parent.iterdir())
    assert names == ["access.log", *(f"access.log.{number}" for number in range(1, KEPT + 1))]
    newest_first = [site.log, *(site.log.parent / name for name in names[1:])]
    assert all(path.stat().st_size == FILE_BYTES for path in newest_first)
    assert [path.read_bytes()[:1] for path in newest_first] == [b"k", b"i", b"g", b"e", b"c"]


def test_a_full_quota(site: Site) -> None:
    """The last room is the site's; nothing is half written, and there is an answer that says why."""
    assert site.append(b"one\n") == ""
    (site.root / "data").write_bytes(b"x" * 62 * 1024 * 1024)
    assert "used up" in site.append(b"two\n")
    assert site.log.read_bytes() == b"one\n"
    (site.root / "data").unlink()
    assert site.append(b"two\n") == ""
    assert site.log.read_bytes() == b"one\ntwo\n"


def test_what_is_not_mounted(tmp_path: Path) -> None:
    """Nothing is written into the folder that a site's data will be mounted over."""
    root = tmp_path / "site"
    root.mkdir()
    assert "not mounted" in Site(root).append(b"one\n")
    assert list(root.iterdir()) == []
    assert Site(tmp_path / "nowhere").append(b"one\n")


@pytest.mark.parametrize("place", ["var", "var/log", "var/log/hybrid"])
def test_links_lead_nowhere(site: Site, tmp_path: Path, place: str) -> None:
    """A folder that is a link to one of the node's is looked for among the site's own files."""
    outside = tmp_path / "outside"
    (outside / "hybrid").mkdir(parents=True)
    outside.chmod(0o777)
    path = site.root / place
    if path.exists():
        subprocess.run(["rm", "-r", path], check=True)
    path.symlink_to(f"../../../..{outside}" if place == "var" else outside)
    site.append(b"one\n")
    assert [found.name for found in outside.rglob("*")] == ["hybrid"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "another's"])
def test_what_stands_in_the_way_of_the_file(site: Site, kind: str) -> None:
    """Is left alone, keeps nobody waiting, and is said."""
    site.append(b"one\n")
    site.log.unlink()
    victim = site.root / "victim"
    victim.write_text("mine")
    if kind == "link":
        site.log.symlink_to("/victim")
    elif kind == "pipe":
        os.mkfifo(site.log)
        os.chown(site.log, BASE, BASE)
    elif kind == "folder":
        site.log.mkdir()
    else:
        site.log.write_text("")
        os.chown(site.log, BASE + 33, BASE + 33)
    assert site.append(b"two\n")
    assert victim.read_text() == "mine"


def test_one_site_s_trouble_is_not_another_s(site: Site, tmp_path: Path) -> None:
    """Several are written in one child; each gets an answer of its own, in their order."""
    nowhere = str(tmp_path / "nowhere"), BASE, b"one\n"
    whys = written(nowhere, (str(site.root), BASE, b"one\n"), nowhere)
    assert [bool(why) for why in whys] == [True, False, True]
    assert site.log.read_bytes() == b"one\n"
