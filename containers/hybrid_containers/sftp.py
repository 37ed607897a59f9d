"""
Files by SFTP, for who logged in: answers requests with what this process may do, where it is. Does I/O.

It is run within a container, as its root (`inside`), so every path, link and permission is the container's own: nothing
is checked here that the kernel checks. No program of the image is needed. The standard library only.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from hybrid_containers import sftpwire as wire
from hybrid_containers.sftpwire import Attributes, BadPacket, Body, Packets, reply, status, string

HANDLES = 256
NAMES = 100
"""In one answer to READDIR."""
CHUNK = 64 * 1024
HALF_A_YEAR_S = 15_768_000
_Kept = TypeVar("_Kept")
_EXTENSIONS: tuple[tuple[bytes, bytes], ...] = (
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
)
"""Those of OpenSSH's PROTOCOL, section 4."""
_CODES = {
    errno.ENOENT: wire.NO_SUCH_FILE,
    errno.ENOTDIR: wire.NO_SUCH_FILE,
    errno.ELOOP: wire.NO_SUCH_FILE,
    errno.EACCES: wire.PERMISSION_DENIED,
    errno.EPERM: wire.PERMISSION_DENIED,
    errno.EROFS: wire.PERMISSION_DENIED,
}


class Refused(Exception):
    """A request that cannot be done: `code` of `sftpwire`, and why."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class FileServer:
    """One client's files. Paths that are not absolute begin where this process is."""

    def __init__(self) -> None:
        self._files: dict[bytes, tuple[int, bool]] = {}
        """Descriptors, and whether to write at the end."""
        self._folders: dict[bytes, Iterator[os.DirEntry[bytes]]] = {}
        self._last = 0

    def answer(self, kind: int, body: bytes) -> bytes:
        """The answer to one packet. Raises `BadPacket` for what has not even a number."""
        if kind == wire.INIT:
            told = struct.pack("!I", wire.VERSION) + b"".join(string(n) + string(v) for n, v in _EXTENSIONS)
            return wire.packet(wire.VERSION_IS, told)
        asked = Body(body)
        number = asked.number()
        deed = _DEEDS.get(kind)
        if deed is None:
            return status(number, wire.UNSUPPORTED, "this is not known here")
        try:
            done = deed(self, asked)
        except BadPacket as error:
            return status(number, wire.BAD_MESSAGE, str(error))
        except Refused as error:
            return status(number, error.code, str(error))
        except OSError as error:
            code = _CODES.get(error.errno or 0, wire.FAILURE)
            return status(number, code, error.strerror or "it failed")
        except (ValueError, OverflowError) as error:  # a number that the kernel cannot be given
            return status(number, wire.FAILURE, str(error))
        return status(number, wire.OK, "done") if done is None else reply(done[0], number, done[1])

    def close(self) -> None:
        """Let everything go."""
        for descriptor, _ in self._files.values():
            os.close(descriptor)
        self._files.clear()
        self._folders.clear()

    # ------------------------------------------------------------------------------------------------------- files

    def _open(self, asked: Body) -> _Done:
        path, wanted, attributes = asked.path(), asked.number(), asked.attributes()
        reads, writes = bool(wanted & wire.FOR_READ), bool(wanted & wire.FOR_WRITE)
        flags = os.O_RDWR if reads and writes else os.O_WRONLY if writes else os.O_RDONLY
        for asked_for, flag in ((wire.CREATE, os.O_CREAT), (wire.TRUNCATE, os.O_TRUNC), (wire.EXCLUDE, os.O_EXCL)):
            flags |= flag if wanted & asked_for else 0
        self._check_room()
        mode = 0o666 if attributes.mode is None else attributes.mode & 0o7777
        flags |= os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY  # a pipe that nobody writes to would be waited for
        descriptor = os.open(path, flags, mode)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Refused(wire.FAILURE, "this is no file")
        return wire.HANDLE, string(self._keep(self._files, (descriptor, bool(wanted & wire.APPEND))))

    def _close(self, asked: Body) -> _Done:
        handle = asked.string()
        if handle in self._files:
            os.close(self._files.pop(handle)[0])
        elif self._folders.pop(handle, None) is None:
            raise Refused(wire.FAILURE, "nothing of that handle is open")
        return None

    def _read(self, asked: Body) -> _Done:
        descriptor, _ = self._file(asked)
        offset, length = asked.long(), asked.number()
        data = os.pread(descriptor, min(length, wire.MAX_DATA), offset)
        if not data and length:
            raise Refused(wire.EOF, "the end")
        return wire.DATA, string(data)

    def _write(self, asked: Body) -> _Done:
        descriptor, appends = self._file(asked)
        offset, data = asked.long(), asked.string()
        if appends:
            offset = os.fstat(descriptor).st_size
        while data:
            written = os.pwrite(descriptor, data, offset)
            data, offset = data[written:], offset + written
        return None

    def _file(self, asked: Body) -> tuple[int, bool]:
        found = self._files.get(asked.string())
        if found is None:
            raise Refused(wire.FAILURE, "no file of that handle is open")
        return found

    def _check_room(self) -> None:
        if len(self._files) + len(self._folders) >= HANDLES:
            raise Refused(wire.FAILURE, "too many files are open")

    def _keep(self, where: dict[bytes, _Kept], thing: _Kept) -> bytes:
        self._last += 1
        handle = struct.pack("!I", self._last)
        where[handle] = thing
        return handle

    # -------------------------------------------------------------------------------------------------- attributes

    def _stat(self, asked: Body) -> _Done:
        return wire.ATTRS, _attributes(os.stat(asked.path())).packed()

    def _lstat(self, asked: Body) -> _Done:
        return wire.ATTRS, _attributes(os.lstat(asked.path())).packed()

    def _fstat(self, asked: Body) -> _Done:
        return wire.ATTRS, _attributes(os.fstat(self._file(asked)[0])).packed()

    def _setstat(self, asked: Body) -> _Done:
        _change(asked.path(), asked.attributes())
        return None

    def _fsetstat(self, asked: Body) -> _Done:
        _change(self._file(asked)[0], asked.attributes())
        return None

    def _lsetstat(self, asked: Body) -> _Done:
        _change(asked.path(), asked.attributes(), follow=False)
        return None

    # ----------------------------------------------------------------------------------------------------- folders

    def _opendir(self, asked: Body) -> _Done:
        self._check_room()
        return wire.HANDLE, string(self._keep(self._folders, os.scandir(asked.path())))

    def _readdir(self, asked: Body) -> _Done:
        entries = self._folders.get(asked.string())
        if entries is None:
            raise Refused(wire.FAILURE, "no folder of that handle is open")
        found = []
        for entry in entries:
            try:
                found.append(_name(entry.name, entry.stat(follow_symlinks=False)))
            except FileNotFoundError:  # it just went
                continue
            if len(found) == NAMES:
                break
        if not found:
            raise Refused(wire.EOF, "the end")
        return wire.NAME, struct.pack("!I", len(found)) + b"".join(found)

    def _mkdir(self, asked: Body) -> _Done:
        path, attributes = asked.path(), asked.attributes()
        os.mkdir(path, 0o777 if attributes.mode is None else attributes.mode & 0o7777)
        return None

    def _rmdir(self, asked: Body) -> _Done:
        os.rmdir(asked.path())
        return None

    def _remove(self, asked: Body) -> _Done:
        os.unlink(asked.path())
        return None

    def _realpath(self, asked: Body) -> _Done:
        return wire.NAME, struct.pack("!I", 1) + _bare(os.path.realpath(asked.path()))

    # ------------------------------------------------------------------------------------------------------- links

    def _readlink(self, asked: Body) -> _Done:
        return wire.NAME, struct.pack("!I", 1) + _bare(os.readlink(asked.path()))

    def _symlink(self, asked: Body) -> _Done:
        """Target first, as OpenSSH does; the draft has it the other way round."""
        target, path = asked.path(), asked.path()
        os.symlink(target, path)
        return None

    def _hardlink(self, asked: Body) -> _Done:
        old, new = asked.path(), asked.path()
        os.link(old, new, follow_symlinks=False)
        return None

    def _rename(self, asked: Body) -> _Done:
        """Replaces nothing."""
        old, new = asked.path(), asked.path()
        if stat.S_ISREG(os.lstat(old).st_mode):
            try:
                os.link(old, new, follow_symlinks=False)
            except FileExistsError:
                raise
            except OSError:  # no hard links there
                self._rename_other(old, new)
            else:
                os.unlink(old)
        else:
            self._rename_other(old, new)
        return None

    def _rename_other(self, old: bytes, new: bytes) -> None:
        if os.path.lexists(new):
            raise Refused(wire.FAILURE, "there is something of that name")
        os.rename(old, new)

    def _posix_rename(self, asked: Body) -> _Done:
        old, new = asked.path(), asked.path()
        os.replace(old, new)
        return None

    # -------------------------------------------------------------------------------------------------- extensions

    def _extended(self, asked: Body) -> _Done:
        deed = _EXTENDED.get(asked.string())
        if deed is None:
            raise Refused(wire.UNSUPPORTED, "this is not known here")
        return deed(self, asked)

    def _statvfs(self, asked: Body) -> _Done:
        return wire.EXTENDED_REPLY, _room(os.statvfs(asked.path()))

    def _fstatvfs(self, asked: Body) -> _Done:
        return wire.EXTENDED_REPLY, _room(os.fstatvfs(self._file(asked)[0]))

    def _fsync(self, asked: Body) -> _Done:
        os.fsync(self._file(asked)[0])
        return None

    def _limits(self, asked: Body) -> _Done:
        return wire.EXTENDED_REPLY, struct.pack("!4Q", wire.MAX_PACKET, wire.MAX_DATA, wire.MAX_DATA, HANDLES)


