"""
DNS programs of others against a real cluster of three nodes: certbot, lego, lexicon and octodns edit, unbound follows.

Each is started for real; what is not installed is skipped (`apt-get install certbot python3-certbot-dns-rfc2136 lego
lexicon unbound`, `pip install octodns octodns-powerdns`). The last test leaves one node dead. It takes some minutes and
runs when it is asked for: HYBRID_SERVICES=1. What always runs is in `test_survival` and `tests/dns/test_programs.py`.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from hybrid.lab.cluster import Lab
from hybrid.lab.network import Network
from hybrid.lab.probes import resolve
from hybrid.lab.visitor import Unanswered, visit
from tests.certs.authority import Authority, new_key, pem, text

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
SITE, HOST, ZONE = "hello", "hello.hybrid.test", "own.example"
TTL_S, GONE_WITHIN_S = 30, 15
PEBBLE = """{{"pebble": {{"listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{management}",
"certificate": "{where}/pebble.pem", "privateKey": "{where}/pebble.key", "httpPort": 5002, "tlsPort": 5001,
"ocspResponderURL": "", "externalAccountBindingRequired": false}}}}"""
UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  chroot: ""
  username: ""
  pidfile: "{where}/pid"
  directory: "{where}"
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  local-zone: "test." nodefault
stub-zone:
  name: "hybrid.test"
{servers}
"""
OCTODNS = """
providers:
  files:
    class: octodns.provider.yaml.YamlProvider
    directory: {where}
  hybrid:
    class: octodns_powerdns.PowerDnsProvider
    host: {address}
    port: 8443
    scheme: https
    api_key: {token}
    ssl_verify: {where}/ca.pem
zones:
  own.example.:
    sources: [files]
    targets: [hybrid]
"""


def floating(network: Network) -> str:
    """An address that moves between the nodes."""
    return str(network.subnet[200])


def floating_settings(network: Network) -> str:
    """Of each node."""
    return f'[[floating]]\naddress = "{floating(network)}/24"\ninterface = "e0"\nnodes = ["n1", "n2", "n3"]\n'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes with a site on n1, and a zone of somebody's."""
    if not os.environ.get("HYBRID_SERVICES"):
        pytest.skip("minutes of work: HYBRID_SERVICES=1")
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "static.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    with Lab(image_dir=IMAGES, settings=floating_settings) as lab:
        lab.up()
        lab.deploy(SITE, "static", "n1")
        lab.wait(lambda: lab.api("n1").site(SITE)["safe_copies"] == 2, "both copies are there", 60)
        lab.api("n1").call("POST", "/dns/zones", {"name": ZONE})
        lab.wait(lambda: all(texts(lab, node, ZONE, "SOA") for node in lab.nodes), "all know the zone", 30)
        yield lab


@pytest.fixture(scope="module")
def secret(lab: Lab) -> str:
    """Of a key that may update the zone, known to all nodes."""
    made: str = lab.api("n1").call("POST", "/dns/keys", {"name": "key.test", "may": "update"})["secret"]
    known = "key.test"
    lab.wait(lambda: all(known in str(lab.api(n).items("/dns/keys")) for n in lab.nodes), "all know the key", 30)
    return made


@pytest.fixture
def place(lab: Lab, tmp_path: Path) -> Path:
    """A folder with the cluster's certificate."""
    (tmp_path / "ca.pem").write_text(credentials(lab)["ca"])
    return tmp_path


@pytest.fixture
def pebble(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """Let's Encrypt's test authority, which asks n3 for records; its directory."""
    key, ports = new_key(), {"port": free_port(), "management": free_port()}
    authority = Authority(now=datetime.datetime.now(datetime.UTC))
    (tmp_path / "authority.pem").write_text(authority.pem)
    (tmp_path / "pebble.pem").write_text(text(authority.issue(key, "localhost")))
    (tmp_path / "pebble.key").write_text(pem(key))
    (tmp_path / "pebble.json").write_text(PEBBLE.format(where=tmp_path, **ports))
    command = ["pebble", "-config", f"{tmp_path}/pebble.json", "-dnsserver", f"{lab.nodes['n3'].address}:53"]
    with (tmp_path / "pebble.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"})
    try:
        lab.wait(lambda: _listens(ports["port"]), "pebble listens", 30)
        yield f"https://localhost:{ports['port']}/dir"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def credentials(lab: Lab) -> dict[str, str]:
    """What `hybrid init` wrote: a token, and the cluster's certificate."""
    found: dict[str, str] = json.loads((lab.first.state_dir / "admin.json").read_text())
    return found


