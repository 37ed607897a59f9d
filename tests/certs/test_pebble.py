"""Certificates by ACME from a real authority: Debian's `pebble`, which asks our front doors and our DNS records."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_twisted
import treq
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hybrid.certs.http import TreqHttp
from hybrid.certs.issuing import Issuing
from hybrid.certs.service import Certificates
from hybrid.certs.vault import Vault
from hybrid.cluster.founding import create_cluster
from hybrid.model import Claim, SiteId, SiteSpec, Version
from hybrid.settings import Settings
from hybrid.sitehttp import Http
from hybrid.view import NodeView, SiteView, View
from hybrid_proxy.service import FrontDoors
from tests.certs.authority import Authority, new_key, pem, text
from tests.certs.test_service import Map

reactor = cast(Any, global_reactor)
SHOP = SiteId("s-shop")
CONFIG = """{{"pebble": {{"listenAddress": "127.0.0.1:{acme}", "managementListenAddress": "127.0.0.1:{management}",
"certificate": "{where}/pebble.pem", "privateKey": "{where}/pebble.key", "httpPort": {http}, "tlsPort": {https},
"ocspResponderURL": "", "externalAccountBindingRequired": false}}}}"""

pytestmark = pytest.mark.skipif(shutil.which("pebble") is None, reason="Debian's pebble is not installed")


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class TestDns:
    """TXT records in `pebble-challtestsrv`, which answers 127.0.0.1 for every name."""

    __test__ = False

    def __init__(self, management: int) -> None:
        self._url = f"http://127.0.0.1:{management}"
        self.zone = "shop.test"

    def add(self, name: str, text: str) -> bool:
        """See `TxtRecords`."""
        if name.endswith(self.zone):
            treq.post(f"{self._url}/set-txt", json={"host": name + ".", "value": text})
        return name.endswith(self.zone)

    def remove(self, name: str, text: str) -> None:
        """See `TxtRecords`."""
        treq.post(f"{self._url}/clear-txt", json={"host": name + "."})


class Stage:
    """A node's front doors and certificates, pebble and its name server."""

    def __init__(self, where: Path) -> None:
        self.where = where
        identity = create_cluster(where / "state", "one", "127.0.0.1", time.time())
        settings = Settings(name="one", address="127.0.0.1", http_port=0, https_port=0, interior_port=0)
        self.doors = FrontDoors(reactor, settings, identity, lambda served: None, "127.0.0.1")
        self.doors.startService()
        node = NodeView(
            id=identity.node, name="one", dc="a", address="", cluster_port=1, interior_port=2, api_port=3, live=True
        )
        spec = SiteSpec(
            id=SHOP,
            version=Version(1, 1),
            name="shop",
            domains=("shop.test", "www.shop.test"),
            image="x@1",
            number=1,
            http=Http(certificate=True),
        )
        site = SiteView(spec=spec, state="stopped", owner=identity.node, claim=Claim(1, identity.node))
        self.view = View(me=identity.node, serial=1, zones=(), nodes={node.id: node}, sites={SHOP: site})
        self.doors.follow(self.view)
        ports = {name: free_port() for name in ("acme", "management", "dns", "txt")}
        self.processes = self._start(ports)
        shared, public = Map(), identity.key.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.certificates = Certificates(
            Vault(identity.node, identity.key, os.urandom),
            shared,
            lambda: {identity.node: der},
            lambda: self.view,
            time.time,
            self.doors.follow_secrets,
        )
        self.issuing = Issuing(
            reactor,
            identity.node,
            self.certificates,
            shared,
            TestDns(ports["txt"]),
            lambda: self.view,
            lambda ca: TreqHttp(reactor, ca),
            time.time,
        )
        self.directory = f"https://localhost:{ports['acme']}/dir"

    def _start(self, ports: dict[str, int]) -> list[subprocess.Popen[bytes]]:
        key = new_key()
        self.authority = Authority(now=datetime.datetime.now(datetime.UTC))
        (self.where / "pebble.pem").write_text(text(self.authority.issue(key, "localhost")))
        (self.where / "pebble.key").write_text(pem(key))
        config = CONFIG.format(http=self.doors.http_port, https=self.doors.https_port, where=self.where, **ports)
        (self.where / "pebble.json").write_text(config)
        name_server = f"127.0.0.1:{ports['dns']}"
        txt = ["-dns01", name_server, "-management", f"127.0.0.1:{ports['txt']}", "-defaultIPv6", ""]
        off = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]
        commands = (
            ["pebble-challtestsrv", *txt, *off[:6]],
            ["pebble", "-config", f"{self.where}/pebble.json", "-dnsserver", name_server],
        )
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "30"}
        log = (self.where / "log").open("wb")
        return [subprocess.Popen(command, stdout=log, stderr=log, env=environment) for command in commands]

    async def close(self) -> None:
        """End everything."""
        for process in self.processes:
            process.kill()
            process.wait()
        await self.doors.stopService()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Ready."""
    stage = Stage(tmp_path)
    yield stage
    pytest_twisted.blockon(Deferred.fromCoroutine(stage.close()))


def shown_for(stage: Stage, host: str) -> bytes:
    """The certificate that the front doors show, DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", stage.doors.https_port), 20) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secure:
            return secure.getpeercert(True) or b""


@pytest_twisted.ensureDeferred
async def test_certificates_from_pebble(stage: Stage) -> None:
    """Two domains by http-01 through the front door, a wildcard by dns-01; every one is shown at once."""
    stage.issuing.agree(stage.directory, "me@shop.test", stage.authority.pem)
    stage.issuing.wish("*.shop.test")
    for _ in range(100):  # it may take a while to start
        await stage.issuing.look()
        troubles = {name: trouble for name, trouble in stage.issuing.wanted().items() if trouble is not None}
        if len(stage.certificates.all()) == 3:
            break
        for name in troubles:
            if "cannot be reached" in troubles[name].what:  # pebble is still starting
                stage.issuing.wish(name)
        await deferLater(reactor, 0.5, lambda: None)
    names = [record.names for record in stage.certificates.all()]
    assert names == [("*.shop.test",), ("shop.test",), ("www.shop.test",)], (
        [msgspec.to_builtins(trouble) for trouble in troubles.values()],
        (stage.where / "log").read_text()[-2000:],
    )
    for record, host in zip(stage.certificates.all(), ("any.shop.test", "shop.test", "www.shop.test"), strict=True):
        assert "Pebble" in record.issuer and record.source == "issued"
        if host != "any.shop.test":
            der = await deferToThread(shown_for, stage, host)
            assert ssl.DER_cert_to_PEM_cert(der) == record.chain[: record.chain.index("-----END") + 26]
