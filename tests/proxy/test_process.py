"""The process `hybrid proxy`: it follows the feed, is no longer root, and outlives the node process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.utils import getProcessOutputAndValue

from hybrid.cluster.founding import create_cluster
from hybrid.cluster.identity import Identity
from hybrid.feed import FeedServer
from hybrid.feed import Reactor as FeedReactor
from hybrid.model import Claim, Fact, SiteId, SiteSpec, Version
from hybrid.privileges import drop_root
from hybrid.view import SiteState, SiteView, View

SHOP = SiteId("s-shop")
CODE = "import sys; from hybrid_proxy.main import main; sys.exit(main(sys.argv[1:]))"


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A proxy process and the feed it follows."""

    def __init__(self, where: Path) -> None:
        where.chmod(0o755)
        self.where, self.port, self.facts = where, free_port(), list[Fact]()
        self.identity: Identity = create_cluster(where / "state", "one", "127.0.0.1", time.time())
        (where / "hybrid.toml").write_text(
            f'name = "one"\naddress = "127.0.0.1"\nstate_dir = "{where}/state"\nrun_dir = "{where}/run"\n'
            f"http_port = {self.port}\nhttps_port = {free_port()}\ninterior_port = {free_port()}\n"
        )
        self.feed = self.new_feed()
        argv = [sys.executable, "-c", CODE, "--config", str(where / "hybrid.toml")]
        with (where / "log").open("wb") as log:
            self.process = subprocess.Popen(argv, stderr=log)

    def new_feed(self) -> FeedServer:
        """The node's end, as after a restart of the node process."""
        feed = FeedServer(cast(FeedReactor, reactor), str(self.where / "run" / "view.sock"), self.facts.append)
        feed.startService()
        return feed

    def view(self, state: SiteState) -> View:
        """A site that is `stopped` or `unavailable`."""
        spec = SiteSpec(id=SHOP, version=Version(1, 1), name="x", domains=("shop.test",), image="x@1", number=1)
        site = SiteView(spec=spec, state=state, owner=None, claim=Claim(1, self.identity.node))
        return View(me=self.identity.node, serial=1, zones=("test",), nodes={}, sites={SHOP: site})

    async def get(self) -> tuple[int, str]:
        """Status and body of the site's page, as soon as the door is open."""
        argv = ["-s", "-w", "%{http_code}", "-H", "Host: shop.test", f"http://127.0.0.1:{self.port}/"]
        for _ in range(200):
            out, _, status = await getProcessOutputAndValue("curl", argv, dict(os.environ))
            if status == 0:
                return int(out[-3:]), out[:-3].decode()
            await _pause(0.05)
        raise AssertionError((self.where / "log").read_text())

    def close(self) -> None:
        """End the process and the feed."""
        self.process.kill()
        self.process.wait(10)
        stopping = self.feed.stopService()
        pytest_twisted.blockon(stopping)


@pytest.fixture
def running() -> Iterator[Running]:
    """A running proxy, in a folder that ordinary users may enter."""
    with tempfile.TemporaryDirectory(prefix="hyb-proxy-") as where:
        running = Running(Path(where))
        yield running
        running.close()


@pytest_twisted.ensureDeferred
async def test_it_follows_the_node_and_outlives_it(running: Running) -> None:
    """Pages follow the view; while the node process is away the last view holds; SIGTERM ends it cleanly."""
    running.feed.follow(running.view("stopped"))
    status, page = await running.get()
    assert status == 503 and "switched off" in page
    await running.feed.stopService()
    assert (await running.get())[0] == 503
    running.feed = running.new_feed()
    running.feed.follow(running.view("unavailable"))
    while "switched off" in (await running.get())[1]:
        await _pause(0.05)
    running.process.send_signal(signal.SIGTERM)
    while running.process.poll() is None:
        await _pause(0.05)
    assert running.process.returncode == 0, (running.where / "log").read_text()
    assert b"Traceback" not in (running.where / "log").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give root away")
def test_it_stays_root_rather_than_lose_the_node(tmp_path: Path) -> None:
    """Where an ordinary user could not reach the feed, it says so and serves on as it is."""
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(PermissionError):
        drop_root((tmp_path / "run",))
    assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give root away")
def test_it_is_not_root_any_more() -> None:
    """It becomes an ordinary user that may bind low ports and nothing else."""
    code = "from hybrid.privileges import drop_root; drop_root(()); print(open('/proc/self/status').read())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    status = dict(line.split(":", 1) for line in ended.stdout.splitlines() if line)
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 1 << 10


def _pause(seconds: float) -> Deferred[None]:
    pause: Deferred[None] = Deferred()
    cast(IReactorTime, reactor).callLater(seconds, pause.callback, None)
    return pause
