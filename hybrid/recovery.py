"""
A cluster of which nothing but pools is left is begun again: `hybrid init --recover`. Shell.

Sites come back by themselves, from the properties of their datasets. What is done here: the rest of the configuration,
keys that only the lost nodes and the root could open, and time for the other servers to come before sites are started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hybrid.certs.vault import KEY, ROOT, Vault
from hybrid.cluster.certificates import cluster_id
from hybrid.cluster.founding import Root
from hybrid.cluster.identity import Identity
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.store import Store
from hybrid.configuration import Configuration, of_file
from hybrid.errors import BadRequest
from hybrid.ports import Pool
from hybrid.safekeeping import kept_in
from hybrid.settings import Settings

LISTENING = "listen-until"
"""In the state directory: seconds since the epoch until which this node claims nothing."""


class LostCluster:
    """
    What is to be begun again; of an empty one nothing is said and nothing done.

    Args:
        kept: Its configuration, where it is known by now.
        in_pool: It is to be looked for in the pool.
    """

    def __init__(self, kept: Configuration | None = None, in_pool: bool = False) -> None:
        self._kept, self._in_pool = kept, in_pool

    @classmethod
    def of(cls, source: str | None) -> LostCluster:
        """By what `--recover` says: a file, the pool (empty), or nothing. Raises `BadRequest`."""
        if not source:
            return cls(in_pool=source is not None)
        try:
            return cls(of_file(Path(source).read_bytes()))
        except OSError as error:
            raise BadRequest(f"cannot read {source}", str(error.strerror), "hybrid cluster export -o FILE") from error

    async def look_into(self, pool: Pool) -> None:
        """Read what the pool keeps, where it is to be had from there. Raises `BadRequest`."""
        if self._in_pool:
            self._kept = await kept_in(pool)

    @property
    def name(self) -> str:
        """For people; empty: unknown."""
        return self._kept.name if self._kept else ""

    @property
    def zones(self) -> tuple[str, ...]:
        """Its DNS zones."""
        return self._kept.zones if self._kept else ()

    def check(self, root: Root | None) -> None:
        """Raises `BadRequest` when the root is another cluster's."""
        if self._kept is None or root is None:
            return
        theirs = cluster_id(root.certificate)
        if self._kept.cluster != theirs:
            why = f"the configuration is of {self._kept.cluster}, the root of {theirs}"
            raise BadRequest("this root is not that of the lost cluster", why, "give the root.pem of that one, or none")

    def begin_again(self, state_dir: Path, identity: Identity, root: Root | None, now_s: float, wait_s: float) -> None:
        """Give the new first node what the lost ones knew, and time for others to join it."""
        if self._kept is not None:
            keep_values(state_dir, identity, restored(self._kept, identity, root), now_s)
            listen_until(state_dir, now_s + wait_s)

    def news(self, wait_s: float) -> Iterator[str]:
        """What people should know of it."""
        if self._kept is None:
            return
        count, nodes = len(self._kept.values), ", ".join(self._kept.nodes)
        yield f"{count} values of the configuration are back; its nodes were {nodes}"
        yield f"let the others join with their pools now: sites start in {wait_s:.0f} s, from the best copies"


def restored(configuration: Configuration, identity: Identity, root: Root | None) -> Mapping[str, str]:
    """The values to begin with: those that were kept, and the cluster's keys for the new first node, by the root's."""
    values = dict(configuration.values)
    if root is not None:
        vault = Vault(ROOT, root.key, lambda size: b"")  # it makes no secret
        vault.learn({key: value for key, value in values.items() if key.startswith(KEY)})
        public = identity.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        values |= vault.missing(values, {identity.node: public})
    return values


def keep_values(state_dir: Path, identity: Identity, values: Mapping[str, str], now_s: float) -> None:
    """Into the node's database, as its own words of `now_s`."""
    ledger = Ledger(identity.node, 0)
    store = Store(state_dir / "hybrid.db")
    try:
        store.keep_shared({key: ledger.share(key, value, int(now_s * 1000)) for key, value in values.items()})
    finally:
        store.close()


def listen_until(state_dir: Path, until_s: float) -> None:
    """Let the node claim nothing before that time: other servers, with newer copies, come first."""
    (state_dir / LISTENING).write_text(f"{until_s:.0f}\n")


def patient(settings: Settings, now_s: float) -> Settings:
    """`settings` with a longer time of listening, where `listen_until` asked for it and it is not over."""
    try:
        left_s = float((Path(settings.state_dir) / LISTENING).read_text()) - now_s
    except (OSError, ValueError):
        return settings
    if not settings.timing.boot_s < left_s < 86400.0:
        return settings
    return msgspec.structs.replace(settings, timing=msgspec.structs.replace(settings.timing, boot_s=left_s, alone=True))
