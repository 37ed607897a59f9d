"""What `hybrid init` and `hybrid join` ask a person who did not say it: three questions. Shell."""

from __future__ import annotations

import re
import socket
from argparse import Namespace
from collections.abc import Callable, Collection

from hybrid.cli.session import Session


def ask_missing(session: Session, known: Collection[str]) -> None:
    """
    Ask for name, address and pool as far as the command line does not say them; on a terminal only.

    Args:
        session: Answers go into its options; an empty answer is the one in brackets.
        known: Settings that the settings file says already.
    """
    if not (session.stdin.isatty() and session.out.stderr.isatty()):
        return
    options: Namespace = session.options
    questions: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("name", "this node's name", own_name),
        ("address", "the address at which the other nodes reach it", own_address),
        ("pool", "its ZFS pool", lambda: "hybrid"),
    )
    for key, text, guess in questions:
        if getattr(options, key, None) is None and key not in known:
            likely = guess()
            session.out.stderr.write(f"{text}{f' [{likely}]' if likely else ''}: ")
            session.out.stderr.flush()
            setattr(options, key, session.stdin.readline().strip() or likely or None)


def own_name() -> str:
    """The host's name, as far as a node can have it."""
    return re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().partition(".")[0].lower()).strip("-")[:32]


def own_address() -> str:
    """The address from which this machine would speak to the world; empty when it could not. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: a datagram socket only looks up the route
        except OSError:
            return ""
        return str(probe.getsockname()[0])
