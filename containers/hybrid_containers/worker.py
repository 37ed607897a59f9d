"""
The LXC worker: `python -m hybrid_containers.worker`, a process of its own that holds the `lxc` binding. Does I/O.

The binding keeps the interpreter locked while it waits (two seconds in a `shutdown`), so it can live neither in the
reactor nor in a thread of it. Here every call runs in a fork: calls go side by side without a pool or affinity, a
call that hangs is killed alone at its deadline, and liblxc never sees a second thread. Containers do not depend on
the worker: LXC's monitors have sessions of their own.

Reads `Call` frames on standard input, writes `Reply` frames on standard output, ends with its standard input.
"""

from __future__ import annotations

import os
import selectors
import signal
import stat
import sys
import time
from dataclasses import dataclass, field

import lxc
import msgspec

from hybrid_containers.calls import Call, Frames, Reply, frame
from hybrid_containers.sparing import like_any_other

_decode = msgspec.msgpack.Decoder(Call).decode


@dataclass(slots=True)
class _Fork:
    """A call under way."""

    id: int
    pid: int
    pipe: int
    deadline_s: float
    said: bytearray = field(default_factory=bytearray)


class Worker:
    """Starts a fork per call, passes its reply on, kills what is late, reaps all."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests, self._replies = requests, replies
        self._frames = Frames()
        self._forks: dict[int, _Fork] = {}
        self._dying: set[int] = set()
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until the requests end."""
        self._selector.register(self._requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._next_s()):
                if key.fd != self._requests:
                    self._listen(self._forks[key.fd])
                    continue
                data = os.read(self._requests, 65536)
                if not data:
                    return self._end()
                for message in self._frames.feed(data):
                    self._fork(_decode(message))
            self._kill_late()
            self._reap()

    def _next_s(self) -> float | None:
        """Seconds until there is something to look after."""
        if self._dying:
            return 0.05
        if not self._forks:
            return None
        return max(0.0, min(fork.deadline_s for fork in self._forks.values()) - time.monotonic())

    def _fork(self, call: Call) -> None:
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            _child(call, writable)
        os.close(writable)
        self._forks[readable] = _Fork(call.id, pid, readable, time.monotonic() + call.deadline_s)
        self._selector.register(readable, selectors.EVENT_READ)

    def _listen(self, fork: _Fork) -> None:
        data = os.read(fork.pipe, 65536)
        fork.said += data
        for message in Frames().feed(bytes(fork.said)):
            self._forget(fork)
            return self._send(msgspec.msgpack.decode(message, type=Reply))
        if not data:
            self._forget(fork)
            self._send(Reply(fork.id, "the call ended without a word"))

    def _kill_late(self) -> None:
        now_s = time.monotonic()
        for fork in [fork for fork in self._forks.values() if fork.deadline_s <= now_s]:
            self._forget(fork)
            _kill(fork.pid)
            self._send(Reply(fork.id, "LXC did not answer in time"))

    def _forget(self, fork: _Fork) -> None:
        self._selector.unregister(fork.pipe)
        os.close(fork.pipe)
        del self._forks[fork.pipe]
        self._dying.add(fork.pid)

    def _reap(self) -> None:
        for pid in list(self._dying):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self._dying.discard(pid)

    def _send(self, reply: Reply) -> None:
        data = frame(reply)
        while data:
            data = data[os.write(self._replies, data) :]

    def _end(self) -> None:
        """Nobody is left to answer to: what is half done is swept by the next node process."""
        for fork in self._forks.values():
            _kill(fork.pid)


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)


def _child(call: Call, pipe: int) -> None:
    """In the fork: do it, say so, end. Never returns."""
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        signal.set_wakeup_fd(-1)
        try:
            perform(call)
            reply = Reply(call.id)
        except Exception as error:
            reply = Reply(call.id, str(error) or repr(error))
        os.write(pipe, frame(reply))
    finally:
        os._exit(0)


def perform(call: Call) -> None:
    """Do it, in this process. Raises `RuntimeError` with the reason in words."""
    if call.verb == "start":
        check_root(call.root, call.id_base)
        like_any_other()
    container = lxc.Container(call.name, call.home)
    if call.verb == "start":
        done = container.start(cmd=call.init)
    elif call.verb == "shutdown":
        done = container.shutdown(max(1, round(call.grace_s)))
    elif call.verb == "freeze":
        done = container.freeze()
    else:
        done = container.unfreeze()
    if not done:
        raise RuntimeError(f"LXC could not {call.verb} it (state {container.state})")


def check_root(root: str, id_base: int) -> None:
    """
    Look whether a container with uids from `id_base` can use the file system at `root`.

    Raises:
        RuntimeError: It cannot, and why.
    """
    try:
        owner = os.lstat(root)
    except OSError as error:
        raise RuntimeError(f"its root {root} cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(owner.st_mode):
        raise RuntimeError(f"its root {root} is not a directory")
    if owner.st_uid != id_base:
        raise RuntimeError(f"its root {root} belongs to uid {owner.st_uid}, not {id_base}: shift its owners first")
    parent = os.path.dirname(root)
    while parent != "/":
        if not os.stat(parent).st_mode & stat.S_IXOTH:
            raise RuntimeError(f"its root {root} cannot be reached: {parent} is closed to others (chmod o+x)")
        parent = os.path.dirname(parent)


def main() -> None:
    """Serve the pipe pair this process was started with. Ignores the signals meant for its parent's group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Worker(sys.stdin.fileno(), sys.stdout.fileno()).run()


if __name__ == "__main__":
    main()
