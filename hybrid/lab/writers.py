"""Writers: one thread per node that signs the guestbook through it; what was acknowledged is kept outside all nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hybrid.lab.measures import Ack
from hybrid.lab.visitor import PATIENCE_S, Unanswered, visit


class Journal:
    """What was acknowledged, in order, in a file on this machine. For any number of threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)
        self._acks: list[Ack] = []

    def add(self, ack: Ack) -> None:
        """One more."""
        with self._lock:
            self._acks.append(ack)
            self._file.write(f"{ack.id} {ack.node} {ack.sent_s:.6f} {ack.acked_s:.6f} {ack.size} {ack.claim}\n")

    def acks(self) -> list[Ack]:
        """All so far."""
        with self._lock:
            return list(self._acks)

    def since(self, wall_s: float, node: str | None = None) -> list[Ack]:
        """Those sent after `wall_s` (through `node`)."""
        return [ack for ack in self.acks() if ack.sent_s > wall_s and node in (None, ack.node)]

    def close(self) -> None:
        """No more."""
        self._file.close()


class Writers:
    """
    Threads that write, one through each node, until `stop`.

    Args:
        host: The site's.
        journal: Gets what was acknowledged.
        every_s: Pause of each writer between two writes.
    """

    def __init__(self, host: str, journal: Journal, every_s: float = 0.4) -> None:
        self._host, self._journal, self._every_s = host, journal, every_s
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = 0
        self._lock = threading.Lock()
        self.refused = 0
        """Writes that were not acknowledged: nobody may count on them."""

    def start(self, nodes: Mapping[str, str]) -> None:
        """Begin to write through `nodes` (name to address)."""
        self._stop.clear()
        for name, address in nodes.items():
            thread = threading.Thread(target=self._write, args=(name, address), name=f"writer-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @contextmanager
    def writing(self, nodes: Mapping[str, str]) -> Iterator[None]:
        """Write through `nodes` while the block runs."""
        self.start(nodes)
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop; returns when the last answer under way was read or given up."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S + 5)
        self._threads.clear()

    def _write(self, node: str, address: str) -> None:
        while not self._stop.wait(self._every_s):
            self.write_one(node, address)

    def write_one(self, node: str, address: str) -> bool:
        """One write; true when it was acknowledged."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
        sent_s = time.time()
        name, text = f"{node}-{int(sent_s * 1000):x}-{number}", f"written through {node}"
        try:
            answer = visit(address, self._host, "/append", {"id": name, "text": text})
        except Unanswered:
            answer = ""
        if not answer.startswith(f"ok {name} "):
            with self._lock:
                self.refused += 1
            return False
        claim = (answer.split() + [""] * 4)[3]
        self._journal.add(Ack(name, node, sent_s, time.time(), len(name) + len(text), claim, number))
        return True
