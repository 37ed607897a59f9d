"""Which of a machine's own apt sources an image of the same release is built from. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PASSED_ON = re.compile(r"^Acquire::(http|https|ftp|Retries|Languages|Check-Valid-Until|AllowInsecureRepositories)\b")
"""Settings that decide whether packages can be fetched: proxies above all."""


def usable_sources(files: Mapping[str, str], codename: str) -> dict[str, str]:
    """
    The sources for binary packages of `codename` and its pockets (`-security`, `-updates`).

    Args:
        files: Name to text of `/etc/apt/sources.list`, `*.list` (one line each) and `*.sources` (deb822).
        codename: `VERSION_CODENAME` of `os-release(5)`.

    Returns:
        The same names, with only what is usable in them; files without any are left out.
    """
    found = {}
    for name, text in sorted(files.items()):
        kept = _stanzas(text, codename) if name.endswith(".sources") else _lines(text, codename)
        if kept:
            found[name] = kept
    return found


def passed_on(lines: Iterable[str]) -> str:
    """Of the lines of `apt-config dump`, those the build's own apt needs too."""
    return "".join(f"{line}\n" for line in lines if PASSED_ON.match(line))


def _is_of(suite: str, codename: str) -> bool:
    return suite == codename or suite.startswith((f"{codename}-", f"{codename}/"))


def _lines(text: str, codename: str) -> str:
    """`deb [options] uri suite component…`: see sources.list(5)."""
    pattern = re.compile(r"\s*deb\s+(\[[^]]*\]\s+)?\S+\s+(\S+)(\s|$)")
    kept = [line for line in text.splitlines() if (found := pattern.match(line)) and _is_of(found[2], codename)]
    return "".join(f"{line.strip()}\n" for line in kept)


def _stanzas(text: str, codename: str) -> str:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    kept = []
    for stanza in re.split(r"\n\s*\n", without_comments.strip("\n")):
        fields = {key.lower(): value.strip() for key, value in re.findall(r"^([\w-]+):(.*)$", stanza, re.MULTILINE)}
        off = fields.get("enabled", "yes").lower() in ("no", "false", "without", "off", "disable")
        suites = fields.get("suites", "").split()
        if not off and "deb" in fields.get("types", "").split() and any(_is_of(suite, codename) for suite in suites):
            kept.append(stanza)
    return "\n\n".join(kept) + "\n" if kept else ""
