"""
Copies that are proven, staging copies, and snapshots that an application knows of: on real ZFS, LXC and nodes.

One cluster of two nodes for the whole file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.client import ApiError
from hybrid.lab.cluster import PATIENCE_S, Lab
from hybrid.lab.visitor import Unanswered, visit

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
CARE = """
[health]
path = "/index.html"
within_s = 8.0

[hooks]
before = ["sh", "-c", "echo locked > /srv/www/lock.txt"]
after = ["rm", "-f", "/srv/www/lock.txt"]
deadline_s = 10.0
"""
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes with a static site on n1 and its copy on n2."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    images = tmp_path_factory.mktemp("images")
    shutil.copy(IMAGES / "static.tar", images)
    (images / "static.toml").write_text((IMAGES / "static.toml").read_text() + CARE)
    with Lab(nodes=2, image_dir=images) as lab:
        lab.up()
        lab.deploy("shop", "static", "n1")
        lab.wait(lambda: lab.api("n1").site("shop")["safe_copies"] == 1, "its copy is there", PATIENCE_S)
        yield lab


def page(lab: Lab, host: str) -> str:
    """What a visitor of n2 sees; empty while nothing answers."""
    try:
        return visit(lab.nodes["n2"].address, f"{host}.hybrid.test", "/page.txt")
    except Unanswered:
        return ""


def write(lab: Lab, site: str, text: str) -> None:
    """What a request does."""
    lab.api("n1").execute(site, ["sh", "-c", "cat > /srv/www/page.txt && sync"], text)


def lines(lab: Lab, node: str, command: list[str]) -> list[list[str]]:
    """What a command on a node prints, in words."""
    return [line.split() for line in lab.nodes[node].shell(command).stdout.decode().splitlines()]


def datasets(lab: Lab, node: str) -> dict[str, str]:
    """Name and origin of all there is on a node's pool."""
    return {name: origin for name, origin in lines(lab, node, ["zfs", "list", "-H", "-o", "name,origin"])}


def test_a_copy_is_proven_where_it_lies(lab: Lab) -> None:
    """Started on the other node, without network, it answers; both nodes say so, and nothing of it is left."""
    ended = lab.api("n1").perform("/sites/shop/verify", {}, PATIENCE_S)
    assert (ended["result"]["outcome"], ended["node"]) == ("good", "n2")
    lab.wait(lambda: lab.api("n1").site("shop")["proof"] is not None, "n1 knows of it", PATIENCE_S)
    assert lab.api("n1").site("shop")["proof"]["outcome"] == "good"
    assert [name for name in datasets(lab, "n2") if "temporary/" in name and not name.endswith("/probe")] == []
    assert lab.api("n1").site("shop")["state"] == "serving"


def test_a_copy_that_does_not_work_is_found(lab: Lab) -> None:
    """A site whose pages the server refuses to start with: its copy fails, with the reason, and is told as an event."""
    broken = ["sh", "-c", "mv /etc/hybrid/services/http /etc/hybrid/http && sync"]
    lab.api("n1").execute("shop", broken)
    lab.api("n1").call("POST", "/sites/shop/snapshots", {})
    lab.wait(lambda: lab.api("n1").site("shop")["safe_copies"] == 1, "the copy has it", PATIENCE_S)
    with pytest.raises(ApiError, match="not proven"):
        lab.api("n1").perform("/sites/shop/verify", {}, PATIENCE_S)

    def told(node: str) -> list[str]:
        events = lab.api(node).items("/events?limit=1000")
        return [event["text"] for event in events if event["kind"] == "proof-failed"]

    lab.wait(lambda: bool(told("n1") and told("n2")), "both nodes tell of it", PATIENCE_S)
    assert [len(told(node)) for node in lab.nodes] == [1, 1]
    assert "port 80" in told("n1")[0]
    lab.api("n1").execute("shop", ["sh", "-c", "mv /etc/hybrid/http /etc/hybrid/services/http && sync"])


