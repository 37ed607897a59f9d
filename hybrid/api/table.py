"""The table of all routes: what the router, the core and OpenAPI are made from. Pure."""

from __future__ import annotations

from typing import get_args

import msgspec

from hybrid.api import schema
from hybrid.api.awaytable import AWAY
from hybrid.api.calls import Answer, Call
from hybrid.api.endpoints import (
    accounts,
    audit,
    certificates,
    choices,
    clones,
    cluster,
    configuration,
    credentials,
    defaults,
    groups,
    jobs,
    links,
    metrics,
    packages,
    placing,
    proofs,
    sites,
    sshkeys,
    traffic,
    transfers,
    zones,
)
from hybrid.api.openapi import document
from hybrid.api.parts import Parts
from hybrid.api.pasttable import PAST
from hybrid.api.routes import SITE, Query, Route
from hybrid.api.transfers import TransferAnswer
from hybrid.release import __version__
from hybrid.view import SiteState

_LIMIT = Query("limit", "how many at most", "integer")
_NODE = Query("node", "name or id of the node to ask; the answering one if not said")

_CLUSTER = (
    Route(
        method="GET",
        template="/v1/status",
        endpoint=cluster.show_status,
        summary="The cluster's health in one sentence, with the figures behind it",
        answer=schema.Status,
    ),
    Route(
        method="GET",
        template="/v1/nodes",
        endpoint=cluster.list_nodes,
        summary="All nodes",
        answer=schema.Page[schema.Node],
    ),
    Route(
        method="GET",
        template="/v1/nodes/{node}",
        endpoint=cluster.show_node,
        summary="One node, by name or id",
        answer=schema.Node,
    ),
    Route(
        method="DELETE",
        template="/v1/nodes/{node}",
        endpoint=cluster.remove_node,
        summary="Remove a node for good; refused while something would be lost with it",
        query=(Query("force", "1: also when something would be lost", "integer"),),
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template="/v1/cluster/keys",
        endpoint=cluster.show_keys,
        summary="How far the replacement of the cluster's key is",
        answer=schema.ClusterKeys,
    ),
    Route(
        method="POST",
        template="/v1/cluster/keys",
        endpoint=cluster.rotate_keys,
        summary="Replace the key that seals what nodes send each other by UDP",
        query=(Query("hurried", "1: within a minute, not within hours", "integer"),),
        answer=schema.ClusterKeys,
        status=202,
    ),
    Route(
        method="POST",
        template="/v1/join-tokens",
        endpoint=cluster.create_join_token,
        summary="A token with which one node may join",
        body=schema.NewJoinToken,
        answer=schema.JoinToken,
        status=201,
    ),
    Route(
        method="GET",
        template="/v1/tokens",
        endpoint=cluster.list_tokens,
        summary="Tokens, without their secrets",
        answer=schema.Page[schema.TokenAnswer],
    ),
    Route(
        method="POST",
        template="/v1/tokens",
        endpoint=cluster.create_token,
        summary="A token for a program or a person, shown once",
        body=schema.NewToken,
        answer=schema.TokenCreated,
        status=201,
    ),
    Route(
        method="DELETE",
        template="/v1/tokens/{token}",
        endpoint=cluster.revoke_token,
        summary="Make a token invalid",
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template="/v1/images",
        endpoint=cluster.list_images,
        summary="Images on one node",
        query=(_NODE,),
        answer=schema.Page[schema.Image],
        at="named",
    ),
    Route(
        method="POST",
        template="/v1/images",
        endpoint=cluster.import_image,
        summary="Import an image from a node's store of built images",
        query=(_NODE,),
        body=schema.NewImage,
        answer=schema.Operation,
        status=202,
        at="named",
    ),
)

