"""Three whole nodes, clients that write all the time, and the memory of everything that must never be lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.deeds import CreateSite
from hybrid.hosting.holdings import dataset_of
from hybrid.hosting.tombstones import KEY, Tombstone, decode
from hybrid.model import NO_CLAIM, Claim, Guid, SiteId
from hybrid.storage.memory import MemoryPool
from hybrid_replicator.names import JOURNAL, STASH, TEMPORARY, TRASH, is_intent
from tests.node.cluster import Cluster, Member, Steps
from tests.node.lives import Cut

STEP_S = 0.05
WRITE_EVERY_S = 0.5
SETTLED_WITHIN_S = 180.0
"""After so long without a fault everything must be in order."""


@dataclass(frozen=True, slots=True)
class Written:
    """A client's write that its server acknowledged."""

    site: SiteId
    path: str
    by: str


Pools = Callable[[Callable[[], float], str], MemoryPool]
"""Makes a disk: given the time of day and a seed."""


class Watched(Member):
    """A node whose lives are told of at their beginning."""

    def __init__(self, cluster: Cluster, name: str, dc: str, began: Callable[[Member], None], pools: Pools) -> None:
        super().__init__(cluster, name, dc)
        self._began, self.pool = began, pools(cluster.wall_s, name)

    def begin(self) -> None:
        """See `Member`."""
        super().begin()
        self._began(self)


