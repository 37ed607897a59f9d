"""The SFTP server, on a folder of this machine: bad input first, then what clients do."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_containers import sftpwire as wire
from hybrid_containers.sftp import HANDLES, NAMES, FileServer
from hybrid_containers.sftpwire import Attributes, BadPacket, Body, Packets, string


class Asking:
    """A client of one server."""

    def __init__(self) -> None:
        self.server = FileServer()
        self._last = 0

    def ask(self, kind: int, body: bytes) -> tuple[int, Body]:
        """What is answered."""
        self._last += 1
        ((kind, told),) = Packets().feed(self.server.answer(kind, struct.pack("!I", self._last) + body))
        answer = Body(told)
        assert answer.number() == self._last
        return kind, answer

    def code(self, kind: int, body: bytes) -> int:
        """The status that is answered."""
        answered, told = self.ask(kind, body)
        assert answered == wire.STATUS
        return told.number()

    def open(self, path: Path, flags: int = wire.FOR_READ) -> bytes:
        """A handle."""
        kind, told = self.ask(wire.OPEN, string(os.fsencode(path)) + struct.pack("!II", flags, 0))
        assert kind == wire.HANDLE
        return told.string()


@pytest.fixture
def client() -> Iterator[Asking]:
    """One that nothing was said to."""
    asking = Asking()
    yield asking
    asking.server.close()


def test_packets_that_are_none() -> None:
    """Too long, empty, or without a number: nothing can follow."""
    for data in (struct.pack("!IB", wire.MAX_PACKET + 1, 3), struct.pack("!IB", 0, 3), b"SSH-2.0-x\r\n"):
        with pytest.raises(BadPacket):
            Packets().feed(data)
    with pytest.raises(BadPacket):
        FileServer().answer(wire.OPEN, b"\0\0")


@pytest.mark.parametrize("kind", [*range(3, 30), 100, 200, 255])
def test_bodies_that_are_cut_off(client: Asking, kind: int) -> None:
    """Each request has its answer, which is an error, and the next one goes on."""
    for body in (b"", b"\0\0\0", b"\xff" * 40, string(b"a\0b")):
        assert client.code(kind, body) in (wire.NO_SUCH_FILE, wire.BAD_MESSAGE, wire.FAILURE, wire.UNSUPPORTED)
    assert client.ask(wire.REALPATH, string(b"."))[0] == wire.NAME


def test_handles_that_are_none(client: Asking, tmp_path: Path) -> None:
    """Never given, closed already, of a folder where a file is needed."""
    (tmp_path / "file").touch()
    file = client.open(tmp_path / "file")
    folder = client.ask(wire.OPENDIR, string(os.fsencode(tmp_path)))[1].string()
    read = struct.pack("!QI", 0, 10)
    for handle in (b"", b"nosuch", folder, b"\0" * 300):
        assert client.code(wire.READ, string(handle) + read) == wire.FAILURE
    assert client.code(wire.READDIR, string(file)) == wire.FAILURE
    assert client.code(wire.CLOSE, string(file)) == wire.OK
    assert client.code(wire.CLOSE, string(file)) == wire.FAILURE


def test_no_more_than_so_many_are_open(client: Asking, tmp_path: Path) -> None:
    """Then one has to be closed first."""
    (tmp_path / "file").touch()
    handles = [client.open(tmp_path / "file") for _ in range(HANDLES)]
    refused = string(os.fsencode(tmp_path / "file")) + struct.pack("!II", wire.FOR_READ, 0)
    assert client.code(wire.OPEN, refused) == wire.FAILURE
    assert client.code(wire.OPENDIR, string(os.fsencode(tmp_path))) == wire.FAILURE
    assert client.code(wire.CLOSE, string(handles[0])) == wire.OK
    client.open(tmp_path / "file")


def test_what_is_no_file_is_not_waited_for(client: Asking, tmp_path: Path) -> None:
    """A pipe without a writer, a device, a folder."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        body = string(os.fsencode(path)) + struct.pack("!II", wire.FOR_READ, 0)
        assert client.code(wire.OPEN, body) == wire.FAILURE


