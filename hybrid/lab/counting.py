"""Where the acknowledged writes are in the end: on the main line, in a stash, or lost. Synchronous."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybrid.lab.client import Api
from hybrid.lab.command import LabError

DATABASE = "/srv/data/guestbook.sqlite"


@dataclass(frozen=True, slots=True)
class Count:
    """Acknowledged writes by where they were found; ids of the lost ones."""

    acked: int
    on_main_line: int
    in_stash: int
    lost: tuple[str, ...]
    stashes: int
    unread: tuple[str, ...]
    """Stashes that could not be read, with the reason; what is in them counts as lost."""


def count(api: Api, site: str, acked: Iterable[str], main_line: Iterable[str]) -> Count:
    """
    Look for every id of `acked` on the main line, and what is not there in every stash of `site`.

    Raises:
        ApiError: The stashes cannot be listed.
    """
    wanted, main = set(acked), set(main_line)
    stashes = [stash["id"] for stash in api.items(f"/sites/{site}/stashes")]
    found: set[str] = set()
    unread: list[str] = []
    for stash in stashes:
        try:
            found |= set(ids_in_stash(api, site, stash))
        except LabError as error:
            unread.append(f"{stash}: {error}")
    lost = wanted - main - found
    return Count(
        acked=len(wanted),
        on_main_line=len(wanted & main),
        in_stash=len((wanted & found) - main),
        lost=tuple(sorted(lost)),
        stashes=len(stashes),
        unread=tuple(unread),
    )


def ids_in_stash(api: Api, site: str, stash: str) -> list[str]:
    """
    The ids in the guestbook of a stash, in the order in which they were written.

    Raises:
        LabError: The stash has no readable guestbook.
    """
    with tempfile.TemporaryDirectory(prefix="hybrid-stash-") as folder:
        copy = Path(folder) / "guestbook.sqlite"
        for suffix in ("", "-journal", "-wal"):
            content = api.stash_file(site, stash, DATABASE + suffix)
            if content is not None:
                Path(f"{copy}{suffix}").write_bytes(content)
        return ids_in_database(copy)


def ids_in_database(path: Path) -> list[str]:
    """
    The ids in a copy of the guestbook's database, oldest first; a journal beside it is rolled back, as after a crash.

    Raises:
        LabError: There is no such file, or it is no such database.
    """
    if not path.exists():
        raise LabError(f"no {DATABASE} there")
    database = sqlite3.connect(path)
    try:
        return [str(row[0]) for row in database.execute("SELECT id FROM entry ORDER BY rowid")]
    except sqlite3.Error as error:
        raise LabError(f"{path.name} cannot be read", str(error)) from error
    finally:
        database.close()
