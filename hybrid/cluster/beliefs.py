"""
What this node believes of every other one: unheard, alive, suspect or dead, and with which incarnation. Pure.

SWIM's rules of precedence (DSN 2002, §4.2), with these turns:

* "Dead" is never told. A node that is dead for one is an accused for the others, each of which decides by its own
  timer: somebody who hears nobody cannot kill anybody else.
* A round trip of one's own outweighs what others say, of whatever incarnation.
* Who was never heard of before and is only told of is not alive before it answered.

Times are this node's active seconds: see `hybrid.cluster.membership`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

from hybrid.cluster.agenda import Agenda
from hybrid.cluster.awareness import Awareness
from hybrid.cluster.packets import ALIVE, MAX_INCARNATION, SUSPECT, Update
from hybrid.cluster.ring import Chance, Ring
from hybrid.cluster.rumours import Rumours
from hybrid.cluster.suspicion import LAN, Profile, timeout_s
from hybrid.model import NodeId

UNHEARD: Final = 0
DEAD: Final = 3
STATES = {UNHEARD: "unheard", ALIVE: "alive", SUSPECT: "suspect", DEAD: "dead"}
FEW = 8
"""In clusters of up to so many everybody verifies an accusation at once; in larger ones some do."""
_VERIFIERS = 4
MAX_LEARNT = 10_000
"""With so many known, no packet makes more."""
_ROUNDING_S = 1e-6


class Member:
    """Another node."""

    __slots__ = (
        "accusers",
        "check_s",
        "heard_s",
        "id",
        "incarnation",
        "knocked_s",
        "live",
        "profile",
        "seconded",
        "since_s",
        "state",
        "told",
        "unsaid",
    )

    def __init__(self, node: NodeId, profile: Profile) -> None:
        self.id, self.profile = node, profile
        self.state: int = UNHEARD
        self.live = False
        """A suspect is, until it is dead."""
        self.incarnation = 0
        self.accusers: dict[NodeId, None] = {}
        """Who probed it in vain, the first one first."""
        self.since_s = 0.0
        """Since when it is in this state."""
        self.check_s = math.inf
        """When the suspicion is looked at next."""
        self.heard_s: float | None = None
        """When something fresh of it was learned."""
        self.knocked_s = -math.inf
        self.seconded, self.unsaid = -1, False
        """The newest incarnation others accused while it was not alive here, and whether to say so too."""
        self.told: Update | None = None
        """What others are told of it; `None` for what is hearsay only."""


class Beliefs:
    """
    The table.

    Attributes:
        members: All other nodes known.
        living: Those alive or suspect, as they are probed.
        lost: Those dead or unheard, which are tried for ever.
        urgent: Accused ones, to be verified before it is their turn.
        fresh: Ones just heard of, to be greeted.
        stale: Members of which the packet at hand told something outdated.
        changes: `(node, from, to)` since the shell looked.
        forgotten: Nodes that are not to be heard.
    """

    def __init__(
        self, me: NodeId, incarnation: int, agenda: Agenda, rumours: Rumours, awareness: Awareness, chance: Chance
    ) -> None:
        self.me, self.incarnation = me, incarnation
        self.members: dict[NodeId, Member] = {}
        self.living, self.lost = Ring(chance), Ring(chance)
        self.urgent: dict[NodeId, None] = {}
        self.fresh: dict[NodeId, None] = {}
        self.stale: dict[NodeId, None] = {}
        self.changes: deque[tuple[NodeId, int, int]] = deque(maxlen=1000)
        self.profile_of: Callable[[NodeId], Profile] = lambda node: LAN
        self._agenda, self._rumours, self._awareness, self._chance = agenda, rumours, awareness, chance
        self._suspects: dict[NodeId, Member] = {}
        self._well = 0
        self.forgotten: set[NodeId] = set()

    @property
    def told(self) -> Update:
        """What this node says of itself."""
        return (self.me, ALIVE, self.incarnation, "")

    # ------------------------------------------------------------------------------------------------- who is there

    def know(self, node: NodeId) -> Member | None:
        """The member, from now on; `None` for this node itself."""
        if node == self.me:
            return None
        self.forgotten.discard(node)
        member = self.members.get(node)
        if member is None:
            member = self.members[node] = Member(node, self.profile_of(node))
            self.lost.add(node)
            self.fresh[node] = None
        return member

    def learn(self, node: NodeId) -> Member | None:
        """The member, if need be from now on; `None` where it was forgotten, or too many are known."""
        member = self.members.get(node)
        if member is None and node not in self.forgotten and len(self.members) < MAX_LEARNT:
            return self.know(node)
        return member

    def forget(self, node: NodeId) -> None:
        """An operator removed it."""
        member = self.members.pop(node, None)
        self.forgotten.add(node)
        if member is not None:
            for ring in (self.living, self.lost):
                ring.discard(node)
            for names in (self.urgent, self.fresh, self._suspects):
                names.pop(node, None)
            self._rumours.drop(node)
            self._well -= member.state == ALIVE
            member.state, member.live = UNHEARD, False

    # ------------------------------------------------------------------------------------------------ what is heard

    def take(self, update: Update, now_s: float) -> None:
        """Believe what another node says, or note that it is outdated."""
        node, state, incarnation, accuser = update
        if node == self.me:
            self._of_me(state, incarnation)
            return
        member = self.members.get(node)
        if member is None:
            if state == ALIVE:
                self.learn(node)
        elif member.told == update:
            return
        elif incarnation < member.incarnation and member.state != UNHEARD:
            self.stale[node] = None
        elif state == ALIVE:
            self.said_alive(member, incarnation, now_s)
        else:
            self.accuse(member, incarnation, NodeId(accuser), now_s)

    def said_alive(self, member: Member, incarnation: int, now_s: float) -> None:
        """Somebody says so. It counts when its incarnation grew since; an unheard one must answer first."""
        if incarnation <= member.incarnation or member.state == UNHEARD:
            if not member.live and now_s - member.knocked_s > member.profile.probe_s:
                self.fresh[member.id] = None
            return
        member.incarnation = incarnation
        member.heard_s = now_s
        self._become(member, ALIVE, now_s)
        self._spread(member)

    def answered(self, member: Member, incarnation: int, now_s: float) -> None:
        """A round trip of our own: it lives, whatever is said."""
        member.heard_s = now_s
        grew = incarnation > member.incarnation
        if member.state != ALIVE or grew:
            member.incarnation = max(member.incarnation, incarnation)
            self._become(member, ALIVE, now_s)
            self._spread(member)

    def accuse(self, member: Member, incarnation: int, accuser: NodeId, now_s: float) -> None:
        """`accuser` (perhaps this node) probed it in vain."""
        if incarnation < member.incarnation:
            return
        if not member.live:
            self._hear_accused(member, incarnation, accuser)
        elif member.state == ALIVE:
            member.incarnation = incarnation
            member.accusers = {accuser: None}
            self._become(member, SUSPECT, now_s)
            self._spread(member)
            self._verify(member, accuser)
        else:
            self._confirm(member, incarnation, accuser, now_s)

    def _hear_accused(self, member: Member, incarnation: int, accuser: NodeId) -> None:
        """It is dead already here, or was never heard: still the others wait for this node's word."""
        member.incarnation = incarnation
        if member.told is not None:
            self._tell(member)
        if incarnation > member.seconded and accuser != self.me:
            member.seconded, member.unsaid = incarnation, True
            self._verify(member, accuser)

    def second(self, member: Member) -> None:
        """One that others accuse was probed in vain, though it is not alive for this node anyway: tell, once."""
        if member.unsaid:
            member.unsaid = False
            self._rumours.spread((member.id, SUSPECT, member.incarnation, self.me))

    def _confirm(self, member: Member, incarnation: int, accuser: NodeId, now_s: float) -> None:
        member.incarnation = incarnation
        new = accuser not in member.accusers
        member.accusers[accuser] = None
        if (new and len(member.accusers) <= member.profile.mult) or accuser == self.me:
            self._rumours.spread((member.id, SUSPECT, incarnation, accuser))
        self._tell(member)
        if new:
            self._judge(now_s, member)

    def _verify(self, member: Member, accuser: NodeId) -> None:
        if accuser != self.me and (
            len(self.living) <= FEW or self._chance.random() * len(self.living) < _VERIFIERS * member.profile.mult
        ):
            self.urgent[member.id] = None

    def _of_me(self, state: int, incarnation: int) -> None:
        """What others say of this node. Refute; outdo what an earlier life, or a second node with this key, said."""
        if incarnation < self.incarnation:
            self.stale[self.me] = None
        elif (state == SUSPECT or incarnation > self.incarnation) and incarnation + 1 < MAX_INCARNATION:
            self.incarnation = incarnation + 1
            self._awareness.worse()
            self._rumours.spread(self.told)

    # ---------------------------------------------------------------------------------------------------- judgement

    def _judge(self, now_s: float, member: Member) -> None:
        """Dead, or when to look again."""
        if member.state != SUSPECT:
            return
        first = next(iter(member.accusers))
        others = self._well + (first != self.me)
        if first != self.me and first in self.members and self.members[first].state == ALIVE:
            others -= 1
        patience_s = timeout_s(member.profile, len(self.living) + 1, len(member.accusers) - 1, others)
        deadline_s = member.since_s + patience_s
        if deadline_s <= now_s + _ROUNDING_S:
            self._become(member, DEAD, now_s)
            self._spread(member)
        elif deadline_s < member.check_s - _ROUNDING_S or member.check_s <= now_s + _ROUNDING_S:
            member.check_s = deadline_s
            self._agenda.at(deadline_s, self._judge, member)

    def _become(self, member: Member, state: int, now_s: float) -> None:
        before, member.state = member.state, state
        member.live = state in (ALIVE, SUSPECT)
        if state == ALIVE:
            member.accusers = {}
        self._tell(member)
        if before == state:
            return
        member.since_s, member.check_s = now_s, math.inf
        self.changes.append((member.id, before, state))
        self._place(member)
        self._well += (state == ALIVE) - (before == ALIVE)
        if state == SUSPECT:
            self._suspects[member.id] = member
            self._judge(now_s, member)
        else:
            self._suspects.pop(member.id, None)
            self.urgent.pop(member.id, None)
        if before == ALIVE and self._well < 4:
            for suspect in list(self._suspects.values()):  # fewer are left who could confirm
                self._judge(now_s, suspect)

    def _place(self, member: Member) -> None:
        here, there = (self.living, self.lost) if member.live else (self.lost, self.living)
        there.discard(member.id)
        here.add(member.id)
        self.fresh.pop(member.id, None)

    def _tell(self, member: Member) -> None:
        accuser = self.me if self.me in member.accusers else next(iter(member.accusers), self.me)
        if member.state == ALIVE:
            member.told = (member.id, ALIVE, member.incarnation, "")
        else:
            member.told = (member.id, SUSPECT, member.incarnation, accuser)

    def _spread(self, member: Member) -> None:
        if member.told is not None:
            self._rumours.spread(member.told)
