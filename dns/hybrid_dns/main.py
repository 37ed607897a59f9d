"""The process `hybrid dns`: binds, gives up root, follows the node's feed until SIGTERM."""

from __future__ import annotations

import argparse
import os
import pwd
import time
from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import MultiService

from hybrid.feed import FeedClient
from hybrid.feed import Reactor as FeedReactor
from hybrid.process import run_service
from hybrid.settings import Settings, load
from hybrid_dns.limits import Limits
from hybrid_dns.service import DnsReactor, DnsService


class DnsProcessReactor(DnsReactor, FeedReactor):
    """What the process needs of the reactor."""


class DnsProcess(MultiService):
    """DNS and the feed it follows; root until the sockets are bound. Goes on with its last view without a feed."""

    def __init__(self, reactor: DnsProcessReactor, settings: Settings, limits: Limits) -> None:
        super().__init__()
        answering = DnsService(reactor, settings, limits, time.time)
        answering.setServiceParent(self)
        FeedClient(reactor, f"{settings.run_dir}/view.sock", answering.follow).setServiceParent(self)

    def startService(self) -> None:
        """Everything is bound (`privilegedStartService` came before): be nobody from here on."""
        give_up_root()
        super().startService()


def give_up_root(name: str = "nobody") -> None:
    """
    Become the user `name`, keeping only the group root, which may connect to the node's feed (mode 0660).

    A process that is not root stays what it is.
    """
    if os.geteuid() != 0:
        return
    account = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM. Raises `SettingsError` for a bad configuration, `OSError` for a taken port."""
    options = _parser().parse_args(argv)
    settings = load(options.config)
    limits = Limits(errors=0) if options.no_rate_limit else Limits()
    return run_service("dns", lambda reactor: DnsProcess(reactor, settings, limits))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hybrid dns", description="Answer DNS for the cluster's zones.")
    parser.add_argument("--config", type=Path, required=True, help="the node's hybrid.toml")
    parser.add_argument("--no-rate-limit", action="store_true", help="no response rate limiting (for benchmarks)")
    return parser
