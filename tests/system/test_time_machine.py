"""
The time machine as its users have it: the `hybrid` command against two real nodes, real ZFS, real containers.

One cluster for the whole file; each test makes files of its own.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import Unanswered, visit

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
SITE, HOST = "hello", "hello.hybrid.test"


@dataclass
class Machine:
    """The command line of an administrator, and the lab it talks to."""

    lab: Lab
    credentials: Path

    def __call__(self, *argv: str, code: int = 0) -> bytes:
        """What `hybrid …` printed; it must end with `code`."""
        command = [sys.executable, "-m", "hybrid.main", *argv, "--credentials", str(self.credentials)]
        ended = subprocess.run(command, capture_output=True, timeout=180)
        assert ended.returncode == code, (argv, ended.returncode, ended.stdout[-500:], ended.stderr.decode()[-1500:])
        return ended.stdout

    def json(self, *argv: str) -> Any:
        """The same as JSON."""
        return json.loads(self(*argv, "--format", "json"))

    def sh(self, script: str) -> str:
        """What a shell in the site's container printed."""
        return self.lab.api("n1").execute(SITE, ["sh", "-c", script])

    def moment(self) -> str:
        """A snapshot of now."""
        return str(self.json("snap", "create", SITE)["guid"])


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Two nodes, a static site on n1 with its history on n2; the command talks to n2."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    with Lab(nodes=2, image_dir=IMAGES) as lab:
        lab.up()
        lab.deploy(SITE, "static", "n1")
        lab.wait(lambda: lab.api("n1").site(SITE)["safe_copies"] == 1, "the copy is there", 60)
        found = json.loads((lab.first.state_dir / "admin.json").read_text())
        found["urls"] = [url.replace(lab.nodes["n1"].address, lab.nodes["n2"].address) for url in found["urls"]]
        credentials = tmp_path_factory.mktemp("admin") / "admin.json"
        credentials.write_text(json.dumps(found))
        credentials.chmod(0o600)
        yield Machine(lab, credentials)


def leftovers(hybrid: Machine, node: str) -> list[str]:
    """Datasets of a node that are there for a while, but for windows that may be looked through again and the probe."""
    listed = hybrid.lab.nodes[node].shell(["zfs", "list", "-H", "-o", "name", "-r", hybrid.lab.nodes[node].pool])
    names = [line.partition("/temporary/")[2] for line in listed.stdout.decode().splitlines()]
    return [name for name in names if name and not name.startswith(("look-", "probe"))]


def test_browse_download_and_odd_names(hybrid: Machine, tmp_path: Path) -> None:
    """A folder is listed page by page, a file comes byte for byte, a folder as tar and zip; through any node."""
    hybrid.sh(
        "mkdir -p /srv/a/b && cd /srv/a && seq 200000 > big && echo 1 > b/one && ln -s /etc/passwd out && mkfifo pipe"
        " && printf odd > \"$(printf 'x\\377\\ny')\" && chmod 4755 b/one"
    )
    at = hybrid.moment()
    listed = hybrid.json("snap", "browse", SITE, at, "/srv/a")
    assert [(one["name"], one["kind"]) for one in listed] == [
        ("b", "directory"),
        ("big", "file"),
        ("out", "link"),
        ("pipe", "other"),
        ("x\\xff\ny", "file"),
    ]
    big = "".join(f"{number}\n" for number in range(1, 200001)).encode()
    assert hybrid("snap", "get", SITE, at, "/srv/a/big") == big
    assert hybrid("snap", "get", SITE, at, "/srv/a/" + listed[-1]["name"]) == b"odd"
    hybrid("snap", "get", SITE, at, "/srv/a", "-o", str(tmp_path / "a.tar"))
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = {os.fsencode(member.name): member for member in tar}
        assert set(members) == {b"a", b"a/b", b"a/b/one", b"a/big", b"a/out", b"a/x\xff\ny"}
        assert members[b"a/out"].issym() and members[b"a/b/one"].mode == 0o755
    with zipfile.ZipFile(io.BytesIO(hybrid("snap", "get", SITE, at, "/srv/a", "--as", "zip"))) as archive:
        assert archive.read("a/big") == big
    for path in ("/srv/a/out", "/srv/a/pipe", "/srv/nowhere", "/srv/a"):
        hybrid("snap", "get", SITE, at, path, "-o", str(tmp_path / "none"), code=3)
    hybrid("snap", "get", SITE, at, "/srv/../../etc/passwd", code=2)
    assert not (tmp_path / "none").exists()


