"""Every verb against a cluster: what people see, what programs get, and how it ends."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.sshclient import key_of, line_of

TITLES = ["NAME", "STATE", "OWNER", "COPIES", "ON", "LAG", "DATA", "HISTORY", "TAKES", "PROVEN"]
TITLES += ["DOMAINS", "TROUBLE"]


def test_lists_in_every_format(hybrid: Any) -> None:
    """Tables for people; JSON, JSON lines, CSV, tabs and bare names for programs."""
    table = hybrid("site", "list")
    assert table.code == 0
    assert table.out.splitlines()[0].split() == TITLES
    assert table.out.splitlines()[1].split()[:4] == ["blog", "serving", "n1", "n1,n2,n3"]
    assert [site["name"] for site in json.loads(hybrid("site", "list", "--format", "json").out)] == ["blog", "shop"]
    lines = hybrid("site", "list", "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["owner"] for line in lines] == ["n1", "n2"]
    rows = list(csv.DictReader(hybrid("site", "list", "--format", "csv").out.splitlines()))
    assert (rows[0]["name"], rows[0]["holders"]) == ("blog", "n1,n2,n3")
    assert hybrid("site", "list", "--format", "compact", "--columns", "name,copies").out == "blog\t2\nshop\t2\n"
    assert hybrid("site", "list", "-q").out == "blog\nshop\n"
    assert hybrid("site", "list", "-q", "--node", "n2").out == "shop\n"
    unknown = hybrid("site", "list", "--columns", "nam")
    assert unknown.code == 2 and "name" in unknown.err


def test_status(hybrid: Any) -> None:
    """One sentence, the nodes, the findings."""
    ran = hybrid("status")
    assert ran.code == 0
    assert ran.out.startswith("degraded: 3 nodes up, 2 sites, all replicated, can lose any 1 node")
    assert "! site shop has 1 replica of 2" in ran.out
    hybrid.steer("die n3")
    assert "2 of 3 nodes up" in hybrid("status").out
    assert json.loads(hybrid("status", "--format", "json").out)["nodes_live"] == 2
    assert "down" in hybrid("node", "show", "n3").out


def test_create_draws_its_steps(hybrid: Any) -> None:
    """One line for each step when nobody watches a terminal; programs get the operation."""
    ran = hybrid("site", "create", "new", "--image", "php", "--node", "n1", "--quota", "1G", "--ttl", "1m")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "✓ clone image 0.0s",
        "✓ start container 0.0s",
        "create new: done in 0.0s (site_id s-mmmmmmmmmmmmmmmmmmmmmmmmmm, name new, domains new.hybrid.test)",
    ]
    operation = json.loads(hybrid("site", "create", "two", "--image", "php", "--node", "n1", "--format", "json").out)
    assert operation["state"] == "done"
    assert hybrid("site", "list", "-q").out.split() == ["blog", "new", "shop", "two"]


def test_errors_have_what_why_try_and_a_code(hybrid: Any) -> None:
    """Each kind of failure has its own exit code, for scripts."""
    missing = hybrid("site", "show", "blgo")
    assert (missing.code, missing.out) == (3, "")
    assert missing.err == 'hybrid: there is no site "blgo"\n   try: did you mean "blog"?\n'
    assert json.loads(hybrid("site", "show", "blgo", "--format", "json").err)["code"] == "no-such-site"
    assert hybrid("site", "show", "../etc").code == 2
    assert hybrid("site", "move", "blog", "--to", "n1").code == 5
    assert hybrid("site", "create", "blog", "--image", "php").code == 5
    hybrid.steer("fail")
    failed = hybrid("snap", "rollback", "blog", "60s", "--yes")
    assert failed.code == 1
    assert failed.err.splitlines()[1:] == [
        "hybrid: the pool is full",
        "   why: 0 bytes are free",
        "   try: delete something",
    ]
    assert failed.err.startswith("✗ stash")


def test_a_wrong_token_is_exit_code_4(hybrid: Any) -> None:
    """Denied is not the same as unreachable."""
    path = hybrid.directory / "admin.json"
    path.write_text(path.read_text().replace("hybpat_", "hybpat_x"))
    assert hybrid("status").code == 4


def test_another_cluster_is_not_trusted(hybrid: Any, tmp_path: Path) -> None:
    """A server whose certificate is not of the cluster gets no token."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from hybrid.cluster.founding import create_cluster

    other = create_cluster(tmp_path / "other", "n9", "127.0.0.1", time.time())
    path = hybrid.directory / "admin.json"
    found = json.loads(path.read_text())
    found["ca"] = other.root.public_bytes(Encoding.PEM).decode()
    path.write_text(json.dumps(found))
    ran = hybrid("status")
    assert ran.code == 7 and "certificate is not of this cluster" in ran.err


