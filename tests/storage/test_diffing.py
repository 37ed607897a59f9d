"""What `zfs diff` writes is read, whatever files are called."""

from hybrid.ports import Change
from hybrid.storage.diffing import changes

OUTPUT = (
    b"M\t/\t/srv/s-1/\n"
    b"M\tF\t/srv/s-1/index.php\n"
    b"+\t/\t/srv/s-1/new\\0040folder\n"
    b"-\t@\t/srv/s-1/a\\0134b\n"
    b"R\tF\t/srv/s-1/old\t/srv/s-1/\\0303\\0274\n"
    b"+\t|\t/srv/s-1/pipe\\0377\n"
    b"?\tF\t/srv/s-1/x\n"
    b"garbage\n"
)


def test_changes_come_by_path_below_the_root() -> None:
    """Spaces, backslashes, letters of any alphabet, bytes of none; the root and what is unknown are left out."""
    assert changes(OUTPUT, "/srv/s-1") == [
        Change("removed", b"a\\b", "link"),
        Change("modified", b"index.php", "file"),
        Change("added", b"new folder", "directory"),
        Change("renamed", b"old", "file", "ü".encode()),
        Change("added", b"pipe\xff", "other"),
    ]


def test_no_change_is_an_empty_list() -> None:
    """Also of a dataset mounted at the root of a chroot."""
    assert changes(b"", "/") == []
    assert changes(b"+\tF\t/f\n", "/") == [Change("added", b"f", "file")]