def test_what_changed(hybrid: Machine) -> None:
    """Added, changed, deleted, renamed, between any two moments; a folder that moved is one line."""
    hybrid.sh(
        "mkdir -p /srv/d/inner && cd /srv/d && echo 1 > same && echo 1 > edited && echo 1 > gone && echo 1 > old"
        " && echo 1 > inner/file"
    )
    before = hybrid.moment()
    hybrid.sh("cd /srv/d && echo 22 > edited && rm gone && mv old new && echo 1 > added && mv inner moved")
    after = hybrid.moment()
    found = hybrid.json("snap", "diff", SITE, before, "/srv/d", "--to", after)
    assert [(one["change"], one["path"], one["was"]) for one in found] == [
        ("added", "srv/d/added", ""),
        ("changed", "srv/d/edited", ""),
        ("deleted", "srv/d/gone", ""),
        ("renamed", "srv/d/moved", "srv/d/inner"),
        ("renamed", "srv/d/new", "srv/d/old"),
    ]
    assert [(one["old_bytes"], one["new_bytes"]) for one in found][1] == (2, 3)
    assert hybrid.json("snap", "diff", SITE, after, "/srv/d", "--to", after) == []
    hybrid("snap", "restore", SITE, before, "/srv/d/edited")
    restored = hybrid.json("snap", "diff", SITE, before, "/srv/d", "--to", hybrid.moment())
    assert "srv/d/edited" not in [one["path"] for one in restored]


def test_files_come_back_in_place_or_beside(hybrid: Machine) -> None:
    """What a user deleted or spoiled is back as it was, and what they have now stays if they want that."""
    hybrid.sh("mkdir -p /srv/r/deep && echo good > /srv/r/deep/page")
    owner = hybrid.sh("stat -c %u:%a /srv/r/deep/page")
    at = hybrid.moment()
    hybrid.sh("echo spoiled > /srv/r/deep/page && echo newer > /srv/r/new")
    copied = hybrid.json("snap", "restore", SITE, at, "/srv/r/deep/page", "--copy")
    where = copied["result"]["path"]
    assert where.startswith("/srv/r/deep/page (") and [step["name"] for step in copied["steps"]][-1] == "restore"
    assert hybrid.sh(f"cat '{where}' /srv/r/deep/page") == "good\nspoiled\n"
    hybrid("snap", "restore", SITE, at, "/srv/r")
    assert hybrid.sh("cat /srv/r/deep/page /srv/r/new; stat -c %u:%a /srv/r/deep/page") == "good\nnewer\n" + owner
    hybrid("snap", "restore", SITE, at, "/srv/missing", code=3)
    assert hybrid.sh("ls -A / | grep hybrid-restoring || true") == ""


def test_a_crash_in_the_middle_of_a_restore(hybrid: Machine) -> None:
    """The node process dies while it restores: the next one takes the halves away, and nothing is left mounted."""
    hybrid.sh("mkdir -p /srv/c && echo 1 > /srv/c/file")
    at = hybrid.moment()
    node = hybrid.lab.nodes["n1"]
    node.crash_at("restore-written")
    begun = hybrid.json("snap", "restore", SITE, at, "/srv/c", "--no-wait")
    hybrid.lab.wait(lambda: node.crashed, "the node process died", 30)
    half = f"{node.state_dir}/sites/{begun['site']}/.hybrid-restoring-dead/half"
    assert node.shell(["mkdir", "-p", half]).returncode == 0
    hybrid.lab.wait(lambda: hybrid.lab.api("n1").site(SITE)["state"] == "serving", "it serves again", 90)
    hybrid.lab.wait(lambda: "restoring" not in hybrid.sh("ls -A /"), "the half is gone", 60)
    assert leftovers(hybrid, "n1") == []
    hybrid("snap", "restore", SITE, at, "/srv/c")


def test_what_is_no_file_is_extracted(hybrid: Machine, tmp_path: Path) -> None:
    """A command of the image runs on the past, beside the site, without network, and leaves nothing but its result."""
    hybrid.sh("mkdir -p /srv/x/inner && seq 100000 > /srv/x/inner/file")
    at = hybrid.moment()
    hybrid.sh("rm -r /srv/x")
    assert [one["name"] for one in hybrid.json("snap", "extracts", SITE)] == ["sizes"]
    hybrid("snap", "extract", SITE, at, "sizes", "folder=srv/x", "-o", str(tmp_path / "sizes.txt"))
    assert "./inner" in (tmp_path / "sizes.txt").read_text()
    hybrid("snap", "extract", SITE, at, "sizes", "folder=srv/nowhere", code=1)
    hybrid("snap", "extract", SITE, at, "sizes", code=2)
    assert leftovers(hybrid, "n1") == ["past-1"]
    assert hybrid.sh("ls -A / | grep hybrid-extract || true") == ""


def test_a_moment_is_previewed(hybrid: Machine) -> None:
    """It answers under a name of its own, through a node it does not run on, beside the site."""
    hybrid.sh("cp /srv/www/index.html /srv/page && echo then > /srv/www/index.html")
    at = hybrid.moment()
    hybrid.sh("cp /srv/page /srv/www/index.html")
    host = hybrid.json("snap", "preview", SITE, at, "--for", "10m")["result"]["host"]
    n2 = hybrid.lab.nodes["n2"]
    hybrid.lab.wait(lambda: answers(n2.address, host) == "then\n", "the preview answers through n2", 30)
    assert serves(hybrid)
    (listed,) = hybrid.json("snap", "previews", SITE)
    hybrid("snap", "end-preview", SITE, listed["id"])
    hybrid.lab.wait(lambda: answers(n2.address, host) != "then\n", "the preview is gone", 30)
    hybrid.lab.wait(lambda: leftovers(hybrid, "n1") in ([], ["past-1"]), "nothing of it is left", 30)


