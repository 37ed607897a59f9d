"""
The story: everything the platform promises, done on a real cluster without a person, and measured. Synchronous.

Each chapter sets figures; one that cannot go on leaves its figures unset, with the reason, and the next one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from hybrid.lab import measures
from hybrid.lab.client import Json
from hybrid.lab.cluster import Lab
from hybrid.lab.command import LabError
from hybrid.lab.counting import count
from hybrid.lab.guestbook import HOST, SITE, Guestbook
from hybrid.lab.node import Node
from hybrid.lab.probes import DnsProbe, HttpProbe, PeerProbe, probing
from hybrid.lab.promises import Figures
from hybrid.lab.spike import Spike
from hybrid.lab.visitor import Unanswered
from hybrid.lab.writers import Journal, Writers

WATCH_S = 65.0
"""Long enough for a history of more than a minute to go back in."""
QUIET_S = 5.0
SIDE_WRITES = 10
NOTE = "/srv/www/note.txt"


class Story:
    """
    Tells itself on `lab`, which is up and has the guestbook's image.

    Args:
        lab: With two data centres and at least three nodes.
        say: Told of progress, a line at a time.
    """

    def __init__(self, lab: Lab, say: Callable[[str], None]) -> None:
        self._lab, self._say = lab, say
        self.figures = Figures()
        self._site = Guestbook(lab)
        self._journal = Journal(lab.base / "acknowledged")
        self._writers = Writers(HOST, self._journal)

    def tell(self) -> Figures:
        """All chapters, in order."""
        chapters: list[tuple[Callable[[], None], tuple[str, ...]]] = [
            (self.deploy, ("deploy_s",)),
            (self.watch, ("lag_p50_s", "lag_p99_s")),
            (self.kill_the_owner, ("failover_s", "dns_moved_s")),
            (self.roll_back, ("rollback_s", "undo_s")),
            (self.restore_a_file, ("file_restore_s",)),
            (self.cut_the_data_centres, ("partition_both_sides_served",)),
            (Spike(self._lab, self._site, self.figures, self._say).tell, ("burst_s", "burst_p95_s", "burst_lost")),
            (self.count_writes, ("writes_acked", "writes_on_main_line", "writes_in_stash", "writes_lost", "stashes")),
        ]
        for chapter, names in chapters:
            try:
                chapter()
            except (LabError, Unanswered) as error:
                self._say(f"  could not: {error}")
                self.figures.reasons.update({n: str(error) for n in names if getattr(self.figures, n) is None})
                if chapter == self.deploy:
                    break
                self._recover()
        self._journal.close()
        return self.figures

    def _recover(self) -> None:
        """After a chapter that broke off: no writers, no cuts, every node running, for the next one."""
        self._writers.stop()
        try:
            self._lab.network.heal()
            for node in self._lab.nodes.values():
                if not node.alive():
                    self._lab.start(node.name)
        except LabError as error:
            self._say(f"  and could not recover: {error}")

    # -------------------------------------------------------------------------------------------- chapters

    def deploy(self) -> None:
        """A site in one call, answered through every node."""
        self._say(f"deploying {HOST} on {self._lab.first.name}")
        begin_s = time.monotonic()
        self._site.deploy(self._lab.first.name)
        for node in self._lab.nodes.values():
            self._lab.wait(lambda node=node: self._site.served_by(node), f"{node.name} serves {HOST}", 90.0)  # type: ignore[misc]  # bound now
        self.figures.deploy_s = time.monotonic() - begin_s
        self._say(f"  served through every node after {self.figures.deploy_s:.1f} s")

    def watch(self) -> None:
        """Write through every node, and see each write arrive on a peer of the owner."""
        owner = self._site.owner()
        peers = [name for name in self._lab.nodes if name != owner.name]
        self._site.await_copies()
        probes = [PeerProbe(self._lab.api(name), name, SITE) for name in peers]
        self._say(f"writing through every node for {WATCH_S:.0f} s, watching history arrive on {' and '.join(peers)}")
        begun_s = time.time()
        with probing(probes), self._writing():
            time.sleep(WATCH_S)
            written = [ack.acked_s for ack in self._journal.since(begun_s)]
            self._lab.wait(lambda: _newest(probes) >= max(written, default=0.0), "the last write is on a peer", 60.0)
        lags = measures.lags(written, [sighting for probe in probes for sighting in probe.heard])
        known = [lag for lag in lags if lag is not None]
        if not known or len(known) < len(lags):
            raise LabError(f"{len(lags) - len(known)} of {len(lags)} writes were not seen on any peer")
        self.figures.lag_p50_s = measures.percentile(known, 0.5)
        self.figures.lag_p99_s = measures.percentile(known, 0.99)
        self._say(f"  {len(known)} writes; on a peer after {self.figures.lag_p50_s:.1f} s (median)")

    def kill_the_owner(self) -> None:
        """Power cut of the owner while everybody writes and resolves; then it comes back."""
        owner = self._site.owner()
        others = [node for node in self._lab.nodes.values() if node is not owner]
        pages = {node.name: HttpProbe(node.address, HOST) for node in others}
        names = {node.name: DnsProbe(node.address, HOST) for node in others}
        with self._writing(), probing([*pages.values(), *names.values()]):
            time.sleep(3.0)
            self._say(f"power cut of {owner.name}, the owner, while writing")
            owner.kill()
            killed_s = time.monotonic()
            try:
                self._measure_failover(killed_s, pages)
                self._measure_dns(killed_s, names, owner)
            finally:
                time.sleep(QUIET_S)
                self._say(f"power for {owner.name} again")
                self._lab.start(owner.name)
            time.sleep(QUIET_S)
        self._say(f"  {owner.name} holds everything again after {self._site.await_copies():.0f} s more")

    def _measure_failover(self, killed_s: float, pages: dict[str, HttpProbe]) -> None:
        def all_served() -> bool:
            now_s = time.monotonic()
            times = [measures.served_again_s(killed_s, now_s, list(page.heard), QUIET_S) for page in pages.values()]
            known = [seconds for seconds in times if seconds is not None]
            if len(known) == len(times):
                self.figures.failover_s = max(known)
            return self.figures.failover_s is not None

        self._lab.wait(all_served, f"{HOST} is served again through {' and '.join(pages)}", 90.0)
        self._say(f"  served again through {' and '.join(pages)} after {self.figures.failover_s:.1f} s")

    def _measure_dns(self, killed_s: float, names: dict[str, DnsProbe], dead: Node) -> None:
        owner = self._site.owner()

        def all_moved() -> bool:
            times = [
                measures.moved_s(killed_s, list(name.heard), dead.address, owner.address) for name in names.values()
            ]
            known = [seconds for seconds in times if seconds is not None]
            if len(known) == len(times):
                self.figures.dns_moved_s = max(known)
            return self.figures.dns_moved_s is not None

        self._lab.wait(all_moved, f"DNS names {owner.name} first and not {dead.name}", 60.0)
        self._say(f"  DNS names {owner.name}, the new owner, after {self.figures.dns_moved_s:.1f} s")

    def roll_back(self) -> None:
        """The whole site one minute back, then forth again."""
        with self._writing():
            time.sleep(QUIET_S)
        self._site.await_copies()
        api, before = self._lab.any_api(), self._site.ids()
        self._say("rolling the site back one minute")
        begin_s = time.monotonic()
        operation = api.perform(f"/sites/{SITE}/rollback", {"to": "60s"})
        after = self._site.ids()
        rollback_s = time.monotonic() - begin_s
        if not set(after) < set(before):
            raise LabError(
                "the rollback did not take the last minute away", f"{len(before)} entries, {len(after)} after"
            )
        self.figures.rollback_s = rollback_s
        self._say(f"  {len(before)} entries before, {len(after)} now, after {rollback_s:.1f} s: {_result(operation)}")
        begin_s = time.monotonic()
        api.perform(f"/sites/{SITE}/undo", {})
        again = self._site.ids()
        undo_s = time.monotonic() - begin_s
        if again != before:
            raise LabError("undo did not bring everything back", f"{len(before)} entries before, {len(again)} after")
        self.figures.undo_s = undo_s
        self._say(f"  undone: {len(again)} entries again, after {undo_s:.1f} s")

    def restore_a_file(self) -> None:
        """Delete one file, restore only it; what was written meanwhile stays."""
        api, text = self._lab.any_api(), f"kept at {time.time()}"
        api.execute(SITE, ["sh", "-c", f"cat > {NOTE}"], text)
        snapshot = api.call("POST", f"/sites/{SITE}/snapshots", {}, 60.0)
        api.execute(SITE, ["rm", NOTE])
        self._writers.write_one(self._lab.live()[-1].name, self._lab.live()[-1].address)
        before = self._site.ids()
        self._say(f"deleted {NOTE}; restoring it from {snapshot['name']}")
        begin_s = time.monotonic()
        api.perform(f"/sites/{SITE}/restore", {"snapshot": snapshot["guid"], "path": NOTE})
        restored = api.execute(SITE, ["cat", NOTE])
        file_restore_s = time.monotonic() - begin_s
        if restored != text:
            raise LabError("the restored file is not what it was", f"{restored[:80]!r}")
        if self._site.ids() != before:
            raise LabError("restoring a file changed something else")
        self.figures.file_restore_s = file_restore_s
        self._say(f"  back after {file_restore_s:.1f} s, the rest untouched")

    def cut_the_data_centres(self) -> None:
        """Both sides go on alone, both are written to; then they find together again."""
        sides: dict[str, list[str]] = {}
        for node in self._lab.nodes.values():
            sides.setdefault(node.dc, []).append(node.name)
        self._site.await_copies()
        self._say("cutting the data centres apart: " + " | ".join(" ".join(side) for side in sides.values()))
        with self._writing():
            self._lab.network.cut(sides.values())
            cut_s = time.time()
            try:
                self._await_both_sides(cut_s, list(sides.values()))
            finally:
                self._say("healing")
                self._lab.network.heal()
            time.sleep(QUIET_S)
        self._say(f"  one line again on every node after {self._site.await_copies():.0f} s more")

    def _await_both_sides(self, cut_s: float, sides: list[list[str]]) -> None:
        """Until each side acknowledged writes for a while with two different owners; else the promise is broken."""

        def served() -> bool:
            owners = {self._lab.api(side[0]).site(SITE)["owner"] for side in sides}
            acked = [sum(len(self._journal.since(cut_s + 15.0, name)) for name in side) for side in sides]
            return None not in owners and len(owners) == len(sides) and min(acked) >= SIDE_WRITES

        try:
            seconds = self._lab.wait(served, "both sides serve", 90.0)
        except LabError:
            self.figures.partition_both_sides_served = False
            raise
        self.figures.partition_both_sides_served = True
        self._say(f"  both sides wrote, each with an owner of its own, for {seconds:.0f} s")

    def count_writes(self) -> None:
        """Every acknowledged write is on the main line or in a stash."""
        self._site.await_copies()
        self._say("counting writes")
        acked = [ack.id for ack in self._journal.acks()]
        found = count(self._lab.any_api(), SITE, acked, self._site.ids())
        self.figures.writes_acked, self.figures.writes_on_main_line = found.acked, found.on_main_line
        self.figures.writes_in_stash, self.figures.writes_lost = found.in_stash, len(found.lost)
        self.figures.stashes = found.stashes
        troubles = [*found.unread, *([f"lost: {' '.join(found.lost[:5])}"] if found.lost else [])]
        if troubles:
            self.figures.reasons["writes_lost"] = "; ".join(troubles)

    # ---------------------------------------------------------------------------------------------- pieces

    def _writing(self) -> AbstractContextManager[None]:
        """Writers through every node while the block runs."""
        return self._writers.writing({node.name: node.address for node in self._lab.nodes.values()})


def _newest(probes: list[PeerProbe]) -> float:
    """When the newest snapshot that any peer holds was taken."""
    return max((sighting.taken_s for probe in probes for sighting in list(probe.heard)), default=0.0)


def _result(operation: Json) -> str:
    """What became of what was undone."""
    return f"kept as {(operation.get('result') or {}).get('stash', 'a stash')}"