def texts(lab: Lab, node: str, name: str, kind: str) -> list[str]:
    """What a node answers, by TCP: that is not limited, however often the same is asked."""
    reply = dns.query.tcp(dns.message.make_query(name, kind), lab.nodes[node].address, timeout=5)
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


def everywhere(lab: Lab, name: str, kind: str, wanted: list[str]) -> None:
    """Wait until every node answers just this."""
    lab.wait(lambda: all(texts(lab, n, name, kind) == wanted for n in lab.nodes), f"{name} {kind} everywhere", 30)


def ran(program: str, *arguments: str, place: Path, **environment: str) -> str:
    """What a program says. Fails with it."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [found, *arguments],
        cwd=place,
        env={**os.environ, "HOME": str(place), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_certbot_proves_a_wildcard(lab: Lab, secret: str, pebble: str, place: Path) -> None:
    """certbot's plugin for RFC 2136 writes at n1, the authority reads at n3, and nothing stays behind."""
    settings = place / "rfc2136.ini"
    settings.write_text(
        f"dns_rfc2136_server = {lab.nodes['n1'].address}\ndns_rfc2136_port = 53\ndns_rfc2136_name = key.test\n"
        f"dns_rfc2136_secret = {secret}\ndns_rfc2136_algorithm = HMAC-SHA256\n"
    )
    settings.chmod(0o600)
    folders = [word for name in ("config", "work", "logs") for word in (f"--{name}-dir", str(place / name))]
    about = ["--agree-tos", "-m", "me@own.example", "--non-interactive", "--server", pebble, "-d", f"*.{ZONE}"]
    plugin = ["--dns-rfc2136", "--dns-rfc2136-credentials", str(settings), "--dns-rfc2136-propagation-seconds", "5"]
    ran("certbot", "certonly", *plugin, *about, *folders, place=place, REQUESTS_CA_BUNDLE=f"{place}/authority.pem")
    assert (place / f"config/live/{ZONE}/fullchain.pem").exists()
    everywhere(lab, f"_acme-challenge.{ZONE}", "TXT", [])


@pytest.mark.parametrize("provider", ["rfc2136", "pdns"])
def test_lego_proves_a_wildcard(lab: Lab, secret: str, pebble: str, place: Path, provider: str) -> None:
    """lego by signed updates, and by PowerDNS's API; each at another node than the one the authority asks."""
    address = lab.nodes["n2"].address
    environment = {
        "LEGO_CA_CERTIFICATES": f"{place}/authority.pem",
        "SSL_CERT_FILE": f"{place}/ca.pem",
        "RFC2136_NAMESERVER": f"{address}:53",
        "RFC2136_TSIG_ALGORITHM": "hmac-sha256.",
        "RFC2136_TSIG_KEY": "key.test",
        "RFC2136_TSIG_SECRET": secret,
        "PDNS_API_URL": f"https://{address}:8443",
        "PDNS_API_KEY": credentials(lab)["token"],
    }
    ask = ["--dns", provider, "--dns.resolvers", f"{address}:53", "--dns.disable-cp"]
    about = ["--accept-tos", "--email", "me@own.example", "--server", pebble, "--domains", f"*.{ZONE}"]
    ran("lego", *about, *ask, "--path", f"{place}/lego", "run", place=place, **environment)
    assert list((place / "lego/certificates").glob("*.crt"))
    everywhere(lab, f"_acme-challenge.{ZONE}", "TXT", [])


def test_lexicon_edits_records(lab: Lab, place: Path) -> None:
    """A record made at one node, changed at another, listed and removed at the third."""
    zone, name = "example.org", "lex.example.org"  # it knows which top-level names there are
    lab.api("n1").call("POST", "/dns/zones", {"name": zone})
    lab.wait(lambda: all(texts(lab, node, zone, "SOA") for node in lab.nodes), "all know the zone", 30)

    def lexicon(node: str, *arguments: str) -> str:
        server = ("--pdns-server", f"https://{lab.nodes[node].address}:8443", "--pdns-server-id", "localhost")
        login = ("--auth-token", credentials(lab)["token"])
        trust = {"REQUESTS_CA_BUNDLE": f"{place}/ca.pem"}
        return ran("lexicon", "powerdns", *login, *server, *arguments, place=place, **trust)

    lexicon("n1", "create", zone, "A", "--name", name, "--content", "192.0.2.1", "--ttl", "60")
    everywhere(lab, name, "A", ["192.0.2.1"])
    known = ("--identifier", f"A/{name}.=192.0.2.1")
    lexicon("n2", "update", zone, "A", *known, "--name", name, "--content", "192.0.2.2", "--ttl", "60")
    everywhere(lab, name, "A", ["192.0.2.2"])
    assert "192.0.2.2" in lexicon("n3", "list", zone, "A")
    lexicon("n3", "delete", zone, "A", "--name", name)
    everywhere(lab, name, "A", [])


