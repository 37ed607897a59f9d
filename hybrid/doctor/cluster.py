"""What the API's answers mean to who looks after the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hybrid.doctor.findings import Finding, Level

OFFSET_S = 3.0
"""Answers tell the time in whole seconds, so less than this is none."""
NEAR_S = 14 * 86400


def examine(
    status: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    offsets: Mapping[str, float | str],
    certificates: Sequence[Mapping[str, Any]],
) -> list[Finding]:
    """
    Findings about the whole cluster.

    Args:
        status: Of `GET /v1/status`.
        nodes: Of `GET /v1/nodes`.
        offsets: Node name to how far its clock is ahead of this machine's, or why it was not reached.
        certificates: Of `GET /v1/certificates`.
    """
    found = [Finding("ok", "cluster", status["sentence"])] if status["health"] == "ok" else []
    level: Level = "bad" if status["health"] == "critical" else "warn"
    for text in status["findings"]:
        found.append(Finding(level, "cluster", text, "", "hybrid status, hybrid decisions"))
    return [*found, *_members(nodes), *_clocks(offsets), *_certificates(certificates)]


def _members(nodes: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    releases = sorted({node["release"] for node in nodes if node["state"] == "up"})
    if len(releases) > 1:
        why = "they work together, but what is new is there only when all have it"
        yield Finding("warn", "releases", f"nodes run {' and '.join(releases)}", why, "upgrade the others")
    if len(nodes) == 1:
        why = "there is no copy of any site anywhere"
        yield Finding("warn", "members", "this node is alone", why, "hybrid token create-join")


def _clocks(offsets: Mapping[str, float | str]) -> Iterator[Finding]:
    for name, offset_s in sorted(offsets.items()):
        if isinstance(offset_s, str):
            why = "this machine cannot reach its API"
            yield Finding("bad", "reach", f"{name}: {offset_s}", why, "is port 8443 open to other nodes there?")
        elif abs(offset_s) > OFFSET_S:
            ahead = "ahead of" if offset_s > 0 else "behind"
            what = f"{name} is {abs(offset_s):.0f} s {ahead} this machine"
            why = "certificates are valid at different times, snapshots are dated wrong"
            yield Finding("bad" if abs(offset_s) > 60 else "warn", "clocks", what, why, "apt install chrony on both")
    near = [name for name, offset_s in offsets.items() if not isinstance(offset_s, str) and abs(offset_s) <= OFFSET_S]
    if near:
        yield Finding("ok", "clocks", f"{len(near)} of {len(offsets)} nodes agree with this one within {OFFSET_S:g} s")


def _certificates(certificates: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for one in certificates:
        if one["left_s"] < NEAR_S:
            name = ", ".join(one.get("names") or [one["name"]])
            left = f"runs out in {one['left_s'] // 86400} days" if one["left_s"] > 0 else "has run out"
            level: Level = "warn" if one["left_s"] > 0 else "bad"
            why = "visitors are warned of the site when it does"
            try_ = f"hybrid cert issue {one['name']}, or hybrid cert upload"
            yield Finding(level, "certificates", f"that of {name} {left}", why, try_)