def test_time_machine(hybrid: Any) -> None:
    """List, roll back, restore, browse, take."""
    assert len(hybrid("snap", "list", "blog", "--all").out.splitlines()) == 5
    assert len(hybrid("snap", "list", "blog", "--per", "day").out.splitlines()) < 5
    assert len(hybrid("snap", "list", "blog", "-n", "2", "-q").out.splitlines()) == 2
    asked = hybrid("snap", "rollback", "blog", "10m")
    assert asked.code == 2 and "add --yes" in asked.err
    back = hybrid("snap", "rollback", "blog", "10m", "--yes")
    assert back.code == 0 and "stash" in back.err.splitlines()[-1]
    assert hybrid("stash", "list", "blog", "-q").out.strip().endswith(".1.aaaaaaaa.12345678")
    assert hybrid("snap", "undo", "blog").code == 0
    assert hybrid("snap", "restore", "blog", "1h", "/index.php").code == 0
    browsed = hybrid("snap", "browse", "blog", "60s", "/")
    assert [line.split()[-1] for line in browsed.out.splitlines()] == ["NAME", "data", "index.php"]
    assert hybrid("snap", "create", "blog").code == 0
    assert hybrid("snap", "rollback", "blog", "9d", "--yes").code == 3
    assert hybrid("snap", "get", "blog", "60s", "/x").code == 3


def test_the_past_as_files(hybrid: Any, tmp_path: Path) -> None:
    """Compare, download, restore a copy; what cannot be had leaves no file behind."""
    compared = hybrid("snap", "diff", "blog", "1h", "/srv", "--to", "now")
    assert [line.split()[0] for line in compared.out.splitlines()] == ["CHANGE", "added", "renamed", "deleted"]
    assert "3 or more differences" in compared.err
    assert hybrid("snap", "diff", "blog", "1h", "-n", "1", "-q").out == "a\n"
    copied = hybrid("snap", "restore", "blog", "1h", "/index.php", "--copy")
    assert copied.code == 0 and "/index.php (" in copied.err
    assert hybrid("snap", "get", "blog", "1h", "/missing", "-o", str(tmp_path / "a.tar")).code == 3
    assert list(tmp_path.glob("*.tar")) == []


def test_extracts(hybrid: Any, tmp_path: Path) -> None:
    """What is no file comes out of the past, too; a parameter without a value is asked for."""
    assert "table: its name" in hybrid("snap", "extracts", "blog").out
    got = hybrid("snap", "extract", "blog", "1h", "table", "table=entries", "-o", str(tmp_path / "out.sql"))
    assert got.code == 0 and (tmp_path / "out.sql").read_text() == "table {'table': 'entries'}"
    assert hybrid("snap", "extract", "blog", "1h", "table", "entries").code == 2


def test_previews(hybrid: Any) -> None:
    """A moment runs under a name of its own until it is ended."""
    assert "host preview-" in hybrid("snap", "preview", "blog", "1h", "--for", "10m").err
    shown = hybrid("snap", "previews", "blog", "-q").out.strip()
    assert hybrid("snap", "end-preview", "blog", shown).code == 0
    assert hybrid("snap", "previews", "blog", "-q").out == ""


def test_names_and_locks(hybrid: Any) -> None:
    """A snapshot is kept under a name by which it is found again, until it is unlocked."""
    assert hybrid("snap", "create", "blog", "--name", "good", "--note", "all is well").code == 0
    assert hybrid("snap", "lock", "blog", "1h").code == 0
    assert hybrid("snap", "lock", "blog", "10m", "--name", "good").code == 5
    listed = json.loads(hybrid("snap", "list", "blog", "--format", "json").out)
    assert [(one["label"], one["note"]) for one in listed if one["locked"]] == [("good", "all is well"), ("", "")]
    assert hybrid("snap", "browse", "blog", "good").code == 0
    assert hybrid("snap", "unlock", "blog", "good").code == 0
    assert hybrid("snap", "browse", "blog", "good").code == 3


