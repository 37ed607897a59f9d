"""A real node with many sites is drained while people use them: no request is lost, and nothing stays behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybrid.lab.cluster import PATIENCE_S, ZONE, Lab
from hybrid.lab.probes import HttpProbe, probing

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
COUNT = int(os.environ.get("HYBRID_DRAINED", "6"))
"""Sites on the node; 20 take a minute more."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Two nodes, all sites on the first."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"there is no image in {IMAGES}: make images")
    with Lab(nodes=2, image_dir=IMAGES) as lab:
        lab.up()
        lab.deploy("site0", "static", "n1")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: create(lab, number), range(1, COUNT)))
        lab.wait(lambda: all(copied(site) for site in lab.api("n1").items("/sites")), "all are served", PATIENCE_S)
        yield lab


def create(lab: Lab, number: int) -> None:
    """A site on the first node."""
    lab.api("n1").perform("/sites", {"name": f"site{number}", "image": "static", "node": "n1"}, PATIENCE_S)


def copied(site: dict[str, object]) -> bool:
    """Whether the other node holds it too."""
    return (site["state"], site["safe_copies"]) == ("serving", 1)


def test_a_node_is_drained_in_use_and_no_request_is_lost(lab: Lab) -> None:
    """Each site is asked for through both nodes all the time; some wait for a second or two."""
    planned = lab.api("n2").call("GET", "/nodes/n1/drain")
    assert len(planned["sites"]) == COUNT
    assert planned["stuck"] == []
    doors = [node.address for node in lab.nodes.values()]
    probes = [HttpProbe(doors[number % 2], f"site{number}.{ZONE}", "/", 0.25, 60.0) for number in range(COUNT)]
    with probing(probes):
        ended = lab.api("n2").perform("/nodes/n1/drain", {}, PATIENCE_S)
    assert ended["result"] == {"moved": COUNT}
    heard = [one for probe in probes for one in probe.heard]
    assert [one.why for one in heard if not one.ok] == []
    assert len(heard) > COUNT
    owners = {site["owner"] for site in lab.api("n2").items("/sites")}
    assert owners == {"n2"}
    assert lab.api("n1").call("GET", "/nodes/n1")["draining"] is True
