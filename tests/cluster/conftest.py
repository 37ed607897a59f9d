"""Fixtures of the cluster's tests: members of clusters, TLS without sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump, connectedServerAndClient
from zope.interface import implementer

from hybrid.cluster.certificates import new_key
from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.cluster.tls import ClientTLS, ServerTLS


@implementer(IHandshakeListener)
class Noting(Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.shaken = False
        self.heard = b""
        self.lost: Failure | None = None

    def handshakeCompleted(self) -> None:
        """The TLS handshake is complete on this side."""
        self.shaken = True

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data

    def connectionLost(self, reason: Failure = Failure(RuntimeError("no reason"))) -> None:  # noqa: B008
        """Keep why."""
        self.lost = reason


def sibling(identity: Identity, name: str, now_s: float) -> Identity:
    """Another member of the same cluster, with a key of its own."""
    key = new_key()
    issuers = identity.admit(key.public_key(), now_s)
    return Identity.begin(identity.cluster, key, issuers, identity.root, name, "127.0.0.1", now_s)


@pytest.fixture(scope="session")
def now_s() -> float:
    """A fixed moment near the machine's own: OpenSSL checks certificates by the machine's clock."""
    return time.time()


@pytest.fixture(scope="session")
def alpha(tmp_path_factory: pytest.TempPathFactory, now_s: float) -> Identity:
    """The first member of a cluster."""
    return create_cluster(tmp_path_factory.mktemp("alpha"), "alpha", "127.0.0.1", now_s, "test", ("example.net",))


@pytest.fixture(scope="session")
def beta(alpha: Identity, now_s: float) -> Identity:
    """The second member of `alpha`'s cluster."""
    return sibling(alpha, "beta", now_s)


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory, now_s: float) -> Identity:
    """A member of another cluster."""
    return create_cluster(tmp_path_factory.mktemp("stranger"), "stranger", "127.0.0.1", now_s)


LetIn = Callable[[Identity, str], Identity]


@pytest.fixture
def let_in(now_s: float) -> LetIn:
    """A new member of that name, let in by that member."""
    return lambda by, name: sibling(by, name, now_s)


class Only(Factory):
    """A factory of one protocol made before."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """That protocol."""
        return self._protocol


Shake = Callable[[ServerTLS, ClientTLS], tuple[Noting, Noting, IOPump]]


@pytest.fixture
def shake() -> Shake:
    """Connect a server's and a client's TLS in memory and let them talk until both are quiet."""

    def connect(server: ServerTLS, client: ClientTLS) -> tuple[Noting, Noting, IOPump]:
        clock, server_end, client_end = Clock(), Noting(), Noting()
        _, _, pump = connectedServerAndClient(
            lambda: TLSMemoryBIOFactory(server, False, Only(server_end), clock).buildProtocol(None),
            lambda: TLSMemoryBIOFactory(client, True, Only(client_end), clock).buildProtocol(None),
            clock=clock,
        )
        for _ in range(20):
            clock.advance(0)
            pump.pump()
        return server_end, client_end, pump

    return connect


Forge = Callable[[Identity, Identity], tuple[ec.EllipticCurvePrivateKey, x509.Certificate]]


@pytest.fixture
def forge() -> Forge:
    """A key, and a certificate for it by a member's key that names another node: `(issuer, victim)`."""

    def make(issuer: Identity, victim: Identity) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key, model = new_key(), victim.certificate
        builder = (
            x509.CertificateBuilder()
            .subject_name(model.subject)
            .issuer_name(issuer.issuers[0].subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(model.not_valid_before_utc)
            .not_valid_after(model.not_valid_after_utc)
        )
        for extension in model.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        return key, builder.sign(issuer.key, hashes.SHA256())

    return make


@pytest.fixture
def run() -> Callable[[Coroutine[Deferred[Any], Any, Any]], Any]:
    """The result of a coroutine that has all it needs; its exception if it raised."""

    def result(coroutine: Coroutine[Deferred[Any], Any, Any]) -> Any:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcomes.append)
        assert outcomes, "the coroutine still waits"
        if isinstance(outcomes[0], Failure):
            outcomes[0].raiseException()
        return outcomes[0]

    return result