def test_stashes(hybrid: Any) -> None:
    """Whatever can be done with a moment can be done with a stash; it can become the site, if one says so."""
    assert hybrid("snap", "rollback", "blog", "10m", "--yes").code == 0
    stash = hybrid("stash", "list", "blog", "-q").out.strip()
    assert len(json.loads(hybrid("stash", "show", "blog", stash, "--format", "json").out)["snapshots"]) == 1
    for verb in ("browse", "diff"):
        assert hybrid("stash", verb, "blog", stash, "/srv").code == 0
    assert hybrid("stash", "get", "blog", stash, "/x").code == 3
    assert hybrid("stash", "restore", "blog", stash, "/x").code == 0
    assert hybrid("stash", "adopt", "blog", stash).code == 2
    assert hybrid("stash", "adopt", "blog", stash, "--yes").code == 0
    assert hybrid("stash", "discard", "blog", stash).code == 2
    assert hybrid("stash", "discard", "blog", stash, "--yes").code == 0
    assert hybrid("stash", "list", "blog", "-q").out == ""
    assert hybrid("stash", "list", "blog", "--discarded", "-q").out == f"{stash}\n"
    assert hybrid("stash", "undiscard", "blog", stash).code == 0
    assert hybrid("stash", "list", "blog", "-q").out == f"{stash}\n"


def test_delete_wants_the_name(hybrid: Any) -> None:
    """Off a terminal only with --yes."""
    assert hybrid("site", "delete", "blog").code == 2
    assert hybrid("site", "delete", "blog", "--yes").code == 0
    assert hybrid("site", "list", "-q").out == "shop\n"


def test_exec_is_the_command(hybrid: Any) -> None:
    """Its output, its exit code, options of its own after --."""
    ran = hybrid("site", "exec", "blog", "--", "echo", "--format", "x")
    assert (ran.code, ran.out) == (0, "hello\n")
    assert hybrid("site", "logs", "blog").out == "started\n"
    assert hybrid("site", "exec", "-i", "blog", "--", "cat", stdin="text").code == 0


def test_settings_of_a_site(hybrid: Any) -> None:
    """`site set`, start and stop answer with the site as it will be."""
    assert json.loads(hybrid("site", "set", "blog", "--copies", "3", "--format", "json").out)["copies"] == 3
    assert "stopped" in hybrid("site", "stop", "blog").out
    assert hybrid("site", "set", "blog").code == 2
    for word in ("strict", "available"):
        told = hybrid("site", "set", "blog", f"--{word}", "--format", "json").out
        assert json.loads(told)["consistency"] == word
    for words, after_s in (("10m", 600.0), ("off", 0.0)):
        told = hybrid("site", "set", "blog", "--sleep-after", words, "--format", "json").out
        assert json.loads(told)["sleep_after_s"] == after_s
    assert hybrid("site", "set", "blog", "--sleep-after", "soon").code == 2


def test_detach_and_wait(hybrid: Any) -> None:
    """Ctrl-C leaves the operation alone and says how to go on; `op wait` takes it up again."""
    hybrid.steer("gate")
    terminal = hybrid.terminal("snap", "rollback", "blog", "60s", "--yes")
    terminal.read_until("… stash")
    terminal.process.send_signal(signal.SIGINT)
    said = terminal.read_until("follows it again")
    operation = said.partition("hybrid op wait ")[2].partition("`")[0]
    assert terminal.process.wait(timeout=20) == 6
    conflict = hybrid("site", "move", "blog", "--to", "n2")
    assert conflict.code == 5 and operation in conflict.err
    assert hybrid("op", "wait", operation, "--timeout", "1s").code == 6
    waiting = hybrid.start("op", "wait", operation)
    hybrid.steer("open")
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 0 and "done" in err
    assert json.loads(hybrid("op", "show", operation, "--format", "json").out)["state"] == "done"


def test_steps_on_a_terminal(hybrid: Any) -> None:
    """The running step stands there until it is done, with what it moves; then its line says how long it took."""
    hybrid.steer("gate")
    terminal = hybrid.terminal("snap", "rollback", "blog", "60s", "--yes", colour=True)
    terminal.read_until("… stash")
    hybrid.steer("move")
    terminal.read_until("stash, 512M of 1.0G at 64M/s, 8.0s left")
    hybrid.steer("open")
    assert "\x1b[32m✓\x1b[0m stash" in terminal.read_until("done in")
    assert terminal.process.wait(timeout=20) == 0


