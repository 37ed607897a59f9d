"""The process `hybrid dns`: binds, gives up root, follows the node's feed until SIGTERM."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import MultiService
from twisted.logger import Logger

from hybrid.feed import FeedClient
from hybrid.feed import Reactor as FeedReactor
from hybrid.privileges import CODE, drop_root
from hybrid.process import run_service
from hybrid.settings import DEFAULT_FILE, Settings, load
from hybrid_dns.desk import Counter
from hybrid_dns.desk import Reactor as DeskReactor
from hybrid_dns.limits import Limits
from hybrid_dns.service import DnsReactor, DnsService


class DnsProcessReactor(DnsReactor, FeedReactor, DeskReactor):
    """What the process needs of the reactor."""


class DnsProcess(MultiService):
    """DNS and the feed it follows; root until the sockets are bound. Goes on with its last view without a feed."""

    log = Logger()

    def __init__(self, reactor: DnsProcessReactor, settings: Settings, limits: Limits) -> None:
        super().__init__()
        self._run_dir = Path(settings.run_dir)
        answering = DnsService(reactor, settings, limits, time.time)
        answering.setServiceParent(self)
        FeedClient(reactor, f"{settings.run_dir}/view.sock", answering.follow).setServiceParent(self)
        counter = Counter(reactor, f"{settings.run_dir}/dns.sock", answering.follow_entries)
        answering.pass_on = counter.pass_on
        counter.setServiceParent(self)

    def startService(self) -> None:
        """Everything is bound (`privilegedStartService` came before): be nobody from here on."""
        try:
            user = drop_root((self._run_dir, *CODE))
            self.log.info("answering as {user}", user=user or "the user who started this")
        except (OSError, KeyError) as error:
            self.log.warn("still root: {error}", error=str(error))
        super().startService()


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM. Raises `SettingsError` for a bad configuration, `OSError` for a taken port."""
    options = _parser().parse_args(argv)
    settings = load(options.config)
    limits = Limits(errors=0) if options.no_rate_limit else Limits()
    return run_service("dns", lambda reactor: DnsProcess(reactor, settings, limits))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hybrid dns", description="Answer DNS for the cluster's zones.")
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help="the node's hybrid.toml")
    parser.add_argument("--no-rate-limit", action="store_true", help="no response rate limiting (for benchmarks)")
    return parser
