"""
A real cluster of two nodes: sites that sleep and are woken, and FTP and UDP while their site moves and its owner dies.

ZFS, LXC, sockets, servers and clients are real. One cluster for the whole file; the last test leaves one node dead.
"""

from __future__ import annotations

import ftplib
import functools
import importlib.util
import io
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import visit
from tests.system import pythonimage

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
PATIENCE_S = 60.0
GAME = 27015
MANIFEST = f"""
name = "files"
init = ["/sbin/hybrid-init"]

[[ports]]
name = "http"
port = 80

[[ports]]
name = "files"
port = 21
protocol = "ftp"

[[ports]]
name = "game"
port = 9000
protocol = "udp"
public_port = {GAME}
"""
FTP = """
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("ann", "secret", "/srv/www", perm="elradfmw")
FTPServer(("0.0.0.0", 21), FTPHandler).serve_forever()
"""
UDP = """
import socket

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 9000))
while True:
    said, client = server.recvfrom(65535)
    server.sendto(said.upper(), client)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes; both sites are on n1, their histories on the other."""
    if not os.environ.get("HYBRID_SERVICES"):
        pytest.skip("minutes of work: HYBRID_SERVICES=1")
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    folder = tmp_path_factory.mktemp("images")
    for kind in ("tar", "toml"):
        shutil.copy(IMAGES / f"static.{kind}", folder)  # nodes see this folder in the place of the other one
    found = importlib.util.find_spec("pyftpdlib")
    assert found is not None and found.origin is not None, "make setup"
    modules = Path(found.origin).parent
    pythonimage.build(IMAGES / "static.tar", folder, "files", MANIFEST, {"ftp": FTP, "udp": UDP}, modules)
    with Lab(2, image_dir=folder) as lab:
        lab.up()
        lab.deploy("hello", "static", "n1")
        lab.deploy("files", "files", "n1")
        yield lab


def login(lab: Lab, node: str) -> ftplib.FTP_TLS:
    """At the FTP server of the site, through `node`, under TLS."""
    client = ftplib.FTP_TLS(timeout=PATIENCE_S)
    client.connect(lab.nodes[node].address)
    client.login("ann@files", "secret")
    client.prot_p()
    return client


def stored(client: ftplib.FTP, name: str) -> bytes:
    """A file of the site."""
    found = io.BytesIO()
    client.retrbinary(f"RETR {name}", found.write)
    return found.getvalue()


