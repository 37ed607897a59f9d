"""
The front doors beside haproxy and nginx: `make bench AREA=proxy`, which writes `build/bench-proxy.json`.

Every proxy is one process on one core; load and the server behind are on the other. Candidates take turns in each round
and medians count. The figure is work per second *on a processor* of the proxy (`schedstat`), which other users of the
machine disturb least. All of ours is on: limits, deadlines, counters. `ROUNDS=3` and `ONLY=small,tcp` make it shorter.
What cannot be measured has `ok: null` and says why. Needs the Debian packages haproxy, nginx and wrk.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hybrid_proxy import head
from tests.bench.proxies import (
    BIG_BYTES,
    HOST,
    LOAD_CPU,
    PASSED,
    SITES,
    SMALL_BYTES,
    Ours,
    Server,
    backend,
    free_ports,
    haproxy,
    nginx_proxy,
    ours,
)
from tests.bench.proxy_crowd import BUSY, SLOW, slowed

ROUNDS = int(os.environ.get("ROUNDS", "5"))
ROUND_S = float(os.environ.get("ROUND_S", "1"))
ONLY = set(filter(None, os.environ.get("ONLY", "").split(",")))
IDLE = 9_000
BATCH = 250
PER_SOURCE = 1_000
"""Connections one neighbour may have."""
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef",
)
Row = dict[str, Any]


def wrk(url: str, connections: int, seconds: float, *fields: str) -> int:
    """Load from `connections` connections; how many responses came."""
    given = [part for field in (f"Host: {HOST}", *BROWSER, *fields) for part in ("-H", field)]
    argv = ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", *given, url]
    out = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout
    return responses(url, out)


def wrk_tls(folder: Path, port: int, host: str) -> int:
    """The same over TLS that asks for `host`; its requests name that."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 {host}\n")
    given = [part for field in (f"Host: {host}", *BROWSER) for part in ("-H", field)]
    load = ["taskset", "-c", LOAD_CPU, "wrk", "-t1", "-c48", f"-d{ROUND_S:g}s", *given, f"https://{host}:{port}/small"]
    argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts; exec "$@"', str(hosts), *load]
    return responses(host, subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout)


