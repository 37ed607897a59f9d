"""From what a run in the guest left to `build/openzfs.json`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True)
class Tests:
    """What a junit file tells."""

    total: int
    failures: tuple[tuple[str, str], ...]
    """Names of tests that failed, or could not begin or end, and the first line of why."""
    skipped: tuple[tuple[str, str], ...]
    """Names and reasons."""
    seconds: float

    @property
    def passed(self) -> int:
        """How many passed."""
        return self.total - len(self.skipped) - len({name for name, _ in self.failures})


def read_junit(text: str) -> Tests:
    """
    Read what pytest's `--junitxml` wrote.

    Raises:
        ValueError: It is not that.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not a junit file: {error}") from error
    failures, skipped, cases = [], [], list(root.iter("testcase"))
    for case in cases:
        name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
        for found in case:
            said = (found.get("message") or "").strip().split("\n")[0]
            if found.tag in ("failure", "error"):
                failures.append((name, said))
            elif found.tag == "skipped":
                skipped.append((name, said))
    seconds = sum(float(suite.get("time", "0")) for suite in root.iter("testsuite"))
    return Tests(len(cases), tuple(failures), tuple(skipped), round(seconds, 1))


def united(parts: Sequence[Tests]) -> Tests:
    """What several runs side by side make together; `seconds` is the longest."""
    return Tests(
        sum(part.total for part in parts),
        tuple(one for part in parts for one in part.failures),
        tuple(one for part in parts for one in part.skipped),
        max((part.seconds for part in parts), default=0.0),
    )


def summed_up(
    tests: Tests | None, status: int | None, versions: Mapping[str, str], seconds: Mapping[str, float], why: str = ""
) -> dict[str, Any]:
    """
    The report as it is written.

    Args:
        tests: None when there is no junit file.
        status: Of the command inside; None when it did not come to its end.
        versions: Of kernel, zfs, pyzfs, lxc, python.
        seconds: What building, booting and the tests took.
        why: What kept the run from its end.
    """
    ok = status == 0 and tests is not None and tests.passed > 0 and not tests.failures
    return {
        "ok": ok,
        "why": why,
        "status": status,
        "tests": 0 if tests is None else tests.total,
        "passed": 0 if tests is None else tests.passed,
        "failures": [] if tests is None else [{"test": name, "why": said} for name, said in tests.failures],
        "skipped": [] if tests is None else [{"test": name, "why": said} for name, said in tests.skipped],
        "versions": dict(versions),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }


def sentence(report: Mapping[str, Any]) -> str:
    """The report in a line, and a line for each failure."""
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    head = f"{report['passed']} of {report['tests']} passed, {len(report['skipped'])} skipped ({seconds})"
    lines = [head, *(f"failed: {one['test']}: {one['why']}" for one in report["failures"])]
    return "\n".join([*lines, *([report["why"]] if report["why"] else [])])