_SITES = (
    Route(
        method="GET",
        template="/v1/sites",
        endpoint=sites.list_sites,
        summary="All sites",
        for_tenants=True,
        query=(
            Query("state", "one of " + ", ".join(get_args(SiteState))),
            Query("node", "only those this node owns"),
        ),
        answer=schema.Page[schema.Site],
    ),
    Route(
        method="POST",
        template="/v1/sites",
        endpoint=sites.create_site,
        summary="Create a site",
        body=schema.NewSite,
        answer=schema.Operation,
        status=202,
        at="place",
    ),
    Route(
        method="GET",
        template=SITE,
        endpoint=sites.show_site,
        summary="One site, by name or id",
        for_tenants=True,
        answer=schema.Site,
    ),
    Route(
        method="PATCH",
        template=SITE,
        endpoint=sites.edit_site,
        summary="Change a site",
        body=schema.SiteChanges,
        answer=schema.Site,
        at="owner",
        deadline_s=60.0,
    ),
    Route(
        method="DELETE",
        template=SITE,
        endpoint=sites.delete_site,
        summary="Stop a site and put its data into the trash",
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template=f"{SITE}/move",
        endpoint=sites.move_site,
        summary="Hand a running site over to another node",
        body=schema.MoveTo,
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template=f"{SITE}/start",
        endpoint=sites.start_site,
        summary="Have a site run",
        for_tenants=True,
        body=schema.Empty,
        answer=schema.Site,
        at="owner",
        deadline_s=60.0,
    ),
    Route(
        method="POST",
        template=f"{SITE}/stop",
        endpoint=sites.stop_site,
        summary="Have a site stopped; its data stays and stays replicated",
        for_tenants=True,
        body=schema.Empty,
        answer=schema.Site,
        at="owner",
        deadline_s=60.0,
    ),
    Route(
        method="POST",
        template=f"{SITE}/exec",
        endpoint=sites.execute,
        summary="Run a command in a site's container",
        body=schema.Command,
        answer=schema.CommandResult,
        at="owner",
        deadline_s=75.0,
    ),
    Route(
        method="GET",
        template=f"{SITE}/logs",
        endpoint=sites.show_log,
        summary="The end of a site's console log",
        for_tenants=True,
        query=(Query("lines", "how many, 200 if not said", "integer"),),
        answer=schema.Log,
        at="owner",
    ),
)

_CHOICES = (
    Route(
        method="GET",
        template="/v1/decisions",
        endpoint=choices.list_decisions,
        summary="What only a person can decide, most urgent first",
        answer=schema.Page[schema.Decision],
    ),
    Route(
        method="POST",
        template=f"{SITE}/pick",
        endpoint=choices.pick_history,
        summary="Of several histories that wait for it, choose the one to go on with; the others are kept",
        body=schema.PickOf,
        answer=schema.Site,
    ),
    Route(
        method="GET",
        template="/v1/deleted-sites",
        endpoint=choices.list_deleted,
        summary="Sites that can be brought back, newest deletion first",
        answer=schema.Page[schema.DeletedSite],
    ),
    Route(
        method="POST",
        template=f"{SITE}/undelete",
        endpoint=choices.undelete_site,
        summary="Bring a deleted site back; it is served within seconds, where a server that holds it is up",
        body=schema.Empty,
        answer=schema.DeletedSite,
        status=202,
    ),
)

_JOBS = (
    Route(
        method="GET",
        template="/v1/operations",
        endpoint=jobs.list_operations,
        summary="Operations of one node, newest first",
        for_tenants=True,
        query=(_NODE, _LIMIT, Query("site", "name or id"), Query("state", "one of " + ", ".join(jobs.STATES))),
        answer=schema.Page[schema.Operation],
        at="named",
    ),
    Route(
        method="GET",
        template="/v1/transfers",
        endpoint=transfers.list_transfers,
        summary="What a node moves to and from others, stores and the past: bytes, rate, time left",
        query=(_NODE,),
        answer=schema.Page[TransferAnswer],
        at="named",
    ),
    Route(
        method="GET",
        template="/v1/operations/{operation}",
        endpoint=jobs.show_operation,
        summary="One operation, of any node",
        for_tenants=True,
        query=(
            Query("wait", "seconds to wait for its end, at most 60", "integer"),
            Query("seen", "with wait: return as soon as its revision is larger", "integer"),
        ),
        answer=schema.Operation,
        at="operation",
    ),
    Route(
        method="GET",
        template="/v1/events",
        endpoint=jobs.list_events,
        summary="What happened, as the answering node saw it; a stream with Accept: text/event-stream",
        query=(Query("since", "number of the last event known", "integer"), _LIMIT),
        answer=schema.EventPage,
    ),
)


async def show_openapi(parts: Parts, call: Call) -> Answer:
    """This table as OpenAPI 3.1."""
    return Answer(200, msgspec.json.encode(document(ROUTES, __version__)), {"content-type": "application/json"})


_DESCRIPTION = Route(
    method="GET",
    template="/v1/openapi.json",
    endpoint=show_openapi,
    summary="This API as OpenAPI 3.1",
    answer=dict,
    public=True,
)

ROUTES: tuple[Route, ...] = (
    *_CLUSTER,
    *configuration.ROUTES,
    *defaults.ROUTES,
    *_SITES,
    *_CHOICES,
    *PAST,
    *clones.ROUTES,
    *credentials.ROUTES,
    *sshkeys.ROUTES,
    *proofs.ROUTES,
    *placing.ROUTES,
    *links.ROUTES,
    *packages.ROUTES,
    *accounts.ROUTES,
    *metrics.ROUTES,
    *groups.ROUTES,
    *zones.ROUTES,
    *certificates.ROUTES,
    *traffic.ROUTES,
    *AWAY,
    *_JOBS,
    *audit.ROUTES,
    _DESCRIPTION,
)
