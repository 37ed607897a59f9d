"""
Moves the bulk of a stream between a pipe and a connection, in a process of its own. Shell; the standard library alone.

Run as a script, so that it begins in little time. Its standard input is a Unix socket, over which comes first an order
(a line of JSON, see `hybrid.cluster.pumping`) together with the two descriptors (SCM_RIGHTS, unix(7)), then a line each
with the bytes that may have been moved in all. On its standard output it says `ready`, `shaken` once the other pump has
proved who it is, how many bytes were moved and how many of these did not travel, from time to time, and in the end
`end`, with what was kept back, or `broken` when the pipe takes no more. What goes wrong besides is told on its standard
error.

On the connection it speaks TLS 1.3 with the certificates of both nodes, as the connection did before: blocks of data,
each with its length before it (4 bytes, big-endian), one of length 0 at the end. It leaves no byte too much read. The
first bit of a length says that the block is compressed, each for itself (Zstandard, RFC 8878); none is unless the
receiving node said that it takes that.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socket
import ssl
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from types import ModuleType
from typing import Any

BLOCK = 256 * 1024
"""Bytes in one block at most, compressed or not."""
SQUEEZED = 1 << 31
"""Set in the length of a compressed block."""
LEVEL = 3
"""Zstandard's own choice: some 200 MB/s of a core, which is more than slow lines take."""
REPORT_BYTES = 4 * 1024 * 1024
REPORT_S = 0.5
"""What was moved is told after so much of it, or so long."""
PATIENCE_S = 120.0
"""A connection or pipe on which nothing moves for so long is left. Whoever waits for this process waits less long."""

Codec = Callable[[memoryview], bytes]


class Broken(Exception):
    """The pipe's reader is gone."""


class Orders:
    """
    What comes from the process that started this one, and what it is told.

    Made when it has come. Raises `EOFError`: the other process is gone.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(0))
        data, descriptors, _, _ = socket.recv_fds(self._socket, 65536, 2)
        if len(descriptors) != 2:
            raise EOFError("nobody waits for this stream")
        self.connection, self.pipe = socket.socket(fileno=descriptors[0]), descriptors[1]
        self._unread = data
        self._told, self._told_s = 0, time.monotonic()
        self.saved = 0
        """Bytes that were moved and did not have to travel."""
        self._allowed = 0

    def line(self) -> bytes:
        """The next line. Raises `EOFError`: the other process is gone."""
        while b"\n" not in self._unread:
            more = self._socket.recv(65536)
            if not more:
                raise EOFError("nobody waits for this stream")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def room(self, moved: int) -> int:
        """How many bytes may be moved after those `moved`; waits until that is at least one."""
        while self._allowed <= moved:
            if self._told < moved:
                self._tell(moved)
            self._allowed = int(self.line())
        return self._allowed - moved

    def moved(self, total: int) -> None:
        """So much was moved in all."""
        if total - self._told >= REPORT_BYTES or time.monotonic() - self._told_s >= REPORT_S:
            self._tell(total)

    def _tell(self, total: int) -> None:
        self._told, self._told_s = total, time.monotonic()
        say(f"{total} {self.saved}")

    def end(self, total: int, kept: bytes = b"") -> None:
        """That was all."""
        self._tell(total)
        say(f"end {b64encode(kept).decode()}")


def send(orders: Orders, connection: ssl.SSLSocket, squeeze: Codec | None) -> None:
    """From the pipe to the connection."""
    block = memoryview(bytearray(4 + BLOCK))
    moved = 0
    while size := read(orders.pipe, block[4 : 4 + min(BLOCK, orders.room(moved))]):
        squeezed = b"" if squeeze is None else squeeze(block[4 : 4 + size])
        if squeezed and len(squeezed) < size:
            connection.sendall((SQUEEZED | len(squeezed)).to_bytes(4, "big") + squeezed)
            orders.saved += size - len(squeezed)
        else:
            block[:4] = size.to_bytes(4, "big")
            connection.sendall(block[: 4 + size])
        moved += size
        orders.moved(moved)
    connection.sendall(bytes(4))
    orders.end(moved)


def receive(orders: Orders, connection: ssl.SSLSocket, held: bytes, unsqueeze: Codec) -> None:
    """From the connection to the pipe: `held` first, and as many bytes of the end are kept back."""
    kept = len(held)
    buffer = memoryview(bytearray(kept + BLOCK))
    buffer[:kept] = held
    head = memoryview(bytearray(4))
    moved = 0
    while (told := block_size(connection, head)) & ~SQUEEZED:
        orders.room(moved)
        size = told & ~SQUEEZED
        fill(connection, buffer[kept : kept + size])
        if told & SQUEEZED:
            data = unsqueeze(buffer[kept : kept + size])
            orders.saved += len(data) - size
            size = len(data)
            buffer[kept : kept + size] = data
        write(orders.pipe, buffer[:size])
        buffer[:kept] = bytes(buffer[size : size + kept])
        moved += size
        orders.moved(moved)
    orders.end(moved, bytes(buffer[:kept]))


def block_size(connection: ssl.SSLSocket, head: memoryview) -> int:
    """What stands before the next block: its length on the way, and whether it is `SQUEEZED`."""
    fill(connection, head)
    told = int.from_bytes(head, "big")
    if told & ~SQUEEZED > BLOCK:
        raise ValueError(f"a block of {told} bytes")
    return told


def squeezer(order: dict[str, Any]) -> Codec | None:
    """What compresses a block, if that is wanted."""
    if not order["squeeze"]:
        return None
    library = zstd(order)
    return lambda data: library.compress(data, LEVEL)


def unsqueezer(order: dict[str, Any]) -> Codec:
    """What takes a compressed block: all of it, and not more than a block may be. Raises `ValueError`."""

    def whole(data: memoryview) -> bytes:
        library = zstd(order)
        block = library.ZstdDecompressor()
        try:
            found: bytes = block.decompress(data, BLOCK + 1)
        except library.ZstdError as error:
            raise ValueError(f"a block cannot be decompressed: {error}") from error
        if not block.eof or len(found) > BLOCK or not found:
            raise ValueError("a compressed block is cut, or longer than it may be")
        return found

    return whole


def zstd(order: dict[str, Any]) -> ModuleType:
    """The library: Python's own, or the same for older ones."""
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    if order["library"] not in sys.path:
        sys.path.append(order["library"])
    return importlib.import_module("backports.zstd")


