"""The deeds of a simulated node: ask, open, close, hand over, send, receive; over lists of guids. What hosting does."""

from __future__ import annotations

from collections.abc import Callable

from hybrid.cluster.candidates import ailing
from hybrid.cluster.confirming import confirmation, owner_seen, refuted
from hybrid.cluster.decisions import Stand
from hybrid.model import Claim, Guid, NodeId
from tests.simulation.disk import Line
from tests.simulation.life import SITE, Life

CONFIRM_S = 1.5
HAND_OVER_S = 10.0


class Deeds(Life):
    """Everything that takes time."""

    # ------------------------------------------------------------------------------------------------- standing

    def confirm(self, claim: Claim) -> None:
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
            self.keep_changes(self.disk.claim)
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
            self.keep_changes(claim)
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
