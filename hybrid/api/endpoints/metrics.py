"""The endpoint for Prometheus. Shell."""

from __future__ import annotations

from hybrid.api.calls import Answer, Call
from hybrid.api.metrics import CONTENT_TYPE, exposition
from hybrid.api.parts import Parts
from hybrid.api.routes import Route


async def show_metrics(parts: Parts, call: Call) -> Answer:
    """What this node measures."""
    running = len(parts.operations.newest_first(10**6, None, "running"))
    hosting = parts.hosting
    text = exposition(parts.view, parts.wall_s(), running, len(hosting.decisions()), hosting.transfers())
    return Answer(200, text, {"content-type": CONTENT_TYPE})


ROUTES = (
    Route(
        method="GET",
        template="/v1/metrics",
        endpoint=show_metrics,
        summary="What the answering node measures, for Prometheus",
        answer=bytes,
    ),
)
