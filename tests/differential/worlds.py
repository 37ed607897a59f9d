"""Two pools of one kind on which a list of operations is done, and what came of each in words that can be compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hybrid.errors import HybridError, NoSuchDataset
from hybrid.model import Guid
from hybrid.ports import Pool
from tests.contract.conftest import Hands
from tests.differential.operations import NO_SUCH, Operation

Restart = Callable[[], Awaitable[None]]
STRANGER = Guid(12345)


class World:
    """What is compared is made of names and of the number of the operation that took a snapshot, never of guids."""

    def __init__(self, hands: tuple[Hands, Hands], restart: Restart) -> None:
        """`restart()` cuts the power of both pools, and returns when they answer again."""
        self._hands, self._power_cut = hands, restart
        self._labels: dict[Guid, int] = {}
        self._folders: dict[tuple[int, int], str] = {}

    async def do(self, number: int, operation: Operation) -> object:
        """How `operation` ended: its result, or the name of the error."""
        hands = self._hands[operation.pool]
        try:
            result = await getattr(self, f"_{operation.call}")(operation.pool, hands, hands.pool, *operation.arguments)
        except HybridError as error:
            return type(error).__name__
        if hasattr(result, "guid"):
            self._labels[result.guid] = number
            return number
        return result

    async def prepare(self) -> None:
        """Both pools, empty."""
        for hands in self._hands:
            await hands.pool.prepare()

    async def state(self) -> object:
        """Everything there is, with the contents of live data and of heads."""
        found: dict[str, object] = {}
        for index, hands in enumerate(self._hands):
            for dataset in await hands.pool.datasets():
                history = await hands.pool.history(dataset.name)
                origin = dataset.origin
                found[f"{index} {dataset.name}"] = {
                    "properties": dataset.properties,
                    # zfs-fuse says "off" of what is mounted read-only, and refuses writes all the same
                    "readonly": dataset.readonly if dataset.mountpoint is None else "mounted",
                    "mounted": dataset.mountpoint is not None,
                    "origin": (origin[0], self._labels[origin[1]]) if origin else None,
                    "history": [(snapshot.name, self._labels[snapshot.guid]) for snapshot in history],
                    "holds": [sorted(await hands.pool.holds(dataset.name, one.guid)) for one in history],
                    "files": _sizes(await hands.files(dataset.name)),
                    "head": _sizes(await hands.files(dataset.name, history[-1].guid)) if history else None,
                }
        return found

    # ---------------------------------------------------------------------------------------------- operations

    async def _create(self, index: int, hands: Hands, pool: Pool, dataset: str) -> None:
        await pool.create(dataset, {"spec": "made"})

    async def _write(self, index: int, hands: Hands, pool: Pool, dataset: str, path: str, size: int) -> None:
        await hands.write(dataset, path, b"%d" % (size % 7) * size)

    async def _remove(self, index: int, hands: Hands, pool: Pool, dataset: str, path: str) -> object:
        """Only a file that is there, in data that may change: the rest is not the pool's."""
        if path not in await hands.files(dataset) or (await pool.dataset(dataset)).readonly:
            return "nothing to remove"
        await hands.remove(dataset, path)
        return None

    async def _snapshot(self, index: int, hands: Hands, pool: Pool, dataset: str, name: str) -> object:
        return await pool.snapshot(dataset, name)

    async def _snapshot_if_changed(self, index: int, hands: Hands, pool: Pool, dataset: str, name: str) -> object:
        return await pool.snapshot_if_changed(dataset, name)

    async def _clone(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int, name: str) -> None:
        await pool.clone(dataset, await self._guid(pool, dataset, place), name, {"claim": "cloned"})

    async def _promote(self, index: int, hands: Hands, pool: Pool, dataset: str) -> None:
        await pool.promote(dataset)

    async def _rename(self, index: int, hands: Hands, pool: Pool, dataset: str, name: str) -> None:
        await pool.rename(dataset, name)

    async def _hold(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int, tag: str) -> None:
        await pool.hold(dataset, await self._guid(pool, dataset, place), tag)

    async def _release(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int, tag: str) -> None:
        await pool.release(dataset, await self._guid(pool, dataset, place), tag)

    async def _destroy_snapshot(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int) -> None:
        await pool.destroy_snapshot(dataset, await self._guid(pool, dataset, place))

    async def _destroy(self, index: int, hands: Hands, pool: Pool, dataset: str, with_history: bool) -> None:
        await pool.destroy(dataset, with_history)

    async def _set_properties(self, index: int, hands: Hands, pool: Pool, dataset: str, key: str, value: Any) -> None:
        await pool.set_properties(dataset, {key: value})

    async def _set_readonly(self, index: int, hands: Hands, pool: Pool, dataset: str, readonly: bool) -> None:
        await pool.set_readonly(dataset, readonly)

    async def _set_quota(self, index: int, hands: Hands, pool: Pool, dataset: str, quota: int | None) -> None:
        await pool.set_quota(dataset, quota)

    async def _mount(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int) -> None:
        folder = self._folders.setdefault((index, place), hands.folder())
        await pool.mount(dataset, folder)

    async def _unmount(self, index: int, hands: Hands, pool: Pool, dataset: str) -> None:
        await pool.unmount(dataset)

    async def _send(self, index: int, hands: Hands, pool: Pool, dataset: str, place: int, base: Any, name: str) -> None:
        """To the other pool; `base` is where that ends, our origin, or any snapshot of ours."""
        there = self._hands[1 - index].pool
        guid = await self._guid(pool, dataset, place)
        source = await pool.send(dataset, guid, await self._base(pool, there, dataset, name, base))
        try:
            sink = await there.receive(name)
            try:
                while data := await source.read():
                    await sink.write(data)
                await sink.finish()
            except BaseException:
                await sink.abort()
                raise
        finally:
            await source.abort()

    async def _base(self, pool: Pool, there: Pool, dataset: str, name: str, base: Any) -> Guid | None:
        if base is None:
            return None
        if base == "theirs":
            try:
                history = await there.history(name)
            except NoSuchDataset:
                return None
            return history[-1].guid if history else None
        if base == "origin":
            origin = (await pool.dataset(dataset)).origin
            return origin[1] if origin else STRANGER
        return await self._guid(pool, dataset, base)

    async def _guid(self, pool: Pool, dataset: str, place: int) -> Guid:
        """Of the snapshot at `place` from the newest, as far as there are so many."""
        history = await pool.history(dataset)
        return STRANGER if place == NO_SUCH or not history else history[-1 - place % len(history)].guid

    async def _restart(self, *_: object) -> None:
        """As a node does when it is back: each data set is mounted once, which replays what only its log has."""
        await self._power_cut()
        for index, hands in enumerate(self._hands):
            folder = self._folders.setdefault((index, NO_SUCH), hands.folder())
            for dataset in await hands.pool.datasets():
                await hands.pool.mount(dataset.name, folder)
                await hands.pool.unmount(dataset.name)


def _sizes(files: dict[str, bytes]) -> dict[str, tuple[int, bytes]]:
    return {path: (len(data), data[:1]) for path, data in sorted(files.items())}
