"""Following an operation to its end: its steps on standard error as they complete, its result on standard output."""

from __future__ import annotations

import time

from hybrid.cli.exits import TIMEOUT, UNREACHABLE, CliError, of_problem
from hybrid.cli.paths import Json, segment
from hybrid.cli.session import Session
from hybrid.cli.units import shown_duration, shown_size

POLL_S = 20
LOOK_S = 1
"""On a terminal, where one sees how far it is."""
RETRY_S = 1.0
_MARKS = {"done": "✓", "failed": "✗", "running": "…"}


def finish(session: Session, operation: Json) -> int:
    """
    Show the operation until it ends.

    With `--no-wait` only say how to go on; Ctrl-C detaches and says so.

    Returns:
        The exit code.

    Raises:
        CliError: It failed, or did not end within `--timeout`.
    """
    if session.options.no_wait:
        session.out.say(f"operation {operation['id']} runs; `hybrid op wait {operation['id']}` follows it")
        _show(session, operation)
        return 0
    try:
        ended = Follower(session).follow(operation)
    except KeyboardInterrupt:
        session.out.say(f"\noperation {operation['id']} continues; `hybrid op wait {operation['id']}` follows it again")
        return TIMEOUT
    _show(session, ended)
    if ended["state"] != "done":
        raise failed(ended)
    return 0


def failed(ended: Json) -> CliError:
    """Why an operation did not do what it should."""
    problem = ended.get("error") or {"title": f"{ended['kind']} {ended['state']}"}
    return of_problem(problem, int(problem.get("status", 500)))


class Follower:
    """Draws the steps of one operation."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._drawn = 0
        self._pending = False
        drawing = not session.options.quiet and session.out.format not in ("json", "jsonl")
        self._watched = drawing and session.out.stderr.isatty()

    def follow(self, operation: Json) -> Json:
        """The operation at its end. Raises `CliError` when that takes too long or its node stays away."""
        deadline_s = time.monotonic() + self._session.options.timeout
        path = f"/v1/operations/{segment(operation['id'])}"
        self._draw(operation)
        while operation["state"] == "running":
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                hint = f"it goes on; `hybrid op wait {operation['id']}` follows it again"
                raise CliError(f"{operation['kind']} has not ended in time", operation["id"], hint, TIMEOUT)
            wait_s = max(1, min(LOOK_S if self._watched else POLL_S, int(left_s)))
            try:
                operation = self._session.api.get(path, wait=wait_s, seen=operation["revision"])
            except CliError as error:
                if error.code != UNREACHABLE or time.monotonic() + RETRY_S > deadline_s:
                    raise
                time.sleep(RETRY_S)
                continue
            self._draw(operation)
        return operation

    def _draw(self, operation: Json) -> None:
        """Steps that have ended since the last time, and on a terminal the one that runs."""
        if self._session.options.quiet or self._session.out.format in ("json", "jsonl"):
            return
        stderr, steps = self._session.out.stderr, operation["steps"]
        if self._pending:
            stderr.write("\r\x1b[K")
            self._pending = False
        for step in steps[self._drawn :]:
            if step["state"] == "running":
                break
            took = shown_duration(step["seconds"] or 0)
            mark = self._session.out.paint(_MARKS[step["state"]], _COLOURS[step["state"]], stderr)
            stderr.write(f"{mark} {step['name']} {took}\n")
            self._drawn += 1
        if self._watched and self._drawn < len(steps):
            moving = "".join(f", {_moving(one)}" for one in operation.get("transfers", ()))
            stderr.write(f"{_MARKS['running']} {steps[self._drawn]['name']}{moving}")
            self._pending = True
        stderr.flush()


def _moving(transfer: Json) -> str:
    """`1.2G of 10G at 85M/s, 2m left`."""
    of = f" of {shown_size(transfer['size_bytes'])}" if transfer["size_bytes"] is not None else ""
    left = f", {shown_duration(transfer['left_s'])} left" if transfer["left_s"] is not None else ""
    return f"{shown_size(transfer['bytes'])}{of} at {shown_size(transfer['bytes_per_s'])}/s{left}"


_COLOURS = {"done": "32", "failed": "31"}


def _show(session: Session, operation: Json) -> None:
    """The operation for programs; for people a last line."""
    if session.options.quiet:
        session.out.data(operation["id"] + "\n")
    elif session.out.format != "table":
        session.out.one(operation)
    elif operation["state"] == "done":
        result = ", ".join(f"{key} {_text(value)}" for key, value in (operation["result"] or {}).items())
        what = f"{operation['kind']} {operation['site_name'] or ''}".rstrip()
        took = shown_duration(operation["seconds"])
        session.out.say(f"{what}: done in {took}" + (f" ({result})" if result else ""))


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
