"""
Our name server beside nsd and knot: `make bench AREA=dns`, which writes `build/bench-dns.json`.

Every server is one process (nsd: one server, knot: one UDP worker) on one core, dnsperf is on the other; they take
turns and medians count. The figure is answers per second *on a processor* of the server, which others on the machine
disturb least. The same names, addresses and questions for all: A and AAAA, letters in mixed case. `ROUNDS=3 ROUND_S=1`
make it shorter. Ours runs in its compiled form, in that with rate limits, and in plain Python. Needs the Debian
packages nsd, knot and dnsperf.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bench.proxies import await_port, free_ports

ROUNDS = int(os.environ.get("ROUNDS", "5"))
ROUND_S = float(os.environ.get("ROUND_S", "2"))
SITES = 1000
MANY_SITES = 10_000
SERVER_CPU, LOAD_CPU = "0", "1"
ZONE = "hybrid.test"
OURS = {"compiled": 0.95, "compiled, with rate limits": None, "plain Python": 0.65}
"""Ways to run ours, with what each is to reach of nsd."""
Row = dict[str, Any]

NSD = """
server:
  ip-address: 127.0.0.1@{port}
  server-count: 1
  username: ""
  database: ""
  zonesdir: "{place}"
  pidfile: "{place}/pid"
  xfrdfile: "{place}/xfrd"
  zonelistfile: "{place}/zones"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: hybrid.test
  zonefile: {place}/zone
"""
KNOT = """
server:
  listen: 127.0.0.1@{port}
  rundir: {place}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: {place}/db
zone:
  - domain: hybrid.test
    file: {place}/zone
