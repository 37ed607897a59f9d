"""
What is said at a shared port until the site is known and the client has shown who it is, as values. Pure.

Each service has one dialogue per connection. It hears bytes of both sides and answers with effects, in order; `Find`
and `Secure` come last. What it has not understood yet it keeps, never more than a bound. After `Relay` bytes only pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from hybrid.model import SiteId


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send this to the client."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToSite:
    """Send this to the site's server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Secure:
    """Begin TLS with the client; `Dialogue.secured` follows."""


@dataclass(frozen=True, slots=True)
class Find:
    """Connect to this site, waiting where its owner changes; `Dialogue.joined` or `Dialogue.refused` follows."""

    site: SiteId
    past: str = ""
    """A moment of it, as the login named it; empty: now."""


@dataclass(frozen=True, slots=True)
class Relay:
    """From now on bytes only pass."""


@dataclass(frozen=True, slots=True)
class Patient:
    """From now on only silence ends it, not the time it takes."""

    silent_s: float


@dataclass(frozen=True, slots=True)
class OpenData:
    """Let the client connect to a port of this node's own, which leads to a port that the site's server opened."""

    port: int
    private: bool
    """The client speaks TLS on it."""
    then: Callable[[str, int | None], Effects]
    """Called with this node's address and the port; `None`: none is free."""


@dataclass(frozen=True, slots=True)
class Part:
    """Leave the site's server; the client stays."""


@dataclass(frozen=True, slots=True)
class Again:
    """The site's server takes nobody just now, and the client was told nothing: look again in a moment, as `Find`."""


@dataclass(frozen=True, slots=True)
class End:
    """Close, when what was said is sent."""


Effect = ToClient | ToSite | Secure | Find | Relay | Patient | OpenData | Part | Again | End
Effects = Iterable[Effect]

Trouble = Literal["stopped", "unavailable", "waited", "crowded", "slow", "unknown"]
TEXTS: dict[Trouble, str] = {
    "stopped": "this site is switched off",
    "unavailable": "this site cannot be reached just now, try again in a little while",
    "waited": "this site is moving to another server, try again in a moment",
    "crowded": "too many wait for this site, try again in a moment",
    "slow": "you took too long",
    "unknown": "no site here goes by that name",
}


class Names(Protocol):
    """Who is there, in one service."""

    def site(self, names: Iterable[str]) -> SiteId | None:
        """The site that answers to the first of `names` that anybody answers to."""

    def numbered(self, number: int) -> SiteId | None:
        """The site with this `SiteSpec.number`."""

    def number(self, site: SiteId) -> int:
        """The `SiteSpec.number` of `site`; 0 when it is not there."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a dialogue is told of its connection."""

    names: Names
    source: str
    """The client's address."""
    tls: bool = False
    """The client can be offered TLS."""
    trusted: bool = False
    """It is of this node: it may do without TLS."""
    nonce: bytes = bytes(20)
    """20 bytes of chance."""

    def may_log_in(self, secured: bool) -> bool:
        """Whether a password may be sent now: within TLS, from this node, or where there is no TLS to be had."""
        return secured or self.trusted or not self.tls


class Dialogue(Protocol):
    """One connection's talk, see the module."""

    def begin(self) -> Effects:
        """The client is connected."""

    def heard_client(self, data: bytes) -> Effects:
        """The client sent `data`."""

    def secured(self, host: str) -> Effects:
        """TLS is on; the client asked for `host`, which may be empty."""

    def joined(self) -> Effects:
        """The site's server accepted the connection."""

    def heard_site(self, data: bytes) -> Effects:
        """The site's server sent `data`."""

    def refused(self, trouble: Trouble) -> Effects:
        """The site is not to be had, or the client took too long (`slow`)."""

    def farewell(self, last: bytes) -> Effects:
        """
        The site's server is gone: what its protocol has for that.

        Args:
            last: The end of what it sent last; empty when the client said something since, so that an answer is owed.

        Returns:
            `Again`, where it has said nothing yet: it stops, or starts.
        """


_MOMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:.+-]{0,63}")


def split_moment(name: str) -> tuple[str, str]:
    """`name#moment` as `(name, moment)`; without a moment that is empty."""
    before, _, after = name.rpartition("#")
    return (before, after) if before and _MOMENT.fullmatch(after) else (name, "")


def login_names(user: str) -> tuple[str, str]:
    """
    `user@site` as `(user, site)`; without a site in it that is empty.

    A site may be named by a domain, its name or its id, which have no `@`: the last one divides.
    """
    before, mark, after = user.rpartition("@")
    return (before, after) if mark else (user, "")
