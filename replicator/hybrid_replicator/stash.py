"""
Sets history aside and brings it back, without ever destroying any: journalled, and finished after a crash. Shell.

The main line becomes a stash by a rename; what takes its place is a clone of a snapshot of it, or another stash; that
is then promoted, so that the common past belongs to the main line again. What is to be done stands in the journal
before the first step, and every step first looks whether it was done already (rule R7 of the ownership protocol).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid import crashpoint
from hybrid.deeds import StashReason
from hybrid.errors import AlreadyExists, Conflict, HybridError, NoSuchDataset, NoSuchSnapshot
from hybrid.history import History
from hybrid.model import Claim, Fact, Guid, NodeId, SiteId, SiteSpec, Stash, Stashed
from hybrid.ports import Dataset, Pool
from hybrid_replicator.index import HistoryIndex
from hybrid_replicator.journal import Intent, decode, encode, record, stash_id, without_claim
from hybrid_replicator.names import (
    CLAIM,
    JOURNAL,
    SEEN,
    SPEC,
    STASH,
    STASH_TAG,
    STASHED,
    STASHED_AT,
    intent_key,
    is_intent,
    site_dataset,
    site_of,
    stash_dataset,
)
from hybrid_replicator.snapshots import Snapshots
from hybrid_replicator.tasks import patiently

Clear = Callable[[SiteId], Awaitable[None]]
DEPTH = 64
"""Stashes cloned from stashes: more than anybody makes."""


class Stashes:
    """The stashes of this node. Callers keep everybody else away from the site meanwhile."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        pool: Pool,
        index: HistoryIndex,
        snapshots: Snapshots,
        report: Callable[[Fact], None],
        me: NodeId,
        wall_s: Callable[[], float],
        clear: Clear,
        writing: Callable[[SiteId], AbstractAsyncContextManager[None]],
    ) -> None:
        """
        Args:
            clear: `clear(site)` ends what looks into its snapshots.
            writing: See `hybrid_replicator.ports.Fences`.
        """
        self._clear, self._writing = clear, writing
        self._clock, self._pool, self._index, self._snapshots = clock, pool, index, snapshots
        self._report, self._me, self._wall_s = report, me, wall_s
        self.unfinished: set[SiteId] = set()
        """Sites with an intent in the journal: begun, and not ended yet."""

    async def stash(self, site: SiteId, base: Guid | None, why: StashReason) -> Stash:
        """
        See `hybrid.deeds.TimeMachine.stash`.

        Raises:
            NoSuchDataset: The main line is not here.
            NoSuchSnapshot: `base` is not part of it.
            Conflict: Nothing came after `base`.
        """
        await self.finish(site)
        described = await self._pool.dataset(site_dataset(site))
        await self._snapshots.keep_present(site)
        history = await self._index.reread(site_dataset(site))
        if base is not None and all(snapshot.guid != base for snapshot in history):
            raise NoSuchSnapshot(f"site {site} has no snapshot {base}")
        if history[-1].guid == base:
            raise Conflict(f"nothing of site {site} came after that snapshot")
        return await self._begin(site, why, described, history, base=base)

    async def unstash(self, stash_id: str, why: StashReason) -> Stash:
        """
        See `hybrid.deeds.TimeMachine.unstash`.

        Raises:
            NoSuchDataset: There is no such stash, or no main line to swap it with.
            Conflict: A snapshot name stands on both sides.
        """
        source = await self._pool.dataset(stash_dataset(stash_id))
        site = SiteId(stash_id.split(".", 1)[0])
        await self.finish(site)
        described = await self._pool.dataset(site_dataset(site))
        await self._snapshots.keep_present(site)
        history = await self._index.reread(site_dataset(site))
        past = await self._past(source)
        await self._refuse_clash(source.name, past)
        if history[-1].guid in past:
            history = (*history, await self._snapshots.mark_present(site))
        return await self._begin(site, why, described, history, source=source.name)

    async def recover(self) -> dict[str, str]:
        """
        Finish what the journal says was begun. Trouble with one site is logged; it is tried again by `finish`.

        Returns:
            The journal as it was found.
        """
        try:
            await self._pool.create(JOURNAL)
        except AlreadyExists:
            self.log.debug("the journal is there")
        journal = (await self._pool.dataset(JOURNAL)).properties
        self.unfinished |= {decode(value).site for key, value in journal.items() if is_intent(key)}
        for site in sorted(self.unfinished):
            try:
                await self.finish(site)
            except Exception:
                self.log.failure("the stash of {site} could not be finished yet", site=site)
        return journal

    async def finish(self, site: SiteId) -> None:
        """Finish what was begun with `site`, if anything was."""
        if site not in self.unfinished:
            return
        value = (await self._pool.dataset(JOURNAL)).properties.get(intent_key(site))
        if value is not None:
            await self._carry_out(without_claim(decode(value)))
        self.unfinished.discard(site)

    # ---------------------------------------------------------------------------------------------- preparing

    async def _begin(
        self,
        site: SiteId,
        why: StashReason,
        described: Dataset,
        history: History,
        base: Guid | None = None,
        source: str | None = None,
    ) -> Stash:
        replaced = self._index.stash_in(source) if source is not None else None
        intent = Intent(
            id=stash_id(site, history[-1], self._me, base, self._taken),
            site=site,
            why=why,
            base=base,
            source=source,
            source_head=replaced.head if replaced else None,
            head=history[-1],
            properties=described.properties,
            at_s=self._wall_s(),
        )
        self.unfinished.add(site)
        await self._pool.set_properties(JOURNAL, {intent_key(site): encode(intent)})
        try:
            crashpoint.reached("stash-written")
            stash = await self._carry_out(intent)
        except HybridError:
            await self._withdraw(intent)
            raise
        self.unfinished.discard(site)
        return stash

    async def _withdraw(self, intent: Intent) -> None:
        """Forget an intent whose very first step failed; any other one is finished later."""
        if not await self._exists(stash_dataset(intent.id)):
            await self._pool.set_properties(JOURNAL, {intent_key(intent.site): None})
            self.unfinished.discard(intent.site)

    def _taken(self, stash_id: str) -> bool:
        return stash_dataset(stash_id) in self._index

    async def _past(self, stash: Dataset) -> set[Guid]:
        """The snapshots that lie before the first one of `stash` itself."""
        past: set[Guid] = set()
        dataset = stash
        for _ in range(DEPTH):
            if dataset.origin is None or dataset.origin[0].startswith("images/"):
                return past
            name, last = dataset.origin
            line = [snapshot.guid for snapshot in await self._pool.history(name)]
            past |= set(line[: line.index(last) + 1])
            dataset = await self._pool.dataset(name)
        raise Conflict(f"{stash.name} is a clone of a clone, {DEPTH} deep")

    async def _refuse_clash(self, source: str, past: set[Guid]) -> None:
        """Promotion fails where one name stands on both sides: seen before anything is begun."""
        own = {snapshot.name for snapshot in await self._pool.history(source)}
        for name in self._index.datasets_of(SiteId(source.removeprefix(STASH).split(".", 1)[0])):
            both = [one.name for one in self._index.history(name) if one.guid in past and one.name in own]
            if both:
                raise Conflict(f"snapshot {both[0]} stands on both sides", "", "rename one of them with zfs")

    # ------------------------------------------------------------------------------------------- carrying out

    async def _carry_out(self, intent: Intent) -> Stash:
        main, aside = site_dataset(intent.site), stash_dataset(intent.id)
        await self._clear(intent.site)
        if not await self._exists(aside):
            await patiently(self._clock, lambda: self._pool.rename(main, aside))
        crashpoint.reached("stash-renamed")
        if not await self._exists(main):
            await self._put_in_place(intent, main, aside)
        crashpoint.reached("stash-placed")
        if await self._exists(main):
            await self._own_past(main)
            crashpoint.reached("stash-promoted")
            await self._dress(intent, main, aside)
        crashpoint.reached("stash-dressed")
        stash = await self._label(intent, main, aside)
        crashpoint.reached("stash-labelled")
        await self._learn(intent.site, main, aside, intent.source)  # first: what is not known is not given to others
        await self._pool.set_properties(JOURNAL, {intent_key(intent.site): None})
        self.log.info("site {site}: {stash} set aside ({why})", site=intent.site, stash=intent.id, why=intent.why)
        self._report(Stashed(stash))
        return stash

    async def _put_in_place(self, intent: Intent, main: str, aside: str) -> None:
        source = intent.source
        if source is not None:
            await patiently(self._clock, lambda: self._pool.rename(source, main))
        elif intent.base is not None:
            await self._pool.clone(aside, intent.base, main)

    async def _own_past(self, main: str) -> None:
        """Promote until the main line depends on no stash of its own; on another site's history it may go on to."""
        for _ in range(DEPTH):
            origin = (await self._pool.dataset(main)).origin
            if origin is None or not origin[0].startswith(f"{STASH}{site_of(main)}."):
                return
            await patiently(self._clock, lambda: self._pool.promote(main))

    async def _dress(self, intent: Intent, main: str, aside: str) -> None:
        """Give the new main line what belongs to the site and not to its contents."""
        await self._pool.set_readonly(main, True)
        properties = {key: value for key, value in intent.properties.items() if key != SEEN}
        async with self._writing(intent.site):
            seen = await self._seen(intent, main, aside)
            await self._pool.set_properties(main, {STASHED: None, STASHED_AT: None, **properties, **seen})
        try:
            spec = msgspec.json.decode(intent.properties.get(SPEC, ""), type=SiteSpec)
        except msgspec.MsgspecError:
            return
        await self._pool.set_quota(main, spec.quota_bytes)

    async def _seen(self, intent: Intent, main: str, aside: str) -> dict[str, str]:
        """A newer claim may have been heard of since this was begun, on either side of the rename."""
        if SEEN not in intent.properties:
            return {}
        there = [(await self._pool.dataset(one)).properties.get(SEEN) for one in (main, aside)]
        return {SEEN: str(max(Claim.parse(seen) for seen in (*there, intent.properties[SEEN]) if seen))}

    async def _label(self, intent: Intent, main: str, aside: str) -> Stash:
        """Hold the stash's head, and write down what the stash is."""
        origin = (await self._pool.dataset(aside)).origin
        stash = record(intent, origin[1] if origin is not None and origin[0] == main else None)
        await self._pool.set_readonly(aside, True)
        await self._pool.hold(aside, stash.head, STASH_TAG)
        if intent.source_head is not None:
            await self._release(main, intent.source_head)
        text = msgspec.json.encode(stash).decode()
        await self._pool.set_properties(aside, {STASHED: text, STASHED_AT: f"{intent.at_s:.6f}", CLAIM: None})
        return stash

    async def _release(self, main: str, guid: Guid) -> None:
        try:
            await self._pool.release(main, guid, STASH_TAG)
        except NoSuchSnapshot:
            self.log.debug("the head of the former stash lies elsewhere by now")

    async def _learn(self, site: SiteId, main: str, aside: str, source: str | None) -> None:
        """Read again all that may have changed; promotion moves snapshots between the stashes of a site."""
        for dataset in {main, aside, source or main, *self._index.datasets_of(site)}:
            await self._index.refresh(dataset)

    async def _exists(self, dataset: str) -> bool:
        try:
            await self._pool.dataset(dataset)
        except NoSuchDataset:
            return False
        return True