def test_octodns_brings_a_zone_up_to_its_file(lab: Lab, place: Path) -> None:
    """What is in the file is there on every node; a second run finds nothing to do."""
    where = {"where": place, "address": lab.nodes["n2"].address, "token": credentials(lab)["token"]}
    (place / "config.yaml").write_text(OCTODNS.format(**where))
    mail = f"{{exchange: mail.{ZONE}., preference: 10}}"
    (place / f"{ZONE}.yaml").write_text(f"---\n'':\n  type: MX\n  value: {mail}\nwww:\n  type: A\n  value: 192.0.2.7\n")
    trust = {"REQUESTS_CA_BUNDLE": f"{place}/ca.pem"}
    ran("octodns-sync", "--config-file", "config.yaml", "--doit", "--force", place=place, **trust)
    everywhere(lab, f"www.{ZONE}", "A", ["192.0.2.7"])
    everywhere(lab, ZONE, "MX", [f"10 mail.{ZONE}."])
    again = ran("octodns-sync", "--config-file", "config.yaml", place=place, **trust)
    assert "No changes were planned" in again


def test_a_resolver_reaches_the_site_through_a_failover(lab: Lab, place: Path) -> None:
    """
    The owner dies: no node names it after a while, and who asks a resolver that knows the old answer gets on.

    So does who asks nobody, and keeps to the floating address that the owner had.
    """
    found = shutil.which("unbound")
    if found is None:
        pytest.skip("unbound is not installed")
    ports = {"warm": free_port(), "cold": free_port()}
    servers = "".join(f"  stub-addr: {node.address}\n" for node in lab.nodes.values())
    processes = []
    try:
        for name, port in ports.items():
            (place / name).mkdir()
            (place / name / "conf").write_text(UNBOUND.format(port=port, where=place / name, servers=servers))
            processes.append(subprocess.Popen([found, "-d", "-c", str(place / name / "conf")]))
        owner = lab.api("n2").site(SITE)["owner"]
        kept = floating(lab.network)
        lab.wait(lambda: reached(ports["warm"]), "reached through the resolver", 60)
        lab.wait(lambda: serves(kept), "reached at the floating address", 60)
        killed_s = time.monotonic()
        lab.nodes[owner].kill()
        others = [node for node in lab.nodes.values() if node.name != owner]
        dead = lab.nodes[owner].address
        lab.wait(lambda: not any(dead in (resolve(n.address, HOST) or (dead,)) for n in others), "it is not named", 60)
        unnamed_s = time.monotonic() - killed_s
        lab.wait(lambda: reached(ports["warm"]) and reached(ports["cold"]), "reached again", 60)
        reached_s = time.monotonic() - killed_s
        print(f"not named after {unnamed_s:.1f} s, reached through resolvers after {reached_s:.1f} s")
        lab.wait(lambda: serves(kept), "the floating address is at another node", 30)
        print(f"reached at the floating address after {time.monotonic() - killed_s:.1f} s")
        assert unnamed_s <= GONE_WITHIN_S and reached_s <= TTL_S
        lab.wait(lambda: dead not in asked(ports["warm"]), "the resolver has forgotten it", TTL_S + 30)
        assert reached(ports["warm"])
    finally:
        for process in processes:
            process.kill()
            process.wait()


def asked(port: int) -> list[str]:
    """The addresses of the site, by the resolver at `port` of loopback."""
    reply = dns.query.udp(dns.message.make_query(HOST, "A"), "127.0.0.1", port=port, timeout=10)
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


def reached(port: int) -> bool:
    """Whether a browser that asks that resolver gets to the site: it tries the addresses in turn."""
    try:
        found = asked(port)
    except (OSError, dns.exception.DNSException):
        return False
    return any(map(serves, found))


def serves(address: str) -> bool:
    """Whether the site answers at `address`."""
    try:
        return "It serves" in visit(address, HOST)
    except Unanswered:
        return False
