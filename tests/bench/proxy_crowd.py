"""What others feel of a crowd: 500 clients that trickle and 1,000 that ask all the time, of another site."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.proxies import HOST, LOAD_CPU, Server

SLOW, BUSY = 500, 1_000
EACH_S = 0.5
"""Between two questions of one busy client, on average: 2,000 requests per second of all."""
SLOW_SOURCE, OTHER_SOURCE = "127.0.1.1", "127.0.2.1"
OTHER = "www.site-4242.test"
PROBES, PAUSE_S = 800, 0.002
ROUNDS = 3


def p99_s(server: Server) -> float:
    """How long a client of another site waits, of a hundred requests for the slowest but one."""
    request = f"GET /small HTTP/1.1\r\nHost: {OTHER}\r\n\r\n".encode()
    waited_s = []
    with socket.create_connection(("127.0.0.1", server.ports["http"]), 30, (OTHER_SOURCE, 0)) as client:
        for _ in range(PROBES):
            begun_s = time.perf_counter()
            client.sendall(request)
            received = client.recv(65536)
            while len(received) < 1024:
                received += client.recv(65536)
            waited_s.append(time.perf_counter() - begun_s)
            if not received.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{server.name} answered {received[:80]!r}")
            time.sleep(PAUSE_S)
    return statistics.quantiles(waited_s, n=100)[98]


@contextlib.contextmanager
def slow_clients(server: Server) -> Iterator[None]:
    """Each sends a byte of a head twice a second, and begins anew when it is thrown out."""
    ended = threading.Event()
    where = "127.0.0.1", server.ports["http"]

    def begin() -> socket.socket:
        made = socket.create_connection(where, 10, (SLOW_SOURCE, 0))
        made.sendall(b"GET /slow HTTP/1.1\r\nX-Slow: ")
        return made

    def trickle() -> None:
        clients = [begin() for _ in range(SLOW)]
        while not ended.wait(0.5):
            for number, client in enumerate(clients):
                try:
                    client.sendall(b"x")
                except OSError:
                    client.close()
                    clients[number] = begin()
        for client in clients:
            client.close()

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def busy_clients(server: Server, folder: Path) -> Iterator[None]:
    """They ask for as long as this lasts, and get what they ask for."""
    script = folder / "busy.lua"
    script.write_text(f"function delay() return math.random({round(2 * EACH_S * 1000)}) end\n")
    url = f"http://127.0.0.1:{server.ports['http']}/small"
    argv = [
        "taskset",
        "-c",
        LOAD_CPU,
        "wrk",
        "-t1",
        f"-c{BUSY}",
        "-d60s",
        "-s",
        str(script),
        "-H",
        f"Host: {HOST}",
        url,
    ]
    load = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)  # for all of them to be there
    try:
        if load.poll() is not None:
            raise RuntimeError(f"the busy clients gave up: {load.stdout and load.stdout.read()}")
        yield
    finally:
        load.terminate()
        load.communicate(timeout=30)


def slowed(servers: list[Server], folder: Path) -> dict[str, float]:
    """How many times as long others wait in a crowd as without, by server: the median of some rounds in turns."""
    found: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(ROUNDS):
        for server in servers:
            quiet_s = p99_s(server)
            with slow_clients(server), busy_clients(server, folder):
                found[server.name].append(p99_s(server) / quiet_s)
    return {name: statistics.median(times) for name, times in found.items()}
