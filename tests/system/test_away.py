"""Two real clusters of one node each and an S3 server between them: one is lost, the other goes on with its site."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import visit
from tests.away.bucket import ACCESS, SECRET, serving

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
SITE, HOST = "hello", "hello.hybrid.test"


def add(lab: Lab, folder: Path, stack: ExitStack, **more: object) -> str:
    """Have a cluster know the store. Returns the recovery key."""
    address = str(lab.network.subnet[254])
    endpoint = f"http://{address}:{stack.enter_context(serving(folder, address))}"
    body = {"name": "vault", "endpoint": endpoint, "bucket": "copies", "access_key": ACCESS, "secret_key": SECRET}
    return str(lab.api("n1").call("POST", "/away", {**body, **more})["recovery_key"])


def test_a_cluster_is_lost_and_another_one_goes_on_with_its_site(tmp_path: Path) -> None:
    """What was written last before the loss is served by the other cluster, out of the store, under the same name."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    with ExitStack() as stack:
        lost = stack.enter_context(Lab(nodes=1, image_dir=IMAGES))
        lost.up()
        lost.deploy(SITE, "static", "n1")
        key = add(lost, tmp_path, stack)
        lost.api("n1").perform(f"/sites/{SITE}/away", {"store": "vault"})
        lost.api("n1").execute(SITE, ["sh", "-c", "cat > /srv/www/last.txt"], "written last")
        lost.api("n1").perform(f"/sites/{SITE}/away", {"store": "vault"})
        lost.nodes["n1"].kill()
        other = stack.enter_context(Lab(nodes=1, image_dir=IMAGES))
        other.up()
        add(other, tmp_path, stack, recovery_key=key)
        api = other.api("n1")
        listed = api.items("/away/vault/sites")
        assert [(one["name"], one["moments"]) for one in listed] == [(SITE, 2)]
        api.perform("/away/vault/restore", {"site": SITE})
        other.wait(lambda: api.site(SITE)["state"] == "serving", "served by the other cluster", 60)
        assert visit(other.nodes["n1"].address, HOST, "/last.txt") == "written last"
