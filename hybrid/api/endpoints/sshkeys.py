"""Endpoints about who may log in to a site by SSH, and the key by which nodes are known. Shell."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hybrid.api import schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.endpoints.sites import site_of
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import SITE, Route
from hybrid.certs import hostkey
from hybrid.errors import NoSuchKey
from hybrid.model import SiteSpec
from hybrid.sshkeys import MAX_LINE, read_line


class NewSshKey(schema.Body, frozen=True):
    """A key to let in."""

    key: Annotated[str, Meta(max_length=MAX_LINE, description="The line of a public key file: kind, key, comment.")]
    name: Annotated[str, Meta(max_length=100, description="What to call it, instead of its comment.")] = ""


class SshKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key by which people log in."""

    name: str
    kind: str
    fingerprint: str
    key: str
    """The line of its file."""


class SshHostKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key that all nodes show to clients."""

    fingerprint: str
    key: str
    """Kind and key, as in a `known_hosts` file."""


async def list_ssh_keys(parts: Parts, call: Call) -> Answer:
    """The keys of a site, oldest first."""
    return page(parts, SshKey, _rendered(site_of(parts, call).spec))


async def add_ssh_key(parts: Parts, call: Call) -> Answer:
    """Let one more in."""
    wanted = decode(call.body, NewSshKey)
    key = read_line(f"{wanted.key.strip()}\n" if not wanted.name else " ".join([*wanted.key.split()[:2], wanted.name]))
    spec = await parts.hosting.add_key(site_of(parts, call).spec.id, key)
    return json_answer(next(one for one in _rendered(spec) if one.fingerprint == key.fingerprint))


async def remove_ssh_key(parts: Parts, call: Call) -> Answer:
    """Let one in no more; sessions that it began go on."""
    spec = await parts.hosting.remove_key(site_of(parts, call).spec.id, call.params["key"])
    return page(parts, SshKey, _rendered(spec))


async def show_ssh_host_key(parts: Parts, call: Call) -> Answer:
    """The key that all nodes show."""
    found = hostkey.oldest(parts.shared.prefix(hostkey.KEY))
    if found is None:
        why = "it is made when the first site gets a key"
        raise NoSuchKey("there is no host key for SSH yet", why, "hybrid site key add SITE FILE")
    public = found[1].public
    return json_answer(SshHostKey(fingerprint=read_line(public).fingerprint, key=public))


def _rendered(spec: SiteSpec) -> list[SshKey]:
    keys = [read_line(line) for line in spec.ssh_keys]
    return [SshKey(name=key.comment, kind=key.kind, fingerprint=key.fingerprint, key=key.line) for key in keys]


ROUTES = (
    Route(
        method="GET",
        template=f"{SITE}/keys",
        endpoint=list_ssh_keys,
        summary="Public keys by which people log in to a site by SSH, oldest first",
        answer=schema.Page[SshKey],
    ),
    Route(
        method="POST",
        template=f"{SITE}/keys",
        endpoint=add_ssh_key,
        summary="Let who has a key log in to a site by SSH",
        body=NewSshKey,
        answer=SshKey,
        at="owner",
    ),
    Route(
        method="DELETE",
        template=f"{SITE}/keys/{{key}}",
        endpoint=remove_ssh_key,
        summary="Let who has a key, given by fingerprint or name, log in no more",
        answer=schema.Page[SshKey],
        at="owner",
    ),
    Route(
        method="GET",
        template="/v1/ssh/host-key",
        endpoint=show_ssh_host_key,
        summary="The key by which clients of SSH know every node of the cluster",
        answer=SshHostKey,
    ),
)
