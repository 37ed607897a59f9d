"""
Fuzzing what reads bytes of people who log in: `python -m tests.fuzz.ssh SECONDS [TARGET…]`, or `make fuzz`.

As `tests.fuzz.http`: nothing but the named refusals is raised, and nothing depends on how the bytes were cut.
"""

from __future__ import annotations

import contextlib
import random
import struct
import sys

from hybrid.errors import BadRequest
from hybrid.sessions import END, INPUT, OPEN, BadMessage, Messages, Opening, decode, encode, message
from hybrid.sshkeys import read_line, verifies
from hybrid_containers import sftpwire as wire
from hybrid_containers.sftpwire import BadPacket, Body, Packets
from tests.fuzz.http import Targets, main, mutated, pieces
from tests.proxy.sshclient import key_of, line_of

KEY = key_of(1)
BLOB = KEY.public().blob()
OPENINGS = [
    Opening("s-shop", 3, "n-me", "command", "php -v", "", environment={"LANG": "C"}, source="192.0.2.1 5", user="ann"),
    Opening("s-shop", 3, "n-me", "shell", "", "vt100"),
]


def told(chance: random.Random, data: bytes) -> None:
    """Messages are the same however they are cut, or all are refused."""

    def read(parts: list[bytes]) -> list[tuple[bytes, bytes]] | None:
        messages, found = Messages(), []
        try:
            for part in parts:
                found += messages.feed(part)
        except BadMessage:
            return None
        return found

    assert read([data]) == read(pieces(chance, data)), data


def opening(chance: random.Random, data: bytes) -> None:
    """An opening that is understood is written as it was read, and has no zero byte in it."""
    with contextlib.suppress(BadMessage):
        found = decode(data[5:])
        assert decode(encode(found)) == found and "\0" not in found.command + "".join(found.environment.values())


def key(chance: random.Random, data: bytes) -> None:
    """A key that is taken is written as it was read."""
    with contextlib.suppress(BadRequest):
        found = read_line(data.decode("utf-8", "replace"))
        assert read_line(found.line) == found


def signature(chance: random.Random, data: bytes) -> None:
    """No signature but the right one is taken."""
    good = KEY.sign(b"data")
    spoiled = mutated(chance, good)
    assert verifies(BLOB, b"ssh-ed25519", spoiled, b"data") is (spoiled == good)
    verifies(mutated(chance, BLOB), b"ssh-ed25519", spoiled, b"data")


def files(chance: random.Random, data: bytes) -> None:
    """Packets of SFTP are the same however they are cut; what is read of one is there, or it is refused."""

    def read(parts: list[bytes]) -> list[tuple[int, bytes]] | None:
        packets, found = Packets(), []
        try:
            for part in parts:
                found += packets.feed(part)
        except BadPacket:
            return None
        return found

    whole = read([data])
    assert read(pieces(chance, data)) == whole, data
    for _, body in whole or ():
        with contextlib.suppress(BadPacket):
            asked = Body(body)
            asked.number(), asked.path(), asked.number()
            found = asked.attributes()
            assert Body(found.packed()).attributes() == found


_OPEN = bytes(4) + wire.string(b"folder/file") + bytes(4) + wire.Attributes(5, (0, 33), 0o644, (1, 2)).packed()
_FILES = [wire.packet(wire.INIT, bytes(4)) + wire.packet(wire.OPEN, _OPEN), wire.packet(wire.EXTENDED, _OPEN[:10])]
_PIECES = [message(OPEN, encode(one)) for one in OPENINGS]
_KEYS = [line_of(KEY).encode(), b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ== x", b"ecdsa-sha2-nistp256 AA=="]
TARGETS: Targets = {
    "told": (told, lambda: [*_PIECES, message(INPUT, b"typed") + message(END), struct.pack("!cI", INPUT, 70_000)]),
    "opening": (opening, lambda: _PIECES),
    "files": (files, lambda: _FILES),
    "key": (key, lambda: _KEYS),
    "signature": (signature, lambda: [b""]),
}

if __name__ == "__main__":
    main(TARGETS, sys.argv[1:])
