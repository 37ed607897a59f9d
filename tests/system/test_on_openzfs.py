"""A whole node on a machine of today: OpenZFS through its library, containers of a current LXC, control groups v2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.cluster import PATIENCE_S, Lab
from hybrid.lab.visitor import Unanswered, visit
from hybrid.storage.lzc import unavailable

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
SITE = "shop"


@pytest.fixture
def lab() -> Iterator[Lab]:
    """One node that serves a static site."""
    if not Path("/dev/zfs").exists() or unavailable():
        pytest.skip(unavailable() or "no OpenZFS module here: there is no /dev/zfs")
    with Lab(nodes=1, image_dir=IMAGES) as lab:
        lab.up()
        lab.deploy(SITE, "static", "n1")
        yield lab


def page(lab: Lab) -> str:
    """What a visitor sees; empty while nothing answers."""
    try:
        return visit(lab.first.address, f"{SITE}.hybrid.test", "/page.txt")
    except Unanswered:
        return ""


def write(lab: Lab, text: str) -> str:
    """What a request does, and the guid of a snapshot taken afterwards."""
    api = lab.api("n1")
    api.execute(SITE, ["sh", "-c", "cat > /srv/www/page.txt && sync"], text)
    return str(api.call("POST", f"/sites/{SITE}/snapshots", {}, 60.0)["guid"])


def test_from_an_empty_disk_to_a_page_and_through_a_power_cut(lab: Lab) -> None:
    """Made, started, served, taken back to a moment, cut off, started again: what was written is served."""
    before = write(lab, "before")
    write(lab, "after")
    assert page(lab) == "after"
    lab.api("n1").perform(f"/sites/{SITE}/rollback", {"to": before}, PATIENCE_S)
    lab.wait(lambda: page(lab) == "before", "the moment is back", PATIENCE_S)
    lab.first.kill()
    lab.start("n1")
    lab.wait(lambda: page(lab) == "before", "it is served again", PATIENCE_S)
    assert lab.first.pids("zfs-fuse") == []
