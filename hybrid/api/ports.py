"""What the API needs beyond `hybrid.ports`, as protocols. Pure declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from hybrid.away.lines import AwaySite, Stream
from hybrid.away.stores import AwayStore
from hybrid.cluster.keyring import Keyring
from hybrid.deeds import CreateSite, Progress
from hybrid.model import Manifest, NodeId, SiteSpec
from hybrid.view import View


class SharedMap(Protocol):
    """The cluster's last-writer-wins values, as this node knows them."""

    def get(self, key: str) -> str | None:
        """The value (JSON), or `None`."""

    def put(self, key: str, value: str | None) -> None:
        """Write it here and have it spread; `None` deletes."""

    def prefix(self, prefix: str) -> dict[str, str]:
        """Keys that begin with `prefix`, with their values; without the deleted ones."""


class IssuedJoinToken(msgspec.Struct, frozen=True):
    """A join token and when it ends."""

    token: str
    expires_at_s: float


class JoinTokens(Protocol):
    """Who may join."""

    def create(self, ttl_s: float, dc: str, name: str) -> IssuedJoinToken:
        """
        A token for one node, redeemable at this node until it expires.

        Only for a node of `dc` and of `name`, where these are not empty. Raises `BadRequest` for an impossible name.
        """


class ClusterKeys(Protocol):
    """The keys that seal what nodes send each other by UDP."""

    def ring(self) -> Keyring | None:
        """Those in use; `None` before the node came to life."""

    def rotate(self, hurried: bool = False) -> None:
        """Begin to replace the key; the steps follow by themselves, in seconds when `hurried`."""


class AwayCopies(Protocol):
    """Copies in stores far away. See `hybrid.away.service.Away`."""

    def stores(self) -> dict[str, AwayStore]:
        """By name."""

    def store(self, name: str) -> AwayStore:
        """One. Raises `NoSuchStore`."""

    async def add(self, store: AwayStore, key: bytes | None) -> AwayStore:
        """Begin to copy to `store`; returns it with its key. Raises `BadRequest`, `Conflict`, `AwayError`."""

    def remove(self, name: str) -> None:
        """Copy there no more. Raises `NoSuchStore`."""

    async def sites(self, name: str) -> list[AwaySite]:
        """What lies there. Raises `AwayError`."""

    async def restore(self, name: str, wanted: str, at_s: int | None, progress: Progress) -> SiteSpec:
        """Bring a site back to this node. Raises `NoSuchSite`, `Conflict`, `AwayError`."""

    async def ship(self, name: str, spec: SiteSpec) -> Stream | None:
        """Copy a site that this node holds now; `None`: it is there. Raises `AwayError`, `Busy`."""

    async def demote(self, name: str, spec: SiteSpec, progress: Progress) -> None:
        """Give a site that this node owns to another cluster. Raises `AwayError`."""


class HeldImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image on a node: a dataset that sites are cloned from, or built and waiting beside the pool."""

    manifest: Manifest
    reference: str = ""
    """`<name>@<digest>`; empty: it is only built."""
    size_bytes: int
    packages: tuple[str, ...] = ()
    """`<name> <version>` of what it was built from, where that is known."""


class ImageStore(Protocol):
    """The images of a node, and those that are built and wait beside the pool (`image_dir`)."""

    def held(self) -> list[HeldImage]:
        """All by name, several of one name oldest first; those that are only built where no other has the name."""

    async def import_image(self, name: str, progress: Progress) -> str:
        """Make image `name` a dataset of this node. Returns `<name>@<digest>`. Raises `ImageError`, `OutOfSpace`."""


class OperationStore(Protocol):
    """Where operations outlive the process. Records are JSON; on disk when a call returns."""

    def save_operation(self, operation_id: str, record: bytes) -> None:
        """Write or overwrite one."""

    def drop_operation(self, operation_id: str) -> None:
        """Forget one; not there: fine."""

    def load_operations(self) -> list[bytes]:
        """All of them, oldest first."""


class AuditStore(Protocol):
    """Where the audit log outlives the process. Records are JSON; on disk when a call returns."""

    def keep_audit(self, number: int, record: bytes) -> None:
        """Write a new one."""

    def newest_audit(self) -> bytes | None:
        """The last one, if there is any."""

    def audits(self, after: int, limit: int) -> list[bytes]:
        """Those with numbers above `after`, in order, at most `limit`."""

    def drop_audits(self, upto: int) -> None:
        """Forget those with numbers up to `upto`."""


class NodeStore(OperationStore, AuditStore, Protocol):
    """What the API keeps on its node."""


RemoveNode = Callable[[NodeId, str, bool], None]
"""Remove that node for good: `(node, who asks, also when something would be lost)`. Raises `Conflict`."""
Placement = Callable[[View, CreateSite], NodeId]
"""The best first owner for a new site. Raises `Conflict` when no node can take it."""
