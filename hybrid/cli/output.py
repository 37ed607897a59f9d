"""What the user sees: results on standard output in the format asked for, all talk on standard error."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

from hybrid.cli.columns import Column, Item, chosen, colour, text
from hybrid.cli.exits import CliError
from hybrid.cli.filters import filtered
from hybrid.cli.table import compact, render, safe, to_csv

Format = Literal["table", "json", "jsonl", "csv", "compact"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv", "compact")
_WORD = re.compile(r"\S+")


class Output:
    """Writes results and talk."""

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        format: Format = "table",
        columns: str | None = None,
        quiet: bool = False,
        no_colour: bool = False,
        filters: Sequence[str] = (),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.stdout, self.stderr, self.format = stdout, stderr, format
        self.columns, self.quiet, self.no_colour = columns, quiet, no_colour
        self._filters, self._environment = filters, environment

    def items(self, items: Sequence[Item], columns: Sequence[Column], name: str = "name") -> None:
        """A list; with `-q` only the field `name` of each. Raises `CliError` for a filter that makes no sense."""
        items = filtered(self._filters, items, columns)
        if self.quiet:
            self._lines([safe(str(item.get(name, ""))) for item in items])
            return
        if self.format == "json":
            self.stdout.write(json.dumps(list(items), indent=2) + "\n")
            return
        if self.format == "jsonl":
            self._lines([json.dumps(item) for item in items])
            return
        shown = chosen(self.columns, columns, items)
        if self.format == "csv":
            self.stdout.write(
                to_csv([column.key for column in shown], [[column.raw(item) for column in shown] for item in items])
            )
            return
        rows = [[column.cell(item) for column in shown] for item in items]
        if self.format == "compact":
            self._lines(compact(rows))
            return
        titles = [column.heading for column in shown]
        head, *lines = render(titles, rows, [column.align for column in shown], self._width())
        self._lines([self.paint(head, "1"), *(self._painted(line) for line in lines)])

    def one(self, item: Item, columns: Sequence[Column] = (), name: str = "name") -> None:
        """One thing: its fields below each other; those with a `Column` shown its way, first."""
        if self.format != "table" or self.quiet or self.columns:
            if self.format == "json" and not self.quiet:
                self.stdout.write(json.dumps(item, indent=2) + "\n")
            else:
                self.items([item], columns or [Column(key) for key in item], name)
            return
        by_key = {column.key: column for column in columns}
        keys = [*by_key, *(key for key in item if key not in by_key)]
        rows = [[key, by_key[key].cell(item) if key in by_key else _plain(item.get(key))] for key in keys]
        lines = render(["", ""], rows, ["left", "left"])[1:]
        self._lines([self._painted(line) for line in lines])

    def data(self, content: bytes | str) -> None:
        """Content as it is, not text about something."""
        if isinstance(content, bytes):
            self.stdout.flush()
            self.stdout.buffer.write(content)
            self.stdout.buffer.flush()
        else:
            self.stdout.write(content)

    def say(self, line: str) -> None:
        """Talk: a line on standard error."""
        self.stderr.write(safe(line) + "\n")
        self.stderr.flush()

    def error(self, error: CliError) -> None:
        """What, why, what to try; as JSON where results are JSON."""
        if self.format in ("json", "jsonl"):
            self.stderr.write(json.dumps(error.problem) + "\n")
            return
        self.stderr.write(self.paint("hybrid: ", "31", self.stderr) + safe(error.what) + "\n")
        for word, line in (("why", error.why), ("try", error.try_)):
            if line:
                self.stderr.write(f"   {word}: {safe(line)}\n")

    def paint(self, line: str, code: str, stream: TextIO | None = None) -> str:
        """`line` in a colour, where the stream is a terminal and the user has nothing against it."""
        return f"\x1b[{code}m{line}\x1b[0m" if code and self.coloured(stream or self.stdout) else line

    def coloured(self, stream: TextIO) -> bool:
        """Whether to use colours (https://no-color.org)."""
        wanted = not self.no_colour and not self._environment.get("NO_COLOR")
        return wanted and self._environment.get("TERM") != "dumb" and stream.isatty()

    def _painted(self, line: str) -> str:
        """A line of a table with its states in colour."""
        if not self.coloured(self.stdout):
            return line
        return _WORD.sub(lambda word: self.paint(word[0], colour(word[0])), line)

    def _width(self) -> int | None:
        """Of the terminal; lines that go elsewhere are never cut."""
        return os.get_terminal_size(self.stdout.fileno()).columns or None if self.stdout.isatty() else None

    def _lines(self, lines: Sequence[str]) -> None:
        self.stdout.write("".join(line + "\n" for line in lines))


def _plain(value: object) -> str:
    """A field without a column of its own."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return json.dumps(value)
    return json.dumps(value) if isinstance(value, dict) and value else text(value)
