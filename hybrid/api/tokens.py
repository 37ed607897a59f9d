"""
Bearer tokens (RFC 6750): `hybpat_<id>_<secret>`, of which the cluster keeps the SHA-256 only, under `token/<id>`.

A secret has 160 random bits, so a plain hash is enough; the comparison takes the same time for every wrong one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Literal

import msgspec

from hybrid.api import schema
from hybrid.api.calls import Actor
from hybrid.api.moments import rfc3339
from hybrid.api.ports import SharedMap
from hybrid.api.problems import Refusal, problem

Rights = Literal["admin", "read", "site", "account", "ticket"]
"""
`admin`: everything. `read`: everything, to look at. `site`, `account`: past and state of a site, of all sites of an
account, see `hybrid.api.access`. `ticket`: good for nothing but a token with such rights, once, see
`hybrid.api.endpoints.links`.
"""
_FORM = re.compile(r"hybpat_([a-z2-7]{8})_([a-z2-7]{32})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


class TokenRecord(msgspec.Struct, frozen=True):
    """What the shared map holds under `token/<id>`."""

    sha256: str
    """Hex digest of the whole token."""
    name: str
    rights: Rights
    created_at_s: int
    site: str = ""
    """With the rights `site`: the id of the one it is for. A release that does not know these rights refuses it."""
    account: str = ""
    """With the rights `account`: its name. A ticket is for one of both."""
    expires_at_s: int = 0
    """It is not valid any more from then on; 0: for ever."""


def node_token(node_name: str) -> str:
    """What the token is called that a node gets when it is made, for whoever works on that machine."""
    return f"admin-{node_name}"


def new_token(
    name: str,
    rights: Rights,
    now_s: float,
    random: Callable[[int], bytes],
    site: str = "",
    account: str = "",
    ttl_s: int = 0,
) -> tuple[str, str, str]:
    """
    Make a token.

    Returns:
        Its id, the token itself (to be shown once), and the JSON to put under `token/<id>`.
    """
    token_id = _base32(random(5))
    token = f"hybpat_{token_id}_{_base32(random(20))}"
    until_s = int(now_s) + ttl_s if ttl_s else 0
    record = TokenRecord(hashlib.sha256(token.encode()).hexdigest(), name, rights, int(now_s), site, account, until_s)
    return token_id, token, msgspec.json.encode(record).decode()


class Tokens:
    """Checks, makes, lists and revokes tokens in the shared map."""

    def __init__(self, shared: SharedMap, random: Callable[[int], bytes], wall_s: Callable[[], float]) -> None:
        self._shared, self._random, self._wall_s = shared, random, wall_s

    def actor(self, authorization: str) -> Actor:
        """
        Who sent `Authorization: Bearer …`.

        Raises:
            Refusal: 401, with `WWW-Authenticate`; the same for every wrong token.
        """
        record = self._holder(authorization)
        if record.rights == "ticket":
            raise _refused('Bearer realm="hybrid", error="invalid_token"', "this is a ticket", "open its link")
        return Actor(record.name, record.rights != "read", record.site, record.account)

    def redeem(self, ticket: str, ttl_s: int) -> tuple[str, Actor]:
        """
        A token for who holds `ticket`, which is used up; and who that is.

        Raises:
            Refusal: 401, it was used, is too old, or is none.
        """
        record = self._holder(f"Bearer {ticket}")
        if record.rights != "ticket":
            raise _refused('Bearer realm="hybrid", error="invalid_token"', "this is no ticket", "ask for a new link")
        self.revoke(ticket.split("_")[1])
        rights: Rights = "site" if record.site else "account"
        made = self.create(record.name, rights, record.site, record.account, ttl_s)
        return made.token, Actor(record.name, True, record.site, record.account)

    def _holder(self, authorization: str) -> TokenRecord:
        """The record of a valid token. Raises as `actor`."""
        if not authorization:
            raise _refused('Bearer realm="hybrid"', "no token was sent", "send `Authorization: Bearer hybpat_…`")
        scheme, _, token = authorization.partition(" ")
        form = _FORM.fullmatch(token.strip())
        record = self._record(form[1]) if form else None
        expected = record.sha256 if record else _NOBODY
        same = hmac.compare_digest(hashlib.sha256(token.strip().encode()).hexdigest(), expected)
        if scheme.lower() != "bearer" or record is None or not same:
            raise _refused(
                'Bearer realm="hybrid", error="invalid_token"',
                "the token is not valid here",
                "it may be mistyped, revoked, or of another cluster; `hybrid init` wrote one to admin.json",
            )
        return record

    def create(
        self, name: str, rights: Rights, site: str = "", account: str = "", ttl_s: int = 0
    ) -> schema.TokenCreated:
        """A new token, for ever or for `ttl_s`; only its hash is kept."""
        token_id, token, record = new_token(name, rights, self._wall_s(), self._random, site, account, ttl_s)
        self._shared.put(f"token/{token_id}", record)
        return schema.TokenCreated(id=token_id, token=token, name=name, rights=rights)

    def tidy(self) -> None:
        """Let go of those whose time is over, so that links do not fill the cluster's memory."""
        for key, text in self._shared.prefix("token/").items():
            record = _decoded(text)
            if record is not None and self._is_over(record):
                self._shared.put(key, None)

    def revoke(self, token_id: str) -> bool:
        """Make it invalid, here at once and elsewhere as the news spreads. `False` when there is none."""
        if self._record(token_id) is None:
            return False
        self._shared.put(f"token/{token_id}", None)
        return True

    def listed(self) -> list[schema.TokenAnswer]:
        """All valid ones, by name, without secrets."""
        found = []
        for key in self._shared.prefix("token/"):
            token_id = key.removeprefix("token/")
            if record := self._record(token_id):
                created_at = rfc3339(record.created_at_s)
                found.append(
                    schema.TokenAnswer(id=token_id, name=record.name, rights=record.rights, created_at=created_at)
                )
        return sorted(found, key=lambda token: (token.name, token.id))

    def _record(self, token_id: str) -> TokenRecord | None:
        """The record of a token; `None` also for one that cannot be read, which never lets anybody in."""
        text = self._shared.get(f"token/{token_id}")
        record = None if text is None else _decoded(text)
        return None if record is None or self._is_over(record) else record

    def _is_over(self, record: TokenRecord) -> bool:
        return 0 < record.expires_at_s <= self._wall_s()


def _decoded(text: str) -> TokenRecord | None:
    """`None` for what cannot be read, or whose rights make no sense."""
    try:
        record = msgspec.json.decode(text, type=TokenRecord)
    except msgspec.MsgspecError:
        return None
    bound = (bool(record.site), bool(record.account))
    fits = {"site": bound == (True, False), "account": bound == (False, True), "ticket": any(bound)}
    return record if fits.get(record.rights, not any(bound)) else None


def _base32(data: bytes) -> str:
    """Lower-case base32 without padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def _refused(challenge: str, why: str, hint: str) -> Refusal:
    """401 (RFC 9110 §15.5.2)."""
    return Refusal(problem(401, "unauthorized", "who are you?", why, hint), {"www-authenticate": challenge})
