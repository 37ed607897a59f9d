"""
Reading the registers of one site: who claims it among the living, whose copy is best, what it should be. Pure.

Given the same registers every node answers the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hybrid.model import NO_CLAIM, Claim, NodeId, NodeRegister, Role, SiteRegister, SiteSpec

CLAIMING: tuple[Role, ...] = ("opening", "owner", "leaving")
HOLDING: tuple[Role, ...] = ("replica", "opening", "owner", "leaving", "stashing")

DRAINED = 1e6
"""More load than any machine has."""
Registers = Mapping[NodeId, SiteRegister]
Rank = tuple[bool, int, int, int, bool, int, NodeId]


def live_claims(registers: Registers, live: Collection[NodeId]) -> dict[NodeId, Claim]:
    """Claims that living nodes hold."""
    return {
        node: register.claim
        for node, register in registers.items()
        if node in live and register.claim is not None and register.role in CLAIMING
    }


def ailing(register: SiteRegister, storage_lost: bool = False) -> bool:
    """
    Whether a claimant cannot do what it claimed to: it is in trouble and does not serve (storage died …).

    One that is switched off, or waits for a person's pick, does what is wanted of it; but without its storage no pick
    could make it serve: until that is back it counts as a dead one does, whom nobody waits for.
    """
    if register.spec is not None and not register.spec.is_on:
        return False
    if register.awaiting and not storage_lost:
        return False
    return register.role in ("opening", "owner") and bool(register.trouble) and not register.serving


def largest_claim(registers: Iterable[SiteRegister]) -> Claim:
    """The largest claim held or heard of in any of `registers`; `NO_CLAIM` without any."""
    largest = NO_CLAIM
    for register in registers:
        if register.seen > largest:
            largest = register.seen
        if register.claim is not None and register.claim > largest:
            largest = register.claim
    return largest


def claimant(registers: Registers, live: Collection[NodeId]) -> NodeId | None:
    """The living node with the largest claim."""
    first: tuple[Claim, NodeId] | None = None
    for node, register in registers.items():
        claim = register.claim
        if claim is not None and register.role in CLAIMING and node in live and (first is None or claim > first[0]):
            first = claim, node
    return first[1] if first is not None else None


def newest_spec(registers: Iterable[SiteRegister]) -> SiteSpec | None:
    """The spec with the largest version anybody published."""
    newest: SiteSpec | None = None
    for register in registers:
        spec = register.spec
        if spec is not None and spec is not newest and (newest is None or spec.version > newest.version):
            newest = spec
    return newest


def rank(node: NodeId, register: SiteRegister, home: bool = False, load: float = 0.0) -> Rank:
    """
    How good a next owner `node` is; the larger the better.

    Those in trouble (could not start it) come last: a poorer copy that can be served gives way to a richer one that
    cannot, whose history is kept as a stash. Then history, so that nothing acknowledged is left behind: epoch of the
    newest snapshot, its number, how many there are. Then convenience: the site's home data centre, load.
    """
    healthy = not register.trouble
    return (healthy, register.head_epoch, register.head_counter, register.length, home, -round(4 * load), node)


def burdens(nodes: Mapping[NodeId, NodeRegister]) -> dict[NodeId, float]:
    """The loads that `rank` is given: a node that is to own nothing is busier than any."""
    return {node: register.load + (DRAINED if register.draining else 0.0) for node, register in nodes.items()}


def candidates(
    registers: Registers,
    live: Collection[NodeId],
    home_dc: str = "",
    dcs: Mapping[NodeId, str] | None = None,
    loads: Mapping[NodeId, float] | None = None,
) -> list[NodeId]:
    """
    Living nodes that could become the owner, best first.

    Those that hold the dataset and are not busy with it: replicas, and an owner that is leaving (who may go on when
    its successor cannot).
    """
    dcs, loads = dcs or {}, loads or {}
    able = [
        node
        for node, register in registers.items()
        if node in live and register.role in ("replica", "leaving") and register.head is not None
    ]

    def key(node: NodeId) -> Rank:
        home = home_dc != "" and dcs.get(node, "") == home_dc
        return rank(node, registers[node], home, loads.get(node, 0.0))

    return sorted(able, key=key, reverse=True)
