"""
Moves sites away from a pool that is full: an owner that cannot snapshot protects nobody. Shell; `choose` is pure.

One site after the other, to a node that holds it and has room; when there is none, people are told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.cluster.room import Level, level
from hybrid.deeds import Progress
from hybrid.errors import HybridError
from hybrid.model import NodeId, SiteId
from hybrid.view import NodeView, View

PATIENCE_S = 15.0
"""The pool is full for so long before anything is moved: something large may just be deleted."""
AGAIN_S = 120.0
"""A site whose move failed is left alone for so long."""


def choose(view: View, resting: Collection[SiteId]) -> tuple[SiteId, NodeId] | None:
    """
    Which site to move away from this node next, and where to: the one that takes most, to its best copy with room.

    Args:
        resting: Sites to leave alone just now.

    Returns:
        `None` when there is nothing to move, or nowhere to.
    """
    for site in sorted(_owned(view), key=lambda site: (-view.sites[site].data_bytes, site)):
        seen = view.sites[site]
        able = [node for node in seen.holders if node != view.me and _has_room(view.nodes.get(node))]
        if able and site not in resting:
            return site, able[0]
    return None


def is_full(view: View) -> bool:
    """Whether this node's pool is."""
    me = view.nodes.get(view.me)
    return me is not None and me.storage_ok and level(me.size_bytes, me.free_bytes) is Level.FULL


def _owned(view: View) -> list[SiteId]:
    return [
        site
        for site, seen in view.sites.items()
        if seen.owner == view.me and seen.state in ("serving", "asleep", "stopped")
    ]


def _has_room(node: NodeView | None) -> bool:
    return (
        node is not None
        and node.live
        and node.storage_ok
        and not node.draining
        and node.size_bytes > 0
        and level(node.size_bytes, node.free_bytes) < Level.SCARCE
    )


class _Silent:
    """A `Progress` that nobody follows."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """See `hybrid.deeds.Progress`."""
        yield


class Relief:
    """
    Looks whether this node is full.

    Attributes:
        alarms: What people must hear: that nobody has room for what is here.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        view: Callable[[], View],
        move: Callable[[SiteId, NodeId, Progress], Awaitable[None]],
        told: Callable[[str, SiteId, str], None],
        changed: Callable[[], None],
    ) -> None:
        """
        Args:
            move: Hands a site over.
            told: `told(kind, site, text)` records an event for people.
            changed: Called when `alarms` are others than before.
        """
        self._clock, self._view, self._move, self._told, self._changed = clock, view, move, told, changed
        self._full_since_s: float | None = None
        self._failed_s: dict[SiteId, float] = {}
        self.alarms: tuple[str, ...] = ()

    async def look(self) -> None:
        """Move one site away, if it has to be. Never raises."""
        view, now_s = self._view(), self._clock.seconds()
        if not is_full(view):
            self._full_since_s = None
            self._say(())
            return
        self._full_since_s = now_s if self._full_since_s is None else self._full_since_s
        if now_s - self._full_since_s < PATIENCE_S:
            return
        self._failed_s = {site: at_s for site, at_s in self._failed_s.items() if now_s - at_s < AGAIN_S}
        chosen = choose(view, self._failed_s)
        if chosen is not None:
            await self._relieve(view, *chosen)
        elif _owned(view) and choose(view, ()) is None:
            self._say(("no other server has room for the sites here, and this pool is full: add disks, or delete",))

    async def _relieve(self, view: View, site: SiteId, node: NodeId) -> None:
        name = view.nodes[node].name
        self._told("relieved", site, f"the pool here is full: {view.sites[site].spec.name} moves to {name}")
        try:
            await self._move(site, node, _Silent())
        except HybridError as error:
            self._failed_s[site] = self._clock.seconds()
            self._told("relief-failed", site, str(error))
        except Exception:
            self._failed_s[site] = self._clock.seconds()
            self.log.failure("moving {site} away from a full pool failed", site=site)

    def _say(self, alarms: tuple[str, ...]) -> None:
        if alarms != self.alarms:
            self.alarms = alarms
            self._changed()
