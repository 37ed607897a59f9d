"""Lists as text: aligned tables, compact lines, CSV. Pure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal

Row = Sequence[str]
Align = Literal["left", "right"]


def render(titles: Row, rows: Sequence[Row], align: Sequence[Align], width: int | None = None) -> list[str]:
    """
    Aligned lines, the titles first.

    Args:
        titles: One for each column.
        rows: Cells as text; control characters in them are escaped.
        align: One for each column.
        width: Cut the lines at so many characters; `None` for no cutting.
    """
    cells = [list(titles), *([safe(cell) for cell in row] for row in rows)]
    widths = [max(text_width(line[index]) for line in cells) for index in range(len(titles))]
    lines = []
    for line in cells:
        padded = [pad(cell, widths[index], align[index]) for index, cell in enumerate(line)]
        lines.append(cut("  ".join(padded).rstrip(), width))
    return lines


def compact(rows: Sequence[Row]) -> list[str]:
    """One line for each row, cells parted by one tab: for `cut` and `awk`."""
    return ["\t".join(safe(cell) for cell in row) for row in rows]


def to_csv(titles: Row, rows: Sequence[Row]) -> str:
    """RFC 4180, but lines end with LF."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(rows)
    return text.getvalue()


def safe(text: str) -> str:
    """`text` with control characters escaped: nothing shown may command the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def text_width(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int, align: Align) -> str:
    """`text` with spaces up to `width`."""
    space = " " * max(0, width - text_width(text))
    return space + text if align == "right" else text + space


def cut(line: str, width: int | None) -> str:
    """`line`, cut at `width` with an ellipsis."""
    return line if width is None or text_width(line) <= width else line[: max(0, width - 1)] + "…"