"""


class Server:
    """A name server in a session of its own, pinned to a core."""

    def __init__(self, name: str, argv: Sequence[str], port: int, place: Path) -> None:
        self.name, self.port = name, port
        with (place / f"{name}.log").open("wb") as log:
            words = ["taskset", "-c", SERVER_CPU, *argv]
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        await_port(port)
        time.sleep(1)

    @property
    def cpu_s(self) -> float:
        """Seconds on a processor of all its processes and threads."""
        total_ns = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    parts = stat.parent.glob("task/*/schedstat")
                    total_ns += sum(int(part.read_text().split()[0]) for part in parts)
            except (OSError, ValueError):
                continue
        return total_ns / 1e9

    def stop(self) -> None:
        """End all of it."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def dnsperf(port: int, queries: Path, *options: str) -> int:
    """Answers in a round."""
    words = ["taskset", "-c", LOAD_CPU, "dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(queries)]
    words += ["-l", str(ROUND_S), "-c", "4", "-q", "200", *options]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    codes = re.search(r"Response codes:\s+(.*)", said)
    assert codes is not None and codes[1].startswith("NOERROR") and "100.00%" in codes[1], said
    completed = re.search(r"Queries completed:\s+(\d+)", said)
    assert completed is not None, said
    return int(completed[1])


def measured(servers: list[Server], queries: Path, *options: str) -> dict[str, float]:
    """Median of answers per second on a processor, in turns after a round to warm up."""
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    for turn in range(ROUNDS + 1):
        for server in servers:
            before_s = server.cpu_s
            done = dnsperf(server.port, queries, *options)
            if turn:
                rates[server.name].append(done / (server.cpu_s - before_s))
    return {name: statistics.median(found) for name, found in rates.items()}


def row(case: str, unit: str, ours: float, peer: float | None, peer_name: str | None, target: float | None) -> Row:
    """One line; the target is of the ratio where there is a peer, else at most that much of our figure."""
    ratio = ours / peer if peer else None
    ok = None if target is None else ratio >= target if ratio is not None else ours <= target
    return {
        "case": case,
        "unit": unit,
        "ours": round(ours, 4),
        "peer": peer and round(peer, 1),
        "peer_name": peer_name,
        "ratio": ratio and round(ratio, 3),
        "target": target,
        "ok": ok,
        "reason": "" if target is not None else "no target is stated for it",
    }


def write_zone(place: Path) -> None:
    """What all of them serve, and the questions."""
    lines = [f"$ORIGIN {ZONE}.", "$TTL 30", "@ SOA ns1 hostmaster 1 3600 600 604800 30", "@ NS ns1", "ns1 A 10.0.0.0"]
    lines += [f"site{n} A 10.0.0.{k}" for n in range(SITES) for k in range(3)]
    (place / "zone").write_text("\n".join(lines) + "\n")
    chance = random.Random(7)
    names = [f"site{chance.randrange(SITES)}.{ZONE}" for _ in range(20_000)]
    mixed = ["".join(chance.choice((c.upper(), c.lower())) for c in name) for name in names]
    (place / "queries").write_text("".join(f"{name} {chance.choice(('A', 'AAAA'))}\n" for name in mixed))


@contextmanager
def servers(place: Path) -> Iterator[list[Server]]:
    """The peers, and ours in each way."""
    names = ("nsd", "knot", *OURS)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    for name, text in (("nsd", NSD), ("knot", KNOT)):
        (place / f"{name}.conf").write_text(text.format(port=ports[name], place=place))
    commands = {"nsd": ["nsd", "-d", "-c", str(place / "nsd.conf")], "knot": ["knotd", "-c", str(place / "knot.conf")]}
    with ExitStack() as stack:
        found = []
        for name in names:
            argv = commands.get(name) or [sys.executable, "-m", "tests.bench.dns", "serve", str(ports[name]), name]
            found.append(Server(name, argv, ports[name], place))
            stack.callback(found[-1].stop)
        yield found


def view_of(sites: int, first_is_dead: bool = False) -> Any:
    """Three nodes and so many sites, all of the first node."""
    from hybrid.leaves import Leaves
    from hybrid.model import NodeId, SiteId, SiteSpec, Version
    from hybrid.view import NodeView, SiteView, View

    ids = [NodeId(f"n-{number}") for number in range(3)]
    nodes = {
        node: NodeView(
            id=node,
            name=f"n{number}",
            dc=f"d{number}",
            address=f"10.0.0.{number}",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=not (first_is_dead and number == 0),
        )
        for number, node in enumerate(ids)
    }
    found = {
        SiteId(f"s-{number}"): SiteView(
            spec=SiteSpec(
                id=SiteId(f"s-{number}"),
                version=Version(1, 1),
                name=f"site{number}",
                domains=(f"site{number}.{ZONE}",),
                image="static@1",
                number=number,
            ),
            state="serving",
            owner=ids[first_is_dead],
            holders=tuple(ids[first_is_dead:]),
        )
        for number in range(sites)
    }
    return View(me=ids[1], serial=1, zones=(ZONE,), nodes=nodes, sites=Leaves(found))


def serve(port: int, way: str) -> None:
    """Our name server, in this process, until SIGTERM. Where there are limits, they count but are not to be met."""
    from twisted.internet import epollreactor

    epollreactor.install()
    from twisted.internet import reactor

    from hybrid.settings import Settings
    from hybrid_dns.finished import COMPILED, PLAIN
    from hybrid_dns.limits import Limits
    from hybrid_dns.service import DnsService

    form = PLAIN if "plain" in way else COMPILED
    if form is None:
        sys.exit("bench: the compiled form is not built\n  try: make native")
    limits = Limits(10**9, 10**9, 10**9, form=form) if "limits" in way else Limits(errors=0, form=form)
    service = DnsService(reactor, Settings(name="n1", address="127.0.0.1", dns_port=port), limits, time.time)  # type: ignore[arg-type]  # the module is the reactor
    service.follow(view_of(SITES))
    service.startService()
    reactor.run()


def taken_over() -> list[Row]:
    """A node dies that owned ten thousand sites: how long a name server is silent, and until all is new."""
    from hybrid.settings import Settings
    from hybrid_dns.limits import Limits
    from hybrid_dns.service import DnsService

    class Turns:
        """A reactor whose clock is the real one and whose calls wait for their turn."""

        def __init__(self) -> None:
            self.calls: list[Any] = []
            self.seconds = time.process_time

        def callLater(self, delay_s: float, call: Any) -> None:
            self.calls.append(call)

    turns = Turns()
    service = DnsService(turns, Settings(name="n1", address="127.0.0.1"), Limits(), time.time)  # type: ignore[arg-type]  # nothing is bound
    service.follow(view_of(MANY_SITES))
    while turns.calls:
        turns.calls.pop()()
    stretches, after = [], view_of(MANY_SITES, first_is_dead=True)
    began_s = before_s = time.process_time()
    service.follow(after)
    stretches.append(time.process_time() - before_s)
    while turns.calls:
        before_s = time.process_time()
        turns.calls.pop()()
        stretches.append(time.process_time() - before_s)
    total_s = time.process_time() - began_s
    return [
        row("10,000 sites change: longest silence", "CPU s", max(stretches), None, None, 0.1),
        row("10,000 sites change: all answers are new", "CPU s", total_s, None, None, 2.0),
    ]


def main() -> int:
    """Measure; 0 when no target was missed."""
    missing = [name for name in ("nsd", "knotd", "dnsperf") if shutil.which(name) is None]
    if missing:
        sys.exit(f"bench: {', '.join(missing)} not found\n  try: apt-get install nsd knot dnsperf")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hyb-bench-", dir="/dev/shm")))
        write_zone(place)
        all_of_them = stack.enter_context(servers(place))
        unit = "answers per CPU s"
        rows = []
        for case, options in (("A and AAAA", ()), ("A and AAAA, EDNS", ("-e",))):
            figures = measured(all_of_them, place / "queries", *options)
            for way, target in OURS.items():
                rows.append(row(f"{case}, {way}", unit, figures[way], figures["nsd"], "nsd", target))
            rows.append(row(f"{case}, compiled", unit, figures["compiled"], figures["knot"], "knot", None))
    rows += taken_over()
    for line in rows:
        peer = f"{line['peer'] or '':>10} {line['peer_name'] or '':5} {line['ratio'] or '':>6}"
        print(f"{line['case']:42} {line['ours']:>12} {peer} {line['ok']}")
    Path("build").mkdir(exist_ok=True)
    Path("build/bench-dns.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(line["ok"] is False for line in rows) else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main())