def fill(connection: ssl.SSLSocket, buffer: memoryview) -> None:
    """Exactly so many bytes. Raises `EOFError`."""
    at = 0
    while at < len(buffer):
        got = connection.recv_into(buffer[at:])
        if not got:
            raise EOFError("the connection was cut")
        at += got


def read(pipe: int, into: memoryview) -> int:
    """Some bytes; 0 at the end."""
    while True:
        try:
            return os.readv(pipe, [into])
        except BlockingIOError:
            wait(pipe, select.POLLIN)


def write(pipe: int, data: memoryview) -> None:
    """All of it. Raises `Broken`."""
    while data:
        try:
            data = data[os.write(pipe, data) :]
        except BlockingIOError:
            wait(pipe, select.POLLOUT)
        except BrokenPipeError as error:
            raise Broken from error


def wait(pipe: int, event: int) -> None:
    """Until the pipe is ready, or broken."""
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(PATIENCE_S * 1000):
        raise TimeoutError("nothing moved in the pipe")


def shake(connection: socket.socket, order: dict[str, Any]) -> ssl.SSLSocket:
    """TLS with the peer that the order names, and no other. Raises `OSError` (of which TLS's errors are)."""
    accepting = order["way"] == "receive"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if accepting else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=b64decode(order["root"]))
    if accepting:
        context.num_tickets = 0  # nothing may come after the handshake: the other side would never read it
    secret = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(secret, order["identity"].encode())
        context.load_cert_chain(f"/proc/self/fd/{secret}")
    finally:
        os.close(secret)
    connection.settimeout(PATIENCE_S)
    shaken = context.wrap_socket(connection, server_side=accepting, suppress_ragged_eofs=False)
    if shaken.getpeercert(binary_form=True) != b64decode(order["peer"]):
        raise OSError("the other pump is of another node")
    return shaken


def say(line: str) -> None:
    """Tell the process that started this one."""
    os.write(1, line.encode() + b"\n")


def main() -> None:
    """See the module."""
    say("ready")
    try:
        orders = Orders()
        order = json.loads(orders.line())
        connection = shake(orders.connection, order)
        say("shaken")
        if order["way"] == "send":
            send(orders, connection, squeezer(order))
        else:
            receive(orders, connection, b64decode(order["held"]), unsqueezer(order))
    except Broken:
        say("broken")
    except (OSError, EOFError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
