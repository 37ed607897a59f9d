"""What a site's wishes and the platform's own business make of a request, before it is routed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hybrid.certs.records import Shown
from hybrid.model import SiteId
from hybrid_proxy.head import RequestHead
from hybrid_proxy.pages import OTHER_HOST, TOO_MANY, Page, Plain, moved
from hybrid_proxy.rates import Rates
from hybrid_proxy.route import Route, Routes

CHALLENGE = "acme/"
"""Secrets: `acme/<token>` to what to answer."""
_CHALLENGE_PATH = b"/.well-known/acme-challenge/"


class Certified(Protocol):
    """Knows who has a certificate."""

    def of(self, host: str, site: SiteId | None) -> Shown | None:
        """The certificate for `host`, a domain of `site`."""


class Time(Protocol):
    """Knows what time it is."""

    now_s: float


class Policy:
    """See the module."""

    def __init__(self, routes: Routes, certificates: Certified, time: Time) -> None:
        self.routes, self._certificates, self._time = routes, certificates, time
        self._rates = Rates()
        self._challenges: dict[bytes, Page] = {}

    def follow(self, secrets: Mapping[str, str]) -> None:
        """Answer the challenges (RFC 8555 §8.3) among `secrets`, and no others."""
        self._challenges = {
            key.removeprefix(CHALLENGE).encode(): Plain(200, answer)
            for key, answer in secrets.items()
            if key.startswith(CHALLENGE)
        }

    def check_rate(self, head: RequestHead, source: str) -> None:
        """Count a request. Raises `Page` where its source asks more than the site's user allows."""
        bound = self.routes.bounded.get(head.host or "")
        if bound is not None and not self._rates.allow(bound[0], source, bound[1], self._time.now_s):
            raise TOO_MANY

    def route(self, head: RequestHead) -> Route | Page:
        """Of a request that came without TLS."""
        host = head.host or ""
        if self._challenges and head.target.startswith(_CHALLENGE_PATH):
            answer = self._challenges.get(head.target.removeprefix(_CHALLENGE_PATH))
            if answer is not None:
                return answer
        if host in self.routes.redirecting and self._certificates.of(host, self.routes.site_of(host)) is not None:
            return moved(head.method, b"https://" + host.encode() + head.target)
        return self.routes.route(host)

    def route_secure(self, head: RequestHead, shown_for: str) -> Route | Page:
        """
        Of a request within TLS, where the certificate for `shown_for` was shown.

        A request for another host is served only where that certificate is good for it too (RFC 9110 §7.4): else a
        browser that takes two sites of one certificate for one server would be answered by the wrong one.
        """
        host = head.host or ""
        site = self.routes.site_of(host)
        shown = self._certificates.of(shown_for, self.routes.site_of(shown_for))
        if host != shown_for and (shown is None or shown is not self._certificates.of(host, site)):
            return OTHER_HOST
        if shown is not None and site is not None:
            hsts_s = self.routes.http(site).hsts_s
            if hsts_s:
                head.adds = b"Strict-Transport-Security: max-age=%d\r\n" % hsts_s
        return self.routes.route(host)
