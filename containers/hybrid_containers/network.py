"""
The containers' bridge in the current network namespace: its address, forwarding, masquerading, isolation. Does I/O.

Netlink through pyroute2 in a thread of its own (its synchronous calls run a private event loop); nftables through its
own command, in one transaction on a table of our own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from hybrid.errors import ContainerError
from hybrid_containers import child
from hybrid_containers.addresses import gateway_of, mac_of, prefix_of, secluded_of

NETLINK_S = 10.0
NFT_S = 10.0
EXISTS, NO_DEVICE = 17, 19

Answer = TypeVar("Answer")


class Reactor(child.Reactor, IReactorFromThreads):
    """What the network needs of the reactor."""


class Network:
    """The bridge `bridge` for the containers of `subnet`."""

    log = Logger()

    def __init__(self, reactor: Reactor, bridge: str, subnet: str) -> None:
        self._reactor = reactor
        self.bridge, self._subnet = bridge, subnet
        self._thread: ThreadPool | None = None

    async def prepare(self) -> None:
        """
        Make what is missing of bridge, address, forwarding and rules. Safe to repeat.

        Without nftables containers still serve, they only cannot reach the outside: that is logged, not raised.

        Raises:
            ContainerError: The bridge cannot be made.
        """
        gateway, prefix = gateway_of(self._subnet), prefix_of(self._subnet)
        try:
            await self._in_thread(lambda: _make_bridge(self.bridge, gateway, prefix))
        except Exception as error:
            raise ContainerError(
                f"cannot make the bridge {self.bridge}", str(error), "is this process root?"
            ) from error
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        except OSError as error:
            self.log.warn("containers cannot reach the outside: ip_forward: {why}", why=error.strerror)
        await self._set_rules()

    def isolate(self, veth: str) -> None:
        """
        Let a container's port of the bridge talk to the node only, not to other containers.

        Raises:
            OSError: No such port, or a kernel older than 4.18.
        """
        Path("/sys/class/net", veth, "brport/isolated").write_text("1")

    async def cut_off(self, veth: str) -> None:
        """
        Take a container's port of the bridge down; not there: fine. It comes back only as a new one.

        The state of the device itself, and no rule beside it: it outlives this process, and nothing has to be undone.
        """
        if Path("/sys/class/net", veth).exists():
            await self._in_thread(lambda: _take_down(veth))

    async def remove(self, veth: str) -> None:
        """Remove what a container left behind; not there: fine."""
        if Path("/sys/class/net", veth).exists():
            await self._in_thread(lambda: _remove(veth))

    async def close(self) -> None:
        """End the thread. Bridge and rules stay: containers go on."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def _set_rules(self) -> None:
        try:
            done = await child.run(
                self._reactor, ["nft", "-f", "-"], stdin=rules(self.bridge, self._subnet).encode(), timeout_s=NFT_S
            )
            why = done.stderr.decode(errors="replace").strip() if done.status else ""
        except child.TooLate:
            why = "nft did not end in time"
        if why:
            self.log.warn("containers cannot reach the outside, no masquerading: {why}", why=why)

    def _in_thread(self, work: Callable[[], Answer]) -> Deferred[Answer]:
        if self._thread is None:
            self._thread = ThreadPool(1, 1, "netlink")
            self._thread.threadFactory = _Daemon
            self._thread.start()
        answer: Deferred[Answer] = deferToThreadPool(self._reactor, self._thread, work)
        return answer.addTimeout(NETLINK_S, self._reactor)


class _Daemon(Thread):
    """A thread that does not keep a process alive whose reactor ended without `Network.close`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "daemon": True})


def rules(bridge: str, subnet: str) -> str:
    """The nftables transaction: replaces our own table `hybrid`, touches no other (`nft(8)`). Pure."""
    return f"""
add table ip hybrid
delete table ip hybrid
table ip hybrid {{
    chain outgoing {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {subnet} oifname != "{bridge}" masquerade
    }}
    chain secluded {{
        type filter hook input priority filter; policy accept;
        iifname "{bridge}" ip saddr {secluded_of(subnet)} ct state != {{ established, related }} drop
    }}
    chain between {{
        type filter hook forward priority filter; policy accept;
        iifname "{bridge}" ip saddr {secluded_of(subnet)} drop
        iifname "{bridge}" oifname "{bridge}" drop
        oifname "{bridge}" ct state established,related accept
        oifname "{bridge}" drop
    }}
}}
"""


def _make_bridge(name: str, gateway: str, prefix: int) -> None:
    """In the thread. A MAC of its own, or the bridge would take a new one whenever a container comes or goes."""
    from pyroute2 import IPRoute, NetlinkError

    with IPRoute() as route:
        if not (found := route.link_lookup(ifname=name)):
            route.link("add", ifname=name, kind="bridge", address=mac_of(gateway))
            found = route.link_lookup(ifname=name)
        route.link("set", index=found[0], state="up")
        try:
            route.addr("add", index=found[0], address=gateway, prefixlen=prefix)
        except NetlinkError as error:
            if error.code != EXISTS:
                raise


def _take_down(name: str) -> None:
    """In the thread. What is in the container has no power over this end of the pair."""
    _on_link(name, "set", state="down")


def _remove(name: str) -> None:
    """In the thread."""
    _on_link(name, "del")


def _on_link(name: str, verb: str, **more: str) -> None:
    """Do it to the device of that name. Not there, or going away at this very moment with its container: fine."""
    from pyroute2 import IPRoute, NetlinkError

    with IPRoute() as route:
        for index in route.link_lookup(ifname=name):
            try:
                route.link(verb, index=index, **more)
            except NetlinkError as error:
                if error.code != NO_DEVICE:
                    raise
