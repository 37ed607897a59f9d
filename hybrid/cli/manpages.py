"""
Manual pages from the grammar and the settings, so that nothing is written twice: `python -m hybrid.cli.manpages DIR`.

The format is man(7): https://man7.org/linux/man-pages/man7/groff_man.7.html
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hybrid.cli.exits import CODES
from hybrid.cli.parser import Parser, common_options
from hybrid.cli.run import grammar
from hybrid.cli.settingsdoc import keys, table_text
from hybrid.release import __version__

FILES = (
    ("/etc/hybrid/hybrid.toml", "settings of this node, see hybrid.toml(5)"),
    ("/var/lib/hybrid", "keys, database and credentials of this node; `root.pem` in it belongs elsewhere"),
    ("/var/cache/hybrid/images", "built images"),
)
COMMON = frozenset(common_options()._option_string_actions)


def pages() -> dict[str, str]:
    """File name to page: the command, one for each of its nouns, and the settings file."""
    root = grammar()
    nouns = _below(root)
    assert nouns is not None
    made = {"hybrid.1": _command(root, nouns), "hybrid.toml.5": _settings()}
    for name, parser in nouns.choices.items():
        text = _text_of(nouns, name)
        made[f"hybrid-{name}.1"] = _noun(name, text, parser)
    return made


def _command(root: Parser, nouns: argparse._SubParsersAction[Any]) -> str:
    lines = [_head("hybrid", 1), ".SH NAME", "hybrid \\- " + _safe(root.description or ""), ".SH SYNOPSIS"]
    lines += [".B hybrid", ".I COMMAND", "[\\fIarguments\\fR]", ".SH COMMANDS"]
    for name in nouns.choices:
        lines += [".TP", f".BR hybrid\\-{_safe(name)} (1)", _safe(_text_of(nouns, name))]
    lines += [".SH COMMON OPTIONS", *_options(common_options(), common=True)]
    lines += [".SH EXIT STATUS", ".nf", *(_safe(line.strip()) for line in CODES.splitlines()[1:]), ".fi", ".SH FILES"]
    for path, text in FILES:
        lines += [".TP", f".I {_safe(path)}", _safe(text)]
    lines += [".SH SEE ALSO", ".BR hybrid.toml (5)"]
    return "\n".join(lines) + "\n"


def _noun(name: str, text: str, parser: argparse.ArgumentParser) -> str:
    lines = [_head(f"hybrid-{name}", 1), ".SH NAME", f"hybrid\\-{_safe(name)} \\- {_safe(text)}"]
    verbs = _below(parser)
    if verbs is None:
        lines += [".SH SYNOPSIS", *_synopsis(parser), *_body(parser)]
    else:
        lines += [".SH SYNOPSIS", f".B hybrid {_safe(name)}", ".I VERB", "[\\fIarguments\\fR]"]
        if parser.epilog:
            lines += [".SH DESCRIPTION", _safe(parser.epilog)]
        lines += [".SH VERBS", *_verbs(parser)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR hybrid (1)"]) + "\n"


def _verbs(parser: argparse.ArgumentParser) -> Iterator[str]:
    verbs = _below(parser)
    for name, below in verbs.choices.items() if verbs is not None else ():
        if _below(below) is not None:
            yield from _verbs(below)
            continue
        yield f".SS {_safe(below.prog.removeprefix('hybrid '))}"
        yield from _synopsis(below)
        yield ".PP"
        yield _safe(_text_of(verbs, name) if verbs is not None else "")
        yield from _body(below)


def _body(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from _options(parser)
    if parser.epilog:
        yield from (".PP", ".nf", *(_safe(line) for line in parser.epilog.splitlines()), ".fi")


def _synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    for option in COMMON:  # they are told once, in hybrid(1)
        usage = re.sub(rf" \[[^][]*{re.escape(option)}\b[^][]*\]", "", usage)
    yield f".B {_safe(parser.prog)}"
    yield _safe(usage.removeprefix(parser.prog).strip()) or "\\&"


def _options(parser: argparse.ArgumentParser, common: bool = False) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        told = not common and (set(action.option_strings) & COMMON or "--help" in action.option_strings)
        if isinstance(action, argparse._SubParsersAction) or told:
            continue
        yield ".TP"
        yield f".B {_safe(formatter._format_action_invocation(action))}"
        yield _safe(formatter._expand_help(action)) if action.help else "\\&"


def _settings() -> str:
    lines = [_head("hybrid.toml", 5), ".SH NAME", "hybrid.toml \\- settings of a Hybrid node", ".SH DESCRIPTION"]
    lines += [_safe("A TOML file, by default /etc/hybrid/hybrid.toml. Only `name` and `address` have no default.")]
    lines += [
        _safe("`hybrid node check-config` tells what is wrong with one, `hybrid node settings` prints all of this.")
    ]
    lines += [".SH KEYS"]
    table = ""
    for key in keys():
        if key.table != table:
            table = key.table
            lines += [f".SS {_safe(f'[[{table}]]' if key.listed else f'[{table}]')}", _safe(table_text(table))]
        default = f" Default: {key.default}" if key.default else ""
        lines += [".TP", f".B {_safe(key.name)}", _safe(f"{key.text} ({key.allowed}){default}")]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR hybrid (1)"]) + "\n"


def _head(name: str, section: int) -> str:
    return f'.TH "{name.upper()}" {section} "" "hybrid {__version__}" "Hybrid"'


def _safe(text: str) -> str:
    """Text that no part of is a request or an escape; hyphens stay what is typed."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def _below(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[Any] | None:
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def _text_of(action: argparse._SubParsersAction[Any], name: str) -> str:
    return next((choice.help or "" for choice in action._get_subactions() if choice.dest == name), "")


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
