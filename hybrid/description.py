"""What a node says of itself: its name and addresses, its room, its health. Shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.loads import node_told
from hybrid.cluster.room import level
from hybrid.load import NodeLoad
from hybrid.model import NodeId, NodeRegister
from hybrid.ports import Pool
from hybrid.release import __version__
from hybrid.settings import Settings
from hybrid.vigilance import Vigilance

SPACE_STEP = 16 * 1024 * 1024
"""Free space is published in steps of this size, so that not every write is news."""
SPACE_PART = 128
"""And only when it moved by this part of the pool: each publication goes to every node."""
LOAD_STEP = 0.5
"""Load is published when it moved by so much, or by a quarter."""


class Description:
    """Publishes this node's register."""

    def __init__(
        self,
        settings: Settings,
        me: NodeId,
        key: bytes,
        vigilance: Vigilance,
        pool: Pool,
        ledger: Ledger,
        load: Callable[[], float],
        storage_ok: Callable[[], bool],
        alarms: Callable[[], tuple[str, ...]],
        published: Callable[[], None],
        measured: Callable[[], NodeLoad | None] = lambda: None,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            key: This node's public one.
            alarms: What is wrong with this node itself.
            published: Called after each publication that said something new.
            measured: What this node has and what of that is in use.
            draining: Whether it is to own nothing.
        """
        self._settings, self._me, self._key, self._pool, self._ledger = settings, me, key, pool, ledger
        self._vigilance = vigilance
        self._load, self._storage_ok, self._alarms, self._published = load, storage_ok, alarms, published
        self._measured, self._draining = measured, draining

    async def publish(self) -> None:
        """Say what is true now."""
        settings, storage_ok = self._settings, self._storage_ok()
        space = await self._pool.space() if storage_ok else None
        before = self._ledger.nodes().get(self._me)
        size_bytes = space.size_bytes if space else 0
        free_bytes = space.free_bytes // SPACE_STEP * SPACE_STEP if space else 0
        load, measured = round(self._load(), 1), self._measured()
        if before is not None and before.size_bytes == size_bytes:
            if level(size_bytes, free_bytes) == level(size_bytes, before.free_bytes):
                free_bytes = settled(before.free_bytes, free_bytes, max(SPACE_STEP, size_bytes // SPACE_PART))
            load = settled(before.load, load, max(LOAD_STEP, before.load / 4))
        register = NodeRegister(
            id=self._me,
            name=settings.name,
            dc=settings.dc,
            address=settings.address,
            key=self._key,
            cluster_port=settings.cluster_port,
            interior_port=settings.interior_port,
            api_port=settings.api_port,
            size_bytes=size_bytes,
            free_bytes=free_bytes,
            release=__version__,
            storage_ok=storage_ok,
            load=load,
            boot=self._vigilance.twins.boot,
            twin=self._vigilance.twins.suspect,
            alarms=(*self._alarms(), *self._vigilance.alarms),
            measured=node_told(measured, before.measured if before else None) if measured else None,
            draining=self._draining(),
        )
        if self._ledger.publish_node(register) is not before:
            self._published()


Number = TypeVar("Number", int, float)


def settled(before: Number, now: Number, step: Number) -> Number:
    """`before`, until `now` is at least `step` away from it."""
    return now if abs(now - before) >= step else before
