"""Which of a machine's own apt sources an image is built from, of the same release or of another. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

PASSED_ON = re.compile(r"^Acquire::(http|https|ftp|Retries|Languages|Check-Valid-Until|AllowInsecureRepositories)\b")
"""Settings that decide whether packages can be fetched: proxies above all."""
_SPLIT = re.compile(r"\n\s*\n")
_LINE = re.compile(r"(\s*deb\s+(\[[^]]*\]\s+)?\S+\s+)(\S+)(\s.*|$)")
"""`deb [options] uri suite component…`: see sources.list(5)."""


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


def of_release(files: Mapping[str, str], codename: str, release: str, components: Sequence[str]) -> dict[str, str]:
    """
    Where this machine, which runs `codename`, gets packages of `release` of the same distribution: its own mirrors.

    Args:
        files: See `usable_sources`.
        codename: `VERSION_CODENAME` of this machine.
        release: The codename of the release that is wanted.
        components: `main`, `contrib` …: all of them are asked for.

    Returns:
        See `usable_sources`. What has no component `main` is another vendor's and left out.
    """
    found = {}
    for name, text in usable_sources(files, codename).items():
        stanzas = name.endswith(".sources")
        ours = [
            entry for entry in (_SPLIT.split(text) if stanzas else text.splitlines()) if re.search(r"\bmain\b", entry)
        ]
        change = _changed_stanza if stanzas else _changed_line
        entries = [change(entry.strip(), codename, release, " ".join(components)) for entry in ours]
        if entries:
            found[name] = ("\n\n" if stanzas else "\n").join(entries) + "\n"
    return found


def _changed_line(line: str, codename: str, release: str, components: str) -> str:
    return _LINE.sub(lambda found: f"{found[1]}{found[3].replace(codename, release, 1)} {components}", line)


def _changed_stanza(stanza: str, codename: str, release: str, components: str) -> str:
    def suites(found: re.Match[str]) -> str:
        kept = [suite.replace(codename, release, 1) for suite in found[1].split() if _is_of(suite, codename)]
        return f"Suites: {' '.join(kept)}"

    either = re.MULTILINE | re.IGNORECASE
    stanza = re.sub(r"^suites:(.*)$", suites, stanza, flags=either)
    return re.sub(r"^components:.*$", f"Components: {components}", stanza, flags=either)


def passed_on(lines: Iterable[str]) -> str:
    """Of the lines of `apt-config dump`, those the build's own apt needs too."""
    return "".join(f"{line}\n" for line in lines if PASSED_ON.match(line))


def _is_of(suite: str, codename: str) -> bool:
    return suite == codename or suite.startswith((f"{codename}-", f"{codename}/"))


def _lines(text: str, codename: str) -> str:
    kept = [line for line in text.splitlines() if (found := _LINE.match(line)) and _is_of(found[3], codename)]
    return "".join(f"{line.strip()}\n" for line in kept)


def _stanzas(text: str, codename: str) -> str:
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    kept = []
    for stanza in _SPLIT.split(without_comments.strip("\n")):
        fields = {key.lower(): value.strip() for key, value in re.findall(r"^([\w-]+):(.*)$", stanza, re.MULTILINE)}
        off = fields.get("enabled", "yes").lower() in ("no", "false", "without", "off", "disable")
        suites = fields.get("suites", "").split()
        if not off and "deb" in fields.get("types", "").split() and any(_is_of(suite, codename) for suite in suites):
            kept.append(stanza)
    return "\n\n".join(kept) + "\n" if kept else ""