_Done = tuple[int, bytes] | None
"""Kind and body of an answer; `None`: done."""
_DEEDS: dict[int, Callable[[FileServer, Body], _Done]] = {
    wire.OPEN: FileServer._open,
    wire.CLOSE: FileServer._close,
    wire.READ: FileServer._read,
    wire.WRITE: FileServer._write,
    wire.LSTAT: FileServer._lstat,
    wire.FSTAT: FileServer._fstat,
    wire.SETSTAT: FileServer._setstat,
    wire.FSETSTAT: FileServer._fsetstat,
    wire.OPENDIR: FileServer._opendir,
    wire.READDIR: FileServer._readdir,
    wire.REMOVE: FileServer._remove,
    wire.MKDIR: FileServer._mkdir,
    wire.RMDIR: FileServer._rmdir,
    wire.REALPATH: FileServer._realpath,
    wire.STAT: FileServer._stat,
    wire.RENAME: FileServer._rename,
    wire.READLINK: FileServer._readlink,
    wire.SYMLINK: FileServer._symlink,
    wire.EXTENDED: FileServer._extended,
}
_EXTENDED: dict[bytes, Callable[[FileServer, Body], _Done]] = {
    b"posix-rename@openssh.com": FileServer._posix_rename,
    b"statvfs@openssh.com": FileServer._statvfs,
    b"fstatvfs@openssh.com": FileServer._fstatvfs,
    b"hardlink@openssh.com": FileServer._hardlink,
    b"fsync@openssh.com": FileServer._fsync,
    b"lsetstat@openssh.com": FileServer._lsetstat,
    b"limits@openssh.com": FileServer._limits,
}