def responses(url: str, out: str) -> int:
    """How many `wrk` counted. Raises `RuntimeError` when it did not go well."""
    found = re.search(r"(\d+) requests in", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if found is None or bad is not None or int(found[1]) == 0:
        raise RuntimeError(f"the load on {url} did not go well: {out}")
    return int(found[1])


class Field:
    """The servers of one run."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.port, self.tls_port = free_ports(2)
        self.open(backend(folder, self.port, self.tls_port))
        self.ours = ours(folder, self.port, self.tls_port)
        self.open(self.ours)
        self.pure = self.open(ours(folder, self.port, self.tls_port, pure=True))
        self.haproxy = self.open(haproxy(folder, self.port, self.tls_port))
        self.nginx = self.open(nginx_proxy(folder, self.port))

    def open(self, server: Server) -> Server:
        """End `server` with the run."""
        self._stack.callback(server.close)
        return server


def per_cpu_second(servers: list[Server], load: Callable[[Server], int]) -> dict[str, float]:
    """Median of responses per second on a processor, by server, measured in turns after a first round to warm up."""
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    for turn in range(ROUNDS + 1):
        for server in servers:
            before_s = server.cpu_s
            done = load(server)
            if turn:
                rates[server.name].append(done / (server.cpu_s - before_s))
    return {name: statistics.median(found) for name, found in rates.items()}


def row(case: str, unit: str, figure: float | None, peer: float | None, peer_name: str, target: float | None) -> Row:
    """One line of the file; more is better, and the target is of the ratio."""
    ratio = figure / peer if figure and peer else None
    return {
        "case": case,
        "unit": unit,
        "ours": figure and round(figure, 1),
        "peer": peer and round(peer, 1),
        "peer_name": peer_name,
        "ratio": ratio and round(ratio, 3),
        "target": target,
        "ok": None if target is None or ratio is None else ratio >= target,
        "reason": "" if target is not None else "no target is stated for it",
    }


def compared(case: str, unit: str, figures: dict[str, float], targets: dict[str, float | None]) -> list[Row]:
    """A row for each peer."""
    return [row(case, unit, figures["ours"], figures[name], name, target) for name, target in targets.items()]


# ------------------------------------------------------------------------------------------------------ the cases


def small(field: Field) -> list[Row]:
    """1 kB on 64 connections that are kept."""

    def load(server: Server) -> int:
        return wrk(f"http://127.0.0.1:{server.ports['http']}/small", 64, ROUND_S)

    figures = per_cpu_second([field.ours, field.pure, field.haproxy, field.nginx], load)
    pure = {**figures, "ours": figures["pure"]}
    unit = "requests per CPU s"
    rows = compared("1 kB, keep-alive, all in Python", unit, pure, {"haproxy": 0.7, "nginx": None})
    if not head.COMPILED:
        return rows
    return compared("1 kB, keep-alive", unit, figures, {"haproxy": 1.0, "nginx": None}) + rows


def closing(field: Field) -> list[Row]:
    """A connection for each request."""

    def load(server: Server) -> int:
        return wrk(f"http://127.0.0.1:{server.ports['http']}/small", 32, ROUND_S, "Connection: close")

    figures = per_cpu_second([field.ours, field.haproxy, field.nginx], load)
    return compared("1 kB, one connection per request", "requests per CPU s", figures, {"haproxy": 0.85, "nginx": None})


def big(field: Field) -> list[Row]:
    """10 MB bodies on 4 connections."""

    def load(server: Server) -> int:
        return wrk(f"http://127.0.0.1:{server.ports['http']}/big", 4, ROUND_S)

    figures = per_cpu_second([field.ours, field.haproxy, field.nginx], load)
    megabytes = {name: figure * BIG_BYTES / 1e6 for name, figure in figures.items()}
    return compared("10 MB bodies", "MB per CPU s", megabytes, {"nginx": 1.0, "haproxy": None})


def tcp(field: Field) -> list[Row]:
    """Requests of 1 kB over a plain TCP port."""

    def load(server: Server) -> int:
        return wrk(f"http://127.0.0.1:{server.ports['tcp']}/small", 48, ROUND_S)

    servers = [server for server in (field.ours, field.haproxy, field.nginx) if "tcp" in server.ports]
    figures = per_cpu_second(servers, load)
    targets: dict[str, float | None] = {"haproxy": 1.0} | ({"nginx": None} if "nginx" in figures else {})
    return compared("TCP relay, 1 kB each way", "round trips per CPU s", figures, targets)


def tls(field: Field) -> list[Row]:
    """1 kB over TLS that ends in the proxy, connections kept."""

    def load(server: Server) -> int:
        return wrk_tls(field.folder, server.ports["https"], HOST)

    figures = per_cpu_second([field.ours, field.haproxy, field.nginx], load)
    return compared("TLS, 1 kB, keep-alive", "requests per CPU s", figures, {"haproxy": 0.95, "nginx": None})


def sni(field: Field) -> list[Row]:
    """1 kB over TLS that ends in the site, found by the name in the client's first message."""

    def load(server: Server) -> int:
        return wrk_tls(field.folder, server.ports["sni"], PASSED)

    figures = per_cpu_second([field.ours, field.haproxy], load)
    return compared("TLS passed on by name, 1 kB", "requests per CPU s", figures, {"haproxy": 0.95})


def idle(field: Field) -> list[Row]:
    """Memory of connections that have had one request and now wait."""
    grown = {server.name: idle_bytes(server) for server in (field.ours, field.haproxy, field.nginx)}
    made = [
        row("idle connection", "bytes (PSS)", grown["ours"], grown[peer], peer, None) for peer in ("haproxy", "nginx")
    ]
    for line in made:
        line["ratio"] = round(line["ours"] / line["peer"], 3) if line["peer"] > 0 else None
        line["reason"] = "less is better"
    made[0]["target"], made[0]["ok"] = 2.0, made[0]["ratio"] is not None and made[0]["ratio"] <= 2.0
    return made


def idle_bytes(server: Server) -> float:
    """Growth of `server` by one idle connection; they are opened within the time one may be idle."""
    before, opened = server.pss_bytes, list[socket.socket]()
    try:
        for batch in range(0, IDLE, BATCH):
            opened += [connected(server, number) for number in range(batch, batch + BATCH)]
            for made in opened[batch:]:
                answered(made)
        grown = (server.pss_bytes - before) / IDLE
        if not all(map(still_open, opened)):
            raise RuntimeError(f"{server.name} closed connections meanwhile")
        return grown
    finally:
        for made in opened:
            made.close()
        time.sleep(1.0)  # for the proxies to notice, before the next is measured


def connected(server: Server, number: int) -> socket.socket:
    """A client that has asked something."""
    source = f"127.0.{number // PER_SOURCE + 1}.1"
    made = socket.create_connection(("127.0.0.1", server.ports["http"]), 10, (source, 0))
    made.sendall(f"GET /small HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return made


def answered(made: socket.socket) -> None:
    """Read the whole answer."""
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < SMALL_BYTES:
        piece = made.recv(65536)
        if not piece:
            raise RuntimeError(f"closed after {received[:80]!r}")
        received += piece


def still_open(made: socket.socket) -> bool:
    """Whether the other end has not closed."""
    made.setblocking(False)
    try:
        return bool(made.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True


def base(field: Field) -> list[Row]:
    """Memory of one worker that has done nothing yet."""
    rows = []
    for sites, target in ((1, 50.0), (SITES, None)):
        fresh = ours(field.folder / "fresh", field.port, field.tls_port, sites)
        try:
            mebibytes = fresh.pss_bytes / 2**20
        finally:
            fresh.close()
        line = row(
            f"a worker with {sites:,} site{'s' * (sites > 1)} in its view", "MiB (PSS)", mebibytes, None, "", target
        )
        rows.append({**line, "ok": None if target is None else mebibytes <= target, "peer_name": None})
    return rows


def crowd(field: Field) -> list[Row]:
    """500 slow and 1,000 busy clients of one site: what those of another one feel."""
    figures = slowed([field.ours, field.haproxy], field.folder)
    name = f"p99 of another site, {SLOW} slow and {BUSY:,} busy clients"
    line = row(name, "times that without them", figures["ours"], figures["haproxy"], "haproxy", None)
    return [{**line, "target": 2.0, "ok": figures["ours"] < 2.0, "reason": "less is better; the target is of ours"}]


def view(field: Field) -> list[Row]:
    """From a change of one of the sites in the node's view until a request goes to the new place."""
    found_s = sorted(reach_s(field.ours, f"127.0.0.{number + 2}") for number in range(20))
    field.ours.change("127.0.0.1")
    line = row(
        f"a change of one of {SITES:,} sites reaches a worker", "ms, worst of 20", found_s[-1] * 1e3, None, "", 100
    )
    return [{**line, "ok": found_s[-1] <= 0.1, "peer_name": None, "reason": f"median {found_s[10] * 1e3:.0f} ms"}]


def reach_s(server: Ours, address: str) -> float:
    """Seconds from a change until a request is answered at `address`."""
    request = f"GET /where HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.ports["http"]), 10) as client:
        changed_s = server.change(address)
        while True:
            client.sendall(request)
            if client.recv(65536).endswith(f"\r\n{address}".encode()):
                return time.monotonic() - changed_s
            time.sleep(0.001)


CASES: dict[str, Callable[[Field], list[Row]]] = {
    "small": small,
    "closing": closing,
    "big": big,
    "tcp": tcp,
    "tls": tls,
    "sni": sni,
    "idle": idle,
    "base": base,
    "view": view,
    "crowd": crowd,
}


def table(rows: list[Row]) -> str:
    """For people."""
    lines = []
    for line in rows:
        peer = f"{line['peer']:>12} {line['peer_name']:<8}" if line["peer"] is not None else " " * 21
        ratio = f"{line['ratio']:.2f}" if line["ratio"] is not None else ""
        verdict = {None: "", True: "ok", False: "MISSED"}[line["ok"]]
        figure = line["ours"] if line["ours"] is not None else "-"
        lines.append(
            f"{line['case']:<48} {line['unit']:<22} {figure:>12} {peer} {ratio:>5} {line['target'] or '':>5} "
            f"{verdict:<6} {line['reason']}"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure; 0 when no target was missed."""
    missing = [name for name in ("haproxy", "nginx", "wrk") if shutil.which(name) is None]
    if missing:
        sys.exit(f"bench: {', '.join(missing)} not found\n  try: apt-get install haproxy nginx-light wrk")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hyb-bench-", dir="/dev/shm")))
        (folder / "fresh").mkdir()
        folder.chmod(0o755)
        field = Field(folder, stack)
        for name, case in CASES.items():
            if not ONLY or name in ONLY:
                made = case(field)
                print(table(made), flush=True)
                rows += made
    Path("build/bench-proxy.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 1 if any(line["ok"] is False for line in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