def test_a_snapshot_that_the_application_knows_of(lab: Lab) -> None:
    """It holds what the hook before it wrote; the hook after it has undone that by the time the call returns."""
    taken = lab.api("n2").call("POST", "/sites/shop/snapshots", {}, 60.0)
    assert taken["kind"] == "consistent"
    path = f"/sites/shop/files?snapshot={taken['guid']}&path=/srv/www/lock.txt"
    assert lab.api("n1").fetch("GET", path, deadline_s=60.0) == b"locked\n"
    assert lab.api("n1").execute("shop", ["ls", "/srv/www"]).split().count("lock.txt") == 0
    listed = lab.api("n1").items("/sites/shop/snapshots")
    assert next(one for one in listed if one["guid"] == taken["guid"])["kind"] == "consistent"


def test_a_staging_copy_in_seconds_and_detached_later(lab: Lab) -> None:
    """It has its own pages from then on, is thin on both nodes, and afterwards shares nothing on either."""
    write(lab, "shop", "live")
    took_s = lab.api("n1").perform("/sites/shop/clone", {"name": "staging"}, PATIENCE_S)["seconds"]
    assert took_s < 20
    lab.wait(lambda: page(lab, "staging") == "live", "staging is served", PATIENCE_S)
    write(lab, "staging", "tried out")
    assert (page(lab, "staging"), page(lab, "shop")) == ("tried out", "live")
    lab.wait(lambda: lab.api("n1").site("staging")["safe_copies"] == 1, "its copy is there", PATIENCE_S)
    staging, shop = lab.api("n1").site("staging")["id"], lab.api("n1").site("shop")["id"]
    for node in lab.nodes:
        found = datasets(lab, node)
        base = next(origin for name, origin in found.items() if name.endswith(f"/sites/{staging}")).partition("@")[0]
        assert f"/sites/{shop}@" in found[base], node
    before = lab.api("n1").call("POST", "/sites/shop/snapshots", {}, 60.0)["guid"]
    write(lab, "shop", "newer")
    lab.api("n1").perform("/sites/shop/rollback", {"to": before}, PATIENCE_S)
    lab.wait(lambda: page(lab, "shop") == "live", "the shop goes back while staging is served", PATIENCE_S)
    lab.api("n1").perform("/sites/staging/detach", {}, PATIENCE_S)

    def apart(node: str) -> bool:
        found = datasets(lab, node)
        mine = [(name, origin) for name, origin in found.items() if staging in name]
        return [origin for _, origin in mine] == ["-"]

    lab.wait(lambda: apart("n1") and apart("n2"), "nothing is shared on either node", PATIENCE_S)
    assert (page(lab, "staging"), page(lab, "shop")) == ("tried out", "live")
    write(lab, "staging", "alone")
    lab.wait(lambda: lab.api("n1").site("staging")["safe_copies"] == 1, "replication goes on", PATIENCE_S)


def test_two_sites_go_back_in_time_together(lab: Lab) -> None:
    """A website and its database, made on different nodes: they gather, share instants, and roll back as one."""
    api = lab.api("n1")
    api.perform("/sites", {"name": "db", "image": "static", "node": "n2"}, PATIENCE_S)
    lab.wait(lambda: api.site("db")["state"] == "serving", "db is serving", PATIENCE_S)
    api.call("POST", "/groups", {"name": "app", "sites": ["shop", "db"], "every_s": 0})
    lab.wait(
        lambda: api.items("/groups")[0]["together"] and api.site("db")["state"] == "serving", "together", PATIENCE_S
    )
    for site in ("shop", "db"):
        write(lab, site, "before")
    moment = lab.api("n2").call("POST", "/groups/app/snapshots", {}, 60.0)
    assert moment["kind"] == "consistent group"
    for site in ("shop", "db"):
        write(lab, site, "after")
    api.perform("/groups/app/rollback", {"to": moment["name"]}, PATIENCE_S)
    lab.wait(lambda: (page(lab, "shop"), page(lab, "db")) == ("before", "before"), "both are back", PATIENCE_S)
    api.perform("/groups/app/undo", {}, PATIENCE_S)
    lab.wait(lambda: (page(lab, "shop"), page(lab, "db")) == ("after", "after"), "both are forth", PATIENCE_S)