class Stage:
    """
    A cluster and its clients.

    Attributes:
        calls: Changing calls of the armed node, in order.
        fired: Whether its power was cut.
    """

    def __init__(self, pools: Pools = MemoryPool) -> None:
        """`pools` makes the nodes' disks."""
        self.written: list[Written] = []
        self.taken: dict[Guid, str] = {}
        self.removed: set[Guid] = set()
        """Snapshots that retention, or an emptied trash, destroyed."""
        self.calls: list[str] = []
        self.fired = False
        self.writing = True
        self.site = SiteId("")
        """The site that it is about."""
        self._claims: dict[tuple[str, str], Claim] = {}
        self._armed: tuple[str, Cut | None] | None = None
        self._wrote_s = 0.0
        self._outcomes: list[Deferred[Any]] = []
        self._buried: list[Any] = []
        self.cluster = Cluster(member=lambda cluster, name, dc: Watched(cluster, name, dc, self._began, pools))
        self.a, self.b, self.c = (self.cluster.members[name] for name in "abc")
        self.cluster.start()

    # --------------------------------------------------------------------------------------------------- time

    def wait(self, seconds: float) -> None:
        """Let time pass; the clients of every running site write meanwhile."""
        for _ in range(round(seconds / STEP_S)):
            self._step()

    def wait_for_cut(self, seconds: float) -> None:
        """Let time pass, at most until the power is cut."""
        for _ in range(round(seconds / STEP_S)):
            if self.fired:
                return
            self._step()

    def _step(self) -> None:
        self.cluster.clock.advance(STEP_S)
        now_s = self.cluster.clock.seconds()
        if self.writing and now_s - self._wrote_s >= WRITE_EVERY_S:
            self._wrote_s = now_s
            for member in self.cluster.members.values():
                for site in list(member.containers.specs()):
                    self.write(member, site)

    def write(self, member: Member, site: SiteId) -> None:
        """A client's request changes something where the container of `site` runs."""
        path = f"w{len(self.written):04d}-{member.name}"
        member.write(site, path, path.encode())
        self.written.append(Written(site, path, member.name))

    def begin(self, deed: Coroutine[Any, Any, object]) -> None:
        """Have something done; how it ends is not waited for."""
        outcome: Deferred[Any] = Deferred.fromCoroutine(deed)
        outcome.addErrback(self._failed)
        self._outcomes.append(outcome)

    def _failed(self, failure: Failure) -> None:
        """A deed whose node, or whose peer, lost power may fail: what counts is what is left of it."""

    # --------------------------------------------------------------------------------------------------- lives

    def _began(self, member: Member) -> None:
        self._buried.append(member.life)
        member.life.observed = partial(self._observed, member)
        if self._armed is not None and self._armed[0] == member.name and not self.fired:
            self._count(member)

    def arm(self, member: Member, cut: Cut | None) -> None:
        """From now on count what `member` changes; with `cut`, cut its power there."""
        self._armed, self.calls, self.fired = (member.name, cut), [], False
        self._count(member)

    def disarm(self) -> None:
        """Count no more."""
        if self._armed is not None:
            self.cluster.members[self._armed[0]].life.counting = False
        self._armed = None

    def _count(self, member: Member) -> None:
        assert self._armed is not None
        life, ended = member.life, member.life.ended
        life.calls, life.cut, life.counting = self.calls, self._armed[1], True

        def cut() -> None:
            self.fired = True
            ended()

        life.ended = cut

    def start(self, member: Member) -> None:
        """Power on; its coming to life is not waited for."""
        member.begin()
        links = member.links

        async def live() -> None:
            await member.core.live()
            links.startService()

        self.begin(live())

    def close(self) -> None:
        """Let go of all lives."""
        for life in self._buried:
            life.end()
            life.bury()

    # ---------------------------------------------------------------------------------------------------- sites

    def create(self, member: Member) -> SiteId:
        """A running site with some history, and copies of it on all nodes."""
        spec = self.cluster.run(member.core.hosting.create(CreateSite(name="shop", image="static"), Steps()))
        self.wait(16)
        return spec.id

    def owner(self, site: SiteId) -> Member:
        """The one node that all of those that are up take for the owner."""
        views = {member.core.outlook.view.sites[site].owner for member in self._up()}
        assert len(views) == 1 and None not in views, f"owners of {site} as the nodes see them: {views}"
        return next(member for member in self.cluster.members.values() if member.id in views)

    def _up(self) -> list[Member]:
        return [member for member in self.cluster.members.values() if member.up]

    # --------------------------------------------------------------------------------------------------- oracle

    def _observed(self, member: Member, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        if name in ("snapshot", "snapshot_if_changed") and result is not None:
            self.taken[result.guid] = f"{member.name} {arguments[0]}@{result.name}"
        elif name == "destroy_snapshot":
            self.removed.add(arguments[1])
        elif name == "set_properties" and arguments[1] == "claim" and arguments[2] is not None:
            self._claimed(member, arguments[0], Claim.parse(arguments[2]))

    def _claimed(self, member: Member, dataset: str, claim: Claim) -> None:
        """S5, S6: a claim is its node's own, and never goes back."""
        before = self._claims.get((member.name, dataset), NO_CLAIM)
        assert claim.node == member.id, f"{member.name} holds {claim}"
        assert claim >= before, f"S5 claim of {member.name} on {dataset} went back from {before} to {claim}"
        self._claims[member.name, dataset] = claim

    def settle(self) -> None:
        """Clients rest, time passes; in the end everything is in order. Raises `AssertionError` saying what is not."""
        self.writing = False
        until_s = self.cluster.clock.seconds() + SETTLED_WITHIN_S
        while True:
            self.wait(5)
            try:
                self.check()
                return
            except AssertionError:
                if self.cluster.clock.seconds() > until_s:
                    raise

    def check(self) -> None:
        """All that must hold once all is quiet."""
        pools = {member.name: member.pool for member in self.cluster.members.values()}
        names = {name: [one.name for one in self.cluster.run(pool.datasets())] for name, pool in pools.items()}
        for name, pool in pools.items():
            self._tidy(name, pool, names[name])
        self._snapshots_kept(pools, names)
        self._buried_everywhere(names)
        sites = {SiteId(one.removeprefix("sites/")) for held in names.values() for one in held if "sites/s-" in one}
        for site in sorted(sites):
            self._in_order(site, names)
        for written in self.written:
            self._write_kept(written, names)

    def _tidy(self, name: str, pool: MemoryPool, held: list[str]) -> None:
        left = [one for one in held if one.startswith(TEMPORARY)]
        assert left == [], f"{name} left {left} behind"
        intents = [key for key in self.cluster.run(pool.dataset(JOURNAL)).properties if is_intent(key)]
        assert intents == [], f"{name} has not finished {intents}"

    def _snapshots_kept(self, pools: dict[str, MemoryPool], names: dict[str, list[str]]) -> None:
        """S3: every snapshot is somewhere."""
        kept: set[Guid] = set()
        for name, pool in pools.items():
            for dataset in names[name]:
                kept |= {snapshot.guid for snapshot in self.cluster.run(pool.history(dataset))}
        lost = {guid: where for guid, where in self.taken.items() if guid not in kept | self.removed}
        assert lost == {}, f"S3 lost snapshots: {sorted(lost.values())}"

    def _buried_everywhere(self, names: dict[str, list[str]]) -> None:
        """A deleted site is in the trash of every node, unless somebody went on with it under a later claim."""
        for member in self._up():
            for stone in (decode(*entry) for entry in member.core.shared.prefix(KEY).items()):
                if not isinstance(stone, Tombstone):
                    continue
                left = [name for name, held in names.items() if dataset_of(stone.site) in held]
                claim = self.owner(stone.site).core.outlook.view.sites[stone.site].claim if left else None
                assert left == [] or (claim and claim > stone.claim), f"{stone} is known, the site still on {left}"

    def _in_order(self, site: SiteId, names: dict[str, list[str]]) -> None:
        """One owner that serves, copies that follow it, and every stash listed, held, and on as many nodes."""
        holders = [self.cluster.members[name] for name, held in names.items() if dataset_of(site) in held]
        for member in self._up():
            assert site in member.core.outlook.view.sites, f"{member.name} does not know of {site}"
        owner = self.owner(site)
        view = owner.core.outlook.view.sites[site]
        assert view.state == view.spec.wanted.replace("running", "serving"), f"{site} is {view.state}: {view.trouble}"
        line = self.cluster.run(owner.pool.history(dataset_of(site)))
        for member in holders:
            copy = self.cluster.run(member.pool.history(dataset_of(site)))
            assert copy[-1:] == line[-1:], f"{member.name} does not follow {owner.name}"
            assert member.files(site) == owner.files(site), f"live data of {member.name} differ"
            claim = self.cluster.run(member.pool.dataset(dataset_of(site))).properties.get("claim")
            assert (claim is not None) == (member is owner), f"{member.name} holds {claim}, {owner.name} is the owner"
        assert len(holders) >= min(len(self._up()), 1 + view.spec.copies), f"{site} is on {len(holders)} nodes only"
        self._stashes_listed(site, names)

    def _stashes_listed(self, site: SiteId, names: dict[str, list[str]]) -> None:
        """S3, L4: by head, for the same history may be set aside on several nodes."""
        listed = {stash.head for stash in self.owner(site).core.outlook.view.sites[site].stashes}
        for member in self._up():
            stashes = member.core.replicator.stashes(site)
            unknown = {one for one in names[member.name] if one.startswith(STASH + site)}
            unknown -= {STASH + stash.id for stash in stashes}
            assert unknown == set(), f"{unknown} of {member.name} do not say what they are"
            for stash in stashes:
                assert stash.head in listed, f"{stash} of {member.name} is not listed"
                tags = self.cluster.run(member.pool.holds(STASH + stash.id, stash.head))
                assert tags, f"the head of {stash} is not held on {member.name}"
                for other in self._up():
                    assert other.holds(site, stash.head), f"L4 {stash} of {member.name} is not on {other.name}"

    def _write_kept(self, written: Written, names: dict[str, list[str]]) -> None:
        """S2: every acknowledged write is in the main line, in a stash, or in the trash of a deleted site."""
        for name, held in names.items():
            pool = self.cluster.members[name].pool
            for dataset in held:
                if written.site in dataset and dataset.startswith(("sites/", STASH, TRASH)):
                    history = self.cluster.run(pool.history(dataset))
                    head = history[-1].guid if history else None
                    if written.path in pool.files(dataset) or written.path in pool.files(dataset, head):
                        return
        raise AssertionError(f"S2 {written} is nowhere")
