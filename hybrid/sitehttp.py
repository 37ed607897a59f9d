"""How the front doors serve a site's HTTP, as its user wants it. Pure values; part of the site's spec."""

from __future__ import annotations

from typing import Literal

import msgspec


def purged(http: Http) -> Http:
    """Throws away what caches keep."""
    return msgspec.structs.replace(http, purges=http.purges + 1)


class Http(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All off by default."""

    redirect: bool = False
    """Send who asks without TLS to `https://`, for names that have a certificate."""
    certificate: bool = False
    """Have a certificate issued for each of its domains."""
    log: Literal["off", "combined", "json"] = "off"
    """The format of its access log."""
    requests_per_s: float = 0.0
    """What each source may ask on average, by each proxy process; more get 429. 0: as much as it likes."""
    requests_per_s_in_all: float = 0.0
    """What all together may ask on average, of each proxy process of its owner; more get 429. 0: any."""
    cache: bool = False
    """Keep answers that say for how long they are fresh, and answer with them."""
    purges: int = 0
    """How often all that was kept was thrown away; more of them do that again."""
    hsts_s: int = 0
    """For so long browsers shall ask by HTTPS only (RFC 6797); 0: nothing is said of it."""
