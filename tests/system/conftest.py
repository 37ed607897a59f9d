"""A lab of plain namespaces for the tests of the lab itself; every test leaves the machine as it found it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab import claimed
from hybrid.lab.leftovers import remove_lab
from hybrid.lab.network import Network
from hybrid.lab.node import Node

SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[2].encode())
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer((sys.argv[1], 80), Answer).serve_forever()
"""


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A claimed name; everything under it is removed afterwards."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    name = claimed.claim_name()
    yield name
    remove_lab(name)


@pytest.fixture
def nodes(lab_name: str, tmp_path: Path) -> Iterator[dict[str, Node]]:
    """Nodes n1, n2, n3 (not started) on a switch; `nodes["n1"].network` is the switch."""
    if shutil.which("nft") is None or shutil.which("ip") is None:
        pytest.skip("needs nftables and iproute2")
    network = Network(lab_name, ["n1", "n2", "n3"])
    with claimed.exclusive():
        network.build()
    made = {name: Node(network, name, "dc", tmp_path / name) for name in network.nodes}
    yield made
    for node in made.values():
        node.kill()
        node.clean()


@pytest.fixture
def serve() -> list[str]:
    """Arguments of a first process that answers HTTP with the name given after them: `[*serve, address, name]`."""
    return [sys.executable, "-c", SERVER]
