"""What other front doors pass on beside HTTP: connections, and the datagrams of flows. Shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import Protocol

from hybrid_proxy.house import House
from hybrid_proxy.pool import Connect
from hybrid_proxy.proxyv2 import Passport
from hybrid_proxy.route import Here, Route
from hybrid_proxy.services import SSH
from hybrid_proxy.ssh.attendant import SessionPassage, at_sessions
from hybrid_proxy.tcp import Caller
from hybrid_proxy.udpstream import Entrance


def passage_of(house: House, dial: Connect, reactor: IReactorUDP, sessions: str) -> Callable[[Passport], Protocol]:
    """Makes the protocols of such connections. `sessions`: the path of this node's socket for sessions."""

    def passage(passport: Passport) -> Protocol:
        def route() -> Route:
            found = house.routes.admit(passport.site, passport.claim, passport.public_port, passport.service)
            if isinstance(found, Here) and passport.service == "ftp" and passport.public_port >= 1024:
                return replace(found, port=passport.public_port)
            return at_sessions(found, sessions) if passport.service == SSH else found

        if passport.service.startswith("udp:"):
            return Entrance(reactor, house, passport)
        kind = SessionPassage if passport.service == SSH else Caller
        return kind(house, dial, route, (passport.source, passport.source_port), framed=True)

    return passage
