"""
Rules broken on purpose, one at a time: `python -m tests.simulation.mutants`. The simulation must notice each.

A mutant is a `Core` whose collaborators were exchanged for subclasses of theirs; the product has no switches for it.
Writes `build/mutations.json`; ends with 0 only when every mutant was caught and the product itself passed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from hybrid.cluster.decisions import Decision, PublishBid, Reaffirm, Stay
from hybrid.cluster.election import Elections
from hybrid.cluster.patience import Patience
from hybrid.core import Core
from hybrid.deeds import StashReason
from hybrid.history import History
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.terms import Terms
from hybrid.model import NO_CLAIM, Bid, Claim, Guid, NodeId, SiteId, SiteRegister, Snapshot, Stash
from hybrid_replicator.bases import Bases
from hybrid_replicator.forgetting import Kept
from hybrid_replicator.holds import BaseHolds
from hybrid_replicator.names import site_dataset
from hybrid_replicator.stash import Stashes
from tests.simulation.history import Outcome, Scene, away, calm, history
from tests.simulation.run import begin


def becomes(part: object, broken: type) -> None:
    """Exchange a collaborator for one of a subclass, in place: others hold references to it."""
    part.__class__ = broken


# ------------------------------------------------------------------------------------------------------- storage


class ForcedStashes(Stashes):
    """`zfs receive -F`: what another owner's stream does not contain is destroyed."""

    async def stash(self, site: SiteId, base: Guid | None, why: StashReason) -> Stash:
        """See `Stashes`."""
        if why != "conflict" or base is None:
            return await super().stash(site, base, why)
        history = await self._index.reread(site_dataset(site))
        disk: Any = self._pool
        disk.roll_back(site_dataset(site), base)
        await self._index.reread(site_dataset(site))
        head = history[-1]
        return Stash(id=f"{site}.0.x.x", site=site, base=base, head=head.guid, head_at_s=head.created_at_s, why=why)


class Force(Core):
    """Receives by force."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self.replicator._stashes, ForcedStashes)


class Unmindful:
    """A time machine that takes no last snapshot."""

    def __init__(self, machine: object) -> None:
        self._machine = machine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    async def snapshot(self, site: SiteId, claim: Claim, only_if_changed: bool = False) -> Snapshot | None:
        """See `hybrid.deeds.TimeMachine`."""
        if only_if_changed:
            return None
        taken: Snapshot | None = await self.__getattr__("snapshot")(site, claim)
        return taken


class NoFinalSnapshot(Core):
    """Gives a site up without keeping what was written last."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        machine: Any = Unmindful(self.replicator)
        self._terms._machine = machine


class UnreplayedTerms(Terms):
    """Leaves the intent log alone."""

    async def _replay(self, site: SiteId) -> None:
        """See `Terms`."""


class NoReplay(Core):
    """Does not mount a dataset once after a crash."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._terms, UnreplayedTerms)


class ForgetfulHolds(BaseHolds):
    """Holds nothing."""

    def want(self, dataset: str, peer: NodeId, guid: Guid) -> None:
        """See `BaseHolds`."""


class ForgetfulBases(Bases):
    """Says that nothing is needed as a base."""

    async def kept(self, site: SiteId, history: History) -> Kept:
        """See `Bases`."""
        return frozenset


class NoBaseHeld(Core):
    """Forgets what it has in common with others."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self.replicator._holds, ForgetfulHolds)
        becomes(self.replicator._chores._bases, ForgetfulBases)


# -------------------------------------------------------------------------------------------------------- claims


class NoFences:
    """Lets every claim pass."""

    def __init__(self, fences: Any) -> None:
        self._fences = fences

    def seen(self, site: SiteId) -> Claim:
        """See `hybrid_replicator.ports.Fences`."""
        return NO_CLAIM

    async def saw(self, site: SiteId, claim: Claim) -> None:
        """See `hybrid_replicator.ports.Fences`."""

    def writing(self, site: SiteId) -> AbstractAsyncContextManager[None]:
        """See `hybrid_replicator.ports.Fences`."""
        return nullcontext()

    def is_writer(self, site: SiteId) -> bool:
        """See `hybrid_replicator.ports.Fences`."""
        writer: bool = self._fences.is_writer(site)
        return writer


class IgnoredEpochs(Core):
    """Takes streams under any claim."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        receiver = self.replicator._receiver
        receiver._fences = NoFences(receiver._fences)


class LateHoldings(Holdings):
    """Claims in memory first, and on disk a while later."""

    async def claim(self, site: SiteId, claim: Claim) -> None:
        """See `Holdings`."""
        self.update(site, claim=claim, seen=max(claim, self.seen(site)))


class ClaimNotOnDisk(Core):
    """Serves under a claim that would not survive a crash."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._holdings, LateHoldings)


class EagerTerms(Terms):
    """Goes on with what it owned before it died."""

    async def resume(self, site: SiteId, running: bool) -> None:
        """See `Terms`."""
        if self._holdings.need(site).claim is not None:
            with suppress(Exception):
                await self.start(site)
                return
        await super().resume(site, running)


