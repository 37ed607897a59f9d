"""One command line from its words to its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from hybrid.cli.exits import FAILED, TIMEOUT, CliError
from hybrid.cli.output import Output
from hybrid.cli.parser import AddNouns, Parser, root_parser
from hybrid.cli.session import Session
from hybrid.cli.watching import watch

MODULES = {
    "hybrid.cli.verbs.cluster": ("status", "decisions", "node", "cluster", "token"),
    "hybrid.cli.verbs.image": ("image",),
    "hybrid.cli.verbs.site": ("site",),
    "hybrid.cli.verbs.snap": ("snap",),
    "hybrid.cli.verbs.stash": ("stash",),
    "hybrid.cli.verbs.away": ("away",),
    "hybrid.cli.verbs.group": ("group",),
    "hybrid.cli.verbs.account": ("account", "package"),
    "hybrid.cli.verbs.dns": ("dns",),
    "hybrid.cli.verbs.cert": ("cert",),
    "hybrid.cli.verbs.audit": ("audit",),
    "hybrid.cli.verbs.doctor": ("doctor",),
    "hybrid.cli.verbs.jobs": ("op", "events", "api"),
    "hybrid.cli.verbs.replication": ("replication",),
    "hybrid.cli.verbs.processes": ("init", "join", "run", "proxy", "demo"),
    "hybrid.cli.completion": ("completion",),
}
"""Module to the nouns it adds to the grammar."""


def grammar(first: str | None = None) -> Parser:
    """The grammar of the noun `first`, without the time the rest takes; of all, if there is no such noun."""
    needed = [module for module, nouns in MODULES.items() if first in nouns and first != "completion"] or list(MODULES)
    return root_parser([_adder(module) for module in needed])


def run(argv: Sequence[str]) -> int:
    """Do what `argv` says. Returns the exit code (see `hybrid.cli.exits`)."""
    out = Output(sys.stdout, sys.stderr)
    try:
        session = Session.of(grammar(argv[0] if argv else None).parse_args(list(argv)))
        out = session.out
        every_s = getattr(session.options, "watch", None)
        code = int(session.options.run(session)) if every_s is None else watch(session, every_s)
        sys.stdout.flush()
    except CliError as error:
        out.error(error)
        return error.code
    except KeyboardInterrupt:
        out.say("\ninterrupted")
        return TIMEOUT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _adder(module: str) -> AddNouns:
    add: AddNouns = import_module(module).add
    return add
