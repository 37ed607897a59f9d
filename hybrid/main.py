"""The command line's entry: processes of a node are led to their modules, all else is a client of the API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from hybrid.cli.processes import process_of
from hybrid.release import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run `hybrid` with the arguments `argv` (default: the process's own).

    Returns:
        The exit code. A process of a node returns when it has been stopped.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    process = process_of(words)
    if process is not None:
        import_module("hybrid.systemd")  # first: Twisted takes what is kept for us out of the environment
        module, rest = process
        return int(import_module(module).main(rest) or 0)
    if words == ["--version"]:
        print(f"hybrid {__version__}")
        return 0
    from hybrid.cli.run import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
