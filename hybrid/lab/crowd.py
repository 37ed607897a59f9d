"""
`python -m hybrid.lab.crowd ADDRESS HOST PATH PEOPLE`: so many people ask for one page over and over. Blocks.

One line for each answer on standard output: when it was asked for, how long it took (seconds, of the monotonic clock,
which is the same in all processes of a machine), and why it was none, if so. Until standard input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hybrid.lab.measures import Answered
from hybrid.lab.visitor import Unanswered, visit

END_S = 60.0
"""Who waits for a page waits for half a minute at most."""


@contextmanager
def crowd(address: str, host: str, path: str, people: int, heard: Path) -> Iterator[None]:
    """`people` at work in a process of their own while the block runs; what they hear is in the file `heard`."""
    command = [sys.executable, "-m", "hybrid.lab.crowd", address, host, path, str(people)]
    with heard.open("w") as file:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file)
        try:
            yield
        finally:
            try:
                process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def read(heard: Path) -> list[Answered]:
    """What a crowd heard, in the order in which it ended."""
    found = []
    for line in heard.read_text().splitlines():
        begin_s, took_s, why = line.split(" ", 2)
        found.append(Answered(float(begin_s), float(begin_s) + float(took_s), not why, why))
    return found


def main(argv: Sequence[str]) -> int:
    """The program."""
    address, host, path, people = argv
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            begin_s, why = time.monotonic(), ""
            try:
                visit(address, host, path)
            except Unanswered as error:
                why = str(error).replace("\n", " ")
            line = f"{begin_s:.4f} {time.monotonic() - begin_s:.4f} {why}\n"
            os.write(1, line.encode())  # whole, whoever else writes

    threads = [threading.Thread(target=ask) for _ in range(int(people))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
