"""Sizes and durations as people write and read them. Pure."""

from __future__ import annotations

import re

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)", re.IGNORECASE)
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def size(text: str) -> int:
    """Bytes in `20G`, `512M`, `1.5 GiB` or `4096`: powers of 1024. Raises `ValueError`."""
    form = _SIZE.fullmatch(text.strip())
    if form is None:
        raise ValueError(f"{text!r} is not a size: write 20G, 512M or a number of bytes")
    return int(float(form[1]) * 1024 ** " kmgtp".index(form[2].lower() or " "))


def duration(text: str) -> float:
    """Seconds in `30s`, `10m`, `2h`, `1d` or `30`. Raises `ValueError`."""
    form = _DURATION.fullmatch(text.strip())
    if form is None:
        raise ValueError(f"{text!r} is not a duration: write 30s, 10m, 2h or 1d")
    return float(form[1]) * _SECONDS[form[2].lower()]


def shown_size(count: float) -> str:
    """`1.5G`: at most four characters and a letter."""
    for unit in ("", "K", "M", "G", "T"):
        if count < 1000:
            return f"{count:.0f}{unit}" if count >= 10 or not unit else f"{count:.1f}{unit}"
        count /= 1024
    return f"{count:.1f}P"


def shown_duration(seconds: float) -> str:
    """`0.4s`, `12s`, `5m`, `3h`, `2d`: the largest fitting unit."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 100:
        return f"{seconds:.0f}s"
    for unit_s, letter, limit_s in ((60, "m", 6000), (3600, "h", 172800)):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f}{letter}"
    return f"{seconds / 86400:.0f}d"
