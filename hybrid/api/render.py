"""From views and vocabulary to what the API gives. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from hybrid.api import placing, proofs, schema
from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name
from hybrid.api.ports import HeldImage
from hybrid.deeds import Deleted
from hybrid.model import Port, SiteId
from hybrid.ports import Executed
from hybrid.view import NodeView, Pending, SiteView, View

MAX_OUTPUT = 1024 * 1024
"""Bytes of each of a command's outputs that are passed back."""


def node(view: View, seen: NodeView, now_s: float) -> schema.Node:
    """One node."""
    return schema.Node(
        id=seen.id,
        name=seen.name,
        dc=seen.dc,
        address=seen.address,
        state="up" if seen.live else "down",
        sites=sum(1 for site in view.sites.values() if site.owner == seen.id),
        copies=sum(1 for site in view.sites.values() if seen.id in site.holders),
        size_bytes=seen.size_bytes,
        free_bytes=seen.free_bytes,
        storage_ok=seen.storage_ok,
        load=seen.load,
        capacity=placing.capacity(seen.measured),
        draining=seen.draining,
        release=seen.release,
        api_port=seen.api_port,
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )


def site(view: View, seen: SiteView, now_s: float) -> schema.Site:
    """One site."""
    spec = seen.spec
    return schema.Site(
        id=spec.id,
        name=spec.name,
        kind=spec.kind,
        state=seen.state,
        wanted=spec.wanted,
        suspended=spec.suspended,
        account=spec.account,
        domains=spec.domains,
        image=spec.image,
        owner=node_name(view, seen.owner) or None,
        holders=tuple(node_name(view, holder) for holder in seen.holders),
        copies=spec.copies,
        safe_copies=seen.safe_copies,
        lag_s=seen.lag_s,
        trouble=seen.trouble,
        stashes=len(seen.stashes),
        snapshot_every_s=spec.snapshot_every_s,
        ttl_s=spec.ttl_s,
        data_bytes=seen.data_bytes,
        history_bytes=seen.history_bytes,
        quota_bytes=spec.quota_bytes,
        history_budget_bytes=spec.history_budget_bytes,
        retention=spec.retention,
        memory_bytes=spec.memory_bytes,
        cpus=spec.cpus,
        pids=spec.pids,
        policy=spec.policy,
        consistency=spec.consistency,
        home_dc=spec.home_dc,
        pinned=spec.pinned,
        apart=spec.apart,
        environment=spec.environment,
        ports=_ports(spec.ports),
        claim=str(seen.claim) if seen.claim else None,
        clone_of=_site_name(view, spec.clone_of),
        consistent_every_s=spec.consistent_every_s,
        sleep_after_s=spec.sleep_after_s,
        verify_every_s=spec.verify_every_s,
        proof=proofs.of_site(view, seen, now_s),
        load=placing.load(seen.load),
        as_of=rfc3339(now_s),
        from_node=node_name(view, view.me),
    )


def _site_name(view: View, site: SiteId | None) -> str | None:
    """The name of a site; its id where there is none of that id any more."""
    known = view.sites.get(site) if site is not None else None
    return known.spec.name if known else site


def decision(wanted: Pending) -> schema.Decision:
    """One thing for a person."""
    return schema.Decision(
        kind=wanted.kind, site=wanted.site, name=wanted.name, nodes=wanted.nodes, text=wanted.text, hint=wanted.try_
    )


def deleted(view: View, site: Deleted) -> schema.DeletedSite:
    """One site in the trash."""
    return schema.DeletedSite(
        id=site.site,
        name=site.name,
        deleted_at=rfc3339(site.at_s),
        until=rfc3339(site.until_s),
        by=node_name(view, site.by),
    )


def image(held: HeldImage) -> schema.Image:
    """One image."""
    manifest = held.manifest
    return schema.Image(
        name=manifest.name,
        reference=held.reference or None,
        size_bytes=held.size_bytes,
        packages=held.packages,
        description=manifest.description,
        kind=manifest.kind,
        ports=_ports(manifest.ports),
        memory_bytes=manifest.memory_bytes,
        pids=manifest.pids,
    )


def command_result(executed: Executed) -> schema.CommandResult:
    """How a command ended, cut to `MAX_OUTPUT`."""
    stdout, stderr = executed.stdout[:MAX_OUTPUT], executed.stderr[:MAX_OUTPUT]
    truncated = max(len(executed.stdout), len(executed.stderr)) > MAX_OUTPUT
    try:
        out, err = stdout.decode("utf-8"), stderr.decode("utf-8")
    except UnicodeDecodeError:
        return schema.CommandResult(
            status=executed.status,
            stdout=base64.b64encode(stdout).decode("ascii"),
            stderr=base64.b64encode(stderr).decode("ascii"),
            encoding="base64",
            truncated=truncated,
        )
    return schema.CommandResult(status=executed.status, stdout=out, stderr=err, encoding="utf-8", truncated=truncated)


def _ports(ports: Iterable[Port]) -> tuple[schema.PortAnswer, ...]:
    """Ports as told."""
    return tuple(
        schema.PortAnswer(name=port.name, port=port.port, protocol=port.protocol, public_port=port.public_port)
        for port in ports
    )
