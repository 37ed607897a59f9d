"""
Datasets through the `zfs` command: made, listed, renamed, mounted, with their properties. Shell.

Snapshots are found by guid: `SnapshotIndex` remembers names, and each is asked for its guid before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.logger import Logger

from hybrid.errors import Busy, HasHistory, NoSuchSnapshot, StorageSick
from hybrid.history import History
from hybrid.model import Guid
from hybrid.ports import Capabilities, Dataset, Health, Space
from hybrid.storage import health, names, parsing
from hybrid.storage.children import Children, Reactor, Slots
from hybrid.storage.commands import ZfsCommands
from hybrid.storage.holds import Holds
from hybrid.storage.index import SnapshotIndex
from hybrid.storage.mounts import Mounts
from hybrid.storage.properties import changes, pieces
from hybrid.storage.reserve import Reserve
from hybrid.storage.survey import Survey

ZFS_FUSE = Capabilities(driver="zfs-fuse")
STREAMS_EACH_WAY = 8
EMPTY_INCREMENT_BYTES = 624
"""An increment in which nothing changed is its first and its last record."""
DESTROY_S = 300.0
CHECK_S = 5.0
_SNAPSHOT_PROPERTIES = ("guid", "creation", "createtxg", "userrefs")


class ZfsDatasets:
    """
    See `hybrid.ports.Pool`.

    Args:
        pool: The pool's name.
        prefix: Put before every command, see `Children`.
        capabilities: What the `zfs` that will be run can do.
    """

    log = Logger()

    def __init__(
        self, reactor: Reactor, pool: str, prefix: Sequence[str] = (), capabilities: Capabilities = ZFS_FUSE
    ) -> None:
        self.capabilities = capabilities
        self.pool = pool
        self.root = f"{pool}/hybrid"
        self._children = Children(reactor, prefix)
        self._zfs = ZfsCommands(self._children)
        self._holds = Holds(self._zfs)
        self._mounts = Mounts(self._zfs)
        self._reserve = Reserve(self._zfs, self.root)
        self._index = SnapshotIndex()
        self._survey = self._surveying(reactor)
        self._sends = Slots(reactor, STREAMS_EACH_WAY)
        self._receives = Slots(reactor, STREAMS_EACH_WAY)

    # -------------------------------------------------------------------------------------------- datasets

    async def prepare(self) -> None:
        """See `hybrid.ports.Pool`. Everything below the root is read-only and unmounted unless told otherwise."""
        await self._mounts.clear_dead(self.root)
        present = set(await self._zfs.below(self.pool))
        if self.root not in present:
            options = _options("mountpoint=none", "canmount=off", "atime=off", "readonly=on")
            await self._zfs.act(f"{self.root} was not created", "create", *options, self.root)
        for folder in names.STRUCTURE:
            name = f"{self.root}/{folder}"
            if name not in present:
                await self._zfs.act(f"{name} was not created", "create", "-o", "canmount=off", name)

    async def datasets(self) -> list[Dataset]:
        """See `hybrid.ports.Pool`."""
        depth = self.root.count("/") + 2
        below = [name for name in await self._zfs.below(self.root) if name.count("/") == depth]
        groups = parsing.grouped(await self._zfs.rows_of_many(below))
        origins = {value for group in groups.values() for _, key, value, _ in group if key == "origin"} - {"-"}
        guids = await self._zfs.guids(sorted(origins))
        return [parsing.dataset(self.root, name, group, guids) for name, group in sorted(groups.items())]

    async def dataset(self, name: str) -> Dataset:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        group = await self._zfs.rows([full])
        origins = [value for _, key, value, _ in group if key == "origin" and value != "-"]
        return parsing.dataset(self.root, full, group, await self._zfs.guids(origins))

    async def history(self, name: str) -> History:
        """See `hybrid.ports.Pool`."""
        found = parsing.history(await self._zfs.rows_with_snapshots(self._full(name), _SNAPSHOT_PROPERTIES))
        self._index.learn(name, found)
        return found

    async def create(self, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        await self._zfs.act(f"{name} was not created", "create", *_writable(properties), full)
        self._index.learn(name, ())

    async def clone(self, origin: str, guid: Guid, name: str, properties: Mapping[str, str] | None = None) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        snapshot = await self._snapshot(origin, guid)
        await self._zfs.act(f"{name} was not cloned", "clone", *_writable(properties), snapshot, full)
        self._index.learn(name, ())

    async def destroy(self, name: str, with_history: bool = False) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        await self._refuse_mounted(name)
        rows = await self._zfs.rows_with_snapshots(full, _SNAPSHOT_PROPERTIES)
        held = [where for where, key, value, _ in rows if key == "userrefs" and value not in ("0", "-")]
        if parsing.history(rows) and not with_history:
            raise HasHistory(f"{name} was not destroyed", f"it has {len(parsing.history(rows))} snapshots")
        if held:
            raise Busy(f"{name} was not destroyed", f"{held[0]} is held")
        flags = ("-r",) if with_history else ()
        await self._zfs.act(f"{name} was not destroyed", "destroy", *flags, full, deadline_s=DESTROY_S)
        self._index.forget(name)

    async def rename(self, name: str, new_name: str) -> None:
        """See `hybrid.ports.Pool`."""
        full, new_full = self._full(name), self._full(new_name)
        await self._refuse_mounted(name)
        fuse = self.capabilities.driver == ZFS_FUSE.driver
        through = await self._mounts.unseen(self.root) if fuse else ()
        await self._zfs.act(f"{name} was not renamed", "rename", full, new_full, through=through)
        self._index.move(name, new_name)

    async def promote(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        origin = (await self._zfs.values(full, "origin")).get("origin", "-").partition("@")[0]
        await self._zfs.act(f"{name} was not promoted", "promote", full)
        self._index.forget(name, origin.removeprefix(self.root + "/"))

    async def set_properties(self, name: str, properties: Mapping[str, str | None]) -> None:
        """See `hybrid.ports.Pool`."""
        full = self._full(name)
        wanted = {names.check_key(key): value for key, value in properties.items()}
        raw = parsing.local(await self._zfs.rows([full]))
        for key, value in changes(raw, wanted):
            arguments = ("inherit", key, full) if value is None else ("set", f"{key}={value}", full)
            await self._zfs.act(f"property {key} of {name} was not set", *arguments)

    async def set_readonly(self, name: str, readonly: bool) -> None:
        """See `hybrid.ports.Pool`."""
        await self._set(name, "readonly", "on" if readonly else "off")

    async def set_quota(self, name: str, quota_bytes: int | None) -> None:
        """See `hybrid.ports.Pool`."""
        await self._set(name, "refquota", "none" if quota_bytes is None else str(quota_bytes))

    async def set_record_size(self, name: str, record_bytes: int) -> None:
        """See `hybrid.ports.Pool`."""
        await self._set(name, "recordsize", str(record_bytes))

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._mounts.mount(self._full(name), path)

    async def unmount(self, name: str) -> None:
        """See `hybrid.ports.Pool`."""
        await self._mounts.unmount(self._full(name))

    async def clear_dead_mounts(self) -> list[str]:
        """See `hybrid.ports.Pool`. Works also while the daemon is down."""
        return await self._mounts.clear_dead(self.root)

    async def space(self) -> Space:
        """See `hybrid.ports.Pool`."""
        values = await self._zfs.values(self.pool, "used", "available")
        used, free = int(values["used"]), int(values["available"])
        return Space(used + free, free)

    async def reserve(self, wanted_bytes: int) -> int:
        """See `hybrid.ports.Pool`."""
        return await self._reserve.keep(wanted_bytes)

    async def health(self) -> Health:
        """See `hybrid.ports.Pool`. `zpool status` does not list damaged files: there may be many."""
        said = await self._zpool("status", self.pool)
        read_only = False
        if self.capabilities.driver == "openzfs":
            read_only = (await self._zpool("get", "-H", "-o", "value", "readonly", self.pool)).strip() == "on"
        return health.parse(said, self.pool, read_only)

    async def check(self) -> None:
        """See `hybrid.ports.Pool`. Dead mounts count as sick until each is unmounted, also when the daemon is back."""
        word = (await self._zpool("list", "-H", "-o", "health", self.pool)).strip()
        if health.state(word) in ("faulted", "suspended"):
            raise StorageSick(f"pool {self.pool} is {word.lower()}", "its disks are gone or fail", "see zpool status")
        dead = await self._mounts.dead(self.root)
        if dead:
            raise StorageSick(f"{len(dead)} mounts are dead", "their daemon ended", "unmount and mount them again")

    async def _zpool(self, *arguments: str) -> str:
        """What `zpool` says within the time of a check."""
        ended = await self._children.run(("zpool", *arguments), CHECK_S)
        if ended.status != 0:
            raise parsing.failure("the pool does not answer", ended.stderr)
        return ended.stdout.decode(errors="replace")

    # ---------------------------------------------------------------------------------------------- within

    def _surveying(self, reactor: Reactor) -> Survey:
        """Pool version 23 ends a transaction group for whoever sets a property."""
        written, end_group = "unique", ["zfs", "set", "hybrid:looked=1", f"{self.root}/temporary"]
        if self.capabilities.knows_written:
            written, end_group = "written", ["zpool", "sync", self.pool]
        return Survey(reactor, self._zfs, f"{self.root}/sites", written, end_group)

    def _full(self, name: str) -> str:
        return f"{self.root}/{names.check_dataset(name)}"

    async def _set(self, name: str, key: str, value: str) -> None:
        await self._zfs.act(f"{key} of {name} was not set", "set", f"{key}={value}", self._full(name))

    async def _refuse_mounted(self, name: str) -> None:
        values = await self._zfs.values(self._full(name), "mounted", "mountpoint")
        if values["mounted"] == "yes":
            raise Busy(f"{name} is in use", f"it is mounted at {values['mountpoint']}")

    async def _snapshot(self, name: str, guid: Guid) -> str:
        """The full name of a snapshot, checked just now."""
        known = self._index.find(name, guid)
        if known is not None:
            full = f"{self._full(name)}@{known.name}"
            if (await self._zfs.guids([full])).get(full) == guid:
                return full
        found = next((one for one in await self.history(name) if one.guid == guid), None)
        if found is None:
            raise NoSuchSnapshot(f"{name} has no snapshot {guid}")
        return f"{self._full(name)}@{found.name}"


def _options(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("-o", setting)]


def _writable(values: Mapping[str, str] | None) -> list[str]:
    """Options of a dataset that will be written to: nothing mounts it by itself."""
    raw: dict[str, str] = {}
    for key, value in (values or {}).items():
        raw |= pieces(names.check_key(key), value)
    given = [f"{key}={value}" for key, value in raw.items()]
    return _options("mountpoint=none", "canmount=noauto", "readonly=off", *given)
