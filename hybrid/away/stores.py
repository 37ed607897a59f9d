"""The stores that a cluster copies to: values in the shared map, under `away/<name>`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from hybrid.errors import BadRequest

KEY = "away/"
DAY_S = 86400.0
LEAST_EVERY_S = 60.0
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*/?")


class AwayStore(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One store and how it is used."""

    name: str
    endpoint: str
    """`https://host[:port]`; `http` only makes sense on a network of one's own: contents are sealed, names are not."""
    bucket: str
    access_key: str
    secret_key: str
    key: bytes
    """What contents are sealed with."""
    region: str = "us-east-1"
    folder: str = ""
    """What the names of all objects begin with; empty or ending with `/`."""
    every_s: float = 3600.0
    """Each site's newest snapshot goes there so often, if it changed."""
    keep_s: float = 30 * DAY_S
    """Moments older than this go, but for the newest."""

    follow: bool = False
    """Whether sites there that this cluster does not have are kept ready in it, to be promoted at once."""

    def __repr__(self) -> str:
        return f"<AwayStore {self.name} {self.endpoint} {self.bucket}>"


def checked(store: AwayStore) -> AwayStore:
    """`store`, its folder with a final `/`. Raises `BadRequest` where a value cannot be one."""
    if not _NAME.fullmatch(store.name):
        raise BadRequest(f"{store.name[:40]!r} cannot be a store's name", "a-z, 0-9 and -, at most 32")
    parts = urlsplit(store.endpoint)
    plain = parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/")
    if not plain or parts.query or parts.username:
        raise BadRequest(f"{store.endpoint[:80]!r} is no endpoint", "`https://HOST` or `https://HOST:PORT`")
    if not _BUCKET.fullmatch(store.bucket):
        raise BadRequest(f"{store.bucket[:80]!r} cannot be a bucket", "3 to 63 of a-z, 0-9, . and -")
    if store.folder and not _FOLDER.fullmatch(store.folder):
        raise BadRequest(
            f"{store.folder[:80]!r} cannot be a folder",
            "names of A-Z a-z 0-9 _ . - joined by /, each beginning with a letter or digit",
        )
    if store.every_s < LEAST_EVERY_S or store.keep_s < DAY_S:
        raise BadRequest("too often, or kept too short", f"at least every {LEAST_EVERY_S:.0f} s, kept for a day")
    folder = store.folder.rstrip("/") + "/" if store.folder else ""
    return msgspec.structs.replace(store, endpoint=store.endpoint.rstrip("/"), folder=folder)


def encode(store: AwayStore) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + store.name, msgspec.json.encode(store).decode()


def decode(entries: Mapping[str, str]) -> dict[str, AwayStore]:
    """By name, from what the shared map holds under `KEY`; what cannot be read is left out."""
    found: dict[str, AwayStore] = {}
    for key, value in entries.items():
        try:
            store = msgspec.json.decode(value, type=AwayStore)
        except msgspec.MsgspecError:
            continue
        if key == KEY + store.name:
            found[store.name] = store
    return found
