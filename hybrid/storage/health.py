"""
Reading `zpool status`, and what its findings mean to people. Pure.

The forms of zfs-fuse 0.7 and of OpenZFS 2 (zpool-status(8)); a line of no known form is left out, never guessed at.
"""

from __future__ import annotations

import re
from typing import Literal

from hybrid.ports import Health

State = Literal["online", "degraded", "faulted", "suspended"]
STATES: dict[str, State] = {
    "ONLINE": "online",
    "DEGRADED": "degraded",
    "FAULTED": "faulted",
    "UNAVAIL": "faulted",
    "REMOVED": "faulted",
    "SUSPENDED": "suspended",
}
_FINE = ("ONLINE", "AVAIL", "INUSE")
_ROW = re.compile(r"\t *(\S+)\s+([A-Z]+)(?:\s+([0-9.]+[KMGT]?)\s+([0-9.]+[KMGT]?)\s+([0-9.]+[KMGT]?))?(?:\s.*)?")
_KINDS = ("read errors", "write errors", "checksum errors")
_GROUPS = re.compile(r"(mirror|raidz|draid|spare|replacing|logs|cache|special)[0-9-]*.*")
SHOWN = 3
"""Devices named in an alarm; the rest is counted."""


def state(word: str) -> State:
    """What the health of a pool is in one word of `zpool list -o health`; an unknown one is `faulted`."""
    return STATES.get(word.strip().upper(), "faulted")


def parse(text: str, pool: str, read_only: bool = False) -> Health:
    """The health of `pool` in the output of `zpool status <pool>`."""
    fields = dict(re.findall(r"^ *(state|errors): *(.*)$", text, re.MULTILINE))
    suspended = re.search(r"I/O (?:failures|is currently suspended)|pool is suspended", text) is not None
    return Health(
        state="suspended" if suspended else state(fields.get("state", "")),
        read_only=read_only,
        data_errors=_errors(fields.get("errors", ""), text),
        devices=tuple(found for line in text.splitlines() if (found := _device(line, pool))),
    )


def _errors(line: str, text: str) -> int:
    """`No known data errors`, `276 data errors, use '-v' …`, or a list of files after a colon."""
    counted = re.match(r"([0-9]+) data errors", line)
    if counted:
        return int(counted[1])
    if not line.startswith("Permanent errors"):
        return 0
    return max(1, len(re.findall(r"^ {8}\S.*$", text.partition("errors: ")[2], re.MULTILINE)))


def _device(line: str, pool: str) -> str:
    """What is wrong with the device of a line of the table; empty for none, for groups of devices and other lines."""
    row = _ROW.fullmatch(line)
    if row is None or row[1] in (pool, "NAME") or _GROUPS.fullmatch(row[1]):
        return ""
    if row[2] not in _FINE:
        return f"{row[1]} is {row[2].lower()}"
    counts = [
        f"{count} {kind}" for count, kind in zip(row.groups()[2:], _KINDS, strict=True) if count not in (None, "0")
    ]
    return f"{row[1]}: {', '.join(counts)}" if counts else ""


def alarms(pool: str, health: Health) -> tuple[str, ...]:
    """What people have to know: what, why, and what to try; empty when all is well."""
    found = []
    devices = ", ".join(health.devices[:SHOWN]) + (" …" if len(health.devices) > SHOWN else "")
    if health.state in ("faulted", "suspended"):
        found.append(
            f"pool {pool} is {health.state}, nothing can be read or written: {devices or 'its disks are gone'}."
            f" Attach what is missing, then: zpool clear {pool}"
        )
    if health.read_only:
        found.append(
            f"pool {pool} is imported read-only: no site can run here. zpool export {pool}, zpool import {pool}"
        )
    if health.data_errors:
        found.append(
            f"pool {pool} has {health.data_errors} damaged blocks that no disk holds whole: zpool status -v {pool}"
            " names the files; other servers hold good copies of them"
        )
    if health.state == "degraded":
        found.append(
            f"pool {pool} is degraded: {devices or 'see zpool status'}. Replace it: zpool replace {pool} DEVICE"
        )
    elif health.state == "online" and devices and not health.data_errors:
        found.append(
            f"pool {pool} repaired itself, a disk may be failing: {devices}. Replace it, or: zpool clear {pool}"
        )
    return tuple(found)
