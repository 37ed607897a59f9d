"""
A switch and one network namespace per node, on this machine; single directions between nodes can be cut. Synchronous.

The switch is a bridge in a namespace of its own, with a table of nftables that drops frames by the pair of ports they
pass, so a cut leaves no trace inside a node, and acts on UDP as on TCP. One more port leads to the machine's own
namespace: its shell and browser reach every node whatever is cut or lost.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from hybrid.lab.command import LabError, run, succeeds

NETNS = Path("/run/netns")
Pair = tuple[str, str]
"""Who speaks, who hears."""
_PORT = "p-"
_RULES = """
table bridge lab {
  set cut { type ifname . ifname; }
  chain loss { }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @cut drop
    iifname "p-root" accept
    oifname "p-root" accept
    jump loss
  }
}
"""


class Network:
    """
    A switch with nodes and the machine itself.

    Args:
        name: The lab's; namespaces are `<name>-sw` and `<name>-<node>`, the machine's interface is `<name>`.
        nodes: Names, at most 12 characters each, at most 200.
    """

    def __init__(self, name: str, nodes: Sequence[str]) -> None:
        self.name = name
        self.nodes = tuple(nodes)
        self._subnet: ipaddress.IPv4Network | None = None

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The /24 of the nodes. Raises `LabError` before `build`."""
        if self._subnet is None:
            raise LabError("the network is not built")
        return self._subnet

    def address(self, node: str) -> str:
        """Where `node` is reached."""
        return str(self.subnet[self.nodes.index(node) + 1])

    def namespace(self, node: str) -> str:
        """The name of the network namespace of `node`."""
        return f"{self.name}-{node}"

    @property
    def switch(self) -> str:
        """The name of the network namespace of the switch."""
        return f"{self.name}-sw"

    def build(self) -> None:
        """Make all of it. The caller keeps other labs from building at the same moment (`claimed.exclusive`)."""
        self._subnet = free_subnet(run("ip", "-4", "-o", "addr"), run("ip", "-4", "route", "show", "table", "all"))
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "br0", "up")
        for node in self.nodes:
            self._add_node(node)
        run("ip", "link", "add", self.name, "type", "veth", "peer", "name", _PORT + "root", "netns", self.switch)
        self._plug_in("root")
        run("ip", "addr", "add", f"{self.subnet[254]}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        run(*self._in_switch, "nft", "-f", "-", stdin=_RULES)

    def plug_in(self, node: str) -> None:
        """One more node on the switch."""
        if node not in self.nodes:
            self.nodes = (*self.nodes, node)
            self._add_node(node)

    def _add_node(self, node: str) -> None:
        namespace = self.namespace(node)
        run("ip", "netns", "add", namespace)
        run("ip", "link", "add", "e0", "netns", namespace, "type", "veth", "peer", _PORT + node, "netns", self.switch)
        self._plug_in(node)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", namespace, "addr", "add", f"{self.address(node)}/24", "dev", "e0")
        run("ip", "-n", namespace, "link", "set", "e0", "up")

    def _plug_in(self, port: str) -> None:
        run("ip", "-n", self.switch, "link", "set", _PORT + port, "master", "br0", "up")

    @property
    def _in_switch(self) -> tuple[str, ...]:
        return ("nsenter", f"--net={NETNS / self.switch}")

    def power_cycle(self, node: str) -> None:
        """What a power cut does to a node's network: all it made itself (bridges, rules, addresses) is gone."""
        namespace = self.namespace(node)
        for line in run("ip", "-n", namespace, "-o", "link").splitlines():
            link = line.split(": ")[1].partition("@")[0]
            if link not in ("lo", "e0"):
                succeeds(("ip", "-n", namespace, "link", "del", link))
        succeeds(("nsenter", f"--net={NETNS / namespace}", "nft", "flush", "ruleset"))
        self.set_link(node, up=True)

    def set_link(self, node: str, up: bool) -> None:
        """Plug the cable of a node in or out."""
        run("ip", "-n", self.switch, "link", "set", _PORT + node, "up" if up else "down")

    def cut(self, groups: Iterable[Iterable[str]]) -> None:
        """Nodes of different groups do not hear each other any more. What was cut before stays cut."""
        self.drop(between(groups))

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """`receiver` does not hear `sender` any more; the other direction works."""
        self.drop([(sender, receiver)])

    def drop(self, pairs: Iterable[Pair]) -> None:
        """Of each pair, the second does not hear the first any more."""
        self._change("add", pairs)

    def pass_on(self, pairs: Iterable[Pair]) -> None:
        """Undo `drop` of these pairs, which are cut now."""
        self._change("delete", pairs)

    def _change(self, verb: str, pairs: Iterable[Pair]) -> None:
        elements = ", ".join(f'"{_PORT}{a}" . "{_PORT}{b}"' for a, b in pairs)
        if elements:
            self._rules(f"{verb} element bridge lab cut {{ {elements} }}\n")

    def lose(self, percent: int) -> None:
        """Of all frames between nodes, drop so many at random; 0: none."""
        self._rules(
            "flush chain bridge lab loss\n"
            + (f"add rule bridge lab loss numgen random mod 100 <= {percent - 1} drop\n" if percent else "")
        )

    def limit(self, node: str, bits: int | None) -> None:
        """Let at most so many bits a second reach `node`, with a short queue; `None`: as many as come."""
        device = _PORT + node
        succeeds(("tc", "-n", self.switch, "qdisc", "del", "dev", device, "root"))
        if bits is not None:
            shape = ("tbf", "rate", str(bits), "burst", "32kb", "latency", "400ms")
            run("tc", "-n", self.switch, "qdisc", "add", "dev", device, "root", *shape)

    def _rules(self, text: str) -> None:
        run(*self._in_switch, "nft", "-f", "-", stdin=text)

    def heal(self) -> None:
        """Everybody hears everybody, everything, at full speed."""
        run(*self._in_switch, "nft", "flush", "set", "bridge", "lab", "cut")
        self.lose(0)
        for node in self.nodes:
            self.limit(node, None)

    def tear_down(self) -> None:
        """Remove all of it, also of a half-built one. Safe to repeat. Nodes must have ended."""
        remove(self.name)


def between(groups: Iterable[Iterable[str]]) -> list[Pair]:
    """Every pair of nodes of two different groups, in both directions."""
    sets = [tuple(group) for group in groups]
    return [(a, b) for ours in sets for theirs in sets if ours is not theirs for a in ours for b in theirs]


def remove(name: str) -> None:
    """Remove namespaces and interface of the lab `name`, ending processes that still run in them."""
    for path in sorted(NETNS.glob(f"{name}-*")):
        with contextlib.suppress(LabError):
            for pid in run("ip", "netns", "pids", path.name).split():
                succeeds(("kill", "-9", pid))
        succeeds(("ip", "netns", "del", path.name))
    succeeds(("ip", "link", "del", name))


def free_subnet(addresses: str, routes: str) -> ipaddress.IPv4Network:
    """
    A /24 in 10.99.0.0/16 of which this machine knows nothing.

    Args:
        addresses: Of `ip -4 -o addr`.
        routes: Of `ip -4 route show table all`. One wider than a /16 (a default route, a VPN) is no obstacle: the
            lab's is narrower and therefore wins.
    """
    named = [network for word in f"{addresses} {routes}".split() if (network := _network(word)) is not None]
    used = [network for network in named if network.prefixlen >= 16]
    candidates = ipaddress.ip_network("10.99.0.0/16").subnets(new_prefix=24)
    free = next((net for net in candidates if not any(net.overlaps(other) for other in used)), None)
    if not isinstance(free, ipaddress.IPv4Network):
        raise LabError("no free network for the lab", "all of 10.99.0.0/16 is in use on this machine")
    return free


def _network(word: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(word, strict=False) if word.count(".") == 3 else None
    except ValueError:
        return None
