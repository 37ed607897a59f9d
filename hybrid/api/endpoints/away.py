"""Endpoints of copies far away. Shell."""

from __future__ import annotations

from hybrid.api import awayschema as bodies
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.moments import Ago, At, Newest, parse, rfc3339
from hybrid.api.parts import Parts
from hybrid.away.sealing import recovery_key, recovery_text
from hybrid.away.stores import AwayStore
from hybrid.deeds import Progress
from hybrid.errors import BadRequest


async def list_stores(parts: Parts, call: Call) -> Answer:
    """All stores, by name."""
    known = parts.away.stores()
    return page(parts, bodies.AwayStoreAnswer, [_shown(known[name]) for name in sorted(known)])


async def add_store(parts: Parts, call: Call) -> Answer:
    """Begin to copy to a store; it is written to and read from first."""
    wanted = decode(call.body, bodies.NewAwayStore)
    key = recovery_key(wanted.recovery_key) if wanted.recovery_key else None
    store = AwayStore(
        name=wanted.name,
        endpoint=wanted.endpoint,
        bucket=wanted.bucket,
        access_key=wanted.access_key,
        secret_key=wanted.secret_key,
        region=wanted.region,
        folder=wanted.folder,
        every_s=wanted.every_s,
        keep_s=wanted.keep_s,
        follow=wanted.follow,
        key=b"",
    )
    added = await parts.away.add(store, key)
    return json_answer(bodies.AwayStoreAdded(**_fields(added), recovery_key=recovery_text(added.key)), 201)  # type: ignore[arg-type]  # the fields are those of the answer


async def remove_store(parts: Parts, call: Call) -> Answer:
    """Copy to a store no more; what lies there stays."""
    parts.away.remove(call.params["store"])
    return Answer(204)


async def list_away_sites(parts: Parts, call: Call) -> Answer:
    """What a store holds, by name."""
    found, now_s = await parts.away.sites(call.params["store"]), parts.wall_s()
    items = [
        bodies.AwaySiteAnswer(
            site=one.site,
            name=one.name,
            newest_at=rfc3339(one.newest_at_s),
            age_s=max(0, int(now_s - one.newest_at_s)),
            moments=one.moments,
            bytes=one.bytes,
        )
        for one in found
    ]
    return page(parts, bodies.AwaySiteAnswer, items)


async def restore_site(parts: Parts, call: Call) -> Answer:
    """Bring a site back from a store, on the answering node."""
    wanted, store = decode(call.body, bodies.AwayRestore), call.params["store"]
    parts.away.store(store)
    at_s = _time_of(wanted.at, parts.wall_s())

    async def work(progress: Progress) -> dict[str, object]:
        spec = await parts.away.restore(store, wanted.site, at_s, progress)
        return {"site_id": spec.id, "name": spec.name, "domains": list(spec.domains)}

    return begin(parts, call, "away-restore", None, wanted.site, work)


async def ship_site(parts: Parts, call: Call) -> Answer:
    """Copy a site as it is now to a store, from its owner."""
    site, store = site_of(parts, call), decode(call.body, bodies.AwayShip).store
    parts.away.store(store)

    async def work(progress: Progress) -> dict[str, object]:
        with progress.step("take a snapshot"):
            await parts.hosting.snapshot(site.spec.id)
        with progress.step("copy"):
            stream = await parts.away.ship(store, site.spec)
        return {"copied": stream is not None, "head": str(stream.head) if stream is not None else None}

    return begin(parts, call, "away-ship", site, site.spec.name, work)


async def demote_site(parts: Parts, call: Call) -> Answer:
    """Give a site to another cluster: all of it in the store, stopped and in the trash here."""
    site, store = site_of(parts, call), decode(call.body, bodies.AwayShip).store
    parts.away.store(store)

    async def work(progress: Progress) -> dict[str, object]:
        await parts.away.demote(store, site.spec, progress)
        return {"store": store}

    return begin(parts, call, "away-demote", site, site.spec.name, work)


def _time_of(text: str | None, now_s: float) -> int | None:
    match Newest() if text is None else parse(text):
        case Newest():
            return None
        case At(at_s):
            return int(at_s)
        case Ago(age_s):
            return int(now_s - age_s)
        case _:
            raise BadRequest("a moment far away is a time", "snapshots there have no names", "2026-11-20T14:05:00Z, 2d")


def _shown(store: AwayStore) -> bodies.AwayStoreAnswer:
    return bodies.AwayStoreAnswer(**_fields(store))  # type: ignore[arg-type]  # the fields are those of the answer


def _fields(store: AwayStore) -> dict[str, str | float | bool]:
    """All but the secrets."""
    return {name: getattr(store, name) for name in bodies.AwayStoreAnswer.__struct_fields__}
