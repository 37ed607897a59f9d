"""
What nodes say to each other to know who is alive: SWIM's messages (Das, Gupta, Motivala, DSN 2002). Pure.

Small enough for a datagram of 1,400 bytes once sealed. What is said of third nodes rides along (`updates`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from hybrid.errors import HybridError
from hybrid.model import NodeId

PING: Final = 1
PING_REQ: Final = 2
ACK: Final = 3
NACK: Final = 4
GOSSIP: Final = 5
CALL: Final = 6
"""No datagram: a ping over the TLS link, for the shell to make (memberlist's fallback)."""

ALIVE: Final = 1
SUSPECT: Final = 2

MAX_UPDATES = 20
"""In one packet: with the longest ids they fill 1,250 bytes."""
MAX_ID = 24
MAX_INCARNATION = 2**48
"""Incarnations are seconds since the epoch or a little more; one node must not use them up for all."""

Update = tuple[NodeId, int, int, str]
"""`(node, ALIVE or SUSPECT, incarnation, accuser)`; the accuser is who probed it in vain, empty for `ALIVE`."""


class Packet(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message. The number ties answers to pings; `target` is set in a `PING_REQ`, and in answers to one."""

    kind: int
    number: int
    incarnation: int
    """Of the sender."""
    target: str = ""
    updates: tuple[Update, ...] = ()


class Malformed(HybridError):
    """A datagram is not a packet of this protocol."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Packet)


def encode(packet: Packet) -> bytes:
    """The bytes of `packet`, before sealing."""
    return _encoder.encode(packet)


def decode(data: bytes) -> Packet:
    """
    The packet in `data`.

    Raises:
        Malformed: It is none, or says what no node would say.
    """
    try:
        packet: Packet = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise Malformed("not a packet", str(error)) from error
    said = [packet.incarnation, *(update[2] for update in packet.updates)]
    names = [packet.target, *(name for update in packet.updates for name in (update[0], update[3]))]
    if not PING <= packet.kind <= GOSSIP or len(packet.updates) > MAX_UPDATES:
        raise Malformed("not a packet", "unknown kind, or too long")
    if not 0 <= min(said) or not max(said) < MAX_INCARNATION or max(map(len, names)) > MAX_ID:
        raise Malformed("not a packet", "an incarnation or a name that cannot be")
    if any(update[1] not in (ALIVE, SUSPECT) for update in packet.updates):
        raise Malformed("not a packet", "an unknown state")
    return packet
