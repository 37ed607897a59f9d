"""
Ask a port on loopback: `python -I -S probe.py PORT SECONDS [PATH HOST]`, run in a container's network namespace.

Prints the status of the HTTP answer, 0 for a connection that was accepted; a failure is one line on standard error.
What listens there is a tenant's: nothing of what it sends is used but three digits. Standard library only.
"""

from __future__ import annotations

import re
import socket
import sys
import time

MAX_LINE = 4096


def ask(port: int, seconds: float, path: str | None, host: str) -> int:
    """See above. Raises `OSError` (`ValueError` for an answer that is no HTTP)."""
    until_s = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        if path is None:
            return 0
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hybrid-proof\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("ascii", "replace"))
        line = b""
        while b"\n" not in line and len(line) < MAX_LINE:
            connection.settimeout(max(0.001, until_s - time.monotonic()))
            if not (part := connection.recv(MAX_LINE)):
                break
            line += part
    found = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r\n]", line)
    if found is None:
        raise ValueError("what it answers is not HTTP")
    return int(found[1])


def main(words: list[str]) -> int:
    """The exit code."""
    port, seconds, *request = words
    path, host = request or (None, "")
    try:
        print(ask(int(port), float(seconds), path, host))
    except (OSError, ValueError) as error:
        print(getattr(error, "strerror", None) or error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
