"""Endpoints about certificates, and about how a site's HTTP is served. Shell."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from hybrid.api import lookup, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.certificates import (
    AuthorityAnswer,
    AuthorityChanges,
    CertificateAnswer,
    HttpAnswer,
    HttpChanges,
    NewCertificate,
    authority,
    shown,
)
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import site_of
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import SITE, Route
from hybrid.certs.records import Record
from hybrid.errors import BadRequest
from hybrid.sitehttp import Http, purged

CERTIFICATE = "/v1/certificates/{certificate}"


async def list_certificates(parts: Parts, call: Call) -> Answer:
    """All of them, by name."""
    return page(parts, CertificateAnswer, [_shown(parts, record) for record in parts.certificates.all()])


async def show_certificate(parts: Parts, call: Call) -> Answer:
    """One."""
    return json_answer(_shown(parts, parts.certificates.find(call.params["certificate"])))


async def upload_certificate(parts: Parts, call: Call) -> Answer:
    """Take one that somebody has."""
    wanted = decode(call.body, NewCertificate)
    site = None if wanted.site is None else lookup.site(parts.view, wanted.site).spec.id
    return json_answer(_shown(parts, parts.certificates.upload(wanted.chain, wanted.key, site, call.actor.name)), 201)


async def remove_certificate(parts: Parts, call: Call) -> Answer:
    """Show one no more, and ask for no other one."""
    parts.issuing.forget(call.params["certificate"])
    return Answer(204)


async def issue_certificate(parts: Parts, call: Call) -> Answer:
    """Have one issued, and renewed from then on."""
    decode(call.body, schema.Empty)
    parts.issuing.wish(call.params["certificate"])
    return json_answer(_authority(parts), 202)


async def show_authority(parts: Parts, call: Call) -> Answer:
    """Who issues certificates, and which are wanted."""
    return json_answer(_authority(parts))


async def change_authority(parts: Parts, call: Call) -> Answer:
    """Have an authority issue certificates from now on."""
    wanted = decode(call.body, AuthorityChanges)
    if not wanted.agree:
        raise BadRequest("nobody agreed to the terms", "an authority issues to nobody else", '"agree": true')
    parts.issuing.agree(wanted.directory, wanted.contact, wanted.ca)
    return json_answer(_authority(parts))


async def show_http(parts: Parts, call: Call) -> Answer:
    """How a site's HTTP is served."""
    return json_answer(_http(site_of(parts, call).spec.http))


async def change_http(parts: Parts, call: Call) -> Answer:
    """Change it."""
    changes = decode(call.body, HttpChanges)
    given = {name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not UNSET}
    if not given:
        raise BadRequest("nothing to change", "the body names no field", 'for example {"redirect": true}')
    site = site_of(parts, call)
    parts.operations.refuse_if_busy(site.spec.id, site.spec.name)
    purge = given.pop("purge", False)
    wish = msgspec.structs.replace(site.spec.http, **given)
    wish = purged(wish) if purge else wish
    return json_answer(_http((await parts.hosting.edit(site.spec.id, {"http": wish})).http))


def _shown(parts: Parts, record: Record) -> CertificateAnswer:
    return shown(record, parts.certificates.sites_of(record), parts.wall_s())


def _authority(parts: Parts) -> AuthorityAnswer:
    issued = frozenset(name for record in parts.certificates.all() for name in record.names)
    return authority(parts.issuing.authority(), parts.issuing.wanted(), issued)


def _http(http: Http) -> HttpAnswer:
    return HttpAnswer(**msgspec.structs.asdict(http))


ROUTES = (
    Route(
        method="GET",
        template="/v1/certificates",
        endpoint=list_certificates,
        summary="Certificates of sites, which every node shows",
        answer=schema.Page[CertificateAnswer],
    ),
    Route(
        method="POST",
        template="/v1/certificates",
        endpoint=upload_certificate,
        summary="Upload a certificate with its key; one with the same first name is replaced",
        body=NewCertificate,
        answer=CertificateAnswer,
        status=201,
    ),
    Route(
        method="GET",
        template=CERTIFICATE,
        endpoint=show_certificate,
        summary="One certificate",
        answer=CertificateAnswer,
    ),
    Route(
        method="DELETE",
        template=CERTIFICATE,
        endpoint=remove_certificate,
        summary="Show a certificate no more, and have no other one issued in its place",
        answer=None,
        status=204,
    ),
    Route(
        method="POST",
        template=f"{CERTIFICATE}/issue",
        endpoint=issue_certificate,
        summary="Have a certificate issued for a host name, or a wildcard, and renewed; a failed one is tried at once",
        body=schema.Empty,
        answer=AuthorityAnswer,
        status=202,
    ),
    Route(
        method="GET",
        template="/v1/authority",
        endpoint=show_authority,
        summary="Who issues certificates, and what became of each that is wanted",
        answer=AuthorityAnswer,
    ),
    Route(
        method="PATCH",
        template="/v1/authority",
        endpoint=change_authority,
        summary="Agree to the terms of an ACME authority, which issues from then on",
        body=AuthorityChanges,
        answer=AuthorityAnswer,
    ),
    Route(
        method="GET",
        template=f"{SITE}/http",
        endpoint=show_http,
        summary="How the front doors serve a site's HTTP",
        answer=HttpAnswer,
    ),
    Route(
        method="PATCH",
        template=f"{SITE}/http",
        endpoint=change_http,
        summary="Change how the front doors serve a site's HTTP",
        body=HttpChanges,
        answer=HttpAnswer,
        at="owner",
    ),
)
