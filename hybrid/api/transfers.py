"""What the API shows of bytes that are being moved. Pure."""

from __future__ import annotations

import msgspec

from hybrid.deeds import TransferSeen, Way
from hybrid.model import NodeId
from hybrid.view import View


class TransferAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the asked node is moving at this moment."""

    way: Way
    node: str
    """The other node's name, or its id where it is not known any more; for `store` and `fetch` the store's name."""
    dataset: str
    """`sites/<id>`, `images/<name>` or `stash/<id>`."""
    site_name: str | None
    """Of a site that is known here."""
    bytes: int
    size_bytes: int | None
    """In all, at most; `null` where it is not known before the end."""
    bytes_per_s: int
    """On average so far."""
    seconds: float
    left_s: float | None
    """At this rate; `null` where the size is not known, or nothing has come yet."""
    saved_bytes: int
    """Of `bytes`: they did not have to travel, being compressed on the way (`[replication] compress_to`)."""


def shown(view: View, transfer: TransferSeen) -> TransferAnswer:
    """As people see it."""
    node = view.nodes.get(NodeId(transfer.node))
    of = transfer.dataset.partition("/")[2].partition(".")[0]
    name = next((site.spec.name for site in view.sites.values() if site.spec.id == of), None)
    return TransferAnswer(
        way=transfer.way,
        node=node.name if node is not None else transfer.node,
        dataset=transfer.dataset,
        site_name=name,
        bytes=transfer.bytes,
        size_bytes=transfer.size_bytes,
        bytes_per_s=transfer.bytes_per_s,
        seconds=transfer.seconds,
        left_s=transfer.left_s,
        saved_bytes=transfer.saved_bytes,
    )
