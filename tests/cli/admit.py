"""
A node that lets others in, as a process: `python admit.py DIRECTORY ADDRESS` prints a join token and serves one desk.

The cluster, its store and its links are real; there is nothing else of a node. Ends with standard input.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet import stdio
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from hybrid.cluster.admission import Admission
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.join import JoinDesk
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.peers import PeerLinks
from hybrid.cluster.store import Store
from hybrid.model import NodeRegister
from hybrid.process import install_reactor
from hybrid.settings import Settings


class UntilEnd(Protocol):
    """Ends the process with its standard input."""

    def __init__(self, reactor: IReactorCore) -> None:
        self.reactor = reactor

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever started it is gone."""
        self.reactor.stop()


def main(directory: Path, address: str) -> None:
    """Serve until standard input ends."""
    reactor: Any = install_reactor()
    identity = create_cluster(directory, "n1", address, time.time(), zones=("hybrid.test",))
    settings = Settings(name="n1", address=address, cluster_port=17946)
    store = Store(directory / "hybrid.db")
    ledger = Ledger(identity.node, 1)
    shared = {"zone/hybrid.test": ledger.share("zone/hybrid.test", '"known"', 1)}
    me = NodeRegister(id=identity.node, name="n1", dc="paris", address=address, api_port=18443)
    place = (address, settings.cluster_port)
    admission = Admission(identity, place, store, lambda: {identity.node: me}, lambda: shared, time.time, os.urandom)
    links = PeerLinks(reactor, identity, settings, dict, random.random, newcomer=JoinDesk(reactor, admission))
    links.startService()
    stdio.StandardIO(UntilEnd(reactor))
    print(admission.issue(600)[0], flush=True)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
