"""Large datasets: one of many bytes and one of many files, to the other node, and back in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench.stage import SITES, Machine, Stage, site_name

GB = int(os.environ.get("LARGE_GB", "2"))
FILES = int(os.environ.get("FILES", "50000"))
"""The full sizes are 10 and 1000000."""
FILL_S = 3600.0
FIRST = "hyb-000001-bench-0000001"
Row = dict[str, Any]
Rows = Callable[..., Row]
Piped = Callable[[Machine, Machine, str, str], float]


def measure(where: Stage, row: Rows, piped: Piped, mounted: Callable[[Machine, str], str]) -> list[Row]:
    """Both datasets."""
    case = Large(where, row, piped, mounted)
    return [
        *case.measure(site_name(3), f"{GB} GB in {GB * 4} files", lambda path: _bytes(GB, path), f"{GB * 1000} MB"),
        *case.measure(site_name(4), f"{FILES} files", lambda path: _files(FILES, path), ""),
    ]


class Large:
    """What is done to each."""

    def __init__(self, where: Stage, row: Rows, piped: Piped, mounted: Callable[[Machine, str], str]) -> None:
        self._where, self._row, self._piped, self._mounted = where, row, piped, mounted

    def measure(self, site: str, what: str, script: Callable[[str], list[str]], told: str) -> list[Row]:
        """Fill the site, bring it over, look at the copy, go back in time; and a file of it."""
        a, b, row = self._where.a, self._where.b, self._row
        began_s = time.monotonic()
        live = self._mounted(a, site)
        subprocess.run([*a.host.prefix, sys.executable, "-c", *script(live)], check=True, timeout=FILL_S)
        filled = f"filled in {time.monotonic() - began_s:.0f} s"
        full = a.order("snapshot", site=site)["name"]
        ours_s = float(a.order("push", site=site)["seconds"])
        source, target = f"{a.pool}/{SITES}/{site}", f"{b.pool}/hybrid/trash/raw-{site}"
        self._piped(a, b, f"{source}@{FIRST}", target)
        raw_s = self._piped(a, b, f"-i {source}@{FIRST} {source}@{full}", target)
        b.run("zfs", "destroy", "-r", target)
        looked = b.order("look", site=site, name=full)
        a.run(sys.executable, "-c", _CHANGE, live)
        a.order("snapshot", site=site)
        file_s = float(a.order("restore", site=site, name=full, path="d0", live=live)["seconds"])
        a.run("zfs", "umount", f"{a.pool}/{SITES}/{site}")
        back_s = float(a.order("rollback", site=site, name=full)["seconds"])
        seen = a.order("look", site=site, name=full)
        assert looked["files"] == seen["files"]
        return [
            row(f"{what}: all of it to the other node", "s", ours_s, raw_s, "zfs send | zfs receive", 0.9, filled),
            row(f"{what}: files of the copy there can be read", "s", looked["seconds"], None, None, 10.0, told),
            row(f"{what}: one folder restored from the past", "s", file_s),
            row(f"{what}: the whole site rolled back", "s", back_s, None, None, 10.0),
        ]


def _bytes(gigabytes: int, path: str) -> list[str]:
    return [_WRITE, path, str(gigabytes * 4), str(250_000_000)]


def _files(count: int, path: str) -> list[str]:
    folders = max(1, count // 1000)
    return [_MANY, path, str(folders), str(count // folders)]


_WRITE = """
import os, sys
path, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
block = os.urandom(1 << 20)
for number in range(count):
    os.makedirs(f"{path}/d{number}")
    with open(f"{path}/d{number}/file", "wb", buffering=0) as file:
        for at in range(0, size, len(block)):
            file.write((number << 32 | at).to_bytes(8, "big") + block[8:min(len(block), size - at)])
"""
"""Random blocks, each of them another: nothing here compresses or finds what is the same."""

_MANY = """
import os, sys
path, folders, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for folder in range(folders):
    os.mkdir(f"{path}/d{folder}")
    for number in range(each):
        descriptor = os.open(f"{path}/d{folder}/{number}", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(descriptor, b"%d %d" % (folder, number))
        os.close(descriptor)
"""

_CHANGE = """
import os, shutil, sys
shutil.rmtree(f"{sys.argv[1]}/d0")
"""