def test_questions_on_a_terminal(hybrid: Any) -> None:
    """Deleting wants the name typed, rolling back a yes; anything else does nothing."""
    for typed, code, left in (("yes", 1, "blog shop"), ("blog", 0, "shop")):
        terminal = hybrid.terminal("site", "delete", "blog")
        terminal.read_until("type blog to go on: ")
        terminal.write(typed + "\n")
        assert terminal.process.wait(timeout=20) == code
        assert hybrid("site", "list", "-q").out.split() == left.split()
    terminal = hybrid.terminal("snap", "rollback", "shop", "60s")
    assert "what came after is kept" in terminal.read_until("[y/N] ")
    terminal.write("\n")
    assert terminal.process.wait(timeout=20) == 1


def test_tables_fit_a_terminal(hybrid: Any) -> None:
    """Lines are cut at its width; states have colours, unless the user does not want any."""
    coloured = hybrid.terminal("site", "list", colour=True, width=40)
    lines = coloured.read_to_end().splitlines()
    assert "\x1b[32mserving\x1b[0m" in lines[1]
    assert lines[1].endswith("…")
    assert "\x1b[" not in hybrid.terminal("site", "list").read_to_end()


def test_no_wait(hybrid: Any) -> None:
    """Begin and leave."""
    ran = hybrid("site", "move", "blog", "--to", "n2", "--no-wait", "-q")
    assert (ran.code, ran.out.strip()[:12]) == (0, "op-aaaaaaaa-")


def test_events(hybrid: Any) -> None:
    """A list, and a stream that goes on."""
    hybrid.steer("die n3")
    assert hybrid("events", "--format", "compact", "--columns", "text").out == "node n3 is down\n"
    process = hybrid.start("events", "-f")
    assert process.stdout is not None
    assert "node n3 is down" in process.stdout.readline()
    hybrid.steer("die n2")
    assert "node n2 is down" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_tokens_and_images(hybrid: Any) -> None:
    """Secrets on standard output only, talk beside it."""
    made = hybrid("token", "create-join")
    assert (made.out, made.code) == ("hyb1.abc\n", 0)
    assert "for one node" in made.err
    assert hybrid("token", "create", "grafana", "--read-only").out.startswith("hybpat_")
    assert hybrid("token", "revoke", "nope", "--yes").code == 3
    assert hybrid("image", "list", "-q").out == "php\nstatic\n"
    assert hybrid("image", "import", "php").code == 0


def test_removing_a_node(hybrid: Any) -> None:
    """It is asked about first, and refused by name when there is none of it."""
    assert hybrid("node", "remove", "n3").code == 2
    assert hybrid("node", "remove", "n3", "--yes", "--force").code == 0
    assert hybrid("node", "remove", "n9", "--yes").code == 3


def test_replacing_the_cluster_key(hybrid: Any) -> None:
    """One verb begins it; what it says is talk, or a document for programs."""
    assert "new key" in hybrid("cluster", "rotate-key", "--now").err
    assert json.loads(hybrid("cluster", "rotate-key", "--format", "json").out)["replaced"] is False


def test_proving_a_copy(hybrid: Any) -> None:
    """`verify` is an operation like others; the last proof is in lists and with its sentence in `show`."""
    assert "never" in hybrid("cluster", "verification", "--help").out
    hybrid("cluster", "verification", "--every", "12h")
    assert "12h" in hybrid("cluster", "verification").out
    refused = hybrid("site", "set", "blog", "--verify-every", "0")
    assert (refused.code, json.loads(hybrid("site", "show", "blog", "--format", "json").out)["verify_every_s"]) == (
        0,
        0,
    )
    assert "-" in hybrid("site", "list", "--columns", "proof").out


def test_cloning_a_site(hybrid: Any) -> None:
    """A staging copy in one command, with secrets of its own; later it can be detached."""
    done = hybrid("site", "clone", "blog", "staging", "--at", "10m", "--env", "PASSWORD=a=b")
    assert done.code == 0 and "clone staging: done" in done.err
    shown = json.loads(hybrid("site", "show", "staging", "--format", "json").out)
    assert (shown["clone_of"], shown["environment"]) == ("blog", {"PASSWORD": "a=b"})
    assert hybrid("site", "clone", "blog", "other", "--env", "PASSWORD").code == 2
    assert hybrid("site", "clone", "blog", "staging").code != 0
    assert hybrid("site", "detach", "staging").code == 0
    assert json.loads(hybrid("site", "show", "staging", "--format", "json").out)["clone_of"] is None


