"""A real S3 server for tests: rclone's, which checks signatures, with its buckets in a folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER = Path(sys.executable).with_name("rclone")
ACCESS, SECRET = "access-key-of-the-test", "secret-key-of-the-test"


@contextmanager
def serving(folder: Path, address: str = "127.0.0.1") -> Iterator[int]:
    """The port at which `address` serves the bucket `copies` in `folder`, until the end."""
    server = str(SERVER) if SERVER.exists() else shutil.which("rclone")
    if server is None:
        pytest.skip("no rclone: make setup")
    (folder / "copies").mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind((address, 0))
        port: int = free.getsockname()[1]
    command = [server, "serve", "s3", "--auth-key", f"{ACCESS},{SECRET}", "--addr", f"{address}:{port}", str(folder)]
    process = subprocess.Popen(
        [*command, "--config", "/dev/null"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(address, port, process)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it answers."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s and process.poll() is None:
        try:
            socket.create_connection((address, port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the S3 server does not come up")
