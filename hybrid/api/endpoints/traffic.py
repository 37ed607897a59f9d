"""Endpoints about a site's visitors; and their routes. Shell."""

from __future__ import annotations

from hybrid.api import schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import site_of
from hybrid.api.names import node_name
from hybrid.api.parts import Parts
from hybrid.api.routes import SITE, Query, Route
from hybrid.api.traffic import AccessLogAnswer, TrafficAnswer
from hybrid.model import SiteId

_NODE = Query("node", "name or id of the node to ask; the answering one if not said")


async def list_traffic(parts: Parts, call: Call) -> Answer:
    """Sites with visitors at this node, the busiest of the last minute first."""
    view, limit = parts.view, call.argument_int("limit", 100, 1, 10_000)
    known = [site for site in parts.traffic.sites() if site in view.sites]
    found = [_of(parts, site) for site in known]
    found.sort(key=lambda one: (-one.requests_per_s, -one.requests, one.site))
    return page(parts, TrafficAnswer, found[:limit])


async def show_traffic(parts: Parts, call: Call) -> Answer:
    """One site's visitors, at its owner."""
    return json_answer(_of(parts, site_of(parts, call).spec.id))


async def show_access_log(parts: Parts, call: Call) -> Answer:
    """The end of a site's access log."""
    view, count = parts.view, call.argument_int("lines", 200, 1, 100_000)
    lines, dropped = parts.traffic.log(site_of(parts, call).spec.id, count)
    return json_answer(AccessLogAnswer(lines=lines, dropped=dropped, from_node=node_name(view, view.me)))


def _of(parts: Parts, site: SiteId) -> TrafficAnswer:
    view = parts.view
    return parts.traffic.of(site, view.sites[site].spec.name, node_name(view, view.me), parts.monotonic_s())


ROUTES = (
    Route(
        method="GET",
        template="/v1/traffic",
        endpoint=list_traffic,
        summary="Visitors of sites at one node, the busiest first",
        query=(_NODE, Query("limit", "how many at most", "integer")),
        answer=schema.Page[TrafficAnswer],
        at="named",
    ),
    Route(
        method="GET",
        template=f"{SITE}/traffic",
        endpoint=show_traffic,
        summary="A site's visitors at its owner: requests, bytes, errors, times",
        answer=TrafficAnswer,
        at="owner",
    ),
    Route(
        method="GET",
        template=f"{SITE}/access-log",
        endpoint=show_access_log,
        summary="The end of a site's access log, where its user wants one",
        query=(Query("lines", "how many at most (200)", "integer"),),
        answer=AccessLogAnswer,
        at="owner",
    ),
)
