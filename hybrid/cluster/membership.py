"""
Who is alive: SWIM (DSN 2002) with Lifeguard (DSN 2018), as values in and values out. Pure.

Each period one node of a shuffled ring is probed, and one of those that are dead or were never heard; what is learned
rides on the packets. "Dead" is this node's opinion for the moment, never data: no node is forgotten for being silent.
Liveness needs a round trip, one's own or one that others tell of, so a broken link between two nodes that both reach a
third changes nothing.

`now_s` is monotonic seconds of the caller's clock. What counts inside are *active* seconds: those in which this process
ran. One that was stopped, or whose event loop hung, goes on as if no time had passed, and takes nobody for dead for a
silence that was its own.
"""

from __future__ import annotations

import math

from hybrid.cluster.agenda import Agenda
from hybrid.cluster.awareness import Awareness
from hybrid.cluster.beliefs import STATES, Beliefs, Member
from hybrid.cluster.packets import ACK, CALL, GOSSIP, MAX_UPDATES, NACK, PING, PING_REQ, SUSPECT, Packet, Update
from hybrid.cluster.probing import Probing
from hybrid.cluster.ring import Chance
from hybrid.cluster.rumours import Rumours
from hybrid.cluster.suspicion import LAN, profile
from hybrid.model import NodeId
from hybrid.settings import Timing

LAG_ALLOWED_S = 0.25
"""An event loop that was late by more than this may have missed answers: not fit to stand for a while."""
LAG_HEALTH = 2
"""So far being late alone makes a node mistrust itself: the time it did not run does not count anyway."""
GOSSIP_S = 0.2
GOSSIP_NODES = 3
GREETED_AT_ONCE = 10
SLICE = 4
"""So many entries of the table ride on each ping and answer: memberlist's exchange of the whole state, in slices."""

Deeds = list[tuple[NodeId, Packet]]
"""Packets to send; one of kind `CALL` is a ping to make over the link, `answered` when it was."""


