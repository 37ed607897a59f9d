"""What an image's manifest says of how a site is looked after: how to tell that it works. Pure values."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    How to tell, from inside its container, that a site works: `[health]` in a manifest.

    Without a `command` its first port is asked: one of protocol `http` has to answer a GET with a status below 500, any
    other to accept a connection. A site without ports works when its container runs.
    """

    command: tuple[str, ...] = ()
    """Run in the container; status 0 means that it works."""
    path: Annotated[str, msgspec.Meta(pattern="^/[!-~]*$")] = "/"
    """What is asked for by GET."""
    within_s: float = 60.0
    """It has so long from the start of the container on, and is asked again until then."""
    every_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    """While it runs it is asked so often, and started again when it fails several times in a row; 0: never."""


class Extract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A command that gets something out of a past moment that is no file there: `[extracts.NAME]` in a manifest.

    It is run as root of a throw-away container on a clone of that moment, without network, beside what the image's init
    starts, and may change whatever it likes there. It waits by itself for what it needs, such as a database server.
    """

    command: tuple[str, ...]
    """Its further arguments: the path of the file to write, then the values of its parameters in their order."""
    description: str = ""
    file: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = "extract"
    """What the result is called when it is downloaded."""
    parameters: dict[str, str] = {}
    """Name to what it means."""
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 300.0


class Hooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Commands run in the container around a snapshot that an application knows of: `[hooks]` in a manifest.

    Any snapshot is as after a power cut: what databases are built to survive. One between `before` and `after` is as
    after an orderly stop, such as `FLUSH TABLES WITH READ LOCK` of MariaDB or `CHECKPOINT` of PostgreSQL make it.
    """

    before: tuple[str, ...] = ()
    """Status 0: consistent now. What holds a lock meanwhile it leaves running, with its output closed."""
    after: tuple[str, ...] = ()
    """Run in any case once the snapshot was taken, could not be, or `before` failed: it undoes what `before` did."""
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 2.0
    """Of each; a `before` that takes longer is killed, and the snapshot is one as after a power cut."""
