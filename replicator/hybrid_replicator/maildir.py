"""
Unites two branches of Maildirs over what they have in common: the one kind of data where that is safe. Pure.

Source: https://cr.yp.to/proto/maildir.html (names are unique and never reused, a message's file never changes, `:2,`
and flags follow the name in `cur`), and Maildir++ for folders, which are Maildirs themselves. What becomes of files:

* A message that only one branch has, and the base has not, is kept.
* One deleted on one side stays deleted, unless the other side touched it, that is changed its flags: then it is kept.
  That somebody's mail reader moved it from `new` to `cur` is no touch. A move to another folder is a deletion here and
  a new message there, so it follows from these two.
* One that both have is kept once. Of its flags `DFPRST` each side's changes since the base count, also removals; where
  they disagree, the flag that was removed is gone. Keywords (`a`-`z`) mean something else in each branch: the main
  line's stay. It is in `new` only if it is on both sides.
* Two messages of one name that the base has not and whose sizes differ (two containers of one host name) are both kept:
  the other branch's gets a name of its own, the same one each time.
* `tmp`, and files that are no messages (indexes, subscriptions), stay as they are in the main line.

To do some of the steps and then to unite again comes to the same: nothing need be remembered over a crash.

The deed is `TimeMachine.unite(site: SiteId, stash_id: str) -> int`, for the owner of a site that holds mail, while it
is mounted and writable, for each stash of a conflict: it returns how many messages were brought, moved or removed. Safe
to call again at any time: what was brought in before is not brought in twice (`uniting`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Files = Mapping[str, int]
"""Path from the site's root, `…/cur/name` or `…/new/name`, to size in bytes. Anything else in it is passed over."""

FLAGS = frozenset("DFPRST")
_INFO = ":2,"
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Bring:
    """Copy the file `source` of the other branch to `target` in the main line."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Move:
    """Rename `source` to `target`, both in the main line and in one folder."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove `path` from the main line; it stays in its history."""

    path: str


Step = Bring | Move | Remove


@dataclass(frozen=True, slots=True)
class Message:
    """One file of a Maildir, by what its path says."""

    path: str
    folder: str
    unique: str
    fresh: bool
    """In `new`: no mail reader has seen it."""
    flags: frozenset[str]
    keywords: frozenset[str]
    size_bytes: int

    @property
    def key(self) -> _Key:
        """What it is found by in the other branch."""
        return self.folder, self.unique

    def path_with(self, unique: str, fresh: bool, flags: frozenset[str]) -> str:
        """Where it lies with these."""
        info = "" if fresh else _INFO + "".join(sorted(flags | self.keywords))
        return "/".join(filter(None, (self.folder, "new" if fresh else "cur", unique + info)))


def message(path: str, size_bytes: int) -> Message | None:
    """What `path` stands for; `None` for what is no message."""
    *above, place, name = ["", "", *path.split("/")]
    unique, _, info = name.partition(_INFO)
    if place not in ("new", "cur") or not unique or name.startswith("."):
        return None
    flags = frozenset(info)
    return Message(
        path=path,
        folder="/".join(filter(None, above)),
        unique=unique,
        fresh=place == "new",
        flags=flags & FLAGS,
        keywords=flags - FLAGS,
        size_bytes=size_bytes,
    )


def union(base: Files, main: Files, other: Files, tag: str) -> tuple[Step, ...]:
    """
    What to do in the main line so that it holds both branches.

    Args:
        base: What both had; empty when they have nothing in common: then nothing is removed.
        main: The main line's.
        other: The branch that lost.
        tag: Letters and digits that tell the other branch from all others, for names that clash.

    Returns:
        The steps in order; those that add come before those that take away. Empty when there is nothing to do.
    """
    before, ours, theirs = _by_key(base), _by_key(main), _by_key(other)
    steps = [
        step
        for key in sorted(before.keys() | theirs.keys())
        if (step := _step(before.get(key), ours.get(key), theirs.get(key), ours, tag)) is not None
    ]
    return tuple(sorted(steps, key=lambda step: (Bring, Move, Remove).index(type(step))))


def _step(
    base: Message | None, main: Message | None, other: Message | None, ours: Mapping[_Key, Message], tag: str
) -> Step | None:
    if other is None:
        return Remove(main.path) if main and base and not _touched(base, main) else None
    if main is None:
        return Bring(other.path, other.path) if base is None or _touched(base, other) else None
    if base is None and main.size_bytes != other.size_bytes:
        unique = _renamed(other.unique, tag)
        taken = (other.folder, unique) in ours
        return None if taken else Bring(other.path, other.path_with(unique, other.fresh, other.flags))
    return _merged(base, main, other)


def _touched(base: Message, now: Message) -> bool:
    return now.flags != base.flags


def _merged(base: Message | None, main: Message, other: Message) -> Move | None:
    had = base.flags if base else frozenset()
    flags = (main.flags | other.flags) - (had - main.flags) - (had - other.flags)
    fresh = main.fresh and other.fresh and not flags
    if (flags, fresh) == (main.flags, main.fresh):
        return None
    return Move(main.path, main.path_with(main.unique, fresh, flags))


def _renamed(unique: str, tag: str) -> str:
    """With the tag before what some servers put behind a comma (`,S=1234`)."""
    name, comma, rest = unique.partition(",")
    return f"{name}_{tag}{comma}{rest}"


def _by_key(files: Files) -> dict[_Key, Message]:
    """Of files that stand for one message, as after a crash within a rename, the one that says most."""
    found: dict[_Key, Message] = {}
    for one in sorted(_messages(files), key=lambda one: (not one.fresh, len(one.flags), one.path)):
        found[one.key] = one
    return found


def _messages(files: Files) -> Iterator[Message]:
    return (one for path, size_bytes in files.items() if (one := message(path, size_bytes)) is not None)
