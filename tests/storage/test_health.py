"""What `zpool status` says, and what people are told of it."""

from __future__ import annotations

import pytest

from hybrid.ports import Health
from hybrid.storage.health import alarms, parse, state

REPAIRED = """\
  pool: tank
 state: ONLINE
status: One or more devices has experienced an unrecoverable error.  An
|attempt was made to correct the error.  Applications are unaffected.
action: Determine if the device needs to be replaced, and clear the errors
|using 'zpool clear' or replace the device with 'zpool replace'.
   see: http://www.sun.com/msg/ZFS-8000-9P
 scrub: scrub completed after 0h0m with 0 errors on Sat Nov 28 03:17:31 2026
config:

|NAME        STATE     READ WRITE CKSUM
|tank        ONLINE       0     0     0
|  mirror-0  ONLINE       0     0     0
|    /dev/a  ONLINE       0     0   430  19.3M repaired
|    /dev/b  ONLINE       0     0     0

errors: No known data errors
""".replace("|", "\t")
DEGRADED = REPAIRED.replace("state: ONLINE", "state: DEGRADED").replace("/dev/a  ONLINE ", "/dev/a  OFFLINE")
DAMAGED = """\
 pool: tank
 state: ONLINE
status: One or more devices has experienced an error resulting in data
|corruption.  Applications may be affected.
config:

|NAME      STATE     READ WRITE CKSUM
|tank      ONLINE     276     0   149
|  /dev/c  ONLINE     477     0   760

errors: 276 data errors, use '-v' for a list
""".replace("|", "\t")
LISTED = DAMAGED.replace(
    "276 data errors, use '-v' for a list",
    "Permanent errors have been detected in the following files:\n\n        tank/d@1:/f\n        <metadata>:<0x0>",
)
SUSPENDED = """\
  pool: tank
 state: UNAVAIL
status: One or more devices are faulted in response to IO failures.
action: Make sure the affected devices are connected, then run 'zpool clear'.
   see: https://openzfs.github.io/openzfs-docs/msg/ZFS-8000-HC
config:

|NAME        STATE     READ WRITE CKSUM
|tank        UNAVAIL      0     0     0  insufficient replicas
|  sda       FAULTED      3 1.2K     0  too many errors
|spares
|  sdq       AVAIL

errors: List of errors unavailable: pool I/O is currently suspended
""".replace("|", "\t")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REPAIRED, Health("online", devices=("/dev/a: 430 checksum errors",))),
        (DEGRADED, Health("degraded", devices=("/dev/a is offline",))),
        (DAMAGED, Health("online", data_errors=276, devices=("/dev/c: 477 read errors, 760 checksum errors",))),
        (LISTED, Health("online", data_errors=2, devices=("/dev/c: 477 read errors, 760 checksum errors",))),
        (SUSPENDED, Health("suspended", devices=("sda is faulted",))),
        ("", Health("faulted")),
        ("no such pool", Health("faulted")),
    ],
)
def test_a_status_is_read(text: str, expected: Health) -> None:
    """Every form the two ZFS have; what says nothing readable is not taken for healthy."""
    assert parse(text, "tank") == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ONLINE\n", "online"),
        ("DEGRADED", "degraded"),
        ("UNAVAIL", "faulted"),
        ("SUSPENDED", "suspended"),
        ("?", "faulted"),
    ],
)
def test_the_health_in_a_word(word: str, expected: str) -> None:
    """An unknown word is not taken for a healthy pool."""
    assert state(word) == expected


def test_a_healthy_pool_raises_no_alarm() -> None:
    """Nobody is woken for nothing."""
    assert alarms("tank", Health()) == ()


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (parse(REPAIRED, "tank"), ("repaired itself", "/dev/a", "zpool clear tank")),
        (parse(DEGRADED, "tank"), ("degraded", "/dev/a is offline", "zpool replace tank")),
        (parse(DAMAGED, "tank"), ("276 damaged blocks", "zpool status -v tank")),
        (parse(SUSPENDED, "tank"), ("suspended", "sda is faulted", "zpool clear tank")),
        (Health(read_only=True), ("read-only", "zpool export tank")),
        (Health("degraded", devices=tuple("abcde")), ("a, b, c …",)),
    ],
)
def test_an_alarm_says_what_is_wrong_and_what_to_try(health: Health, words: tuple[str, ...]) -> None:
    """An operator reads what is wrong, with which disk, and the command to try."""
    (text,) = alarms("tank", health)
    for word in words:
        assert word in text
