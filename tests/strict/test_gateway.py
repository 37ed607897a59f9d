"""Members of an etcd that hang, refuse or talk nonsense: the others are asked, within the time of the call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from hybrid.settings import Strict
from hybrid.strict.gateway import CALL_S, EtcdGateway
from hybrid.strict.ports import EtcdRefused, EtcdUnreachable

reactor: Any = _reactor
EMPTY = b'{"header":{"revision":"7"},"succeeded":true,"responses":[{"response_range":{}}]}'


class Answering(Resource):
    """Gives the same answer to everything."""

    isLeaf = True

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__()
        self._status, self._content = status, content
        self.asked = 0

    def render_POST(self, request: Request) -> bytes:
        """See `Resource`."""
        self.asked += 1
        request.setResponseCode(self._status)
        return self._content


class Members:
    """Things that listen on loopback."""

    def __init__(self) -> None:
        self.ports: list[Any] = []

    def answering(self, resource: Answering) -> str:
        """One that answers so."""
        return self._listen(Site(resource))

    def hanging(self) -> str:
        """One that takes the connection and says nothing."""
        return self._listen(Factory.forProtocol(Protocol))

    def _listen(self, factory: Any) -> str:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.ports.append(port)
        return f"http://127.0.0.1:{port.getHost().port}"


@pytest_twisted.async_yield_fixture
async def members() -> AsyncIterator[Members]:
    """Closed afterwards."""
    made = Members()
    yield made
    for port in made.ports:
        await port.stopListening()


async def read(gateway: EtcdGateway) -> int:
    """The revision that it reads."""
    return (await gateway.read(["/own/a"])).revision


@pytest_twisted.ensureDeferred
async def test_a_member_that_hangs_or_refuses_gives_way(members: Members) -> None:
    """To one that answers; which is asked first from then on."""
    good, lost = Answering(200, EMPTY), Answering(503, b'{"message":"etcdserver: no leader","code":14}')
    endpoints = (members.hanging(), members.answering(lost), members.answering(good))
    gateway = EtcdGateway(reactor, Strict(endpoints=endpoints))
    assert await read(gateway) == 7
    assert (lost.asked, good.asked) == (1, 1)
    assert await read(gateway) == 7
    assert (lost.asked, good.asked) == (1, 2)
    await gateway.close()


@pytest_twisted.ensureDeferred
async def test_a_call_ends(members: Members) -> None:
    """Nobody answers, or with too much, or with nonsense: the call fails with each one's reason, and in time."""
    flood = Answering(200, b" " * 2_000_000)
    endpoints = (members.hanging(), members.answering(flood), members.answering(Answering(200, b"<html>")))
    gateway = EtcdGateway(reactor, Strict(endpoints=endpoints))
    began_s = reactor.seconds()
    with pytest.raises(EtcdUnreachable) as caught:
        await read(gateway)
    assert reactor.seconds() - began_s < 10 * CALL_S
    assert all(endpoint in str(caught.value) for endpoint in endpoints)
    await gateway.close()


@pytest_twisted.ensureDeferred
async def test_what_one_refuses_no_other_is_asked(members: Members) -> None:
    """etcd answered, and its answer holds for all of it."""
    other = Answering(200, EMPTY)
    full = Answering(429, b'{"message":"etcdserver: mvcc: database space exceeded","code":8}')
    gateway = EtcdGateway(reactor, Strict(endpoints=(members.answering(full), members.answering(other))))
    with pytest.raises(EtcdRefused, match="space exceeded"):
        await gateway.put_if({}, "/own/a", "a")
    assert other.asked == 0
    await gateway.close()
