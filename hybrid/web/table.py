"""Which page is at which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from hybrid.web.layout import Page
from hybrid.web.pages import moment, nodes, operations, overview, past, settings, site, sites
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit

PAGES: Mapping[str, Callable[[Reader, Visit], Awaitable[Page]]] = {
    "/": overview.show,
    "/sites": sites.show,
    "/sites/{site}": site.show,
    "/sites/{site}/delete": site.confirm_delete,
    "/sites/{site}/log": site.log,
    "/sites/{site}/past": past.show,
    "/sites/{site}/past/{moment}": moment.browse,
    "/sites/{site}/past/{moment}/diff": moment.difference,
    "/sites/{site}/past/{moment}/rollback": moment.confirm_rollback,
    "/nodes": nodes.show,
    "/nodes/{node}": nodes.one,
    "/operations": operations.show,
    "/operations/{operation}": operations.one,
    "/settings": settings.show,
}
