"""Copies far away: which site goes where when, and what people can have done about it. Shell; any clock, any store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.away import lines, stores
from hybrid.away.fetching import Fetching
from hybrid.away.lines import AwaySite, Stream
from hybrid.away.ports import Background, Objects, Owned, Shared
from hybrid.away.sealing import KEY_BYTES, Sealed
from hybrid.away.shipping import Shipping
from hybrid.away.stores import AwayStore
from hybrid.deeds import Progress
from hybrid.errors import AwayError, Busy, Conflict, HybridError, NoSuchObject, NoSuchStore
from hybrid.model import NodeId, SiteId, SiteSpec
from hybrid.view import SiteView, View

AT_ONCE = 2
"""Sites that one node copies away at a time."""
AGAIN_S = 60.0
"""After a failure, twice as long each time up to `LONGEST_S`."""
LONGEST_S = 3600.0
MARK = "hybrid-away"
"""The object that says whose folder this is."""
_MARKED = b"a folder of copies by Hybrid, format 1"


@dataclass(slots=True)
class _Turn:
    """When a site goes to a store next, on the monotonic clock."""

    due_s: float
    rest_s: float = 0.0
    """After the failures so far."""
    under_way: bool = False


def carrier(site: SiteView, store: str) -> NodeId | None:
    """Who copies `site` to `store`: a live holder other than the owner, where there is one; of several, by digest."""
    others = [node for node in site.holders if node != site.owner] or list(site.holders)
    return min(others, key=lambda node: _digest(store, site.spec.id, node), default=None)


class Away:
    """Of one node."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        view: Callable[[], View],
        held: Callable[[], Iterable[SiteId]],
        shared: Shared,
        shipping: Shipping,
        fetching: Fetching,
        objects: Callable[[AwayStore], Objects],
        entropy: Callable[[int], bytes],
        owned: Callable[[], Owned],
        tell: Callable[[str, SiteId, str], None],
        background: Background,
    ) -> None:
        """
        Args:
            held: Sites of which this node holds something.
            objects: Opens a store.
            owned: What is done with sites owned here.
            tell: `(kind, site, text)` at a failure that is new, and at its end.
        """
        self._clock, self._me, self._view, self._held, self._shared = clock, me, view, held, shared
        self._shipping, self._fetching, self._open, self._entropy = shipping, fetching, objects, entropy
        self._owned, self._tell, self._background = owned, tell, background
        self._standbys: dict[str, _Turn] = {}
        """Of each store that is followed: when it is looked at next."""
        self._opened: dict[str, tuple[AwayStore, Objects]] = {}
        self._turns: dict[tuple[str, SiteId], _Turn] = {}

    # -------------------------------------------------------------------------------------------------- stores

    def stores(self) -> dict[str, AwayStore]:
        """By name."""
        return stores.decode(self._shared.prefix(stores.KEY))

    async def add(self, store: AwayStore, key: bytes | None) -> AwayStore:
        """
        Begin to copy to a store, or to read from one that another cluster filled.

        Args:
            store: Without `key`.
            key: What contents there are sealed with; `None`: a new one.

        Returns:
            The store, with its key: who loses it loses what lies there.

        Raises:
            Conflict: There is a store of that name; or the folder is in use with another key.
            AwayError: The store does not answer, or does not let us.
        """
        if store.name in self.stores():
            raise Conflict(f"there is a store {store.name} already", "", f"hybrid away remove {store.name}")
        store = msgspec.structs.replace(stores.checked(store), key=key or self._entropy(KEY_BYTES))
        await self._mark(store, self._open(store))
        self._shared.put(*stores.encode(store))
        return store

    async def _mark(self, store: AwayStore, objects: Objects) -> None:
        """Show that it can be written, and that the key is the one used there."""
        sealed = Sealed(store.key, MARK)
        try:
            sealed.open_label(await objects.get(MARK))
        except NoSuchObject:
            await objects.put(MARK, sealed.seal_label(_MARKED))
            sealed.open_label(await objects.get(MARK))
        except AwayError as error:
            if error.temporary or not await objects.names(MARK):
                raise
            hint = "give its recovery key, or choose another folder"
            raise Conflict(f"{store.bucket}/{store.folder} is in use with another key", "", hint) from error

    def remove(self, name: str) -> None:
        """Forget a store; what lies there stays. Raises `NoSuchStore`."""
        store = self.store(name)
        self._opened.pop(name, None)
        self._shared.put(stores.KEY + store.name, None)

    def store(self, name: str) -> AwayStore:
        """One. Raises `NoSuchStore`."""
        try:
            return self.stores()[name]
        except KeyError:
            raise NoSuchStore(f"there is no store {name[:40]}", "", "hybrid away list") from None

    # ------------------------------------------------------------------------------------------------ contents

    async def sites(self, name: str) -> list[AwaySite]:
        """See `Fetching.sites`."""
        store = self.store(name)
        return await self._fetching.sites(store, self._objects(store))

    async def restore(self, name: str, wanted: str, at_s: int | None, progress: Progress) -> SiteSpec:
        """See `Fetching.restore`."""
        store = self.store(name)
        return await self._fetching.restore(store, self._objects(store), wanted, at_s, progress)

    async def ship(self, name: str, spec: SiteSpec) -> Stream | None:
        """See `Shipping.ship`."""
        store = self.store(name)
        return await self._shipping.ship(store, self._objects(store), spec)

    async def demote(self, name: str, spec: SiteSpec, progress: Progress) -> None:
        """
        Give a site that is owned here to another cluster: stop it, have all of it in the store, put it into the trash.

        Raises:
            AwayError: The store; it runs here as before.
        """
        store, deeds = self.store(name), self._owned()
        with progress.step("copy while it runs"):
            await self.ship(name, spec)
        try:
            with progress.step("stop"):
                stopped = await deeds.edit(spec.id, {"wanted": "stopped"})
                await deeds.snapshot(spec.id)
            with progress.step("copy the last changes"):  # as it is to be there, and newer than what the trash says
                await self.ship(name, msgspec.structs.replace(spec, version=stopped.version.next()))
        except Exception:
            await deeds.edit(spec.id, {"wanted": spec.wanted})
            raise
        await deeds.delete(spec.id, progress, store.name)

    def _objects(self, store: AwayStore) -> Objects:
        """The open store; opened again where its settings changed."""
        known = self._opened.get(store.name)
        if known is None or known[0] != store:
            known = self._opened[store.name] = (store, self._open(store))
        return known[1]

    # ------------------------------------------------------------------------------------------------ by itself

    def look(self) -> None:
        """Begin what is due, as much as may be under way at a time; to be called every some seconds."""
        known = self.stores()
        if not known:
            self._turns.clear()
            return
        now_s, view = self._clock.seconds(), self._view()
        held = [seen for site in self._held() if (seen := view.sites.get(site)) is not None]
        mine = {(name, seen.spec.id): seen.spec for name in known for seen in held if carrier(seen, name) == self._me}
        self._turns = {key: self._turns.get(key) or self._first(key, known, now_s) for key in mine}
        free = AT_ONCE - sum(turn.under_way for turn in self._turns.values())
        waiting = [key for key, turn in self._turns.items() if not turn.under_way and turn.due_s <= now_s]
        self._follow(known, view, now_s)
        for key in sorted(waiting, key=lambda key: self._turns[key].due_s)[: max(0, free)]:
            self._begin(known[key[0]], mine[key], self._turns[key])

    def _follow(self, known: Mapping[str, AwayStore], view: View, now_s: float) -> None:
        """Have followed stores looked into."""
        followed = {name: store for name, store in known.items() if store.follow}
        self._standbys = {name: self._standbys.get(name) or _Turn(now_s) for name in followed}
        for name, turn in self._standbys.items():
            if not turn.under_way and turn.due_s <= now_s:
                turn.under_way = True
                turn.due_s = now_s + followed[name].every_s
                self._background(f"following {name}", partial(self._catch_up, followed[name], view, turn))

    async def _catch_up(self, store: AwayStore, view: View, turn: _Turn) -> None:
        """Every site there that this cluster does not have, and whose standby is here."""
        try:
            objects = self._objects(store)
            able = sorted(node.id for node in view.nodes.values() if node.live and node.storage_ok)
            for name in await objects.folders(lines.SITES):
                site = SiteId(name)
                home = min(able, key=lambda node: _digest(store.name, site, node), default=None)
                if site not in self._view().sites and home == self._me:
                    await self._keep_ready(store, objects, site)
        finally:
            turn.under_way = False

    async def _keep_ready(self, store: AwayStore, objects: Objects, site: SiteId) -> None:
        """One site on standby; its trouble is no other site's."""
        try:
            await self._fetching.follow(store, objects, site)
        except HybridError as error:
            self.log.warn("{site} in {store} is not followed: {error}", site=site, store=store.name, error=str(error))

    def _first(self, key: tuple[str, SiteId], known: Mapping[str, AwayStore], now_s: float) -> _Turn:
        """Spread over the interval: after a start, not all at once."""
        part = int.from_bytes(_digest(*key)[:4]) / 2**32
        return _Turn(now_s + part * min(known[key[0]].every_s, LONGEST_S))

    def _begin(self, store: AwayStore, spec: SiteSpec, turn: _Turn) -> None:
        turn.under_way = True
        self._background(f"copying {spec.name} to {store.name}", lambda: self._turn(store, spec, turn))

    async def _turn(self, store: AwayStore, spec: SiteSpec, turn: _Turn) -> None:
        try:
            await self._shipping.ship(store, self._objects(store), spec)
        except Busy:
            turn.due_s = self._clock.seconds() + AGAIN_S
        except HybridError as error:
            turn.rest_s = min(max(AGAIN_S, 2 * turn.rest_s), LONGEST_S)
            turn.due_s = self._clock.seconds() + turn.rest_s
            if turn.rest_s == AGAIN_S:
                self._tell("away-failed", spec.id, f"copying {spec.name} to {store.name} failed: {error}")
            raise
        else:
            if turn.rest_s:
                self._tell("away-again", spec.id, f"{spec.name} is copied to {store.name} again")
            turn.rest_s, turn.due_s = 0.0, self._clock.seconds() + store.every_s
        finally:
            turn.under_way = False


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest()
