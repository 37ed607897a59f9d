"""The machine's network interfaces, for floating addresses: netlink by pyroute2, raw sockets. Shell; in a thread."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from hybrid.settings import Floating

NETLINK_S = 10.0
EXISTS, NOT_THERE = 17, 99
NO_DAD = 0x02
"""`IFA_F_NODAD`: the address is of use at once; that another node may still have it is known."""
_ARP, _ARP_REQUEST, _ARP_REPLY = 0x0806, 1, 2
_ADVERTISEMENT, _OVERRIDE = 136, 0x2000_0000
_ALL_NODES = "ff02::1"


class Reactor(IReactorFromThreads, IReactorTime, IReactorCore):
    """What it needs of the reactor."""


class MachineInterfaces:
    """See `hybrid.hosting.carrying.Interfaces`."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._thread: ThreadPool | None = None

    async def add(self, one: Floating) -> None:
        """See `Interfaces`."""
        await self._in_thread(lambda: _change("add", one, EXISTS))

    async def remove(self, one: Floating) -> None:
        """See `Interfaces`."""
        await self._in_thread(lambda: _change("del", one, NOT_THERE))

    async def announce(self, one: Floating) -> None:
        """See `Interfaces`."""
        await self._in_thread(lambda: _announce(one))

    def close(self) -> None:
        """End the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def _in_thread(self, work: Callable[[], None]) -> Deferred[None]:
        if self._thread is None:
            self._thread = ThreadPool(0, 1, "floating")
            self._thread.start()
        done: Deferred[None] = deferToThreadPool(self._reactor, self._thread, work)
        return done.addTimeout(NETLINK_S, self._reactor, onTimeoutCancel=_too_late)


def _too_late(result: object, timeout_s: float) -> None:
    raise TimeoutError(f"the kernel did not answer within {timeout_s:.0f} s")


def _change(verb: str, one: Floating, fine: int) -> None:
    """In the thread. Raises `OSError`; where the kernel says `fine`, all is as it should be."""
    from pyroute2 import IPRoute, NetlinkError

    place = ipaddress.ip_interface(one.address)
    more: dict[str, Any] = {"flags": NO_DAD} if place.version == 6 and verb == "add" else {}
    with IPRoute() as route:
        for index in route.link_lookup(ifname=one.interface) or [0]:
            if not index:
                raise OSError(f"there is no interface {one.interface}")
            try:
                route.addr(verb, index=index, address=str(place.ip), prefixlen=place.network.prefixlen, **more)
            except NetlinkError as error:
                if error.code != fine:
                    raise OSError(error.code, str(error)) from error


def _announce(one: Floating) -> None:
    """In the thread."""
    address = ipaddress.ip_interface(one.address).ip
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((one.interface, 0))
        mac: bytes = link.getsockname()[4]
        if isinstance(address, ipaddress.IPv4Address):
            for frame in arp_frames(mac, address):
                link.send(frame)
            return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(one.interface))
        raw.sendto(advertisement(mac, address), (_ALL_NODES, 0))


def arp_frames(mac: bytes, address: ipaddress.IPv4Address) -> tuple[bytes, ...]:
    """Ethernet frames to all: as a question and as an answer, for there are machines that hear one of them only."""
    every, ip = b"\xff" * 6, address.packed
    head = every + mac + struct.pack("!H", _ARP)
    kinds = ((_ARP_REQUEST, bytes(6)), (_ARP_REPLY, mac))
    return tuple(head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind) + mac + ip + to + ip for kind, to in kinds)


def advertisement(mac: bytes, address: ipaddress.IPv6Address) -> bytes:
    """An unsolicited neighbour advertisement that overrides what is known; the kernel fills in its checksum."""
    option = struct.pack("!BB", 2, 1) + mac
    return struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address.packed + option
