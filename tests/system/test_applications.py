"""
Applications as their users have them, on two real nodes: made by one command, databases snapshotted with their
knowledge and read out of the past, and all of it back with its data when the owner's server is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import Unanswered, visit

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
NEEDED = ("php", "mariadb", "postgres")
HOST = "book.hybrid.test"


@dataclass
class Machine:
    """The command line of an administrator, who asks n2, and the lab."""

    lab: Lab
    credentials: Path

    def __call__(self, *argv: str) -> bytes:
        """What `hybrid …` printed; it must succeed."""
        command = [sys.executable, "-m", "hybrid.main", *argv, "--credentials", str(self.credentials)]
        ended = subprocess.run(command, capture_output=True, timeout=300)
        assert ended.returncode == 0, (argv, ended.stdout[-500:], ended.stderr.decode()[-1500:])
        return ended.stdout

    def json(self, *argv: str) -> Any:
        """The same as JSON."""
        return json.loads(self(*argv, "--format", "json"))

    def consistent(self, site: str) -> Any:
        """A snapshot that the application knows of; on a loaded machine a hook may miss its deadline now and then."""
        for _ in range(5):
            taken = self.json("snap", "create", site)
            if taken["kind"] == "consistent":
                return taken
        pytest.fail(f"the hooks of {site} do not work: {taken}")

    def page(self, path: str, form: dict[str, str] | None = None) -> str:
        """What the guestbook answers through n2; empty when it does not."""
        try:
            return visit(self.lab.nodes["n2"].address, HOST, path, form)
        except Unanswered:
            return ""


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Two nodes, and a guestbook with a database made by one command on n1."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    missing = [name for name in NEEDED if not (IMAGES / f"{name}.tar").exists()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {IMAGES}: make images")
    with Lab(nodes=2, image_dir=IMAGES) as lab:
        lab.up()
        found = json.loads((lab.first.state_dir / "admin.json").read_text())
        found["urls"] = [url.replace(lab.nodes["n1"].address, lab.nodes["n2"].address) for url in found["urls"]]
        credentials = tmp_path_factory.mktemp("admin") / "admin.json"
        credentials.write_text(json.dumps(found))
        credentials.chmod(0o600)
        made = Machine(lab, credentials)
        made("site", "create", "book", "--image", "php", "--with", "mariadb", "--node", "n1", "--timeout", "200s")
        lab.wait(lambda: made.page("/health") == "ok 0\n", "the guestbook answers through n2", 60)
        yield made


def test_the_database_knows_of_its_snapshots(hybrid: Machine, tmp_path: Path) -> None:
    """One taken by hand is between the hooks, writers go on, and a table is read out of it as it was then."""
    assert hybrid.page("/append", {"id": "one", "text": "first"}).startswith("ok one 1 ")
    taken = hybrid.consistent("book-mariadb")
    assert hybrid.page("/append", {"id": "two", "text": "second"}).startswith("ok two 2 ")
    login = hybrid.json("site", "credentials", "book-mariadb")
    assert login["user"] == login["database"] == "book-mariadb"
    assert login["password"] not in hybrid("site", "show", "book", "--format", "json").decode()
    hybrid("snap", "extract", "book-mariadb", taken["guid"], "table", "table=entry", "-o", str(tmp_path / "entry.sql"))
    text = (tmp_path / "entry.sql").read_text()
    assert "first" in text
    assert "second" not in text


def test_postgres_knows_too(hybrid: Machine, tmp_path: Path) -> None:
    """The same with PostgreSQL, which is a site of its own here."""
    hybrid("site", "create", "ledger", "--image", "postgres", "--node", "n1", "--timeout", "200s")

    def sql(text: str) -> str:
        return hybrid.lab.api("n1").execute("ledger", ["su", "postgres", "-c", "psql -qtA ledger"], text)

    sql("CREATE TABLE bill (item text); INSERT INTO bill VALUES ('tea');")
    taken = hybrid.consistent("ledger")
    sql("DROP TABLE bill;")
    hybrid("snap", "extract", "ledger", taken["guid"], "table", "table=bill", "-o", str(tmp_path / "bill.sql"))
    assert "tea" in (tmp_path / "bill.sql").read_text()


def test_all_of_it_comes_back_when_its_server_is_gone(hybrid: Machine) -> None:
    """Website and database go on together on the other server, with everything that was safe there."""
    lab = hybrid.lab
    names = ("book", "book-mariadb")
    lab.wait(
        lambda: (
            all(lab.api("n2").site(name)["safe_copies"] == 1 for name in names)
            and all(lab.api("n2").site(name)["lag_s"] == 0 for name in names)
        ),
        "both are safe on n2",
        120,
    )
    lab.nodes["n1"].kill()
    lab.wait(lambda: hybrid.page("/list") == "one\ntwo\n", "the guestbook is back with its entries", 120)
    assert hybrid.page("/append", {"id": "three", "text": "third"}).startswith("ok three 3 ")
