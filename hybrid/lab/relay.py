"""
`python -m hybrid.lab.relay PORT PORT SECONDS FLIP`: passes frames from one port to another, later. Synchronous.

For kernels without netem. Frames come with what the kernel still has to do to them (PACKET_VNET_HDR, packet(7): sums
not yet made, large segments not yet cut), and go on with it. With FLIP above 0, one in so many of the large frames from
the second port to the first has a wrong bit.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

ALL_PROTOCOLS = 0x0003
SOL_PACKET, PACKET_VNET_HDR = 263, 15
PACKET_OUTGOING = 4
HEADER_BYTES = 10
"""`struct virtio_net_hdr` before each frame."""
LARGE_BYTES = 1200
LONGEST_BYTES = 70_000
QUEUE = 20_000
"""Frames on their way in one direction; more are dropped, as a line does."""


class Way:
    """One direction: what came in, and when it may go on."""

    def __init__(self, source: socket.socket, target: socket.socket, delay_s: float, flip_every: int) -> None:
        self.source, self._target, self._delay_s, self._flip_every = source, target, delay_s, flip_every
        self._frames: deque[tuple[float, bytes]] = deque()
        self._large = 0

    def take(self, now_s: float) -> None:
        """One frame in, unless it is one that went out here."""
        frame, (_, _, kind, *_) = self.source.recvfrom(LONGEST_BYTES)
        if kind != PACKET_OUTGOING and len(self._frames) < QUEUE:
            self._frames.append((now_s + self._delay_s, self._flipped(frame)))

    def pass_on(self, now_s: float) -> float | None:
        """Send what is due. Returns when the next one is; `None` when nothing waits."""
        while self._frames and self._frames[0][0] <= now_s:
            _, frame = self._frames.popleft()
            with contextlib.suppress(OSError):  # a port that is down, or a full queue: lost, as on a line
                self._target.send(frame)
        return self._frames[0][0] if self._frames else None

    def _flipped(self, frame: bytes) -> bytes:
        if not self._flip_every or len(frame) < LARGE_BYTES:
            return frame
        self._large += 1
        if self._large % self._flip_every:
            return frame
        wrong = bytearray(frame)
        wrong[-100] ^= 0x10
        return bytes(wrong)


def _open(port: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 2**20)
    opened.bind((port, 0))
    return opened


def main(argv: Sequence[str]) -> None:
    """Pass on until killed; says a line when it begins."""
    first, second = _open(argv[0]), _open(argv[1])
    ways = [
        Way(first, second, float(argv[2]), 0),
        Way(second, first, float(argv[2]), int(argv[3])),
    ]
    print("passes on", flush=True)
    while True:
        due = [at_s for way in ways if (at_s := way.pass_on(time.monotonic())) is not None]
        wait_s = max(0.0, min(due) - time.monotonic()) if due else None
        ready, _, _ = select.select([way.source for way in ways], [], [], wait_s)
        for way in ways:
            if way.source in ready:
                way.take(time.monotonic())


if __name__ == "__main__":
    main(sys.argv[1:])