def answers(address: str, host: str) -> str:
    """What is answered under a host name; empty when nothing is."""
    try:
        return visit(address, host)
    except Unanswered:
        return ""


def test_names_locks_and_the_list(hybrid: Machine) -> None:
    """A moment is kept under a name; the list shows a line per minute or hour, but what is kept always."""
    for _ in range(3):
        hybrid.sh("date +%N >> /srv/log")
        earlier = hybrid.moment()
    named = hybrid.json("snap", "create", SITE, "--name", "before-update", "--note", "all well")
    assert hybrid.json("snap", "lock", SITE, earlier, "--name", "other")["label"] == "other"

    def listed() -> list[str]:
        return [one["guid"] for one in hybrid.json("snap", "list", SITE, "--all")]

    hybrid.lab.wait(lambda: named["guid"] in listed(), "the copy on the answering node has it too", 30)
    every = hybrid.json("snap", "list", SITE, "--all")
    by_hour = hybrid.json("snap", "list", SITE, "--per", "day")
    assert sum(one["stands_for"] for one in by_hour) >= len(every) > len(by_hour)
    assert named["guid"] in [one["guid"] for one in by_hour if one["locked"]] or named["guid"] == every[0]["guid"]
    assert hybrid("snap", "browse", SITE, "before-update", "/", "-q")
    hybrid("snap", "unlock", SITE, "other")
    hybrid("snap", "browse", SITE, "other", code=3)
    hybrid("snap", "browse", SITE, time.strftime("%H:%M:%S"), "/", "-q")
    hybrid("snap", "browse", SITE, "2001-01-01 14:00", code=3)


def test_roll_back_and_what_becomes_of_the_branch(hybrid: Machine) -> None:
    """The whole site goes back; what came after is a branch: listed, compared, read, taken from, adopted, discarded."""
    hybrid.sh("mkdir -p /srv/b && echo before > /srv/b/file")
    at = hybrid.moment()
    hybrid.sh("echo after > /srv/b/file && echo only > /srv/b/only")
    hybrid("snap", "rollback", SITE, at, "--yes")
    assert hybrid.sh("cat /srv/b/file") == "before\n"
    stash = hybrid("stash", "list", SITE, "-q").decode().split()[-1]
    (line,) = [one for one in hybrid.json("snap", "list", SITE) if one["guid"] == at]
    assert stash in line["branches"]
    assert hybrid.json("stash", "show", SITE, stash)["snapshots"]
    assert hybrid("stash", "get", SITE, stash, "/srv/b/file") == b"after\n"
    assert hybrid("stash", "browse", SITE, stash, "/srv/b", "-q").split() == [b"file", b"only"]
    changes = {(one["change"], one["path"]) for one in hybrid.json("stash", "diff", SITE, stash, "/srv/b")}
    assert changes == {("changed", "srv/b/file"), ("deleted", "srv/b/only")}
    hybrid("stash", "restore", SITE, stash, "/srv/b/only")
    assert hybrid.sh("cat /srv/b/only /srv/b/file") == "only\nbefore\n"
    hybrid("stash", "adopt", SITE, stash, "--yes")
    assert hybrid.sh("cat /srv/b/file") == "after\n"
    hybrid("snap", "undo", SITE)
    assert hybrid.sh("cat /srv/b/file") == "before\n"
    branches = hybrid("stash", "list", SITE, "-q").decode().split()
    hybrid("stash", "discard", SITE, branches[-1], "--yes")
    hybrid.lab.wait(lambda: branches[-1] not in hybrid("stash", "list", SITE, "-q").decode(), "it is out of sight", 30)
    assert branches[-1] in hybrid("stash", "list", SITE, "--discarded", "-q").decode()
    hybrid("stash", "undiscard", SITE, branches[-1])
    hybrid.lab.wait(lambda: branches[-1] in hybrid("stash", "list", SITE, "-q").decode(), "it is back", 30)
    assert serves(hybrid)


def serves(hybrid: Machine) -> bool:
    """Whether the site answers through n2."""
    try:
        return "It serves" in visit(hybrid.lab.nodes["n2"].address, HOST)
    except Unanswered:
        return False


def test_the_owner_is_gone_and_its_past_is_not(hybrid: Machine) -> None:
    """Where the owner's server is dead, another one shows and gives what was there, before and after it takes over."""
    hybrid.sh("echo kept > /srv/kept")
    at = hybrid.moment()
    hybrid.lab.wait(lambda: hybrid.lab.api("n1").site(SITE)["safe_copies"] == 1, "the copy is there", 60)
    hybrid.lab.nodes["n1"].kill()
    assert hybrid("snap", "get", SITE, at, "/srv/kept") == b"kept\n"
    hybrid.lab.wait(lambda: serves(hybrid), "n2 has taken over", 120)
    assert hybrid("snap", "get", SITE, at, "/srv/kept") == b"kept\n"
