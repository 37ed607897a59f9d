"""
Many datagrams with one system call each way, recvmmsg(2) and sendmmsg(2), which Python's sockets do not offer. Shell.

By `ctypes`: the memory is laid out once as the kernel wants it, and seen through `memoryview`s. IPv4 only.
"""

from __future__ import annotations

import ctypes
import functools

COUNT = 64
MAX_IN, MAX_OUT = 4096, 512
STRIDE = MAX_IN + 64
"""From one datagram to the next: not a power of two, or their heads would compete for the same lines of the cache."""
PLACE = 16
"""Bytes of a `sockaddr_in`: family, port, address, nothing."""
_MSG_DONTWAIT = 0x40


class _Part(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Head(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = (("head", _Head), ("length", ctypes.c_uint))


_MESSAGE = ctypes.sizeof(_Message)
LENGTHS_STEP, LENGTHS_FIRST = _MESSAGE // 4, _Message.length.offset // 4
SIZES_STEP, SIZES_FIRST = ctypes.sizeof(_Part) // 8, _Part.length.offset // 8


class Trays:
    """
    Room for `COUNT` datagrams that came and a reply to each; reply n goes to where datagram n came from.

    Attributes:
        came: Bytes; datagram n begins at `n * STRIDE`.
        lengths: That of datagram n is at `n * LENGTHS_STEP + LENGTHS_FIRST`.
        places: Bytes; where datagram n came from begins at `n * PLACE`.
        replies: Bytes; reply n begins at `n * MAX_OUT`.
        sizes: That of reply n is at `n * SIZES_STEP + SIZES_FIRST`.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._receive, self._send = libc.recvmmsg, libc.sendmmsg
        self._in, self._out = (_Message * COUNT)(), (_Message * COUNT)()
        self._in_parts, self._out_parts = (_Part * COUNT)(), (_Part * COUNT)()
        came, places = (ctypes.c_ubyte * (COUNT * STRIDE))(), (ctypes.c_ubyte * (COUNT * PLACE))()
        replies = (ctypes.c_ubyte * (COUNT * MAX_OUT))()
        for number in range(COUNT):
            self._in_parts[number] = _Part(ctypes.addressof(came) + number * STRIDE, MAX_IN)
            self._out_parts[number] = _Part(ctypes.addressof(replies) + number * MAX_OUT, 0)
            for messages, parts in ((self._in, self._in_parts), (self._out, self._out_parts)):
                messages[number].head.name = ctypes.addressof(places) + number * PLACE
                messages[number].head.name_length = PLACE
                messages[number].head.parts = ctypes.addressof(parts[number])
                messages[number].head.part_count = 1
        self.came, self.places, self.replies = (memoryview(one).cast("B") for one in (came, places, replies))
        self.lengths = memoryview(self._in).cast("B").cast("I")
        self.sizes = memoryview(self._out_parts).cast("B").cast("Q")

    def receive(self, descriptor: int) -> int:
        """How many datagrams have come; 0 or less where none has, or there was word of a reply that did not arrive."""
        return int(self._receive(descriptor, self._in, COUNT, _MSG_DONTWAIT, None))

    def send(self, descriptor: int, first: int, end: int) -> None:
        """Replies `first` to `end` (without that). What cannot be sent now is lost, as datagrams may be."""
        while first < end:
            place = ctypes.byref(self._out, first * _MESSAGE)
            first += max(1, self._send(descriptor, place, end - first, _MSG_DONTWAIT))


@functools.cache
def trays() -> Trays:
    """Those of this process, whose one thread uses them for one socket at a time."""
    return Trays()
