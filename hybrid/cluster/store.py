"""
What a node must remember over a restart and that belongs to no dataset: one SQLite file. Shell.

`synchronous=FULL`: what a call wrote is on disk when it returns. Calls take a fraction of a millisecond, so they run
where they are called. A file that cannot be read is moved aside, never deleted: the cluster knows most of it anyway.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from twisted.logger import Logger

from hybrid.cluster.token import Invitation
from hybrid.errors import HybridError
from hybrid.model import NodeId, NodeRegister, Shared

SCHEMA = 2
"""Version of the tables; `_migrate` brings older ones here."""

_TABLES = """
create table if not exists number (name text primary key, value integer not null);
create table if not exists node (id text primary key, register blob not null);
create table if not exists shared (key text primary key, entry blob not null);
create table if not exists invitation (id text primary key, invitation blob not null);
create table if not exists history (dataset text primary key, record blob not null);
create table if not exists audit (number integer primary key, record blob not null);
create table if not exists operation (id text primary key, ordinal integer not null, record blob not null);
"""


class StoreError(HybridError):
    """The node's database cannot be used."""


class Store:
    """The database of one node."""

    log = Logger()

    def __init__(self, path: Path) -> None:
        """
        Open or create it.

        Raises:
            StoreError: The folder cannot be written, or the file is of a newer release.
        """
        self._path = path
        try:
            self._database = self._opened()
        except sqlite3.DatabaseError as error:
            self._move_aside(error)
            self._database = self._opened()

    def _opened(self) -> sqlite3.Connection:
        try:
            database = sqlite3.connect(self._path, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise StoreError(f"cannot open {self._path}", str(error), "is the folder there, and writable?") from error
        os.chmod(self._path, 0o600)
        database.execute("pragma journal_mode=wal")
        database.execute("pragma synchronous=full")
        (found,) = database.execute("pragma user_version").fetchone()
        if found > SCHEMA:
            raise StoreError(f"{self._path} is of a newer release", f"tables {found}, known {SCHEMA}", "upgrade Hybrid")
        database.executescript(_TABLES)
        database.execute(f"pragma user_version={SCHEMA}")
        return database

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self._path.with_name(f"{self._path.name}.broken")
        number = 1
        while aside.exists():
            number += 1
            aside = self._path.with_name(f"{self._path.name}.broken{number}")
        self.log.error("{path} is broken ({error}): kept as {aside}", path=self._path, error=str(error), aside=aside)
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # ----------------------------------------------------------------------------------------------- incarnation

    def next_incarnation(self, wall_s: float) -> int:
        """
        This start's incarnation, larger than every earlier one.

        At least the wall clock's seconds, so that a node whose database was lost still outranks its earlier self.
        """
        row = self._database.execute("select value from number where name='incarnation'").fetchone()
        incarnation: int = max(row[0] + 1 if row else 1, int(wall_s))
        self.keep_incarnation(incarnation)
        return incarnation

    def keep_incarnation(self, incarnation: int) -> None:
        """Remember an incarnation that was raised while running."""
        self._database.execute("insert or replace into number values ('incarnation', ?)", (incarnation,))

    # ------------------------------------------------------------------------------------------ nodes and shared

    def nodes(self) -> dict[NodeId, NodeRegister]:
        """Every node ever known: seeds for the next start."""
        rows = self._database.execute("select id, register from node order by id")
        return {NodeId(key): msgspec.msgpack.decode(blob, type=NodeRegister) for key, blob in rows}

    def keep_nodes(self, registers: Iterable[NodeRegister]) -> None:
        """Remember nodes."""
        rows = [(register.id, msgspec.msgpack.encode(register)) for register in registers]
        self._many("insert or replace into node values (?, ?)", rows)

    def forget_node(self, node: NodeId) -> None:
        """An operator removed it."""
        self._database.execute("delete from node where id=?", (node,))

    def shared(self) -> dict[str, Shared]:
        """The shared map, tombstones too."""
        rows = self._database.execute("select key, entry from shared order by key")
        return {key: msgspec.msgpack.decode(blob, type=Shared) for key, blob in rows}

    def keep_shared(self, entries: Mapping[str, Shared]) -> None:
        """Remember entries of the shared map."""
        rows = [(key, msgspec.msgpack.encode(entry)) for key, entry in entries.items()]
        self._many("insert or replace into shared values (?, ?)", rows)

    # ------------------------------------------------------------------------------------------------- histories

    def histories(self) -> dict[str, bytes]:
        """See `hybrid_replicator.kept.Shelf`."""
        return dict(self._database.execute("select dataset, record from history"))

    def keep_histories(self, records: Mapping[str, bytes]) -> None:
        """See `hybrid_replicator.kept.Shelf`."""
        self._many("insert or replace into history values (?, ?)", list(records.items()))

    def drop_histories(self, datasets: Iterable[str]) -> None:
        """See `hybrid_replicator.kept.Shelf`."""
        self._many("delete from history where dataset=?", [(dataset,) for dataset in datasets])

    def _many(self, statement: str, rows: Sequence[tuple[str | bytes, ...]]) -> None:
        with self._database:
            self._database.execute("begin")
            self._database.executemany(statement, rows)

    # ------------------------------------------------------------------------------------------------ join tokens

    def keep_invitation(self, token_id: str, invitation: Invitation) -> None:
        """Remember what a join token issued here is good for."""
        blob = msgspec.msgpack.encode(invitation)
        self._database.execute("insert or replace into invitation values (?, ?)", (token_id, blob))

    def invitation(self, token_id: str) -> Invitation | None:
        """That of one token, or `None`."""
        row = self._database.execute("select invitation from invitation where id=?", (token_id,)).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=Invitation)

    def drop_invitation(self, token_id: str) -> bool:
        """Consume one; whether it was there."""
        return self._database.execute("delete from invitation where id=?", (token_id,)).rowcount == 1

    def drop_invitations(self, before_s: float) -> None:
        """Forget those that ended before `before_s` (seconds since the epoch)."""
        rows = self._database.execute("select id, invitation from invitation").fetchall()
        for token_id, blob in rows:
            if msgspec.msgpack.decode(blob, type=Invitation).expires_at_s < before_s:
                self.drop_invitation(token_id)

    # ------------------------------------------------------------------------------------------------- operations

    def save_operation(self, operation_id: str, record: bytes) -> None:
        """Write or overwrite one operation's record."""
        self._database.execute(
            "insert into operation values (?, (select coalesce(max(ordinal), 0) + 1 from operation), ?)"
            " on conflict (id) do update set record=excluded.record",
            (operation_id, record),
        )

    def drop_operation(self, operation_id: str) -> None:
        """Forget one; not there: fine."""
        self._database.execute("delete from operation where id=?", (operation_id,))

    def load_operations(self) -> list[bytes]:
        """All records, oldest first."""
        return [record for (record,) in self._database.execute("select record from operation order by ordinal")]

    # ------------------------------------------------------------------------------------------------- audit log

    def keep_audit(self, number: int, record: bytes) -> None:
        """See `hybrid.api.ports.AuditStore`."""
        self._database.execute("insert into audit values (?, ?)", (number, record))

    def newest_audit(self) -> bytes | None:
        """See `hybrid.api.ports.AuditStore`."""
        row: tuple[bytes] | None = self._database.execute(
            "select record from audit order by number desc limit 1"
        ).fetchone()
        return None if row is None else row[0]

    def audits(self, after: int, limit: int) -> list[bytes]:
        """See `hybrid.api.ports.AuditStore`."""
        rows = self._database.execute("select record from audit where number>? order by number limit ?", (after, limit))
        return [record for (record,) in rows]

    def drop_audits(self, upto: int) -> None:
        """See `hybrid.api.ports.AuditStore`."""
        self._database.execute("delete from audit where number<=?", (upto,))
