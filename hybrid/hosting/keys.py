"""Public keys of those who may log in to a site: a part of its spec, so that all front doors know them. Pure."""

from __future__ import annotations

import msgspec

from hybrid.errors import Conflict, NoSuchKey
from hybrid.model import SiteSpec
from hybrid.sshkeys import MAX_KEYS, PublicKey, read_line


def keys_of(spec: SiteSpec) -> list[PublicKey]:
    """Those there are, oldest first."""
    return [read_line(line) for line in spec.ssh_keys]


def with_key(spec: SiteSpec, key: PublicKey) -> SiteSpec:
    """`spec` with `key`; with its new name where it was there already. Raises `Conflict`: there are `MAX_KEYS`."""
    others = [one for one in keys_of(spec) if one.blob != key.blob]
    if len(others) >= MAX_KEYS:
        raise Conflict(f"site {spec.name} has {MAX_KEYS} keys already", "", "remove one: hybrid site key remove")
    return _with(spec, [*others, key])


def without_key(spec: SiteSpec, name: str) -> SiteSpec:
    """
    `spec` without the key of that fingerprint or comment.

    Raises:
        NoSuchKey: It has none.
        Conflict: Several have that comment.
    """
    keys = keys_of(spec)
    found = [key for key in keys if key.fingerprint == name] or [key for key in keys if key.comment == name]
    if not found:
        raise NoSuchKey(f"site {spec.name} has no key {name[:100]}", "", f"hybrid site key list {spec.name}")
    if len(found) > 1:
        raise Conflict(f"several keys of {spec.name} are called {name[:100]}", "", "give the fingerprint")
    return _with(spec, [key for key in keys if key is not found[0]])


def _with(spec: SiteSpec, keys: list[PublicKey]) -> SiteSpec:
    lines = tuple(key.line for key in keys)
    return msgspec.structs.replace(spec, ssh_keys=lines, version=spec.version.next())