class Membership:
    """What this node knows of the life of all nodes, and what it does to know."""

    def __init__(
        self, me: NodeId, incarnation: int, timing: Timing, now_s: float, chance: Chance, dc: str = ""
    ) -> None:
        """`incarnation` is persisted by the caller and raised at each start."""
        self.me = me
        self._timing, self._chance = timing, chance
        self._dcs: dict[NodeId, str] = {me: dc}
        self._agenda, self._awareness, self._rumours = Agenda(), Awareness(), Rumours()
        self._beliefs = Beliefs(me, incarnation, self._agenda, self._rumours, self._awareness, chance)
        self._beliefs.profile_of = lambda node: profile(dc, self._dcs.get(node, ""), timing.far)
        self._probing = Probing(
            self._beliefs, self._agenda, self._awareness, chance, lambda node: self._dcs.get(node, ""), self._emit
        )
        self.unseen = self._beliefs.changes
        """Not empty: `changes` has something to tell."""
        self._deeds: Deeds = []
        self._stalled_s = 0.0
        self._unfit_until_s = now_s
        self._probe_s = -math.inf
        self._begun = self._gossiping = self._greeting = self._barred = False
        self._slice: list[NodeId] = []
        self._live: frozenset[NodeId] | None = None
        self._only_called: dict[NodeId, int] = {}

    # ------------------------------------------------------------------------------------------------ who is there

    @property
    def incarnation(self) -> int:
        """Grows when somebody says of this node that it is dead, or tells of it what it never said."""
        return self._beliefs.incarnation

    @property
    def known(self) -> frozenset[NodeId]:
        """Every node ever configured or heard of, this one included."""
        return frozenset({self.me, *self._beliefs.members})

    @property
    def health(self) -> int:
        """0: well. Up to 7: this node misses answers that others get; its own timeouts are that much longer."""
        return self._awareness.score

    def know(self, node: NodeId, now_s: float, dc: str = "") -> None:
        """A configured node: it is tried for ever from now on; it is not live before it answered."""
        if dc:
            self._dcs[node] = dc
        member = self._beliefs.know(node)
        if member is not None:
            member.profile = self._beliefs.profile_of(node)

    def forget(self, node: NodeId) -> None:
        """A node an operator removed: neither what it says nor what others say of it brings it back, only `know`."""
        if node != self.me:
            self._beliefs.forget(node)
            self._only_called.pop(node, None)
            self._live = None

    def live(self, now_s: float) -> frozenset[NodeId]:
        """This node and all that are not known to be dead, since they were first heard."""
        if self._live is None:
            self._live = frozenset({self.me, *self._beliefs.living.members})
        return self._live

    def silent_s(self, node: NodeId, now_s: float) -> float | None:
        """How long ago something fresh of `node` came, for people; `None` when nothing ever did."""
        member = self._beliefs.members.get(node)
        if member is None or member.heard_s is None:
            return None
        return now_s - self._stalled_s - member.heard_s

    def fit(self, now_s: float) -> bool:
        """Whether this node's idea of who is dead can be trusted enough to stand for a site."""
        return not self._barred and now_s >= self._unfit_until_s and now_s - self.due_s <= LAG_ALLOWED_S

    def bar(self) -> None:
        """This node must stand for no site any more, in this life."""
        self._barred = True

    def lagged(self, lag_s: float, now_s: float) -> None:
        """The event loop was `lag_s` late: what this node takes for silence may be its own."""
        if lag_s > LAG_ALLOWED_S:
            if self._awareness.score < LAG_HEALTH:
                self._awareness.worse()
            until_s = now_s + 2 * LAN.probe_s + min(lag_s, self._timing.fail_s)
            self._unfit_until_s = max(self._unfit_until_s, until_s)

    def changes(self) -> list[tuple[NodeId, str, str]]:
        """`(node, from, to)` since this was asked the last time: `unheard`, `alive`, `suspect`, `dead`."""
        if not self._beliefs.changes:
            return []
        changes = [(node, STATES[before], STATES[after]) for node, before, after in self._beliefs.changes]
        self._beliefs.changes.clear()
        return changes

    def _some(self, nodes: list[NodeId], count: int) -> list[NodeId]:
        return self._chance.sample(nodes, min(count, len(nodes)))

    # -------------------------------------------------------------------------------------------------------- time

    @property
    def due_s(self) -> float:
        """When to call `advance`, at the latest; infinity before `start`."""
        return self._agenda.due_s + self._stalled_s

    def start(self, now_s: float) -> None:
        """Begin. Until then this node is silent, and not late."""
        self._begun = True
        active_s = now_s - self._stalled_s
        self._rumours.spread(self._beliefs.told)
        self._agenda.at(active_s + 0.1 * self._chance.random(), self._period)

    def advance(self, now_s: float) -> Deeds:
        """Do what is due."""
        active_s = self._active(now_s)
        self._agenda.run(active_s)
        return self._done(active_s)

    def received(self, sender: NodeId, packet: Packet, now_s: float) -> Deeds:
        """Take a packet that `sender` is known to have sent."""
        active_s = self._active(now_s)
        beliefs = self._beliefs
        member = beliefs.learn(sender) if sender != self.me else None
        if member is None:
            return []
        for update in packet.updates:
            known = beliefs.members.get(update[0])
            if known is None or known.told != update:  # at rest nothing of it is news
                beliefs.take(update, active_s)
        if packet.incarnation < member.incarnation:
            beliefs.stale[sender] = None
        elif packet.incarnation > member.incarnation or not member.live:
            beliefs.said_alive(member, packet.incarnation, active_s)
        if beliefs.stale and packet.kind != PING:  # the answer to a ping carries the correction
            self._emit(sender, GOSSIP, 0, "")
        self._heard(member, packet, active_s)
        return self._done(active_s)

    def _heard(self, member: Member, packet: Packet, active_s: float) -> None:
        kind, probing = packet.kind, self._probing
        self._only_called.pop(member.id, None)
        if kind == PING:
            if packet.target == self.me:
                self._emit(member.id, ACK, packet.number, "")
        elif kind == ACK:
            probing.answered(member.id, packet, active_s)
        elif kind == PING_REQ:
            probing.help(member.id, packet, active_s)
        elif kind == NACK:
            probing.refused(member.id, packet)
        if not member.live:
            self._knock(member, active_s)

    def called(self, node: NodeId, number: int, now_s: float) -> Deeds:
        """The ping over the link to `node` was answered."""
        active_s = self._active(now_s)
        member = self._beliefs.members.get(node)
        if member is not None and self._probing.answered(node, Packet(ACK, number, member.incarnation), active_s):
            self._only_called[node] = self._only_called.get(node, 0) + 1
        return self._done(active_s)

    def only_called(self, node: NodeId) -> int:
        """How many probes of `node` in a row were answered over the link alone, no datagram having come from it."""
        return self._only_called.get(node, 0)

    def met(self, node: NodeId, now_s: float) -> Deeds:
        """A link to `node` came up, or went down: see at once whether it lives."""
        active_s = self._active(now_s)
        member = self._beliefs.learn(node) if node != self.me else None
        if member is not None and self._begun:
            if member.live:
                self._beliefs.urgent[node] = None
            else:
                self._knock(member, active_s)
        return self._done(active_s)

    def _active(self, now_s: float) -> float:
        """Active seconds; what this process was late is not among them."""
        late_s = now_s - (self._agenda.due_s + self._stalled_s)
        if late_s > LAG_ALLOWED_S:
            self._stalled_s += late_s
            self.lagged(late_s, now_s)
        return now_s - self._stalled_s

    # ------------------------------------------------------------------------------------------------------- deeds

    def _period(self, active_s: float) -> None:
        """Each second, so that lateness shows; a node that is not well probes in fewer of them."""
        self._agenda.at(active_s + LAN.probe_s, self._period)
        if active_s < self._probe_s:
            return
        self._probe_s = active_s + self._awareness.scale(LAN.probe_s) - LAN.timeout_s
        beliefs, probing = self._beliefs, self._probing
        if not beliefs.living and self._awareness.score:
            self._awareness.better()  # nobody is left to compare with
        for ring in (beliefs.living, beliefs.lost):
            node = ring.next(probing.idle)
            if node is not None:
                beliefs.fresh.pop(node, None)
                probing.start(beliefs.members[node], active_s, helped=ring is beliefs.living)

    def _knock(self, member: Member, active_s: float) -> None:
        """Somebody not alive gives a sign of life: does it answer?"""
        if active_s - member.knocked_s >= member.profile.timeout_s and self._probing.idle(member.id):
            member.knocked_s = active_s
            self._beliefs.fresh.pop(member.id, None)
            self._probing.start(member, active_s)

    def _gossip(self, active_s: float) -> None:
        living = self._beliefs.living.members
        for node in self._some(living, GOSSIP_NODES):
            if self._rumours.pending:
                self._emit(node, GOSSIP, 0, "")
        self._gossiping = self._rumours.pending and bool(living)
        if self._gossiping:
            self._agenda.at(active_s + GOSSIP_S, self._gossip)

    def _verify(self, active_s: float) -> None:
        """Probe those that others accuse, out of turn."""
        urgent = list(self._beliefs.urgent)
        self._beliefs.urgent.clear()
        for node in filter(self._probing.idle, urgent):
            self._probing.start(self._beliefs.members[node], active_s)

    def _greet(self, active_s: float) -> None:
        fresh = self._beliefs.fresh
        for node in list(fresh)[:GREETED_AT_ONCE]:
            del fresh[node]
            self._knock(self._beliefs.members[node], active_s)
        self._greeting = bool(fresh)
        if self._greeting:
            self._agenda.at(active_s + GOSSIP_S, self._greet)

    def _done(self, active_s: float) -> Deeds:
        """What to do now, and see that rumours and greetings go on."""
        if self._begun:
            if not self._gossiping and self._rumours.pending and self._beliefs.living:
                self._gossiping = True
                self._agenda.at(active_s + GOSSIP_S, self._gossip)
            if self._beliefs.fresh and not self._greeting:
                self._greeting = True
                self._agenda.at(active_s, self._greet)
            if self._beliefs.urgent:
                self._verify(active_s)
        if self._beliefs.changes:
            self._live = None
        deeds, self._deeds = self._deeds, []
        return deeds

    def _emit(self, node: NodeId, kind: int, number: int, target: str) -> None:
        if kind == CALL:
            self._deeds.append((node, Packet(CALL, number, self._beliefs.incarnation, target)))
            return
        updates = self._updates(node, kind)
        self._deeds.append((node, Packet(kind, number, self._beliefs.incarnation, target, updates)))

    def _updates(self, node: NodeId, kind: int) -> tuple[Update, ...]:
        """What rides along: corrections, what is held against the receiver, rumours, a slice of the table."""
        beliefs = self._beliefs
        members = beliefs.members
        first: list[Update] = []
        if beliefs.stale:
            first = [told for stale in list(beliefs.stale)[:MAX_UPDATES] if (told := self._told(stale)) is not None]
            beliefs.stale.clear()
        to = members.get(node)
        if to is not None and to.told is not None and to.told[1] == SUSPECT and len(first) < MAX_UPDATES:
            first.append(to.told)
        if self._rumours.pending:
            first += self._rumours.take(MAX_UPDATES - len(first), len(beliefs.living) + 1)
        if kind in (PING, ACK) and len(first) < SLICE:
            first += self._sliced(SLICE - len(first))
        return tuple(first)

    def _told(self, node: NodeId) -> Update | None:
        return self._beliefs.told if node == self.me else self._beliefs.members[node].told

    def _sliced(self, count: int) -> list[Update]:
        """The next entries of the table."""
        members, table = self._beliefs.members, self._slice
        count = min(count, len(members))
        if not count:
            return []
        names = table[-count:]
        del table[-count:]
        if len(names) < count:
            table.extend(members)
            more = count - len(names)
            names[:0] = table[-more:]
            del table[-more:]
        found = [members.get(name) for name in reversed(names)]
        return [member.told for member in found if member is not None and member.told is not None]
