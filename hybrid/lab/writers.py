"""Writers: one thread per node that signs the guestbook through it; what was acknowledged is kept outside all nodes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hybrid.lab.visitor import PATIENCE_S, Unanswered, visit


@dataclass(frozen=True, slots=True)
class Ack:
    """A write that the site acknowledged; wall time in seconds, before it was sent and after the answer was read."""

    id: str
    node: str
    sent_s: float
    acked_s: float


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
            self._file.write(f"{ack.id} {ack.node} {ack.sent_s:.6f} {ack.acked_s:.6f}\n")

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
            name = f"{node}-{int(time.time() * 1000):x}-{self._numbers}"
        sent_s = time.time()
        try:
            answer = visit(address, self._host, "/append", {"id": name, "text": f"written through {node}"})
        except Unanswered:
            answer = ""
        if not answer.startswith(f"ok {name} "):
            with self._lock:
                self.refused += 1
            return False
        self._journal.add(Ack(name, node, sent_s, time.time()))
        return True
