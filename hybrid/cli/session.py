"""What a verb works with: the API, the output, the user. Built once for each command."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from hybrid.cli.exits import USAGE, CliError
from hybrid.cli.output import Output

if TYPE_CHECKING:
    from hybrid.cli.client import Client
    from hybrid.cli.credentials import Credentials


class Session:
    """One command."""

    def __init__(self, options: Namespace, out: Output, stdin: TextIO) -> None:
        self.options, self.out, self.stdin = options, out, stdin

    @classmethod
    def of(cls, options: Namespace) -> Session:
        """For the process's own streams."""
        out = Output(
            sys.stdout,
            sys.stderr,
            getattr(options, "format", "table"),
            getattr(options, "columns", None),
            getattr(options, "quiet", False),
            getattr(options, "no_color", False),
            getattr(options, "filter", None) or (),
        )
        return cls(options, out, sys.stdin)

    @cached_property
    def api(self) -> Client:
        """The API; credentials (and the modules that speak TLS) are loaded at the first use. Raises `CliError`."""
        from hybrid.cli.client import Client

        only_reading = getattr(self.options, "watch", None) is not None
        return Client(self.credentials, only_reading=only_reading)

    @cached_property
    def credentials(self) -> Credentials:
        """Those the user named, or the first there are. Raises `CliError`."""
        from hybrid.cli import credentials

        return credentials.find(self.options.credentials, os.environ)

    def confirm(self, question: str, typed: str = "") -> None:
        """
        Go on only if the user says so: with `--yes`, or on a terminal with `y` (or by typing `typed`).

        Raises:
            CliError: They do not, or cannot be asked.
        """
        if self.options.yes:
            return
        if not (self.stdin.isatty() and self.out.stderr.isatty()):
            raise CliError(question, "nobody can be asked here", "add --yes if you mean it", USAGE)
        wanted = f"type {typed} to go on: " if typed else "go on? [y/N] "
        self.out.stderr.write(f"{question}\n{wanted}")
        self.out.stderr.flush()
        answer = self.stdin.readline().strip()
        if answer != typed if typed else answer.lower() not in ("y", "yes"):
            raise CliError("nothing was done", "you did not confirm")
