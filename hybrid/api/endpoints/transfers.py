"""The endpoint for streams between nodes. Shell; the named node answers."""

from __future__ import annotations

from hybrid.api.calls import Answer, Call
from hybrid.api.endpoints.pages import page
from hybrid.api.parts import Parts
from hybrid.api.transfers import TransferAnswer, shown


async def list_transfers(parts: Parts, call: Call) -> Answer:
    """Streams under way at this node, those that take longest first."""
    view = parts.view
    return page(parts, TransferAnswer, [shown(view, transfer) for transfer in parts.hosting.transfers()])
