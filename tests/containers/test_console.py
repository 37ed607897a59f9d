"""Console logs: bounded, and safe to show."""

from __future__ import annotations

from pathlib import Path

from hybrid_containers import console


def test_the_end_of_the_log_over_a_rotation(tmp_path: Path) -> None:
    """Lines that moved to the older file a moment ago are still shown."""
    (tmp_path / "console.log.1").write_text("one\r\ntwo\r\n")
    (tmp_path / "console.log").write_text("three\r\n")
    assert console.tail(tmp_path, 2) == "two\nthree"
    assert console.tail(tmp_path, 10) == "one\ntwo\nthree"
    assert console.tail(tmp_path / "nowhere", 10) == ""


def test_a_log_cannot_drive_a_terminal(tmp_path: Path) -> None:
    """Escape sequences and control characters that a tenant prints do not reach the reader's terminal."""
    (tmp_path / "console.log").write_bytes(b"\x1b[2Jred \x1b[31mtext\x1b[0m\x07 \x1b]0;title\x07end\x9b1m\ttab\xff\n")
    shown = console.tail(tmp_path, 5)
    assert "\x1b" not in shown
    assert not any(ord(character) < 32 and character not in "\n\t" for character in shown)
    assert "red text end" in shown


def test_a_flood_is_read_in_part(tmp_path: Path) -> None:
    """However large the log, only its end is read."""
    (tmp_path / "console.log").write_bytes(b"x" * 100 + b"\n" + b"y" * 500_000 + b"\nlast\n")
    assert console.tail(tmp_path, 1) == "last"
    assert len(console.tail(tmp_path, 100)) <= console.MAX_READ


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A log that is a link to something else shows nothing of that."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "console.log").symlink_to(tmp_path / "secret")
    assert console.tail(tmp_path, 5) == ""


def test_the_reason_in_lxcs_log(tmp_path: Path) -> None:
    """Of LXC's many lines the user sees the one that says why."""
    log = tmp_path / "lxc.log"
    start = "lxc-start s-1 20261121014637.613"
    log.write_text(
        f"{start} WARN     conf - ../src/lxc/conf.c:lxc_map_ids:3628 - newuidmap binary is missing\n"
        f'{start} ERROR    start - ../src/lxc/start.c:start:2197 - No such file or directory - Failed to exec "/no"\n'
        f"{start} ERROR    start - ../src/lxc/start.c:__lxc_start:2107 - Failed to spawn container\n"
    )
    assert console.last_errors(log) == 'Failed to exec "/no": No such file or directory'
    assert console.last_errors(tmp_path / "nowhere") == ""
