"""The grammar of the command line: `hybrid noun verb`, options common to all, `did you mean`. argparse only."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hybrid.cli.exits import CODES, USAGE, CliError
from hybrid.cli.output import FORMATS
from hybrid.cli.session import Session
from hybrid.release import __version__

Run = Callable[[Session], int]
AddNouns = Callable[["argparse._SubParsersAction[Any]", argparse.ArgumentParser], None]
"""Adds nouns with their verbs to the grammar, given the common options."""


class Parser(argparse.ArgumentParser):
    """Raises `CliError` instead of ending the process; offers the nearest word for a wrong one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Usage errors, with what would have been right."""
        hint = f"`{self.prog} --help`"
        if "invalid choice: " in message:
            wrong, _, rest = message.partition("invalid choice: ")[2].partition(" (choose from ")
            known = [word.strip("' )") for word in rest.split(",")]
            near = difflib.get_close_matches(wrong.strip("'"), known, n=1)
            message = f"{wrong} is not known here"
            hint = f"did you mean `{self.prog} {near[0]}`?" if near else "known: " + ", ".join(known)
        elif "unrecognized arguments: " in message:
            wrong = message.partition(": ")[2].split(" ")[0]
            near = difflib.get_close_matches(wrong, _options_below(self), n=1)
            hint = f"did you mean {near[0]}?" if near else hint
        raise CliError(message, "", hint, USAGE)


def _options_below(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and those below it."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options.update(*(_options_below(below) for below in action.choices.values()))
    return options


class Verbs:
    """The verbs of one noun."""

    def __init__(self, parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
        self._common = common
        self._verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)

    def add(self, name: str, text: str, run: Run, example: str = "") -> argparse.ArgumentParser:
        """A verb that calls `run`; its own arguments are added to what is returned."""
        return add_command(self._verbs, self._common, name, text, run, example)

    def noun(self, name: str, text: str) -> Verbs:
        """A noun below this one, ready for its verbs."""
        return add_noun(self._verbs, self._common, name, text)


def add_command(
    where: argparse._SubParsersAction[Any],
    common: argparse.ArgumentParser,
    name: str,
    text: str,
    run: Run,
    example: str = "",
) -> argparse.ArgumentParser:
    """A command with the common options."""
    epilog = f"example:\n  {example}" if example else None
    parser: argparse.ArgumentParser = where.add_parser(
        name, help=text, description=text, epilog=epilog, parents=[common]
    )
    parser.set_defaults(run=run)
    return parser


def common_options() -> argparse.ArgumentParser:
    """Options of every verb that talks to the API."""
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("common options")
    group.add_argument("--format", choices=FORMATS, default="table", help="of the result (default: %(default)s)")
    group.add_argument("--columns", metavar="A,B", help="fields to show")
    group.add_argument(
        "--filter", action="append", metavar="RULE", help="of a list: state=serving, name~shop, data_bytes>1G"
    )
    group.add_argument(
        "--watch", type=seconds, nargs="?", const=2.0, metavar="TIME", help="show it again and again, until Ctrl-C (2s)"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="only names or ids, no talk")
    group.add_argument("--no-color", action="store_true", help="no colours (also NO_COLOR)")
    group.add_argument("--credentials", metavar="FILE", help="default: $HYBRID_CREDENTIALS, /etc/hybrid/admin.json, …")
    return common


def long_options(parser: argparse.ArgumentParser, asks: bool = False) -> None:
    """Options of verbs that begin an operation; `asks` for those that want to be confirmed."""
    parser.add_argument("--no-wait", action="store_true", help="do not follow the operation")
    parser.add_argument("--timeout", type=seconds, default=600.0, metavar="TIME", help="give up following after (10m)")
    if asks:
        ask_option(parser)


def ask_option(parser: argparse.ArgumentParser) -> None:
    """`--yes`, for verbs that want to be confirmed."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def seconds(text: str) -> float:
    """A duration, as argparse wants it."""
    return _checked(text, "duration")


def count_of_bytes(text: str) -> int:
    """A size, as argparse wants it."""
    return int(_checked(text, "size"))


def _checked(text: str, kind: str) -> float:
    from hybrid.cli import units

    try:
        return units.duration(text) if kind == "duration" else units.size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def root_parser(add_all: Sequence[AddNouns]) -> Parser:
    """The whole grammar; each of `add_all` adds its nouns."""
    parser = Parser(
        prog="hybrid",
        description="ZFS-centric container hosting: self-healing, replicated, with a time machine.",
        epilog=CODES,
    )
    parser.add_argument("--version", action="version", version=f"hybrid {__version__}")
    nouns = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    common = common_options()
    for add in add_all:
        add(nouns, common)
    return parser


def add_noun(
    nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser, name: str, text: str, epilog: str = ""
) -> Verbs:
    """A noun, ready for its verbs."""
    return Verbs(nouns.add_parser(name, help=text, description=text, epilog=epilog or None), common)