def _attributes(found: os.stat_result) -> Attributes:
    times = int(found.st_atime), int(found.st_mtime)
    return Attributes(found.st_size, (found.st_uid & 0xFFFFFFFF, found.st_gid & 0xFFFFFFFF), found.st_mode, times)


def _change(what: bytes | int, to: Attributes, follow: bool = True) -> None:
    """Size first: it changes the times."""
    if to.size is not None:
        os.truncate(what, to.size)
    if to.owner is not None:
        if isinstance(what, int):
            os.chown(what, *to.owner)
        else:
            os.chown(what, *to.owner, follow_symlinks=follow)
    if to.mode is not None and follow:  # links have none
        os.chmod(what, to.mode & 0o7777)
    if to.times is not None:
        if isinstance(what, int):
            os.utime(what, to.times)
        else:
            os.utime(what, to.times, follow_symlinks=follow)


def _name(name: bytes, found: os.stat_result) -> bytes:
    """As READDIR tells it: for programs, and as `ls -l` shows it, for people."""
    is_new = abs(time.time() - found.st_mtime) < HALF_A_YEAR_S
    when = time.strftime("%b %d %H:%M" if is_new else "%b %d  %Y", time.gmtime(found.st_mtime))
    who = f"{stat.filemode(found.st_mode)} {found.st_nlink:>4} {found.st_uid:<8} {found.st_gid:<8}"
    line = f"{who} {found.st_size:>8} {when} "
    return string(name) + string(line.encode() + name) + _attributes(found).packed()


def _bare(path: bytes) -> bytes:
    return string(path) + string(path) + Attributes().packed()


def _room(found: os.statvfs_result) -> bytes:
    flags = found.f_flag & 3  # read-only, no setuid: as OpenSSH numbers them
    blocks = found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail
    files = found.f_files, found.f_ffree, found.f_favail
    others = found.f_fsid & 0xFFFFFFFFFFFFFFFF, flags, found.f_namemax
    return struct.pack("!11Q", *blocks, *files, *others)


def serve(incoming: int, outgoing: int) -> None:
    """Answer what comes, until no more does or it is no SFTP."""
    server, packets = FileServer(), Packets()
    os.umask(0o022)
    try:
        while data := os.read(incoming, CHUNK):
            for kind, body in packets.feed(data):
                answer = server.answer(kind, body)
                while answer:
                    answer = answer[os.write(outgoing, answer) :]
    except BadPacket as error:
        os.write(2, f"this is no SFTP: {error}\n".encode())
    except BrokenPipeError:
        pass
    finally:
        server.close()
