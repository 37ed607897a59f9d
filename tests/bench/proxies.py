"""The proxies that `tests.bench.proxy` compares, each one process on one core, and the server behind them all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

SITES = 10_000
SMALL_BYTES = 1024
BIG_BYTES = 10 * 1024 * 1024
PROXY_CPU, LOAD_CPU = "0", "1"
HOST = "www.site-77.test"
PASSED = "www.site-78.test"
"""A site that ends TLS itself."""
PATIENCE_S = 60.0
COMPILED = ("_heads", "_brief", "_lean")
_ports = iter(range(21_000, 32_000))


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, below those that clients' ends of connections get."""
    found: list[int] = []
    for port in _ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


def await_port(port: int) -> None:
    """Return when somebody listens there. Raises `TimeoutError`."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")


class Server:
    """A program pinned to a core."""

    name = ""

    def __init__(self, folder: Path, cpu: str, argv: Sequence[str], ports: dict[str, int]) -> None:
        self.ports = ports
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", cpu, *argv], stdout=log, stderr=log, stdin=subprocess.PIPE, cwd=folder
            )
        for port in ports.values():
            await_port(port)
        self.pid = self.working_pid()

    def working_pid(self) -> int:
        """The process that does the work."""
        return self.process.pid

    @property
    def cpu_s(self) -> float:
        """Seconds on a processor so far (`/proc/<pid>/schedstat` counts nanoseconds)."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    @property
    def pss_bytes(self) -> int:
        """Memory that is its own, and its part of what is shared."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    def close(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Nginx(Server):
    """One worker of nginx below a master."""

    name = "nginx"

    def working_pid(self) -> int:
        """The worker's."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until_s = time.monotonic() + PATIENCE_S
        while not children.read_text().split() and time.monotonic() < until_s:
            time.sleep(0.05)
        return int(children.read_text().split()[0])


def nginx(folder: Path, cpu: str, http: str, ports: dict[str, int], stream: str = "") -> Nginx:
    """One worker of nginx with this `http` and `stream` block."""
    folder.mkdir()
    loaded = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    module = f"load_module {loaded};\n" if stream and loaded.exists() else ""
    block = f"stream {{\n{stream}\n}}\n" if module else ""
    (folder / "nginx.conf").write_text(
        f"{module}daemon off;\nuser root;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {folder}/pid;\n"
        f"error_log {folder}/error.log;\nevents {{ worker_connections 19000; }}\n"
        f"http {{\nkeepalive_requests 1000000000;\nkeepalive_timeout 600s;\ntcp_nodelay on;\n{http}\n}}\n{block}"
    )
    open_ports = {name: port for name, port in ports.items() if name != "tcp" or block}
    return Nginx(folder, cpu, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], open_ports)


