"""
Applications that come with the platform on a real cluster: each made by one command, written to through a node that
does not own it, and back with its data when its owner is killed.

ZFS, LXC and servers are real. One cluster for the whole file; the last test leaves one node dead. Minutes of work, and
of building images before: HYBRID_SERVICES=1, and HYBRID_APPLICATIONS="blog gems" for some of them.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import Unanswered, visit

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
APPLICATIONS = {
    "blog": ("wordpress", "mariadb"),
    "shop": ("django", "postgres"),
    "gems": ("ruby", ""),
    "knot": ("node", ""),
}
ONLY = os.environ.get("HYBRID_APPLICATIONS", "").split()
SITES = {site: images for site, images in APPLICATIONS.items() if not ONLY or site in ONLY}
GUESTBOOKS = [site for site in SITES if site != "blog"]


class Machine:
    """The command line of an administrator, who asks n2, and visitors of n2 and n3."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        found = json.loads((lab.first.state_dir / "admin.json").read_text())
        found["urls"] = [url.replace(lab.nodes["n1"].address, lab.nodes["n2"].address) for url in found["urls"]]
        self._credentials = folder / "admin.json"
        self._credentials.write_text(json.dumps(found))
        self._credentials.chmod(0o600)

    def __call__(self, *argv: str) -> Any:
        """What `hybrid …` answers as JSON; it must succeed."""
        command = [sys.executable, "-m", "hybrid.main", *argv, "--credentials", str(self._credentials)]
        ended = subprocess.run([*command, "--format", "json"], capture_output=True, timeout=600)
        assert ended.returncode == 0, (argv, ended.stdout[-500:], ended.stderr.decode()[-1500:])
        return json.loads(ended.stdout)

    def page(self, site: str, path: str, form: dict[str, str] | None = None, node: str = "n2") -> str:
        """What a site answers through a node; empty when it does not."""
        try:
            return visit(self.lab.nodes[node].address, f"{site}.hybrid.test", path, form)
        except Unanswered:
            return ""

    def post(self, title: str) -> None:
        """A new post in the blog, by WordPress's own interface for programs, as its administrator."""
        login = self("site", "credentials", "blog")
        content = {"post_title": title, "post_status": "publish", "post_content": "Hello."}
        body = xmlrpc.client.dumps((1, login["user"], login["password"], content), "wp.newPost")
        connection = http.client.HTTPConnection(self.lab.nodes["n3"].address, 80, timeout=60)
        connection.request(
            "POST", "/xmlrpc.php", body.encode(), {"Host": "blog.hybrid.test", "Content-Type": "text/xml"}
        )
        answer = connection.getresponse().read()
        connection.close()
        number, _ = xmlrpc.client.loads(answer)  # raises what it complains of
        assert str(number[0]).isdigit(), answer

    def says(self, site: str, path: str, text: str) -> bool:
        """Whether that is in a page of a site now."""
        return text in self.page(site, path)

    def is_safe(self, site: str) -> bool:
        """Whether other nodes hold all of it just now."""
        seen = self.lab.any_api().site(site)
        return bool(seen["safe_copies"] and seen["lag_s"] == 0.0)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Three nodes, and each application made by one command on n1."""
    if not os.environ.get("HYBRID_SERVICES"):
        pytest.skip("minutes of work: HYBRID_SERVICES=1")
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    needed = {image for both in SITES.values() for image in both if image}
    if missing := sorted(name for name in needed if not (IMAGES / f"{name}.tar").exists()):
        pytest.skip(f'no {", ".join(missing)} in {IMAGES}: make images IMAGE="{" ".join(missing)}"')
    with Lab(image_dir=IMAGES) as lab:
        lab.up()
        made = Machine(lab, tmp_path_factory.mktemp("admin"))
        for site, (image, database) in SITES.items():
            more = ["--with", database] if database else []
            made("site", "create", site, "--image", image, *more, "--node", "n1", "--timeout", "400s")
        yield made


def test_each_is_written_to_through_another_node(hybrid: Machine) -> None:
    """A post, and entries in guestbooks, made at nodes that own nothing of it and read at others."""
    lab = hybrid.lab
    if "blog" in SITES:
        lab.wait(functools.partial(hybrid.says, "blog", "/", "Hello world!"), "the blog is there, installed", 120)
        assert "wp-login" in hybrid.page("blog", "/wp-login.php")
        hybrid.post("First of ours")
        assert "First of ours" in hybrid.page("blog", "/")
    for site in GUESTBOOKS:
        lab.wait(functools.partial(hybrid.says, site, "/health", "ok"), f"{site} answers", 120)
        assert hybrid.page(site, "/append", {"id": "one", "text": "first"}, "n3").startswith("ok one 1")
        assert hybrid.page(site, "/list") == "one\n"


def test_all_come_back_when_their_owner_is_killed(hybrid: Machine) -> None:
    """Applications and databases go on together on other servers, with all that was safe there, and take more."""
    lab = hybrid.lab
    names = [*SITES, *(f"{site}-{database}" for site, (_, database) in SITES.items() if database)]
    for name in names:
        lab.wait(functools.partial(hybrid.is_safe, name), f"{name} is safe", 180)
    lab.nodes["n1"].kill()
    if "blog" in SITES:
        lab.wait(functools.partial(hybrid.says, "blog", "/", "First of ours"), "the blog is back with its post", 240)
        hybrid.post("Second of ours")
        assert "Second of ours" in hybrid.page("blog", "/", node="n3")
    for site in GUESTBOOKS:
        lab.wait(functools.partial(hybrid.says, site, "/list", "one"), f"{site} is back with its entry", 120)
        assert hybrid.page(site, "/append", {"id": "two", "text": "second"}).startswith("ok two 2")
