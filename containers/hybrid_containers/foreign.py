"""
What the images of others say of themselves, as a manifest of ours, and how an OCI image is started. Pure.

An image of LXC is an archive of a root file system with another one about it; one of Incus the same, or both in one
archive, `metadata.yaml` beside `rootfs/`; one of OCI a folder of layers, named by digest (its image specification 1.1).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from hybrid.errors import ImageError
from hybrid.model import Manifest, Port

ROOTFS, METADATA, OURS = "rootfs", "metadata.yaml", "hybrid.toml"
"""In an archive of Incus; the last one is in those that Hybrid exports."""
TOOLS = "/usr/lib/hybrid/bin"
"""Where an OCI image gets a shell and a few more programs from, whatever it has itself."""
TOOL_NAMES = ("sh", "sleep", "start-stop-daemon")
SERVICE = "etc/hybrid/services/application"


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What a folder's files refer to each other by."""

    digest: str
    media_type: str = ""
    size: int = 0
    platform: dict[str, object] = {}


class Index(msgspec.Struct, frozen=True):
    """`index.json`, or one that it refers to."""

    manifests: tuple[Descriptor, ...]


class OciManifest(msgspec.Struct, frozen=True):
    """One image."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Running(msgspec.Struct, frozen=True, rename="pascal"):
    """`config` of an image's configuration: what is run, and how."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    exposed_ports: dict[str, object] | None = None
    user: str = ""
    working_dir: str = ""


class Config(msgspec.Struct, frozen=True):
    """An image's configuration."""

    config: Running = Running()


def blob(digest: str) -> str:
    """Where in the folder a digest's content is. Raises `ImageError`: it is no digest, but a path perhaps."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ImageError("the image cannot be used", f"{digest[:100]!r} is no SHA-256 digest")
    return "blobs/" + digest.replace(":", "/")


def chosen(manifests: Sequence[Descriptor], architecture: str) -> Descriptor:
    """The image for this kind of machine, or the only one. Raises `ImageError`: there is none, or several."""
    said = [one for one in manifests if one.platform]
    fitting = [
        one for one in said if one.platform.get("architecture") == architecture and one.platform.get("os") == "linux"
    ]
    found = fitting or ([] if said else list(manifests))
    if len(found) != 1:
        raise ImageError("the image cannot be used", f"the folder has {len(found)} images for linux/{architecture}")
    return found[0]


def manifest_of_system(name: str, port: int | None, init: str | None) -> Manifest:
    """Of a whole system, started by its own init."""
    command = tuple(shlex.split(init)) if init else ("/sbin/init",)
    return Manifest(name, "a system, imported", init=command, ports=(Port("http", port or 80),))


def manifest_of_oci(name: str, config: Running, port: int | None) -> Manifest:
    """Of an OCI image: its first port, its environment; Hybrid's init starts it, see `service`."""
    listed = sorted(
        int(text.partition("/")[0]) for text in config.exposed_ports or {} if re.fullmatch(r"\d{1,5}(/tcp)?", text)
    )
    environment = dict(_assignments(config.env or ()))
    path = environment.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return Manifest(
        name,
        "an application, imported",
        init=(f"{TOOLS}/sh", "/sbin/hybrid-init"),
        ports=(Port("http", port or next(iter(listed), 80)),),
        environment={**environment, "PATH": f"{path}:{TOOLS}"},
        memory_bytes=512 << 20,
    )


def service(config: Running, users: str, groups: str) -> bytes:
    """
    The script that starts an OCI image's application as its configuration says.

    Args:
        users: `/etc/passwd` of the image, where the names of users mean something; empty: it has none.
        groups: `/etc/group`.

    Raises:
        ImageError: There is nothing to start, or a user whom the image does not know.
    """
    command = (*(config.entrypoint or ()), *(config.cmd or ()))
    if not command:
        raise ImageError("the image cannot be used", "it does not say what to start")
    uid, gid = _owner(config.user, _table(users), _table(groups))
    # It would not start what runs already, and that is told by the executable unless a file says which process it is:
    # one that is never there. A shell in between looks for the command in PATH.
    start = ["start-stop-daemon", "-S", "-p", "/run/hybrid-none", "-c", f"{uid}:{gid}"]
    start += ["-x", f"{TOOLS}/sh", "--", "-c", 'exec "$@"', "application", *command]
    return f"#!{TOOLS}/sh\ncd {shlex.quote(config.working_dir or '/')} && exec {shlex.join(start)}\n".encode()


def users_with(config: Running, users: str, groups: str) -> str:
    """`users`, and a line for whom an OCI image runs as, where that is a number of nobody: programs want a name."""
    uid, gid = _owner(config.user, _table(users), _table(groups))
    if any(row[2] == str(uid) for row in _table(users).values()):
        return users
    ended = users if users.endswith("\n") or not users else users + "\n"
    return f"{ended}application:x:{uid}:{gid}::/:/sbin/nologin\n"


def _assignments(lines: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [line.partition("=")[::2] for line in lines]
    return [
        (name, value) for name, value in pairs if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and "\n" not in value
    ]


def _table(text: str) -> dict[str, list[str]]:
    rows = [line.split(":") for line in text.splitlines()]
    return {row[0]: row for row in rows if len(row) >= 4 or len(row) == 3}


def _owner(user: str, users: Mapping[str, list[str]], groups: Mapping[str, list[str]]) -> tuple[int, int]:
    """`user`, `user:group`, each a name or a number; without a group, the user's own."""
    name, colon, group = user.partition(":")
    row = users.get(name or "root")
    try:
        uid = int(name or 0) if name.isdigit() or not name else int((row or [])[2])
        own = [entry for entry in users.values() if entry[2] == str(uid)]
        gid = int(own[0][3]) if own else 0
        if colon and group:
            gid = int(group) if group.isdigit() else int(groups[group][2])
    except (IndexError, KeyError, ValueError):
        raise ImageError("the image cannot be used", f"it is to run as {user!r}, whom it does not know") from None
    if not (0 <= uid < 65536 and 0 <= gid < 65536):
        raise ImageError("the image cannot be used", f"it is to run as {uid}:{gid}, outside of a container's range")
    return uid, gid
