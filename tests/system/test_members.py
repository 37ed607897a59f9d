"""
Who is a member, on real nodes: one is removed for good, and a disk is cloned.

One cluster of three nodes without sites for the whole file; the tests go on where the one before ended.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.client import ApiError
from hybrid.lab.cluster import Lab

pytestmark = [pytest.mark.cluster, pytest.mark.zfs]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if shutil.which("zfs-fuse") is None and not Path("/dev/zfs").exists():
        pytest.skip("no ZFS here")
    with Lab() as lab:
        lab.up()
        yield lab


def names(lab: Lab, node: str) -> set[str]:
    """The nodes that a node knows."""
    return {entry["name"] for entry in lab.api(node).items("/nodes")}


def findings(lab: Lab, node: str) -> str:
    """What the status of a node complains of."""
    return "; ".join(lab.api(node).call("GET", "/status")["findings"])


def test_a_removed_node_is_kept_out_and_told_why(lab: Lab) -> None:
    """Its links end, the others forget it, and its own log says what happened; also after it was started again."""
    with pytest.raises(ApiError, match="cannot remove itself"):
        lab.api("n1").fetch("DELETE", "/nodes/n1")
    lab.api("n1").fetch("DELETE", "/nodes/n3")
    lab.wait(lambda: names(lab, "n1") == names(lab, "n2") == {"n1", "n2"}, "n3 is forgotten", 30)
    removed = lab.nodes["n3"]
    lab.wait(lambda: "keeps this node out: " in removed.log.read_text(errors="replace"), "n3 was told", 30)
    assert "n3 was removed from this cluster by admin-n1 at n1" in removed.log.read_text(errors="replace")
    removed.stop()
    removed.log.write_text("")
    lab.start("n3")
    lab.wait(lambda: "keeps this node out: " in removed.log.read_text(errors="replace"), "n3 was told again", 30)
    assert names(lab, "n1") == names(lab, "n2") == {"n1", "n2"}


def test_a_cloned_disk_is_noticed_on_both_sides(lab: Lab) -> None:
    """A second node with the key of n2: both say so, and the one that started first claims nothing more."""
    original, clone = lab.nodes["n2"], lab.nodes["n3"]
    clone.stop()
    for name in ("node.key", "node.crt", "issuers.crt", "cluster.json"):
        shutil.copy(original.state_dir / name, clone.state_dir / name)
    lab.start("n3")
    lab.wait(lambda: "second node with this node's key" in findings(lab, "n2"), "n2 knows of its clone", 60)
    assert "claims no more sites" in findings(lab, "n2")
    lab.wait(lambda: f"{original.address} is a second node" in findings(lab, "n1"), "n1 shows what the clone says", 60)