def test_groups(hybrid: Any) -> None:
    """A website and its database go back in time together."""
    made = hybrid("group", "create", "all", "blog", "shop", "--every", "5m")
    assert (made.code, "blog,shop" in made.out) == (0, True)
    assert hybrid("group", "list", "-q").out == "all\n"
    name = json.loads(hybrid("group", "snap", "all", "--format", "json").out)["name"]
    assert name in hybrid("group", "moments", "all").out
    assert hybrid("group", "rollback", "all", name, "--yes").code == 0
    assert hybrid("group", "undo", "all").code == 0
    assert hybrid("group", "delete", "all").code == 0
    assert hybrid("group", "moments", "all").code == 3


def test_any_call(hybrid: Any, tmp_path: Path) -> None:
    """`hybrid api` reaches what has no verb."""
    assert json.loads(hybrid("api", "get", "/v1/openapi.json").out)["openapi"] == "3.1.0"
    (tmp_path / "body").write_text('{"ttl_s": 77}')
    assert json.loads(hybrid("api", "PATCH", "/v1/sites/blog", f"@{tmp_path}/body").out)["ttl_s"] == 77
    assert hybrid("api", "PATCH", "/v1/sites/blog", "@-", stdin="{").code == 2
    assert hybrid("api", "GET", "v1").code == 2
    assert hybrid("api", "PUT", "/v1").code == 2


