"""Shifting the owners of a site's files into its range: complete, repeatable, never astray."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from hybrid_containers.id_shift import of_namespace, shift, shifted

BASE = 1_065_536
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def owners(path: Path) -> set[tuple[int, int]]:
    """All owners below `path`, links themselves included."""
    found = [path, *path.rglob("*")]
    return {(entry.lstat().st_uid, entry.lstat().st_gid) for entry in found}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small image: folders, a setuid program, a link that leads out, a hard link."""
    top = tmp_path / "image"
    (top / "etc" / "deep").mkdir(parents=True)
    (top / "etc" / "file").write_text("x")
    (top / "setuid").write_text("x")
    (top / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").write_text("x")
    os.link(top / "etc" / "file", top / "again")
    os.chown(top / "etc" / "file", 33, 34)
    (top / "setuid").chmod(0o6755)
    return top


def test_each_owner_has_one_place() -> None:
    """Image owners move into the range, those in it stay, another site's are refused."""
    assert shifted(0, BASE) == BASE
    assert shifted(65535, BASE) == BASE + 65535
    assert shifted(BASE + 33, BASE) == BASE + 33
    with pytest.raises(ValueError, match="neither"):
        shifted(BASE + 65536, BASE)


@root_only
def test_all_files_move_and_nothing_outside(tree: Path) -> None:
    """Files, folders and links get the site's owners; what a link points at does not; setuid bits stay."""
    assert shift(str(tree), BASE) == 6  # the hard link is done with its other name
    assert owners(tree) == {(BASE, BASE), (BASE + 33, BASE + 34)}
    assert (tree.parent / "outside").stat().st_uid == os.geteuid()
    assert stat.S_IMODE((tree / "setuid").stat().st_mode) == 0o6755


@root_only
def test_it_may_be_repeated(tree: Path) -> None:
    """Done is done; and after a crash in the middle, a second run finishes the rest."""
    shift(str(tree), BASE)
    assert shift(str(tree), BASE) == 0
    os.chown(tree, 0, 0)  # as if it had stopped before the last step
    (tree / "late").write_text("x")
    assert shift(str(tree), BASE) == 2
    assert {uid for uid, _ in owners(tree)} <= set(range(BASE, BASE + 65536))


@root_only
def test_another_sites_files_are_refused(tree: Path) -> None:
    """Files of another range are never given away silently."""
    os.chown(tree / "setuid", 5_000_000, 5_000_000)
    with pytest.raises(ValueError, match="5000000"):
        shift(str(tree), BASE)


def test_a_file_capability_counts_in_the_container_only() -> None:
    """`cap_net_bind_service` of an image's program becomes one for the container's own root."""
    version_2 = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    version_3 = of_namespace(version_2, BASE)
    assert struct.unpack("<IIIIII", version_3) == (0x03000001, 1 << 10, 0, 0, 0, BASE)
    assert of_namespace(version_3, BASE) == version_3
