"""What the front doors tell of a site's visitors: times in classes, lines of its access log. Pure values."""

from __future__ import annotations

import msgspec

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes of `Served.latency`; one more class is for what took longer."""


class Logged(msgspec.Struct, frozen=True, tag=True):
    """Lines of a site's access log through one proxy, oldest first."""

    site: str
    lines: tuple[str, ...]
    dropped: int = 0
    """So many more there were no room for."""