class OldClaimServed(Core):
    """Serves at once after a start, whatever happened meanwhile."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._terms, EagerTerms)


# ----------------------------------------------------------------------------------------------------- elections


class StubbornElections(Elections):
    """Never raises a claim that was outdone."""

    def decide(self, *args: Any, **kw: Any) -> Decision:
        """See `Elections`."""
        decision = super().decide(*args, **kw)
        return Stay("outdone, and content") if isinstance(decision, Reaffirm) else decision


class NoReaffirm(Core):
    """Leaves rule R9 out."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._elections, StubbornElections)


class HastyPatience(Patience):
    """Takes nobody's silence for its own deafness."""

    def quarantined(self, look: Any) -> bool:
        """See `Patience`."""
        return False


class NoQuarantine(Core):
    """Stands as soon as it is up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._elections._patience, HastyPatience)


class FickleElections(Elections):
    """Bids again, and more, while it waits for the others."""

    def decide(self, site: SiteId, registers: Any, *args: Any, **kw: Any) -> Decision:
        """See `Elections`."""
        decision = super().decide(site, registers, *args, **kw)
        mine: SiteRegister | None = registers.get(self._me)
        if isinstance(decision, Stay) and decision.why.startswith("waiting for the bids") and mine and mine.bids:
            key = min(mine.bids)
            bid = mine.bids[key]
            return PublishBid(key, Bid((bid.value[0] + 1, *bid.value[1:]), bid.claim))
        return decision


class FickleHoldings(Holdings):
    """Publishes whatever bid it is given."""

    async def bid(self, site: SiteId, key: str, bid: Bid) -> None:
        """See `Holdings`."""
        self.update(site, bids={**self.need(site).bids, key: bid})


class ChangingBids(Core):
    """Changes its bids."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._elections, FickleElections)
        becomes(self._holdings, FickleHoldings)


class BlindElections(Elections):
    """Does not look at what the copies contain."""

    def decide(self, site: SiteId, registers: Any, *args: Any, **kw: Any) -> Decision:
        """See `Elections`."""
        alike = {
            node: msgspec.structs.replace(register, head_epoch=0, head_counter=0, length=0)
            for node, register in registers.items()
        }
        return super().decide(site, alike, *args, **kw)


class BlindToHistory(Core):
    """Elects anybody."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        becomes(self._elections, BlindElections)


# ------------------------------------------------------------------------------------------------------- running


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken core, and by which invariants it must fall within how many seeds of which kind of history."""

    core: type[Core]
    falls: tuple[str, ...]
    scene: Scene = history
    seeds: int = 150


MUTANTS: dict[str, Mutant] = {
    "receive with force": Mutant(Force, ("S1", "S2", "S3")),
    "no snapshot before fencing": Mutant(NoFinalSnapshot, ("S2",)),
    "epochs ignored": Mutant(IgnoredEpochs, ("S5", "S7")),
    "no re-affirm": Mutant(NoReaffirm, ("L",)),
    "an old claim served after a restart": Mutant(OldClaimServed, ("S10",)),
    "the base not held": Mutant(NoBaseHeld, ("S11",), away, 3),
    "bids that change": Mutant(ChangingBids, ("R5",)),
    "no quarantine": Mutant(NoQuarantine, ("S10",)),
    "the claim not on disk first": Mutant(ClaimNotOnDisk, ("S5",)),
    "the intent log not replayed": Mutant(NoReplay, ("S2", "L")),
    "elections blind to history": Mutant(BlindToHistory, ("C1",), calm),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mutant was noticed."""

    mutant: str
    caught: bool
    seed: int | None = None
    seeds: int = 0
    error: str = ""
    wall_s: float = 0.0


def judge(name: str) -> Verdict:
    """Try seeds until the mutant falls where the product stands."""
    mutant, began_s = MUTANTS[name], time.monotonic()
    for seed in range(mutant.seeds):
        outcome = mutant.scene(seed, mutant.core)
        if outcome.error.startswith(mutant.falls) and not sound(seed, mutant.scene).error:
            wall_s = round(time.monotonic() - began_s, 1)
            return Verdict(name, True, seed, seed + 1, outcome.error.splitlines()[0], wall_s)
    return Verdict(name, False, None, mutant.seeds, "", round(time.monotonic() - began_s, 1))


def sound(seed: int, scene: Callable[..., Outcome]) -> Outcome:
    """The product itself under that seed."""
    return scene(seed, Core)


def main() -> int:
    """The command line. Returns 1 when a mutant lived."""
    parser = argparse.ArgumentParser(description="Rules broken on purpose: the simulation must notice each.")
    parser.add_argument("names", nargs="*", choices=[*MUTANTS, []])
    parser.add_argument("--output", type=Path, default=Path("build/mutations.json"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("fork").Pool(os.cpu_count() or 1, begin) as pool:
        verdicts = []
        for verdict in pool.imap(judge, given.names or list(MUTANTS), chunksize=1):
            verdicts.append(verdict)
            how = f"seed {verdict.seed}: {verdict.error}" if verdict.caught else f"LIVED through {verdict.seeds} seeds"
            print(f"{verdict.mutant:<38} {verdict.wall_s:6.1f} s  {how[:150]}", flush=True)
    alive = [verdict.mutant for verdict in verdicts if not verdict.caught]
    result = {"mutants": len(verdicts), "alive": alive, "verdicts": [asdict(verdict) for verdict in verdicts]}
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} caught")
    return 1 if alive else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # see `tests.simulation.run`
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation.mutants", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    raise SystemExit(main())