def test_bytes_of_a_file(client: Asking, tmp_path: Path) -> None:
    """Written anywhere, read anywhere, no more at once than fits; the end is told; appended where that is asked for."""
    handle = client.open(tmp_path / "file", wire.FOR_READ | wire.FOR_WRITE | wire.CREATE | wire.EXCLUDE)
    assert client.code(wire.WRITE, string(handle) + struct.pack("!Q", 3) + string(b"data")) == wire.OK
    assert client.ask(wire.READ, string(handle) + struct.pack("!QI", 0, 2**32 - 1))[1].string() == b"\0\0\0data"
    assert client.code(wire.READ, string(handle) + struct.pack("!QI", 7, 1)) == wire.EOF
    assert client.code(wire.READ, string(handle) + struct.pack("!QI", 2**63, 1)) == wire.FAILURE
    adding = client.open(tmp_path / "file", wire.FOR_WRITE | wire.APPEND)
    assert client.code(wire.WRITE, string(adding) + struct.pack("!Q", 0) + string(b"+")) == wire.OK
    assert (tmp_path / "file").read_bytes() == b"\0\0\0data+"
    again = string(os.fsencode(tmp_path / "file")) + struct.pack("!II", wire.FOR_WRITE | wire.CREATE | wire.EXCLUDE, 0)
    assert client.code(wire.OPEN, again) == wire.FAILURE


def test_attributes(client: Asking, tmp_path: Path) -> None:
    """Size, mode and times are set and told; of a link itself only where that is asked for."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"0123456789")
    link.symlink_to("file")
    wanted = Attributes(size=4, mode=0o640, times=(1_000_000_000, 1_100_000_000))
    assert client.code(wire.SETSTAT, string(os.fsencode(link)) + wanted.packed()) == wire.OK
    told = client.ask(wire.STAT, string(os.fsencode(link)))[1].attributes()
    assert (told.size, told.mode, told.times) == (4, 0o100640, wanted.times)
    assert os.lstat(link).st_mtime > 1_500_000_000
    alone = string(b"lsetstat@openssh.com") + string(os.fsencode(link)) + Attributes(times=(5, 6)).packed()
    assert client.code(wire.EXTENDED, alone) == wire.OK
    assert os.lstat(link).st_mtime == 6 and os.stat(link).st_mtime == 1_100_000_000


def test_names(client: Asking, tmp_path: Path) -> None:
    """A folder comes in pieces, each name once, whatever bytes it has; a rename replaces nothing unless asked to."""
    for number in range(NAMES + 20):
        (tmp_path / f"{number}").write_text("x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n")).touch()
    handle = client.ask(wire.OPENDIR, string(os.fsencode(tmp_path)))[1].string()
    found = []
    while (answer := client.ask(wire.READDIR, string(handle)))[0] == wire.NAME:
        for _ in range(answer[1].number()):
            found.append(answer[1].string())
            answer[1].string(), answer[1].attributes()
    assert len(found) == len(set(found)) == NAMES + 21 and b"\xff\n" in found
    one, two = (string(os.fsencode(tmp_path / name)) for name in ("1", "2"))
    assert client.code(wire.RENAME, one + two) == wire.FAILURE
    assert client.code(wire.EXTENDED, string(b"posix-rename@openssh.com") + one + two) == wire.OK
    assert client.code(wire.RENAME, two + one) == wire.OK
    assert client.code(wire.REMOVE, two) == wire.NO_SUCH_FILE
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").mkdir()
    folder, other = (string(os.fsencode(tmp_path / name)) for name in ("folder", "other"))
    assert client.code(wire.RENAME, folder + other) == wire.FAILURE
    assert client.code(wire.RMDIR, other) == wire.OK
    assert client.code(wire.RENAME, folder + other) == wire.OK


def test_a_client_that_talks_nonsense_or_goes(tmp_path: Path) -> None:
    """The server ends, and says why where that helps."""
    words = [sys.executable, "-c", "from hybrid_containers.sftp import serve; serve(0, 1)"]
    done = subprocess.run(
        words, input=b"GET / HTTP/1.1\r\n\r\n", capture_output=True, cwd=tmp_path, check=True, timeout=60
    )
    assert b"no SFTP" in done.stderr and not done.stdout
    hello = wire.packet(wire.INIT, struct.pack("!I", 3))
    done = subprocess.run(words, input=hello, capture_output=True, cwd=tmp_path, check=True, timeout=60)
    assert Packets().feed(done.stdout)[0][0] == wire.VERSION_IS
