"""The routes of copies far away. Pure; part of the table."""

from __future__ import annotations

from hybrid.api import awayschema as bodies
from hybrid.api import schema
from hybrid.api.endpoints import away
from hybrid.api.routes import Query, Route

STORE = "/v1/away/{store}"

AWAY = (
    Route(
        method="GET",
        template="/v1/away",
        endpoint=away.list_stores,
        summary="Stores far away that sites are copied to",
        answer=schema.Page[bodies.AwayStoreAnswer],
    ),
    Route(
        method="POST",
        template="/v1/away",
        endpoint=away.add_store,
        summary="Copy all sites to a folder of an S3-compatible store, or read what a lost cluster put there",
        body=bodies.NewAwayStore,
        answer=bodies.AwayStoreAdded,
        status=201,
    ),
    Route(
        method="DELETE",
        template=STORE,
        endpoint=away.remove_store,
        summary="Copy there no more; what lies there stays",
        answer=None,
        status=204,
    ),
    Route(
        method="GET",
        template=f"{STORE}/sites",
        endpoint=away.list_away_sites,
        summary="What a store holds",
        answer=schema.Page[bodies.AwaySiteAnswer],
    ),
    Route(
        method="POST",
        template=f"{STORE}/restore",
        endpoint=away.restore_site,
        summary="Bring a site that this cluster does not have back from a store",
        body=bodies.AwayRestore,
        query=(Query("node", "name or id of the node to bring it to; the answering one if not said"),),
        answer=schema.Operation,
        status=202,
        at="named",
    ),
    Route(
        method="POST",
        template="/v1/sites/{site}/away",
        endpoint=away.ship_site,
        summary="Copy a site as it is now to a store",
        body=bodies.AwayShip,
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
    Route(
        method="POST",
        template="/v1/sites/{site}/demote",
        endpoint=away.demote_site,
        summary="Give a site to another cluster: stopped, all of it in the store, then in the trash here",
        body=bodies.AwayShip,
        answer=schema.Operation,
        status=202,
        at="owner",
    ),
)