def test_a_closed_pipe_is_no_traceback(hybrid: Any) -> None:
    """`hybrid … | head` ends quietly."""
    process = hybrid.start("api", "GET", "/v1/openapi.json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=20) in (0, 1)
    assert "Traceback" not in process.stderr.read()


def test_what_only_a_person_decides(hybrid: Any) -> None:
    """Decisions are listed, mostly none; a deleted site is listed until when it can be brought back, and comes back."""
    assert hybrid("decisions", "--format", "json").out.strip() == "[]"
    refused = hybrid("site", "pick", "blog", "n2")
    assert (refused.code, "there is nothing to choose" in refused.err) == (5, True)
    assert hybrid("site", "delete", "blog", "--yes").code == 0
    assert hybrid("site", "deleted", "-q").out == "blog\n"
    back = hybrid("site", "undelete", "blog")
    assert (back.code, back.out, back.err) == (0, "", "blog comes back: hybrid site show blog\n")
    assert hybrid("site", "undelete", "blog").code == 3


def test_a_link_for_one_person(hybrid: Any) -> None:
    """The link alone on standard output, to be sent on."""
    done = hybrid("site", "link", "blog", "--for", "Alice")
    assert done.code == 0 and done.out.startswith("https://") and "/enter?ticket=hybpat_" in done.out


def test_certificates(hybrid: Any, tmp_path: Path) -> None:
    """Uploaded from files, listed, removed; how a site's HTTP is served is shown and changed."""
    assert hybrid("cert", "list", "--format", "json").out.strip() == "[]"
    (tmp_path / "pem").write_text("nothing")
    refused = hybrid("cert", "upload", "--chain", f"{tmp_path}/pem", "--key", f"{tmp_path}/pem")
    assert refused.code == 2 and "no private key" in refused.err
    assert hybrid("cert", "upload", "--chain", f"{tmp_path}/none", "--key", f"{tmp_path}/pem").code == 2
    assert hybrid("cert", "remove", "x.test", "--yes").code == 3
    changed = hybrid("site", "http", "blog", "--redirect", "on", "--hsts", "1h", "--format", "json")
    told = json.loads(changed.out)
    assert (told["redirect"], told["certificate"], told["hsts_s"]) == (True, False, 3600)
    assert json.loads(hybrid("site", "http", "blog", "--format", "json").out)["redirect"] is True
    told = json.loads(hybrid("site", "http", "blog", "--cache", "on", "--rate-all", "9", "--format", "json").out)
    assert (told["cache"], told["requests_per_s_in_all"]) == (True, 9.0)
    assert json.loads(hybrid("site", "http", "blog", "--purge", "--format", "json").out)["purges"] == 1
    assert hybrid("cert", "account", "--contact", "a@b.test").code == 2
    assert hybrid("cert", "account", "--agree", "--contact", "a@b.test").code == 0
    assert hybrid("cert", "issue", "blog.hybrid.test").code == 0
    assert "waiting" in hybrid("cert", "wanted").out


def test_accounts_and_packages(hybrid: Any) -> None:
    """From the order to the end, as an operator types it."""
    assert hybrid("package", "set", "small", "--sites", "2", "--quota", "5G").code == 0
    made = hybrid("account", "create", "acme", "--package", "small", "--format", "json")
    assert made.code == 0 and json.loads(made.out)["package"] == "small"
    assert hybrid("site", "set", "blog", "--account", "acme").code == 0
    assert hybrid("account", "suspend", "acme", "--reason", "not paid").code == 0
    shown = hybrid("account", "list")
    assert "acme" in shown.out and "not paid" in shown.out and "blog" in shown.out
    assert hybrid("account", "resume", "acme").code == 0
    assert hybrid("account", "link", "acme").out.startswith("https://")
    assert hybrid("package", "delete", "small").code == 5
    assert hybrid("account", "delete", "acme", "--yes").code == 0
    assert hybrid("package", "delete", "small").code == 0
    assert hybrid("account", "show", "acme").code == 3


@pytest.mark.parametrize("offered", ["--http1.1", "--http2", "--no-alpn"])
def test_any_client_is_answered(hybrid: Any, offered: str) -> None:
    """curl, browsers and libraries offer HTTP/2 or not, as they like: all of them are served."""
    told = json.loads((hybrid.directory / "admin.json").read_text())
    ca = hybrid.directory / "ca.pem"
    ca.write_text(told["ca"])
    url = f"{told['urls'][-1]}/v1/openapi.json"
    done = subprocess.run(["curl", "-sS", offered, "--cacert", str(ca), url], capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["openapi"] == "3.1.0"


def test_visitors(hybrid: Any) -> None:
    """Of all nodes, or of a site; its access log is text as it is."""
    assert hybrid("site", "top", "--format", "json").out.strip() == "[]"
    assert "REQ/S" in hybrid("site", "top", "--node", "n1").out
    assert json.loads(hybrid("site", "stats", "blog", "--format", "json").out)["requests"] == 0
    done = hybrid("site", "access-log", "blog", "-n", "5")
    assert (done.code, done.out) == (0, "")


def test_images_come_and_go_by_the_store_of_this_machine(hybrid: Any, tmp_path: Path) -> None:
    """One from elsewhere is converted, then taken by the node; what cannot be used is said, and nothing asked for."""
    store = ("--store", str(tmp_path / "store"))
    with tarfile.open(tmp_path / "theirs.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("etc/passwd"))
    assert hybrid("image", "import", "php", "--from", str(tmp_path / "theirs.tar"), *store).code == 0
    assert hybrid("image", "export", "php", "-o", str(tmp_path / "php.tar"), *store).code == 0
    with tarfile.open(tmp_path / "php.tar") as archive:
        assert "rootfs/etc/passwd" in archive.getnames()
    (tmp_path / "bad.tar").write_bytes(b"hello")
    ran = hybrid("image", "import", "php", "--from", str(tmp_path / "bad.tar"), *store)
    assert (ran.code, ran.out, "no tar" in ran.err) == (1, "", True)
    assert "wordpress" in hybrid("image", "build", *store).out
    listed = json.loads(hybrid("image", "list", "--format", "json").out)
    assert [(one["name"], one["nodes"]) for one in listed] == [
        ("php", ["n1", "n2", "n3"]),
        ("static", ["n1 (built)", "n2 (built)", "n3 (built)"]),
    ]


def test_keys_of_ssh(hybrid: Any, tmp_path: Path) -> None:
    """Added from a file or standard input, listed, removed by name; a file that is none is a mistake of usage."""
    file = tmp_path / "id.pub"
    file.write_text(line_of(key_of(1), "ann@work") + "\n")
    assert hybrid("site", "key", "add", "blog", str(file)).code == 0
    assert hybrid("site", "key", "add", "blog", "-", "--name", "bob", stdin=line_of(key_of(2))).code == 0
    listed = json.loads(hybrid("site", "key", "list", "blog", "--format", "json").out)
    assert [key["name"] for key in listed] == ["ann@work", "bob"]
    assert hybrid("site", "key", "remove", "blog", "ann@work").code == 0
    assert hybrid("site", "key", "list", "blog", "-q").out == "bob\n"
    assert hybrid("site", "key", "add", "blog", str(tmp_path / "none")).code == 2
    assert hybrid("site", "key", "remove", "blog", "ann@work").code != 0
