"""From what a run in the guest left to `build/openzfs.json`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from xml.etree import ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """A test that was begun."""

    test: str
    outcome: str
    """`PASSED`; `SKIPPED`; `FAILED`, which it also did if it could not begin or end."""
    seconds: float
    why: str = ""
    """The first line of why it failed or was skipped."""


def read_junit(text: str) -> tuple[Case, ...]:
    """
    Read what pytest's `--junitxml` wrote, in the order in which tests ran.

    Raises:
        ValueError: It is not that.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a junit file: {error}") from error
    found: dict[str, Case] = {}
    for element in root.iter("testcase"):
        case = _case(element)
        if case.test not in found or case.outcome == FAILED:  # pytest tells of a failed tear-down by a second one
            found[case.test] = case
    return tuple(found.values())


def _case(element: ElementTree.Element) -> Case:
    name = f"{element.get('classname', '')}::{element.get('name', '')}".removeprefix("::")
    outcome, why = PASSED, ""
    for found in element:
        if found.tag in ("failure", "error"):
            outcome = FAILED
        elif found.tag == "skipped":
            outcome = SKIPPED
        else:
            continue
        why = (found.get("message") or "").strip().split("\n")[0]
        if outcome == FAILED:
            break
    return Case(name, outcome, round(float(element.get("time", "0")), 1), why)


def summed_up(
    cases: Sequence[Case],
    status: int | None,
    versions: Mapping[str, str],
    seconds: Mapping[str, float],
    why: str = "",
) -> dict[str, Any]:
    """
    The report as it is written. It is well when the command ended well, something passed and nothing failed.

    Args:
        cases: Of all groups.
        status: Of the command inside; None when it did not come to its end.
        versions: Of kernel, zfs, pyzfs, lxc, python.
        seconds: What building, booting and the tests took; `processor` is what QEMU used of this machine's.
        why: What kept the run from its end.
    """
    count = Counter(case.outcome for case in cases)
    return {
        "ok": status == 0 and not why and count[PASSED] > 0 and count[FAILED] == 0,
        "why": why,
        "status": status,
        "passed": count[PASSED],
        "failed": count[FAILED],
        "skipped": count[SKIPPED],
        "versions": dict(versions),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "tests": [asdict(case) for case in cases],
    }


def sentence(report: Mapping[str, Any]) -> str:
    """The report in a line, and a line for each test that did not pass."""
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    head = f"{report['passed']} passed, {report['failed']} failed, {report['skipped']} skipped ({seconds})"
    others = [f"{one['outcome']}: {one['test']}: {one['why']}" for one in report["tests"] if one["outcome"] != PASSED]
    return "\n".join([head, *others, *([report["why"]] if report["why"] else [])])
