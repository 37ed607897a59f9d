"""`--watch`: a verb that only reads, again and again."""

from __future__ import annotations

import time

from hybrid.cli.exits import OK, TIMEOUT, UNREACHABLE, CliError
from hybrid.cli.session import Session

_CLEAR = "\x1b[H\x1b[2J"


def watch(session: Session, every_s: float) -> int:
    """
    Until Ctrl-C; a terminal is cleared before each time. That no node answers is told, and the next time tried again.

    Raises:
        CliError: Any other trouble.
    """
    out = session.out
    try:
        while True:
            if out.stdout.isatty():
                out.stdout.write(_CLEAR)
            try:
                session.options.run(session)
            except CliError as error:
                if error.code not in (UNREACHABLE, TIMEOUT):
                    raise
                out.error(error)
            out.stdout.flush()
            time.sleep(every_s)
    except KeyboardInterrupt:
        return OK
