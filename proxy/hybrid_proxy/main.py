"""`hybrid proxy`: one process of the front doors. Start as many as there are cores; they share the ports. Shell."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Sequence
from pathlib import Path

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hybrid.cluster.identity import Identity
from hybrid.feed import FeedClient
from hybrid.feed import Reactor as FeedReactor
from hybrid.loops import Loops
from hybrid.model import Fact
from hybrid.privileges import CODE, drop_root
from hybrid.process import run_service
from hybrid.settings import DEFAULT_FILE, Settings, load
from hybrid_proxy.lean.reactor import LeanReactor
from hybrid_proxy.service import FrontDoors
from hybrid_proxy.service import Reactor as DoorsReactor

REREAD_EVERY_S = 60.0
"""How often this process looks for a new certificate of its node."""


class ProxyReactor(DoorsReactor, FeedReactor):
    """What the process needs of the reactor."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="hybrid proxy", description="Serve this node's front doors.")
    parser.add_argument("--config", type=Path, default=DEFAULT_FILE, help="the node's settings")
    parser.add_argument("--stay-root", action="store_true", help="do not become an ordinary user after binding")
    return parser.parse_args(argv)


class ProxyProcess(MultiService):
    """The front doors and the feed that tells them where sites are."""

    log = Logger()

    def __init__(self, reactor: ProxyReactor, settings: Settings, stay_root: bool) -> None:
        super().__init__()
        self._stay_root, self._run_dir = stay_root, Path(settings.run_dir)
        self._state_dir = Path(settings.state_dir)
        self._identity = Identity.load(self._state_dir)
        self._loops = Loops(reactor)
        self._doors = FrontDoors(reactor, settings, self._identity, self._report)
        self._feed = FeedClient(
            reactor, str(self._run_dir / "view.sock"), self._doors.follow, self._doors.follow_secrets
        )
        self._doors.heard = lambda: self._feed.is_heard
        self._doors.setServiceParent(self)
        self._feed.setServiceParent(self)

    def _report(self, fact: Fact) -> None:
        self._feed.report(fact)

    def startService(self) -> None:
        """Leave root behind, with the ports bound, then follow the view."""
        if not self._stay_root:
            try:
                user = drop_root((self._run_dir, *CODE))
                self.log.info("serving as {user}", user=user or "the user who started this")
            except (OSError, KeyError) as error:
                self.log.warn("still root: {error}", error=str(error))
        super().startService()
        self._loops.every(REREAD_EVERY_S, self._reread)

    async def _reread(self) -> None:
        """The node process may have made a new certificate."""
        identity = self._identity.reread(self._state_dir)
        if identity is not self._identity:
            self._identity = identity
            self._doors.renew(identity)
            self.log.info("the new certificate of this node is taken up")

    def stopService(self) -> Deferred[None]:
        """Drain the doors, then leave the feed."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._loops.stop()
        await self._doors.disownServiceParent()
        await super().stopService()


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM; returns the exit status."""
    options = parse(argv)
    settings = load(options.config)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return run_service("proxy", lambda reactor: ProxyProcess(reactor, settings, options.stay_root), LeanReactor)
