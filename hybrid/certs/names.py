"""Which host names a certificate is for (RFC 6125 §6.4.3, RFC 9525: subject alternative names alone count). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NAME = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+{_LABEL}")


def is_name(name: str) -> bool:
    """Whether `name` is a host name of two labels or more, perhaps with `*` as its first one; lower case."""
    return len(name) <= 253 and _NAME.fullmatch(name) is not None


def is_host(name: str) -> bool:
    """Whether `name` is a host name, lower case."""
    return len(name) <= 253 and _HOST.fullmatch(name) is not None


def covers(name: str, host: str) -> bool:
    """Whether a certificate for `name` is good for `host`: `*` stands for exactly one label."""
    return name == host or (
        name.startswith("*.") and host.partition(".")[2] == name[2:] and bool(host.partition(".")[0])
    )


def uncovered(names: Iterable[str], hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` that none of `names` is good for, in their order."""
    known = tuple(names)
    return [host for host in hosts if not any(covers(name, host) for name in known)]