def certificate(folder: Path) -> Path:
    """A file with a key and a certificate (ECDSA P-256, as ours)."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    argv = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench".split()
    subprocess.run([*argv, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True, timeout=60)
    made.write_bytes(made.read_bytes() + key.read_bytes())
    return made


def backend(folder: Path, port: int, tls_port: int) -> Nginx:
    """What stands for the containers: `/small` has 1 kB, `/big` 10 MB from memory, `/where` the address asked."""
    (folder / "files").mkdir()
    pem = certificate(folder)
    (folder / "files" / "big").write_bytes(os.urandom(BIG_BYTES))
    http = (
        f"access_log off; sendfile on; ssl_certificate {pem}; ssl_certificate_key {pem};\n"
        f"server {{ listen {port} backlog=4096; listen 127.0.0.1:{tls_port} ssl;\n"
        f"location = /where {{ default_type text/plain; return 200 $server_addr; }}\n"
        f'location = /small {{ default_type text/html; return 200 "{"x" * SMALL_BYTES}"; }}\n'
        f"location = /big {{ root {folder}/files; }} }}"
    )
    return nginx(folder / "backend", LOAD_CPU, http, {"http": port, "https": tls_port})


def nginx_proxy(folder: Path, behind: int) -> Nginx:
    """Nginx as the proxy."""
    http_port, https_port, tcp_port = free_ports(3)
    pem = folder / "certificate.pem"
    names = "".join(f"www.site-{number}.test behind;\n" for number in range(SITES))
    http = (
        f"access_log {folder}/nginx-access.log combined buffer=64k flush=1s; proxy_buffering on;\n"
        f"ssl_certificate {pem}; ssl_certificate_key {pem};\n"
        f"map_hash_max_size 65536;\nmap $host $to {{ default none;\n{names} }}\n"
        f"upstream behind {{ server 127.0.0.1:{behind}; keepalive 128; keepalive_requests 1000000000; }}\n"
        f"server {{ listen 127.0.0.1:{http_port} backlog=4096; listen 127.0.0.1:{https_port} ssl;\n"
        "location / { proxy_pass http://$to; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_set_header Host $http_host;\n'
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }"
    )
    stream = f"server {{ listen 127.0.0.1:{tcp_port} backlog=4096; proxy_pass 127.0.0.1:{behind}; }}"
    return nginx(folder / "nginx", PROXY_CPU, http, {"http": http_port, "https": https_port, "tcp": tcp_port}, stream)


class Haproxy(Server):
    """Haproxy with one thread."""

    name = "haproxy"


def haproxy(folder: Path, behind: int, tls_behind: int) -> Haproxy:
    """Haproxy as the proxy."""
    http_port, https_port, tcp_port, sni_port = free_ports(4)
    where = folder / "haproxy"
    where.mkdir()
    (where / "hosts").write_text("".join(f"www.site-{number}.test behind\n" for number in range(SITES)))
    (where / "names").write_text("".join(f"www.site-{number}.test named\n" for number in range(SITES)))
    (where / "haproxy.cfg").write_text(
        "global\n  nbthread 1\n  maxconn 9400\n  log stdout format raw local0\ndefaults\n  log global\n"
        "  timeout connect 3s\n  timeout client 600s\n  timeout server 60s\n  timeout http-request 15s\n"
        "frontend web\n  mode http\n  option httplog\n  option forwardfor\n"
        f"  bind 127.0.0.1:{http_port} backlog 4096\n"
        f"  bind 127.0.0.1:{https_port} ssl crt {folder}/certificate.pem alpn http/1.1\n"
        f"  timeout http-keep-alive 600s\n  use_backend %[req.hdr(host),lower,map({where}/hosts,none)]\n"
        f"backend behind\n  mode http\n  http-reuse always\n  server one 127.0.0.1:{behind}\n"
        "backend none\n  mode http\n"
        "frontend plain\n  mode tcp\n  option tcplog\n"
        f"  bind 127.0.0.1:{tcp_port} backlog 4096\n  default_backend plain\n"
        f"backend plain\n  mode tcp\n  server one 127.0.0.1:{behind}\n"
        f"frontend named\n  mode tcp\n  option tcplog\n  bind 127.0.0.1:{sni_port}\n"
        "  tcp-request inspect-delay 5s\n  tcp-request content accept if { req_ssl_hello_type 1 }\n"
        f"  use_backend %[req.ssl_sni,lower,map({where}/names,none)]\n"
        f"backend named\n  mode tcp\n  server one 127.0.0.1:{tls_behind}\n"
    )
    argv = ["haproxy", "-db", "-f", str(where / "haproxy.cfg")]
    ports = {"http": http_port, "https": https_port, "tcp": tcp_port, "sni": sni_port}
    return Haproxy(where, PROXY_CPU, argv, ports)


class Ours(Server):
    """`hybrid proxy`, and the process that feeds it a view as the node process would."""

    name = "ours"

    def __init__(self, folder: Path, ports: dict[str, int], feeding: subprocess.Popen[bytes], pure: bool) -> None:
        self.feeding = feeding
        self.name = "pure" if pure else "ours"
        hidden = "".join(f"sys.modules['hybrid_proxy.{name}'] = None; " for name in COMPILED if pure)
        code = f"import sys; {hidden}from hybrid_proxy.main import main; sys.exit(main(sys.argv[1:]))"
        argv = [sys.executable, "-c", code, "--config", str(folder / "hybrid.toml"), "--stay-root"]
        super().__init__(folder, PROXY_CPU, argv, ports)

    def change(self, upstream: str) -> float:
        """Let the site `HOST` be at another address; the time (monotonic seconds) when the node's view said so."""
        assert self.feeding.stdin is not None and self.feeding.stdout is not None
        self.feeding.stdin.write(upstream.encode() + b"\n")
        self.feeding.stdin.flush()
        return float(self.feeding.stdout.readline())

    def close(self) -> None:
        """End both."""
        super().close()
        assert self.feeding.stdin is not None
        self.feeding.stdin.close()
        self.feeding.wait(10)


def ours(folder: Path, behind: int, tls_behind: int, sites: int = SITES, pure: bool = False) -> Ours:
    """Our front doors with so many sites in their view; `pure`: without what is compiled."""
    http_port, https_port, interior_port, tcp_port = free_ports(4)
    where = folder / f"ours-{sites}-{pure}"
    where.mkdir()
    (where / "hybrid.toml").write_text(
        f'name = "one"\naddress = "127.0.0.1"\nstate_dir = "{where}/state"\nrun_dir = "{where}/run"\n'
        f"http_port = {http_port}\nhttps_port = {https_port}\ninterior_port = {interior_port}\n"
    )
    argv = [sys.executable, "-m", "tests.bench.feeding", str(where), *map(str, (behind, tls_behind, tcp_port, sites))]
    with (where / "feed.log").open("wb") as log:
        feeding = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert feeding.stdout is not None
    feeding.stdout.readline()
    ports = {"http": http_port, "https": https_port, "tcp": tcp_port, "sni": https_port}
    return Ours(where, ports, feeding, pure)
