"""
One probe: a ping, then helpers and the TLS link, within one period (SWIM §3.1; memberlist's TCP fallback). Pure.

A helper that got no answer says so (Lifeguard's nack): so a prober that hears not even that knows that it may itself
be the one in trouble.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid.cluster.agenda import Agenda, Entry
from hybrid.cluster.awareness import Awareness
from hybrid.cluster.beliefs import Beliefs, Member
from hybrid.cluster.packets import ACK, ALIVE, CALL, NACK, PING, PING_REQ, Packet
from hybrid.cluster.ring import Chance
from hybrid.model import NodeId

HELPERS = 3
NACK_AT = 0.8
"""Of the direct timeout."""
MAX_HELPED = 1000
"""Probes for others under way at once; more are not helped."""

Emit = Callable[[NodeId, int, int, str], None]
"""`(to, kind, number, target)`."""


class _Probe:
    __slots__ = ("end_s", "helpers", "nacks", "next", "node")

    def __init__(self, node: NodeId, end_s: float, next_: Entry) -> None:
        self.node, self.end_s, self.next = node, end_s, next_
        self.helpers: frozenset[NodeId] = frozenset()
        self.nacks = 0


class Probing:
    """Probes of this node, and those it makes for others."""

    def __init__(
        self,
        beliefs: Beliefs,
        agenda: Agenda,
        awareness: Awareness,
        chance: Chance,
        dc_of: Callable[[NodeId], str],
        emit: Emit,
    ) -> None:
        self._beliefs, self._agenda, self._awareness, self._chance = beliefs, agenda, awareness, chance
        self._dc_of, self._emit = dc_of, emit
        self._number = int(chance.random() * 2**31)
        self._probes: dict[int, _Probe] = {}
        self._probed: set[NodeId] = set()
        self._helped: dict[int, tuple[NodeId, int, NodeId]] = {}

    def idle(self, node: NodeId) -> bool:
        """Whether no probe of `node` is under way."""
        return node not in self._probed

    # ---------------------------------------------------------------------------------------------------- our own

    def start(self, member: Member, now_s: float, helped: bool = True) -> None:
        """Probe it. One that is not alive may stay silent: that is no news. `helped`: others are asked to try, too."""
        self._number += 1
        scale, then = self._awareness.scale, self._ask_others if helped else self._call
        next_ = self._agenda.at(now_s + scale(member.profile.timeout_s), then, self._number)
        self._probes[self._number] = _Probe(member.id, now_s + scale(member.profile.probe_s), next_)
        self._probed.add(member.id)
        self._emit(member.id, PING, self._number, member.id)

    def _ask_others(self, now_s: float, number: int) -> None:
        probe = self._probes[number]
        helpers = self._helpers(probe.node)
        probe.helpers = frozenset(helpers)
        for helper in helpers:
            self._emit(helper, PING_REQ, number, probe.node)
        self._call(now_s, number)

    def _call(self, now_s: float, number: int) -> None:
        probe = self._probes[number]
        probe.next = self._agenda.at(probe.end_s, self._end, number)
        self._emit(probe.node, CALL, number, probe.node)

    def _helpers(self, node: NodeId) -> list[NodeId]:
        """By chance, those in other data centres before those in ours: their way is another one."""
        members = self._beliefs.members
        others = [other for other in self._beliefs.living.members if other != node and members[other].state == ALIVE]
        if len(others) <= HELPERS:
            return others
        here = self._dc_of(self._beliefs.me)
        away = [other for other in others if self._dc_of(other) != here]
        chosen = self._chance.sample(away, min(HELPERS, len(away)))
        near = [other for other in others if self._dc_of(other) == here]
        return chosen + self._chance.sample(near, min(HELPERS - len(chosen), len(near)))

    def answered(self, sender: NodeId, packet: Packet, now_s: float) -> bool:
        """An `ACK`: to a probe of ours, or to one made for another node. Whether it was the first one to ours."""
        helped = self._helped.get(packet.number)
        if helped is not None and helped[2] == sender:
            del self._helped[packet.number]
            self._emit(helped[0], ACK, helped[1], sender)
            return False
        probe = self._probes.get(packet.number)
        if probe is None or (sender != probe.node and sender not in probe.helpers):
            return False
        member = self._close(packet.number)
        if member is not None:
            self._awareness.better()
            incarnation = packet.incarnation if sender == member.id else member.incarnation
            self._beliefs.answered(member, incarnation, now_s)
        return True

    def refused(self, sender: NodeId, packet: Packet) -> None:
        """A `NACK`: the helper is there, its ping was not answered."""
        probe = self._probes.get(packet.number)
        if probe is not None and sender in probe.helpers:
            probe.nacks += 1

    def _end(self, now_s: float, number: int) -> None:
        probe = self._probes[number]
        member = self._close(number)
        if member is None:
            return
        if not member.live:
            self._beliefs.second(member)
            return
        if member.state == ALIVE:
            self._awareness.worse(max(0, len(probe.helpers) - probe.nacks) if probe.helpers else 1)
        self._beliefs.accuse(member, member.incarnation, self._beliefs.me, now_s)

    def _close(self, number: int) -> Member | None:
        probe = self._probes.pop(number)
        probe.next.cancel()
        self._probed.discard(probe.node)
        return self._beliefs.members.get(probe.node)

    # ------------------------------------------------------------------------------------------------- for others

    def help(self, asker: NodeId, packet: Packet, now_s: float) -> None:
        """A `PING_REQ`: ping the target, and pass on its answer or say that there was none."""
        member = self._beliefs.members.get(NodeId(packet.target))
        if member is None or len(self._helped) >= MAX_HELPED:
            return
        self._number += 1
        self._helped[self._number] = (asker, packet.number, member.id)
        self._agenda.at(now_s + NACK_AT * member.profile.timeout_s, self._deny, self._number)
        self._agenda.at(now_s + 2 * member.profile.probe_s, self._give_up, self._number)
        self._emit(member.id, PING, self._number, member.id)

    def _deny(self, now_s: float, number: int) -> None:
        helped = self._helped.get(number)
        if helped is not None:
            self._emit(helped[0], NACK, helped[1], helped[2])

    def _give_up(self, now_s: float, number: int) -> None:
        self._helped.pop(number, None)
