"""
A real cluster of three nodes: what one site survives, and what bad input gets.

ZFS, LXC, sockets and processes are real.

One cluster for the whole file; every test leaves all nodes up and the site served, but the last one, which removes one.
"""

from __future__ import annotations

import datetime
import functools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest

from hybrid.lab.client import ApiError
from hybrid.lab.cluster import Lab
from hybrid.lab.visitor import Unanswered, visit
from tests.certs.authority import Authority, new_key, pem, text
from tests.system.sshuser import SshUser

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
SITE, HOST = "hello", "hello.hybrid.test"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three nodes with one static site on n1, its history on the others."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    with Lab(image_dir=IMAGES) as lab:
        lab.up()
        lab.deploy(SITE, "static", "n1")
        lab.wait(lambda: lab.api("n1").site(SITE)["safe_copies"] == 2, "both copies are there", 60)
        yield lab


@pytest.fixture(scope="module")
def ann(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> SshUser:
    """Somebody who may log in to the site by SSH, through any node."""
    ann = SshUser(lab, SITE, tmp_path_factory.mktemp("ann"))
    for name in lab.nodes:
        lab.wait(functools.partial(ann.is_in, name), f"{name} lets her in", 30)
    return ann


def serves(lab: Lab, node: str) -> bool:
    """Whether the site answers through `node`."""
    try:
        return "It serves" in visit(lab.nodes[node].address, HOST)
    except Unanswered:
        return False


def everywhere(lab: Lab) -> bool:
    """Whether it answers through every node."""
    return all(serves(lab, name) for name in lab.nodes)


class Visitor:
    """Asks one node over and over; remembers how long it went without an answer."""

    def __init__(self, lab: Lab, node: str) -> None:
        self._lab, self._node = lab, node
        self._stop = threading.Event()
        self.longest_s, self.answers = 0.0, 0
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        answered_s = time.monotonic()
        while not self._stop.wait(0.05):
            good = serves(self._lab, self._node)
            now_s = time.monotonic()
            self.longest_s = max(self.longest_s, now_s - answered_s)
            if good:
                answered_s, self.answers = now_s, self.answers + 1


def test_sessions_and_files_through_nodes_that_do_not_own_the_site(lab: Lab, ann: SshUser, tmp_path: Path) -> None:
    """Shells, files and the past by OpenSSH's programs, in an image that has none of them; nobody else gets in."""
    ran = ann.ssh("n2", "hostname; echo oops >&2; exit 3")
    assert (ran.stdout, ran.stderr.splitlines()[-1], ran.returncode) == (f"{SITE}\n", "oops", 3)
    letter = tmp_path / "letter.txt"
    letter.write_text("by scp\n" * 100_000)
    ran = ann.scp("n3", letter, "/srv/www/letter.txt")
    assert ran.returncode == 0, ran.stderr
    assert visit(lab.nodes["n2"].address, HOST, "/letter.txt") == letter.read_text()
    ran = ann.sftp("n2", "cd /srv/www", "rename letter.txt moved.txt", "get moved.txt back.txt", "ls -l", "df")
    assert ran.returncode == 0 and "moved.txt" in ran.stdout, ran.stderr
    assert (ann.folder / "back.txt").read_text() == letter.read_text()
    for user, command in (("nosuch", "true"), ("hello2", "true")):
        ran = ann.ssh("n2", command, user)
        assert ran.returncode == 255 and "Permission denied (publickey)" in ran.stderr
    lab.any_api().call("POST", f"/sites/{SITE}/snapshots", {"name": "good"})
    assert ann.sftp("n3", "rm /srv/www/moved.txt").returncode == 0

    def then() -> bool:
        """A loaded machine needs longer to open the past than a login waits."""
        ran = ann.sftp("n2", "get /srv/www/moved.txt then.txt", user=f"{SITE}#good")
        assert ran.returncode == 0 or "moving to another server" in ran.stderr, ran.stderr
        return ran.returncode == 0

    lab.wait(then, "the past is there", 90)
    assert (ann.folder / "then.txt").read_text() == letter.read_text()
    assert ann.ssh("n3", "ls /srv/www/moved.txt").returncode != 0
    for preview in lab.any_api().items(f"/sites/{SITE}/previews"):
        lab.any_api().fetch("DELETE", f"/sites/{SITE}/previews/{preview['id']}")
    lab.any_api().fetch("DELETE", f"/sites/{SITE}/marks/good")


def test_the_node_process_is_killed_and_nobody_notices(lab: Lab) -> None:
    """SIGKILL of the control process: the container goes on, is adopted under the same claim, requests keep flowing."""
    before = lab.api("n2").site(SITE)
    init = lab.nodes["n1"].shell(["pgrep", "-f", "hybrid-init"]).stdout
    with Visitor(lab, "n1") as visitor:
        lab.nodes["n1"].kill_process("node")
        time.sleep(1.0)  # long enough that the old API is certainly gone
        lab.wait(lambda: lab.api("n1").site(SITE)["state"] == "serving", "the node process is back", 30)
    after = lab.api("n2").site(SITE)
    assert (after["owner"], after["claim"]) == ("n1", before["claim"])
    assert lab.nodes["n1"].shell(["pgrep", "-f", "hybrid-init"]).stdout == init
    assert visitor.longest_s < 3.0, "requests stopped while the control process was away"


def test_the_storage_daemon_is_killed_and_the_site_comes_back(lab: Lab) -> None:
    """SIGKILL of the node's storage: its daemon restarts, the site is served again, what was fsynced is there."""
    if Path("/dev/zfs").exists():
        pytest.skip("the kernel is the storage daemon here")
    lab.api("n1").execute(SITE, ["sh", "-c", "dd of=/srv/www/kept.txt conv=fsync 2>&1"], "kept")
    lab.nodes["n1"].kill_process("zfs-fuse")
    lab.wait(lambda: lab.api("n1").site(SITE)["state"] != "serving", "the loss is noticed", 20)
    lab.wait(lambda: lab.api("n1").site(SITE)["state"] == "serving" and everywhere(lab), "served again", 40)
    assert [visit(node.address, HOST, "/kept.txt") for node in lab.nodes.values()] == ["kept"] * 3


def test_the_whole_node_is_killed_and_returns(lab: Lab) -> None:
    """A power cut of the owner: others serve within twenty seconds; the node returns as a replica and nobody flaps."""
    lab.nodes["n1"].kill()
    took_s = lab.wait(lambda: serves(lab, "n2") and serves(lab, "n3"), "served by the others", 40)
    assert took_s <= 20
    owner = lab.api("n2").site(SITE)["owner"]
    assert owner in ("n2", "n3")
    lab.start("n1")
    lab.wait(lambda: everywhere(lab) and lab.sees_all(lab.nodes["n2"]), "all nodes are back", 60)
    lab.wait(lambda: lab.api(owner).site(SITE)["safe_copies"] == 2, "all copies are equal again", 60)
    assert lab.api("n1").site(SITE)["owner"] == owner


def test_a_planned_move_fails_no_request(lab: Lab) -> None:
    """A site moved to another node under load: every request is answered, none waits longer than a few seconds."""
    site = lab.api("n2").site(SITE)
    target = next(name for name in lab.nodes if name != site["owner"])
    with Visitor(lab, "n2") as visitor:
        lab.api("n2").perform(f"/sites/{SITE}/move", {"to": target}, 60.0)
    assert lab.api("n3").site(SITE)["owner"] == target
    assert visitor.longest_s < 8.0
    lab.wait(lambda: everywhere(lab), "served everywhere", 20)


def test_a_tcp_port_is_reached_through_every_node(lab: Lab) -> None:
    """The port that the image's manifest publishes answers on all nodes, wherever the site lives."""
    for node in lab.nodes.values():
        with socket.create_connection((node.address, 7007), timeout=10) as connection:
            connection.sendall(b"hello\n")
            assert (node.name, connection.recv(100)) == (node.name, b"hello\n")


def test_every_node_answers_dns_for_the_zone(lab: Lab) -> None:
    """Owner first, a low TTL, SOA and NS from any node, and REFUSED for what is not ours."""
    owner = lab.api("n1").site(SITE)["owner"]
    for node in lab.nodes.values():
        answer = dig(node.address, HOST, "A")
        addresses = [str(record) for record in answer.answer[0]]
        assert addresses[0] == lab.nodes[owner].address
        assert set(addresses) <= {known.address for known in lab.nodes.values()}
        assert (len(addresses) > 1, answer.answer[0].ttl) == (True, 30)
        assert len(dig(node.address, "hybrid.test", "NS").answer[0]) >= 2
        assert len(dig(node.address, "hybrid.test", "SOA").answer[0]) == 1
        assert dig(node.address, "example.org", "A").rcode() == dns.rcode.REFUSED


def test_https_on_every_node(lab: Lab, tmp_path: Path) -> None:
    """A certificate given to one node is shown by all; by HTTP/2 too, wherever the site is; redirected, and logged."""
    authority, key = Authority(now=datetime.datetime.now(datetime.UTC)), new_key()
    (tmp_path / "root.pem").write_text(authority.pem)
    upload = {"chain": text(authority.issue(key, HOST)), "key": pem(key)}
    assert lab.api("n3").call("POST", "/certificates", upload)["sites"] == [SITE]

    def asked(node: str) -> str:
        trust = ["--cacert", str(tmp_path / "root.pem"), "--resolve", f"{HOST}:443:{lab.nodes[node].address}"]
        command = ["curl", "-s", "-m", "20", "--http2", "-w", "%{http_version}", *trust, f"https://{HOST}/"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def served() -> bool:
        return all("It serves" in (page := asked(name)) and page.endswith("2") for name in lab.nodes)

    lab.wait(served, "every node shows the certificate", 60)
    lab.api("n2").call("PATCH", f"/sites/{SITE}/http", {"redirect": True, "log": "combined"})
    try:
        lab.wait(
            lambda: {status_of(lab, node, "-H", f"Host: {HOST}") for node in lab.nodes} == {"301"}, "redirected", 60
        )
        assert served()
        logged = f"/sites/{SITE}/access-log"
        lab.wait(lambda: '"GET / HTTP/1.1" 200' in str(lab.api("n1").call("GET", logged)["lines"]), "logged", 30)
    finally:
        lab.api("n2").call("PATCH", f"/sites/{SITE}/http", {"redirect": False, "log": "off"})
    lab.api("n2").call("DELETE", f"/certificates/{HOST}")
    gone = "nothing is shown any more"
    lab.wait(lambda: everywhere(lab) and not any("It serves" in asked(name) for name in lab.nodes), gone, 60)


def dig(address: str, name: str, kind: str) -> dns.message.Message:
    """A node's answer over UDP."""
    return dns.query.udp(dns.message.make_query(name, kind), address, timeout=5)


def test_records_made_at_any_node_are_answered_by_all(lab: Lab) -> None:
    """By the API at one, by a signed update at another; under one serial, signed alike once that is asked for."""
    one, two = lab.api("n1"), lab.api("n2")
    one.call("POST", "/dns/zones", {"name": "own.example"})
    lab.wait(lambda: two.call("GET", "/dns/zones/own.example")["kind"] == "own", "n2 knows it", 30)
    edit = {"name": "mail", "type": "A", "records": ["192.0.2.7"]}
    two.call("PATCH", "/dns/zones/own.example/records", {"edits": [edit]})
    secret = one.call("POST", "/dns/keys", {"name": "key.test", "may": "update"})["secret"]
    update = dns.update.UpdateMessage("own.example", keyring=dns.tsigkeyring.from_text({"key.test": secret}))
    update.add("new", 60, "TXT", "hello")
    addresses = [node.address for node in lab.nodes.values()]

    def updated() -> bool:
        try:
            return dns.query.udp(update, addresses[2], timeout=5).rcode() == dns.rcode.NOERROR
        except dns.exception.DNSException:  # n3 does not know the key yet
            return False

    def agree(name: str, kind: str) -> bool:
        answers = [dig(address, name, kind).answer for address in addresses]
        return bool(answers[0]) and all(answer == answers[0] for answer in answers)

    lab.wait(updated, "n3 takes an update with a key made at n1", 30)
    lab.wait(lambda: agree("mail.own.example", "A") and agree("new.own.example", "TXT"), "all of them answer", 30)
    one.call("PATCH", "/dns/zones/own.example", {"dnssec": "on"})
    lab.wait(lambda: agree("own.example", "DNSKEY"), "all of them sign", 60)
    lab.wait(lambda: agree("own.example", "SOA"), "they agree on the serial", 30)
    one.call("DELETE", "/dns/zones/own.example")
    gone = dns.rcode.REFUSED
    lab.wait(lambda: all(dig(at, "own.example", "SOA").rcode() == gone for at in addresses), "it is gone", 30)


def status_of(lab: Lab, node: str, *options: str) -> str:
    """The HTTP status curl gets from a node's front door."""
    command = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", *options]
    return subprocess.run(
        [*command, f"http://{lab.nodes[node].address}/"], capture_output=True, text=True, check=False
    ).stdout


def test_bad_requests_get_their_answers(lab: Lab) -> None:
    """An unknown host is told apart, malformed HTTP is refused, and names of other sites are never shown."""
    assert status_of(lab, "n1", "-H", "Host: nobody.example") == "421"
    assert status_of(lab, "n2", "-H", "Host: a b") == "400"
    assert status_of(lab, "n3", "-X", "TRACE", "-H", f"Host: {HOST}") == "405"


def test_bad_calls_of_the_api_get_their_answers(lab: Lab) -> None:
    """Wrong names, images, tokens and snapshots each get their status, and nothing changes."""
    api = lab.api("n1")
    cases = [
        ("POST", "/sites", {"name": "a/b", "image": "static"}, 400),
        ("POST", "/sites", {"name": "..", "image": "static"}, 400),
        ("GET", "/sites/nobody", None, 404),
        ("POST", f"/sites/{SITE}/rollback", {"to": "1"}, 404),
        ("POST", f"/sites/{SITE}/move", {"to": "n9"}, 404),
    ]
    for method, path, body, status in cases:
        with pytest.raises(ApiError) as caught:
            api.call(method, path, body)
        assert (path, caught.value.status) == (path, status)
    with pytest.raises(ApiError, match="no image"):
        api.perform("/sites", {"name": "other", "image": "nothing", "node": "n1"}, 30.0)
    assert [site["name"] for site in api.items("/sites")] == [SITE]


def test_a_site_at_its_quota_is_told_so_and_goes_on(lab: Lab) -> None:
    """A full quota fails the write inside, and nothing else: the site serves, snapshots go on."""
    owner = lab.api("n1").site(SITE)["owner"]
    api = lab.api(owner)
    api.call("PATCH", f"/sites/{SITE}", {"quota_bytes": 16 * 2**20})
    lab.wait(lambda: api.site(SITE)["state"] == "serving", "serving after the edit", 20)
    fill = "dd if=/dev/urandom of=/srv/www/fill bs=1M count=64 2>&1; ls -l /srv/www/fill | wc -l"
    assert "quota" in api.execute(SITE, ["sh", "-c", fill]).lower()
    assert everywhere(lab)
    assert api.call("POST", f"/sites/{SITE}/snapshots", {})
    api.execute(SITE, ["rm", "-f", "/srv/www/fill"])
    api.call("PATCH", f"/sites/{SITE}", {"quota_bytes": None})
    lab.wait(lambda: everywhere(lab), "served everywhere", 20)


def test_a_deleted_site_comes_back_with_all_it_had(lab: Lab) -> None:
    """Deleted on every node, brought back from the trash through another one, served with what was written last."""
    api = lab.api("n1")
    api.execute(SITE, ["sh", "-c", "cat > /srv/www/last.txt"], "written last")
    owner = api.site(SITE)["owner"]
    head = lab.api(owner).call("POST", f"/sites/{SITE}/snapshots", {})["guid"]
    lab.wait(lambda: all(head in guids(lab, name) for name in lab.nodes), "all nodes hold what was written last", 60)
    lab.api(owner).fetch("DELETE", f"/sites/{SITE}")
    lab.wait(lambda: all(not lab.api(name).items("/sites") for name in lab.nodes), "no node has the site", 120)
    assert not any(serves(lab, name) for name in lab.nodes)
    assert [site["name"] for site in lab.api("n3").items("/deleted-sites")] == [SITE]
    lab.api("n3").call("POST", f"/sites/{SITE}/undelete", {})
    lab.wait(lambda: everywhere(lab), "served everywhere again", 60)
    assert [visit(node.address, HOST, "/last.txt") for node in lab.nodes.values()] == ["written last"] * 3
    lab.wait(lambda: lab.api("n1").site(SITE)["safe_copies"] == 2, "all copies are equal again", 60)


def guids(lab: Lab, node: str) -> list[str]:
    """Of all that lies in the copies of sites on `node`."""
    sites = f"{lab.nodes[node].pool}/hybrid/sites"
    listed = lab.nodes[node].shell(["zfs", "get", "-r", "-H", "-p", "-o", "value", "guid", sites])
    return listed.stdout.decode().split()


def test_a_removed_node_is_kept_out_and_told_why(lab: Lab) -> None:
    """The others forget it, its own log says what happened, also after a new start; the site is served without it."""
    with pytest.raises(ApiError, match="cannot remove itself"):
        lab.api("n1").fetch("DELETE", "/nodes/n1")
    if lab.api("n1").site(SITE)["owner"] == "n3":
        lab.api("n1").perform(f"/sites/{SITE}/move", {"to": "n1"}, 60.0)
    lab.api("n1").fetch("DELETE", "/nodes/n3")
    removed, rest = lab.nodes["n3"], ("n1", "n2")
    lab.wait(lambda: all(known(lab, name) == set(rest) for name in rest), "n3 is forgotten", 30)
    lab.wait(lambda: "keeps this node out: " in removed.log.read_text(errors="replace"), "n3 was told", 30)
    assert "n3 was removed from this cluster by admin-n1 at n1" in removed.log.read_text(errors="replace")
    removed.stop()
    removed.log.write_text("")
    lab.start("n3")
    lab.wait(lambda: "keeps this node out: " in removed.log.read_text(errors="replace"), "n3 was told again", 30)
    assert all(known(lab, name) == set(rest) and serves(lab, name) for name in rest)


def known(lab: Lab, node: str) -> set[str]:
    """The nodes that a node knows."""
    return {entry["name"] for entry in lab.api(node).items("/nodes")}
