"""What a simulated node knows and says: its clock, its registers, and the real decisions asked. No deeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from hybrid.cluster.candidates import newest_spec
from hybrid.cluster.decisions import Decision
from hybrid.cluster.election import Elections
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.membership import Membership
from hybrid.cluster.viewing import Views
from hybrid.model import Bid, Claim, NodeId, NodeRegister, Role, SiteId, SiteRegister
from hybrid.view import View
from tests.simulation.disk import Disk

if TYPE_CHECKING:
    from tests.simulation.world import World

SITE = SiteId("s-one")


class Life:
    """What every deed needs: the facts, the clock, the voice."""

    def __init__(self, world: World, disk: Disk, rate: float, container: bool) -> None:
        """`rate`: how fast this node's clock runs. `container`: one was found running, from an earlier life."""
        self.world, self.disk, self.rate = world, disk, rate
        self.me = disk.node
        self.up, self.paused = True, False
        self.backlog: list[Callable[[], None]] = []
        disk.incarnation += 1
        self.started_s = self.now_s()
        self.membership = Membership(self.me, disk.incarnation, world.timing, self.started_s, world.chance)
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

    def boot(self) -> None:
        """Rule R0, or the adoption of a container that never stopped."""
        if self.disk.claim is not None:
            if self.container or self.world.mutant == "keep claim":
                self.excused = self.container
                self.role, self.serving, self.container = "owner", True, True
                self.world.count("adopted")
            else:
                self.keep_changes(self.disk.claim)
                self.disk.claim = None
        self.publish()

    def keep_changes(self, claim: Claim) -> None:
        """Take what is live into a snapshot."""
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
        return Views(self.me, self.ledger, ("example.net",), lambda site: None).renew(self.live(), frozenset())

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
