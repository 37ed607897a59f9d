"""Looking at this machine: files below /proc, /sys and /etc, and `zpool list`. Shell; blocks for seconds at worst."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from hybrid.doctor.findings import Listening, Machine, Pool
from hybrid.settings import Settings

PROGRAMS = ("zfs", "zpool", "lxc-start", "ip", "nft")
ZPOOL_S = 10.0
_TABLES = (("tcp", "tcp", "0A"), ("tcp", "tcp6", "0A"), ("udp", "udp", "07"), ("udp", "udp6", "07"))
"""Protocol, file in /proc/net, the state that means "listens" (proc(5))."""
_TIME_ERROR = 5


def look(settings: Settings, root: Path = Path("/")) -> Machine:
    """All of it. `root`: of the file system, for tests."""
    state = root / settings.state_dir.lstrip("/")
    programs = processes(root / "proc")
    node = next((pid for pid, words in programs.items() if _is_node(words)), None)
    pool, pool_trouble = _pool(settings.pool)
    return Machine(
        root=os.geteuid() == 0,
        member=(state / "cluster.json").exists(),
        node_runs=node is not None,
        apparmor=_text(root / "sys/module/apparmor/parameters/enabled").strip() == "Y",
        cgroup=_cgroup(root / "sys/fs/cgroup"),
        zfs_module=_text(root / "sys/module/zfs/version").strip(),
        zfs_fuse=shutil.which("zfs-fuse", path=_PATH) is not None,
        missing=tuple(name for name in PROGRAMS if shutil.which(name, path=_PATH) is None),
        pool=pool,
        pool_trouble=pool_trouble,
        listening=tuple(listening(root / "proc", programs)),
        files_limit=_files_limit(root / "proc", node),
        swaps=swaps(_text(root / "proc/swaps")),
        synchronised=_synchronised(),
        resolvers=resolvers(_text(root / "etc/resolv.conf")),
        certificate_left_s=_certificate_left_s(state / "node.crt", time.time()),
        state_free=_free(state),
    )


_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _cgroup(mounted: Path) -> int:
    if (mounted / "cgroup.controllers").exists():
        return 2
    return 1 if (mounted / "memory").exists() else 0


def processes(proc: Path) -> dict[int, list[str]]:
    """Pid to command line of all that can be seen."""
    return {int(path.name): _text(path / "cmdline").rstrip("\0").split("\0") for path in proc.glob("[0-9]*")}


def _is_node(words: list[str]) -> bool:
    return ("node", "run") in pairwise(words) and _is_ours(words)


def _is_ours(words: Iterable[str]) -> bool:
    return any(re.search(r"(^|/)hybrid(\.main)?$", word) for word in list(words)[:4])


def listening(proc: Path, programs: dict[int, list[str]]) -> Iterator[Listening]:
    """Who listens where. A program is known only to root."""
    owners = _owners(proc)
    for protocol, file, state in _TABLES:
        for line in _text(proc / "net" / file).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == state:
                pid = owners.get(fields[9], 0)
                name = _text(proc / str(pid) / "comm").strip() if pid else ""
                ours = _is_ours(programs.get(pid, []))
                yield Listening(
                    "tcp" if protocol == "tcp" else "udp", int(fields[1].rpartition(":")[2], 16), name, ours
                )


def _owners(proc: Path) -> dict[str, int]:
    """Inode of a socket to a process that has it open."""
    found = {}
    for path in proc.glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith("socket:["):
            found[target[8:-1]] = int(path.parts[-3])
    return found


def _files_limit(proc: Path, node: int | None) -> int:
    """Of the node process where it runs."""
    match = re.search(r"Max open files\s+(\d+)", _text(proc / str(node) / "limits")) if node is not None else None
    return int(match[1]) if match else resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def swaps(text: str) -> tuple[str, ...]:
    """Devices in the text of /proc/swaps."""
    return tuple(line.split()[0] for line in text.splitlines()[1:] if line.strip())


def resolvers(text: str) -> tuple[str, ...]:
    """Addresses in the text of resolv.conf(5)."""
    return tuple(re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE))


def _synchronised() -> bool | None:
    """What adjtimex(2) says of the kernel's clock."""
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1024))
    return None if answer < 0 else answer != _TIME_ERROR


def _pool(name: str) -> tuple[Pool | None, str]:
    try:
        done = subprocess.run(
            ["zpool", "list", "-H", "-o", "health,capacity", name],
            capture_output=True,
            text=True,
            timeout=ZPOOL_S,
            check=False,
            env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        return None, f"zpool does not answer within {ZPOOL_S:.0f} s"
    except OSError as error:
        return None, f"zpool cannot be run: {error.strerror}"
    fields = done.stdout.split()
    if done.returncode or len(fields) != 2:
        return None, " ".join(done.stderr.split())[:200] or "zpool says nothing of it"
    return Pool(fields[0], int(fields[1].rstrip("%")) if fields[1].rstrip("%").isdigit() else 0), ""


def _certificate_left_s(path: Path, now_s: float) -> float | None:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp() - now_s
    except (OSError, ValueError):
        return None


def _free(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
