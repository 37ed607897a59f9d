"""Which ports are listened on: those some site wants, and those of services that some site speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from twisted.internet.interfaces import IListeningPort
from twisted.logger import capturedLogs

from hybrid.model import Port
from hybrid_proxy.guest import GuestFactory
from hybrid_proxy.ports import PublicPorts, Reactor
from hybrid_proxy.ssh.door import SshFactory
from hybrid_proxy.tcp import PortFactory
from tests.proxy.nodes import free_port

if TYPE_CHECKING:
    from tests.proxy.conftest import World


class Sockets:
    """A reactor that adopts ports and does nothing with them."""

    def __init__(self) -> None:
        self.factories: list[Any] = []
        self.stopped = 0

    def adoptStreamPort(self, descriptor: int, family: int, factory: Any) -> IListeningPort:  # noqa: N802  (Twisted's)
        """See `IReactorSocket`."""
        self.factories.append(factory)
        return cast(IListeningPort, self)

    def stopListening(self) -> None:  # noqa: N802  (Twisted's)
        """See `IListeningPort`."""
        self.stopped += 1


@pytest.fixture
def sockets() -> Sockets:
    """None yet."""
    return Sockets()


def ports(world: World, sockets: Sockets, shared: int) -> PublicPorts:
    """Of a node where MySQL has the port `shared`."""
    reactor = cast(Reactor, sockets)
    ssh = SshFactory(world.house, world.connect, world.clock, "")
    return PublicPorts(reactor, world.house, world.connect, "127.0.0.1", frozenset(), {shared: ("mysql", False)}, ssh)


def test_a_shared_port_is_open_while_some_site_speaks_its_service(world: World, sockets: Sockets) -> None:
    """Not before, and not after."""
    shared = free_port()
    public = ports(world, sockets, shared)
    public.follow()
    assert public.port(shared) is None
    world.follow(world.site(ports=(Port("db", 3306, "mysql"),)))
    public.follow()
    assert public.port(shared) == shared and isinstance(sockets.factories[0], GuestFactory)
    world.follow(world.site())
    public.follow()
    assert public.port(shared) is None and sockets.stopped == 1


def test_no_site_has_a_shared_port_alone(world: World, sockets: Sockets) -> None:
    """Whether its service is spoken or not; that is said once. Other ports are a site's own."""
    shared, own = free_port(), free_port()
    public = ports(world, sockets, shared)
    world.follow(world.site(ports=(Port("a", 1, "tcp", shared), Port("b", 2, "tcp", own))))
    with capturedLogs() as logs:
        public.follow()
        public.follow()
    assert (public.port(shared), public.port(own)) == (None, own)
    assert isinstance(sockets.factories[0], PortFactory)
    assert ["shared by all sites" in event["log_format"] for event in logs].count(True) == 1
    public.close()
