"""
A cluster of fakes served over TLS on loopback, as a process of its own: what the command line is tested against.

Run by the fixtures of `conftest.py`: `python serve.py DIRECTORY` writes `DIRECTORY/admin.json` once it listens. Lines
on standard input steer it: `gate` makes long calls wait, `open` lets them go on, `fail` makes them fail, `die n3`.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor, stdio
from twisted.internet.defer import Deferred
from twisted.protocols.basic import LineReceiver

from hybrid.api.service import ApiService
from hybrid.cluster.founding import create_cluster
from hybrid.deeds import TransferSeen
from hybrid.errors import OutOfSpace

FAKES = Path(__file__).parents[1] / "api" / "conftest.py"


def fakes() -> Any:
    """The fakes of the API's own tests."""
    spec = importlib.util.spec_from_file_location("api_fakes", FAKES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_fakes"] = module
    spec.loader.exec_module(module)
    return module


class Steering(LineReceiver):
    """Commands of the test."""

    delimiter = b"\n"

    def __init__(self, cluster: Any, names: dict[str, str]) -> None:
        self.cluster, self.names = cluster, names

    def lineReceived(self, line: bytes) -> None:
        """One command; answered with `ok`."""
        hosting, words = self.cluster.n1.hosting, line.decode().split()
        if words[0] == "gate":
            hosting.gate = Deferred()
        elif words[0] == "open":
            gate, hosting.gate = hosting.gate, None
            gate.callback(None)
        elif words[0] == "move":
            self._move()
        elif words[0] == "fail":
            hosting.fail = OutOfSpace("the pool is full", "0 bytes are free", "delete something")
        elif words[0] == "die":
            self.cluster.world.live.discard({name: node for node, name in self.names.items()}[words[1]])
            self.cluster.n1.api.follow(self.cluster.world.view(self.cluster.n1.id))
        self.sendLine(b"ok")

    def _move(self) -> None:
        """Half of what `blog` is has come."""
        moving = TransferSeen(
            way="copy",
            dataset=f"sites/{self.cluster.blog}",
            node=self.cluster.n1.id,
            bytes=512 << 20,
            size_bytes=1 << 30,
            bytes_per_s=64 << 20,
            seconds=8.0,
            left_s=8.0,
        )
        self.cluster.n1.hosting.transferring.append(moving)


def main(directory: Path) -> None:
    """Serve until standard input ends."""
    module = fakes()
    cluster = module.Cluster()
    identity = create_cluster(directory, "n1", "127.0.0.1", time.time())
    n1, numbers = cluster.n1, itertools.count(2)
    n1.api = ApiService(
        reactor,  # type: ignore[arg-type]  # the module is the reactor
        n1.id,
        "n1",
        0,
        identity.api_options(),
        n1.hosting,
        n1.peers,
        cluster.shared,
        n1.store,
        module.FakeJoinTokens(),
        module.FakeImages(),
        lambda node, by, force: None,
        cluster,
        cluster.away,
        n1.groups,
        n1.dns,
        n1.certificates,
        n1.issuing,
        n1.placing,
        wall_s=lambda: float(module.NOW_S),
        random=lambda count: next(numbers).to_bytes(count, "big"),
        interface="127.0.0.1",
    )
    n1.api.startService()
    n1.api.follow(cluster.world.view(n1.id))
    stdio.StandardIO(Steering(cluster, module.NAMES))

    def tell() -> None:
        urls = ["https://127.0.0.1:1", f"https://127.0.0.1:{n1.api.listening_port()}"]
        ca = identity.root.public_bytes(Encoding.PEM).decode()
        (directory / "admin.json").write_text(json.dumps({"urls": urls, "token": cluster.token, "ca": ca}))
        print("listening", flush=True)

    reactor.callLater(0, tell)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
