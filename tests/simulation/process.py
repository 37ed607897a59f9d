"""One life of a node's process: the real membership, ledger and elections, with deeds over lists of guids."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from hybrid.cluster.candidates import ailing, newest_spec
from hybrid.cluster.election import (
    AwaitPick,
    Decision,
    Elections,
    Fence,
    PublishBid,
    Reaffirm,
    Stand,
    Stay,
    confirmation,
    owner_seen,
    refuted,
)
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.cluster.viewing import build
from hybrid.model import Bid, Claim, Guid, NodeId, NodeRegister, Role, SiteId, SiteRegister
from hybrid.view import View
from hybrid.wire import Gossip
from tests.simulation.disk import Disk, Line

if TYPE_CHECKING:
    from tests.simulation.world import World

SITE = SiteId("s-one")
CONFIRM_S = 1.5
HAND_OVER_S = 10.0


class Process:
    """`hybrid node`, from its start to its end."""

    def __init__(self, world: World, disk: Disk, rate: float, container: bool) -> None:
        """`rate`: how fast this node's clock runs. `container`: one was found running, from an earlier life."""
        self.world, self.disk, self.rate = world, disk, rate
        self.me = disk.node
        self.up, self.paused = True, False
        self.backlog: list[Callable[[], None]] = []
        disk.incarnation += 1
        self.started_s = self.now_s()
        self.membership = Membership(self.me, disk.incarnation, world.timing, self.started_s)
        self.ledger = Ledger(self.me, disk.incarnation)
        self.ledger.restore(disk.saved)
        timing = msgspec.structs.replace(world.timing, boot_s=0.0) if world.mutant == "no quarantine" else world.timing
        self.elections = Elections(self.me, timing, self.started_s)
        for node in world.names:
            self.membership.know(node, self.started_s)
        self.role: Role = "none" if not disk.line else "replica"
        self.serving = False
        self.container = container
        self.trouble = ""
        self.successor: NodeId | None = None
        self.bids: dict[str, Bid] = {}
        self.busy = False
        self.excused = False
        """May serve at once after its start: found its container running, or was handed the site by its owner."""
        self._boot()
        self.later(world.chance.random() * world.timing.heartbeat_s, self.tick)

    # ------------------------------------------------------------------------------------------------- time

    def now_s(self) -> float:
        """Monotonic seconds by this node's own clock."""
        return self.world.clock.seconds() * self.rate

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call it after `delay_s` of this node's seconds, in this life, not while stopped."""
        self.world.clock.callLater(delay_s / self.rate, self.run, call)

    def run(self, call: Callable[[], None]) -> None:
        """Call it now, or when this process goes on, or never."""
        if self.up and self.paused:
            self.backlog.append(call)
        elif self.up:
            call()

    def resume(self) -> None:
        """Go on after SIGCONT, with all that piled up."""
        self.paused = False
        backlog, self.backlog = self.backlog, []
        for call in backlog:
            self.run(call)

    def soon(self, low_s: float, high_s: float, call: Callable[[], None]) -> None:
        """Call it after a random time: a deed takes that long."""
        self.later(self.world.chance.uniform(low_s, high_s), call)

    # ------------------------------------------------------------------------------------------------- facts

    def _boot(self) -> None:
        """Rule R0, or the adoption of a container that never stopped."""
        if self.disk.claim is not None:
            if self.container or self.world.mutant == "keep claim":
                self.excused = self.container
                self.role, self.serving, self.container = "owner", True, True
                self.world.count("adopted")
            else:
                self._keep_changes(self.disk.claim)
                self.disk.claim = None
        self.publish()

    def _keep_changes(self, claim: Claim) -> None:
        if self.disk.live and self.world.mutant == "no final snapshot":
            self.disk.live = []
        if self.disk.live:
            self.disk.snapshot(claim, self.world.clock.seconds())

    def publish(self) -> None:
        """Say what is true now."""
        self.disk.seen = max(self.disk.seen, self.ledger.seen(SITE))
        if self.disk.line:
            self.ledger.publish(SITE, self._register())
        load = 0.0
        register = NodeRegister(id=self.me, name=self.me, dc=self.world.dcs[self.me], address="", load=load)
        self.ledger.publish_node(register)

    def _register(self) -> SiteRegister:
        head = self.world.oracle.snapshots[self.disk.line[-1]]
        told = self.world.mutant != "history untold"
        return SiteRegister(
            role=self.role,
            claim=self.disk.claim,
            seen=self.disk.seen,
            head=head.guid,
            head_epoch=head.claim.epoch if told else 0,
            head_counter=head.counter if told else 0,
            head_at_s=int(head.at_s),
            length=len(self.disk.line) if told else 0,
            recent=self.disk.line[:-9:-1],
            serving=self.serving,
            trouble="storage does not answer" if self.disk.sick else self.trouble,
            spec=self.world.spec,
            bids=self.bids,
            successor=self.successor,
        )

    def live(self) -> frozenset[NodeId]:
        """Nodes alive, as seen from here."""
        return self.membership.live(self.now_s())

    def view(self) -> View:
        """What this node would tell its proxies."""
        return build(self.me, self.ledger, self.live(), {}, ("example.net",))

    # ------------------------------------------------------------------------------------------------- gossip

    def tick(self) -> None:
        """One heartbeat."""
        self.later(self.world.timing.heartbeat_s, self.tick)
        now_s, chance = self.now_s(), self.world.chance
        heartbeats = self.membership.beat(now_s)
        self.publish()
        if chance.random() < 0.2:
            self.disk.saved = self.ledger.snapshot()
        holders = [node for node, register in self.ledger.registers(SITE).items() if register.role != "none"]
        for peer in self.membership.targets(now_s, holders, chance.sample):
            news = self.ledger.news_for(peer, heartbeats)
            self.world.tell(self.me, peer, lambda other, news=news: other.heard(self.me, news))  # type: ignore[misc]  # default argument
        if self.role == "owner" and not self.busy and not self.disk.sick:
            if self.disk.live and chance.random() < 0.3 and self.disk.claim is not None:
                self.disk.snapshot(self.disk.claim, self.world.clock.seconds())
                self.publish()
            self.replicate()
        self.look()

    def heard(self, sender: NodeId, gossip: Gossip) -> None:
        """Gossip of a peer."""
        self.membership.received(gossip.heartbeats, self.now_s(), sender)
        self.ledger.raise_to(self.membership.incarnation)
        self.ledger.merge(gossip, sender)
        self.look()

    # ------------------------------------------------------------------------------------------------- deciding

    def decide(self) -> Decision:
        """Ask the elections, as the steward does."""
        registers = self.ledger.registers(SITE)
        return self.elections.decide(
            SITE,
            registers,
            self.live(),
            newest_spec(registers.values()),
            self.now_s(),
            fit=self.membership.fit(self.now_s()),
            free_space_ok=not self.disk.sick,
            dcs=self.world.dcs,
        )

    def look(self) -> None:
        """Decide, and begin the deed."""
        if self.busy:
            return
        self.publish()
        decision = self.decide()
        match decision:
            case Stand(claim):
                self._confirm(claim)
            case Fence(_, claim):
                self.world.count("fenced")
                self.disk.seen = max(self.disk.seen, claim)
                self.close()
            case PublishBid(key, bid):
                assert key not in self.bids, f"{self.me} would change its bid for {key}"
                self.bids = {**self.bids, key: bid}
                self.world.count_conflict(self, key)
                self.publish()
            case Reaffirm(claim):
                if self.world.mutant != "no re-affirm":
                    self.world.count("re-affirmed")
                    self.disk.hold(claim)
                    self.publish()
            case AwaitPick() | Stay():
                return

    # ------------------------------------------------------------------------------------------------- standing

    def _confirm(self, claim: Claim) -> None:
        """Rule R2: ask first."""
        self.busy = True
        asked = confirmation(self.ledger.registers(SITE), self.live(), self.me)
        if self.world.mutant == "no confirmation":
            asked = []
        answers: dict[NodeId, Claim | None] = {}
        done = False

        def finish() -> None:
            nonlocal done
            if not done:
                done = True
                self.busy = False
                self._confirmed(claim, list(answers.values()))

        def answer(node: NodeId, seen: Claim | None) -> None:
            answers[node] = seen
            if len(answers) == len(asked):
                finish()

        for node in asked:
            self.world.ask(self.me, node, lambda other: other.sees_owner(self.me), lambda seen, n=node: answer(n, seen))  # type: ignore[misc]  # default argument
        self.later(CONFIRM_S if asked else 0.0, finish)

    def sees_owner(self, asker: NodeId) -> Claim | None:
        """Answer a candidate."""
        return owner_seen(self.ledger.registers(SITE), self.live(), asker)

    def _confirmed(self, claim: Claim, answers: list[Claim | None]) -> None:
        if refuted(answers, claim):
            self.world.count("called off")
            self.elections.called_off(SITE, self.now_s())
        elif self.world.mutant == "no second look" or self.decide() == Stand(claim):
            since_start_s = self.now_s() - self.started_s
            assert since_start_s >= self.world.timing.boot_s - 0.001, (
                f"S10 {self.me} stands {since_start_s} s after start"
            )
            self.open(claim)

    def open(self, claim: Claim, done: Callable[[bool], None] = lambda ok: None) -> None:
        """Begin a term."""
        self.busy = True
        self.disk.hold(claim)
        self.role, self.serving, self.trouble, self.successor = "opening", False, "", None
        self.world.count("stood")
        if any(ailing(register) for register in self.ledger.registers(SITE).values()):
            self.world.count("relieved")
        self.disk.snapshot(claim, self.world.clock.seconds())
        self.publish()

        def opened() -> None:
            failed = self.disk.sick or self.world.chance.random() < self.world.flaky
            if failed:
                self.world.count("could not open")
                self.disk.claim = None
                self.role, self.trouble = "replica", "did not start"
                self.elections.failed(SITE, self.now_s())
            else:
                self.role, self.serving, self.container = "owner", True, True
            self.busy = False
            self.publish()
            done(not failed)

        self.soon(0.2, 2.0, opened)

    def close(self) -> None:
        """End the term: rule R6."""
        self.busy = True
        self.role, self.serving = "stashing", False
        self.publish()
        self.soon(0.1, 2.0, self._stopped)

    def _stopped(self) -> None:
        if self.disk.sick:
            self.later(1.0, self._stopped)
            return
        self.container = False
        self.soon(0.1, 1.0, self._closed)

    def _closed(self) -> None:
        if self.disk.sick:
            self.later(1.0, self._closed)
            return
        if self.disk.claim is not None:
            self._keep_changes(self.disk.claim)
        self.disk.claim = None
        self.role, self.successor, self.bids, self.busy = "replica", None, {}, False
        self.publish()

    # ------------------------------------------------------------------------------------------------- moving

    def move(self, successor: NodeId) -> None:
        """Hand the site over, rule R10, as hosting does it."""
        claim = self.disk.claim
        if self.busy or self.role != "owner" or claim is None or self.disk.sick:
            return
        self.world.count("move")
        self.busy, self.role, self.serving, self.successor = True, "leaving", False, successor
        self.publish()
        over = False

        def end(ok: bool) -> None:
            nonlocal over
            if over:
                return
            over = True
            self.world.count("moved" if ok else "move failed")
            if ok or max(self.disk.seen, self.ledger.seen(SITE)) > claim:
                self.close()
            else:
                self.role, self.successor = "opening", None
                self.publish()
                self.soon(0.2, 1.0, restarted)

        def restarted() -> None:
            self.role, self.serving, self.container, self.busy = "owner", True, True, False
            self.publish()

        def stopped() -> None:
            self.container = False
            self._keep_changes(claim)
            self.publish()
            self._push(successor, lambda: self._hand_over(successor, claim, end))
            self.later(HAND_OVER_S, lambda: end(False))

        self.soon(0.1, 1.0, stopped)

    def _hand_over(self, successor: NodeId, claim: Claim, end: Callable[[bool], None]) -> None:
        head = self.disk.line[-1]

        def reply(ok: bool) -> None:
            self.world.tell(successor, self.me, lambda me: end(ok))

        self.world.tell(self.me, successor, lambda other: other.take_over(claim, head, reply))

    def take_over(self, claim: Claim, head: Guid, reply: Callable[[bool], None]) -> None:
        """The successor's side."""
        seen = max(self.disk.seen, self.ledger.seen(SITE))
        if self.busy or self.role != "replica" or self.disk.sick or self.disk.line[-1] != head or seen > claim:
            reply(False)
            return
        self.excused = True
        self.open(Claim(claim.epoch + 1, self.me), reply)

    # ------------------------------------------------------------------------------------------------- copies

    def replicate(self) -> None:
        """Send the line to living holders that end elsewhere."""
        registers, live = self.ledger.registers(SITE), self.live()
        for node in sorted(live - {self.me}):
            register = registers.get(node)
            behind = register is not None and register.role != "none" and register.head != self.disk.line[-1]
            if behind and self.world.chance.random() < 0.3:
                self._push(node, lambda: None)

    def _push(self, node: NodeId, then: Callable[[], None]) -> None:
        claim, line = self.disk.claim, self.disk.line
        if claim is None:
            return

        def acknowledged() -> None:
            for guid in line:
                self.world.oracle.acknowledged.setdefault(guid, set()).update({self.me, node})
            then()

        def taken() -> None:
            self.world.tell(node, self.me, lambda me: acknowledged())

        self.world.tell(self.me, node, lambda other: other.receive(claim, line, taken), long=True)

    def receive(self, claim: Claim, line: Line, taken: Callable[[], None]) -> None:
        """A stream arrived; rule R3."""
        if self.role != "replica" or self.busy or self.disk.sick:
            return
        stale = claim < max(self.disk.seen, self.ledger.seen(SITE))
        if stale and self.world.mutant != "ignore epoch":
            self.world.count("refused")
            return
        if claim == self.disk.accepted and line[-1] in self.disk.line[:-1]:
            self.world.count("overtaken")
            return
        how = self.disk.receive(claim, line, force=self.world.mutant == "force")
        self.world.count(how)
        self.trouble = ""
        self.publish()
        taken()

    # ------------------------------------------------------------------------------------------------- storage

    def storage_lost(self) -> None:
        """The pool stopped answering."""
        if self.role in ("owner", "opening"):
            self.role, self.serving, self.container = "opening", False, False
        self.publish()

    def storage_back(self) -> None:
        """The pool answers again: serve what is still ours."""
        if self.role == "opening" and self.disk.claim is not None and not self.busy:
            self.role, self.serving, self.container = "owner", True, True
        self.publish()
