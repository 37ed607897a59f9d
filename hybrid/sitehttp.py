"""How the front doors serve a site's HTTP, as its user wants it. Pure values; part of the site's spec."""

from __future__ import annotations

import msgspec


class Http(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All off by default."""

    redirect: bool = False
    """Send who asks without TLS to `https://`, for names that have a certificate."""
    certificate: bool = False
    """Have a certificate issued for each of its domains."""
    hsts_s: int = 0
    """For so long browsers shall ask by HTTPS only (RFC 6797); 0: nothing is said of it."""
