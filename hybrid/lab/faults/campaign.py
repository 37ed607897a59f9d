"""
Performs faults one after the other, on one lab per size of cluster, and judges each. Synchronous.

A lab that is not whole again after a scenario is thrown away, and the next scenario gets a new one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random

from hybrid.lab.cluster import Lab
from hybrid.lab.command import LabError
from hybrid.lab.counting import ids_in_stash
from hybrid.lab.faults.evidence import Branches, Breach, Evidence, Window
from hybrid.lab.faults.fault import Fault
from hybrid.lab.faults.scoring import Target, Verdict, judge
from hybrid.lab.faults.stage import BUDGET_S, Stage
from hybrid.lab.guestbook import HOST, SITE, Guestbook
from hybrid.lab.visitor import Unanswered
from hybrid.lab.writers import Journal, Writers

WHOLE_S = 120.0
AGAIN_S = 30.0
"""A lab that is not whole so long after it was is not fit for another scenario."""
Say = Callable[[str], None]


class Theatre:
    """
    A lab with a guestbook, for any number of scenarios.

    Use as a context: left, nothing of it is on the machine.

    Args:
        nodes: Of the cluster.
        image_dir: Built images.
        say: Told of progress.
        seed: Of what scenarios choose by chance.
        keep: Leave disks and logs.
        budget_s: In which each scenario ends.
    """

    def __init__(
        self,
        nodes: int,
        image_dir: Path,
        say: Say,
        seed: int = 0,
        keep: bool = False,
        budget_s: float = BUDGET_S,
    ) -> None:
        self._say, self._chance, self._budget_s = say, Random(seed), budget_s
        self.lab = Lab(nodes, image_dir, say=say, keep=keep)
        self.site = Guestbook(self.lab)
        self._journal = Journal(self.lab.base / "acknowledged")
        self._writers = Writers(HOST, self._journal)
        self._read: dict[str, list[str]] = {}
        self._apart: list[Window] = []

    def __enter__(self) -> Theatre:
        return self

    def __exit__(self, *exception: object) -> None:
        self._journal.close()
        asked = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it behind
        try:
            self.lab.tear_down()
        finally:
            signal.signal(signal.SIGINT, asked)

    def open(self) -> None:
        """Found the cluster, make the site, and wait until all nodes hold it."""
        self.lab.up()
        self._say(f"deploying {HOST}")
        self.site.deploy(self.lab.first.name)
        self.site.await_copies(WHOLE_S)

    def perform(self, fault: Fault) -> Verdict:
        """One scenario, judged. What it could not do is a breach, never an exception."""
        self._say(f"{fault.name}: {fault.says}")
        stage = Stage(self.lab, self._journal, self._writers, self._say, self._chance, self._budget_s)
        try:
            with stage.observing():
                stage.steady()
                fault.run(stage)
        except (LabError, Unanswered) as error:
            stage.unless(False, "person", f"could not: {error}")
        self._mend(stage.evidence)
        self._apart += stage.evidence.apart
        stage.evidence.branches = self._branches()
        verdict = judge(fault.name, fault.says, stage.evidence, fault.target)
        self._say(f"  {verdict.score} of 3" + (f": {verdict.detail}" if verdict.detail else ""))
        return verdict

    def account(self) -> Verdict:
        """Every write that was ever acknowledged on this lab, counted once more at the end."""
        now_s = time.monotonic()
        acks = self._journal.acks()
        evidence = Evidence(began_s=now_s, undone_s=now_s, agreed_s=now_s, acks=acks, apart=self._apart)
        self._mend(evidence)
        evidence.branches = self._branches(every=True)
        nodes = len(self.lab.nodes)
        return judge(f"all-{nodes}", f"everything written to the cluster of {nodes}", evidence, Target())

    def whole(self) -> bool:
        """Whether all nodes run and hold all of the site: fit for another scenario."""
        try:
            self.site.await_copies(AGAIN_S)
        except LabError:
            return False
        return len(self.lab.live()) == len(self.lab.nodes)

    def _mend(self, evidence: Evidence) -> None:
        """Whatever the scenario left: no cuts, all nodes running, and copies that are equal again."""
        try:
            self.lab.network.heal()
            for node in self.lab.nodes.values():
                if node.alive():
                    node.resume()
                else:
                    self.lab.start(node.name)
            self.site.await_copies(WHOLE_S)
        except LabError as error:
            evidence.breaches.append(Breach("person", f"not whole again: {error}"))

    def _branches(self, every: bool = False) -> Branches | None:
        """The main line and the new stashes (`every`: all), as the API gives them; `None` where that is impossible."""
        try:
            api = self.lab.any_api()
            main = self.site.ids()
            stashes = [str(stash["id"]) for stash in api.items(f"/sites/{SITE}/stashes")]
        except (LabError, Unanswered):
            return None
        new, unread = [stash for stash in stashes if stash not in self._read], {}
        for stash in new:
            try:
                self._read[stash] = ids_in_stash(api, SITE, stash)
            except LabError as error:
                unread[stash] = str(error)
        told = [stash for stash in (stashes if every else new) if stash in self._read]
        return Branches(main, {stash: self._read[stash] for stash in told}, unread)


def campaign(
    faults: Sequence[Fault],
    image_dir: Path,
    say: Say,
    told: Callable[[Verdict], None],
    seed: int = 0,
    keep: bool = False,
) -> None:
    """Perform all, the smallest clusters first; `told(verdict)` after each."""
    for nodes in sorted({fault.nodes for fault in faults}):
        of_size = [fault for fault in faults if fault.nodes == nodes]
        _on_one_size(of_size, lambda nodes=nodes: Theatre(nodes, image_dir, say, seed, keep), say, told)  # type: ignore[misc]  # bound now


def _on_one_size(
    faults: Iterable[Fault], build: Callable[[], Theatre], say: Say, told: Callable[[Verdict], None]
) -> None:
    with ExitStack() as stack:
        theatre: Theatre | None = None
        for fault in [one for one in faults for _ in range(one.times)]:
            begin_s = time.monotonic()
            if theatre is None or not theatre.whole():
                if theatre is not None:
                    told(theatre.account())
                stack.close()
                say(f"a cluster of {fault.nodes} nodes")
                theatre = stack.enter_context(build())
                theatre.open()
            told(theatre.perform(fault))
            say(f"  {fault.name} took {time.monotonic() - begin_s:.0f} s")
        if theatre is not None:
            told(theatre.account())
