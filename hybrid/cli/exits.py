"""How the command line ends: exit codes, and errors that say what, why and what to try. Pure."""

from __future__ import annotations

from typing import Any

OK, FAILED, USAGE, NOT_FOUND, DENIED, CONFLICT, TIMEOUT, UNREACHABLE = range(8)

CODES = """\
exit codes:
  0 ok   1 failed   2 usage   3 not found   4 denied   5 conflict   6 timeout or detached (the operation goes on)
  7 no node could be reached, or not the one that was needed
  `site exec` ends with the exit code of the command it ran"""

_BY_STATUS = {400: USAGE, 401: DENIED, 403: DENIED, 404: NOT_FOUND, 405: USAGE, 409: CONFLICT, 413: USAGE, 422: USAGE}


class CliError(Exception):
    """What failed, why, what to try, and the exit code; `problem` is the API's own, where it came from there."""

    def __init__(
        self, what: str, why: str = "", try_: str = "", code: int = FAILED, problem: dict[str, Any] | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.why, self.try_, self.code = what, why, try_, code
        self.problem = problem or {"title": what, "detail": why, "hint": try_}


def of_problem(problem: dict[str, Any], status: int) -> CliError:
    """The error in an API answer (RFC 9457)."""
    code = _BY_STATUS.get(status, UNREACHABLE if status == 503 else FAILED)
    what = str(problem.get("title") or f"the API answered {status}")
    return CliError(what, str(problem.get("detail", "")), str(problem.get("hint", "")), code, problem)