class Player:
    """Sends a datagram through one node ten times a second; remembers how long it went without an answer."""

    def __init__(self, lab: Lab, node: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((lab.nodes[node].address, GAME))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self.answers, self.longest_s = 0, 0.0

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _play(self) -> None:
        number, answered_s = 0, time.monotonic()
        while not self._over.is_set():
            number += 1
            if self._asked(f"ping {number}"):
                answered_s, self.answers = time.monotonic(), self.answers + 1
                self._over.wait(0.1)
            self.longest_s = max(self.longest_s, time.monotonic() - answered_s)

    def _asked(self, text: str) -> bool:
        """Whether it was answered; answers to earlier ones are not."""
        try:
            self._socket.send(text.encode())
            while self._socket.recv(2000) != text.upper().encode():
                pass
        except OSError:
            return False
        return True


def state(lab: Lab, site: str) -> str:
    """As n2 sees it."""
    return str(lab.api("n2").site(site)["state"])


def started_within_s(lab: Lab) -> list[float]:
    """What n1 says of each start of a site that slept, oldest first."""
    texts = [event["text"] for event in lab.api("n1").items("/events") if event["kind"] == "awake"]
    return [float(found[1]) for text in texts if (found := re.search(r"started within ([0-9.]+) s", text))]


def test_the_access_log_is_a_file_of_the_site(lab: Lab) -> None:
    """What was asked through any node is in it within seconds, written as the site's own user."""
    lab.api("n2").call("PATCH", "/sites/hello/http", {"log": "combined"})
    lab.wait(lambda: lab.api("n1").call("GET", "/sites/hello/http")["log"] == "combined", "n1 knows of it", 30)

    def logged() -> bool:
        for node in lab.nodes.values():
            visit(node.address, "hello.hybrid.test", f"/?through={node.name}")
        found = lab.api("n1").execute("hello", ["sh", "-c", "cat /var/log/hybrid/access.log || true"])
        return all(f'"GET /?through={node} HTTP/1.1" 200 ' in found for node in lab.nodes)

    lab.wait(logged, "the requests are in the log", PATIENCE_S)
    assert lab.api("n1").execute("hello", ["stat", "-c", "%u:%g", "/var/log/hybrid/access.log"]) == "0:0\n"


def test_sites_sleep_and_are_woken_by_whatever_comes(lab: Lab) -> None:
    """By a request and by a datagram at a node that does not own them, within a moment; none of it is lost."""
    for site in ("hello", "files"):
        lab.api("n2").call("PATCH", f"/sites/{site}", {"sleep_after_s": 10})
    for site in ("hello", "files"):
        lab.wait(functools.partial(lambda site: state(lab, site) == "asleep", site), f"{site} sleeps", 120)
    shut = lambda: not lab.nodes["n1"].shell(["pgrep", "-f", "/sbin/hybrid-init"]).stdout.strip()  # noqa: E731
    lab.wait(shut, "both containers are stopped", 60)
    began_s = time.monotonic()
    assert "It serves" in visit(lab.nodes["n2"].address, "hello.hybrid.test")
    took_s = time.monotonic() - began_s
    with Player(lab, "n2") as player:
        lab.wait(lambda: player.answers > 0, "the game answers", PATIENCE_S)
    print(f"a request at another node was answered after {took_s:.2f} s, datagrams after {player.longest_s:.2f} s")
    print(f"the containers were started within {started_within_s(lab)} s")
    assert took_s < 10.0 and len(started_within_s(lab)) == 2
    for site in ("hello", "files"):
        lab.api("n2").call("PATCH", f"/sites/{site}", {"sleep_after_s": 0})
        assert state(lab, site) == "serving"


def test_ftp_and_udp_while_their_site_moves(lab: Lab) -> None:
    """Who is logged in is told in the protocol's words, logs in again and finds the file; datagrams find their way."""
    client = login(lab, "n2")
    client.storbinary("STOR kept", io.BytesIO(b"line\n" * 100_000))
    with Player(lab, "n2") as player:
        lab.wait(lambda: player.answers > 0, "the game answers", PATIENCE_S)
        lab.any_api().perform("/sites/files/move", {"to": "n2"}, 90.0)
        before = player.answers
        lab.wait(lambda: player.answers > before, "the game goes on", PATIENCE_S)
    assert client.getline().startswith("421 ")
    for node in lab.nodes:
        assert stored(login(lab, node), "kept") == b"line\n" * 100_000
    lab.any_api().perform("/sites/files/move", {"to": "n1"}, 90.0)


def test_ftp_and_udp_when_the_owner_is_killed(lab: Lab) -> None:
    """The same without anybody's wish: what was stored and is safe is there, through the node that is left."""
    client = login(lab, "n2")
    client.storbinary("STOR kept", io.BytesIO(b"newer\n" * 100_000))
    lab.wait(lambda: lab.api("n2").site("files")["lag_s"] == 0.0, "what was stored is safe", 120)
    with Player(lab, "n2") as player:
        lab.wait(lambda: player.answers > 0, "the game answers", PATIENCE_S)
        lab.nodes["n1"].kill()
        assert client.getline().startswith("421 ")
        lab.wait(lambda: state(lab, "files") == "serving", "n2 took it over", 60)
        before = player.answers
        lab.wait(lambda: player.answers > before, "the game goes on", PATIENCE_S)
    print(f"datagrams were not answered for {player.longest_s:.1f} s")
    assert stored(login(lab, "n2"), "kept") == b"newer\n" * 100_000
