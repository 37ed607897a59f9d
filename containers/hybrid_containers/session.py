"""
One session of somebody who logged in: `python -I -m hybrid_containers.session`, a process of its own. Does I/O.

Standard input is the connection to the front door (`hybrid.sessions`); file descriptor 3 says what to run (`Task`,
JSON). No byte of it goes through the node process. It ends with its command, or with its
connection: then the command is hung up on, and killed `HANGUP_S` later. What is not read is not taken from the command,
and what the command does not take is not read, so nothing piles up here. The standard library only: it starts at once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import select
import signal
import socket
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hybrid.sessions import (
    END,
    ERRORS,
    INPUT,
    KILLED,
    OUTPUT,
    REFUSED,
    SIGNAL,
    STARTED,
    STATUS,
    WINDOW,
    BadMessage,
    Messages,
    Size,
    message,
    pieces,
    read_size,
)
from hybrid_containers import sftp
from hybrid_containers.inside import Door, Gone
from hybrid_containers.sparing import like_any_other

CHUNK = 32 * 1024
BEHIND = 128 * 1024
"""Bytes kept for a reader that does not keep up; then no more are taken."""
LINGER_S = 1.0
"""How long after a command's end its output may stay silent and open: what it left running may hold it for ever."""
HANGUP_S = 2.0
PARTING_S = 15.0
"""For the front door to take the last of it."""
SIGNALS = ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
"""Those of RFC 4254 §6.10."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to run, on the machine: a program, or SFTP in a container."""

    argv: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    size: Size | None = None
    """Of its terminal; `None`: it gets none."""
    init: int = 0
    """For SFTP: see `hybrid_containers.inside.Door`, as `groups`."""
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class Command:
    """What runs: its process and the ends of its pipes, or the terminal for all of them. -1: closed."""

    pid: int
    stdin: int
    stdout: int
    stderr: int

    def close_input(self) -> None:
        """It gets no more."""
        if self.stdin >= 0 and self.stdin != self.stdout:
            os.close(self.stdin)
            self.stdin = -1

    def close_output(self, end: int) -> None:
        """Nothing more comes from `end`."""
        os.close(end)
        if end == self.stdin:
            self.stdin = -1
        if end == self.stdout:
            self.stdout = -1
        else:
            self.stderr = -1


def start(run: Callable[[], None], size: Size | None) -> Command:
    """Run `run` in a fork with pipes, or a terminal of `size`; it never returns there. It leads a group of its own."""
    if size is not None:
        pid, master = pty.fork()
        if pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size.winsize)
            _forked(run)
        os.set_blocking(master, False)
        return Command(pid, master, master, -1)
    (stdin, to), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        for number, end in enumerate((stdin, stdout, stderr)):
            os.dup2(end, number)
        _forked(run)
    for end in (stdin, stdout, stderr):
        os.close(end)
    for end in (to, out, err):
        os.set_blocking(end, False)
    return Command(pid, to, out, err)


def _forked(run: Callable[[], None]) -> None:
    try:
        for number in (signal.SIGPIPE, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        like_any_other()
        run()
    except Exception as error:
        os.write(2, f"{error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(255)


class Session:
    """See the module. `link`: the connection. `command`: what was started; it is killed when `with_` ends (a pidfd)."""

    def __init__(self, link: socket.socket, command: Command, with_: int = -1) -> None:
        self._link, self._command, self._with = link, command, with_
        link.setblocking(False)
        self._messages = Messages()
        self._said = bytearray(message(STARTED))
        """Not sent yet."""
        self._typed = bytearray()
        """Not taken by the command yet."""
        self._no_more_input = False
        self._return = b""
        """A carriage return that may belong to a line feed."""
        self._status: int | None = None
        self._quiet_since_s = 0.0
        self._exit = os.pidfd_open(command.pid)

    def run(self) -> None:
        """Until it is over."""
        try:
            while not self._over():
                self._turn()
            self._say_last()
        except (ConnectionError, BadMessage):
            pass
        finally:
            self._hang_up()

    def _over(self) -> bool:
        command = self._command
        if self._status is None:
            return False
        if command.stdout < 0 and command.stderr < 0:
            return True
        return not self._said and time.monotonic() - self._quiet_since_s > LINGER_S

    def _turn(self) -> None:
        """Wait for something to happen, and do what can be done."""
        command, link = self._command, self._link.fileno()
        poll = select.poll()
        poll.register(link, (select.POLLIN if len(self._typed) < BEHIND else 0) | (select.POLLOUT if self._said else 0))
        wanted: dict[int, int] = {}
        if len(self._said) < BEHIND:
            wanted |= {end: select.POLLIN for end in (command.stdout, command.stderr) if end >= 0}
        if self._typed and command.stdin >= 0:
            wanted[command.stdin] = wanted.get(command.stdin, 0) | select.POLLOUT
        if self._status is None:
            wanted |= {end: select.POLLIN for end in (self._exit, self._with) if end >= 0}
        for end, events in wanted.items():
            poll.register(end, events)
        for end, event in poll.poll(None if self._status is None else LINGER_S * 1000):
            if end == link:
                self._link_event(event)
            elif end == self._exit:
                self._reap()
            elif end == self._with:
                self._with = -1
                os.killpg(command.pid, signal.SIGKILL)
            else:
                self._command_event(end, event)

    def _link_event(self, event: int) -> None:
        if event & select.POLLOUT:
            del self._said[: self._link.send(self._said)]
        if event & select.POLLIN:
            data = self._link.recv(CHUNK)
            if not data:
                raise ConnectionError("the front door is gone")
            for kind, body in self._messages.feed(data):
                self._heard(kind, body)
        elif event & (select.POLLHUP | select.POLLERR):
            raise ConnectionError("the front door is gone")

    def _heard(self, kind: bytes, body: bytes) -> None:
        command = self._command
        if kind == INPUT and not self._no_more_input:
            self._typed += body
            self._feed()
        elif kind == END:
            self._no_more_input = True
            self._feed()
        elif kind == WINDOW:
            size = read_size(body)
            if command.stdin >= 0 and command.stdin == command.stdout:
                fcntl.ioctl(command.stdin, termios.TIOCSWINSZ, size.winsize)
        elif kind == SIGNAL:
            name = body.decode("ascii", "replace")
            if name in SIGNALS and self._status is None:
                os.killpg(command.pid, getattr(signal, f"SIG{name}"))

    def _command_event(self, end: int, event: int) -> None:
        command = self._command
        if event & (select.POLLIN | select.POLLHUP | select.POLLERR) and end in (command.stdout, command.stderr):
            if len(self._said) < BEHIND:
                self._read(end)
        if end == command.stdin and (self._typed or self._no_more_input):
            self._feed()

    def _read(self, end: int) -> None:
        try:
            data = os.read(end, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody has open any more
                raise
            data = b""
        if data:
            self._quiet_since_s = time.monotonic()
            data = self._once(data) if end == self._command.stdin else data
            self._said += pieces(ERRORS if end == self._command.stderr else OUTPUT, data)
        else:
            self._command.close_output(end)

    def _once(self, data: bytes) -> bytes:
        """
        What the terminal within the container said, as it said it.

        lxc-attach makes that one, and has the terminal that it finds here put a carriage return before each line feed.
        """
        data = self._return + data
        self._return = data[-1:] if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._return)].replace(b"\r\n", b"\n")

    def _feed(self) -> None:
        """Give the command what was typed, as far as it takes it."""
        command = self._command
        if command.stdin < 0:
            self._typed.clear()
            return
        try:
            while self._typed:
                del self._typed[: os.write(command.stdin, self._typed)]
        except BlockingIOError:
            return
        except OSError:  # it closed its input, which is its right
            self._typed.clear()
            command.close_input()
            return
        if self._no_more_input:
            command.close_input()

    def _reap(self) -> None:
        _, self._status = os.waitpid(self._command.pid, 0)
        self._quiet_since_s = time.monotonic()

    def _say_last(self) -> None:
        assert self._status is not None
        if os.WIFSIGNALED(self._status):
            name = signal.Signals(os.WTERMSIG(self._status)).name.removeprefix("SIG")
            self._said += message(KILLED, name.encode())
        else:
            self._said += message(STATUS, os.WEXITSTATUS(self._status).to_bytes(4, "big"))
        self._link.setblocking(True)
        self._link.settimeout(PARTING_S)
        self._link.sendall(self._said)

    def _hang_up(self) -> None:
        """Whatever happened: the command ends, and is reaped."""
        command = self._command
        if command.stdout >= 0 and command.stdout == command.stdin:
            command.close_output(command.stdout)  # its terminal hangs up
        command.close_input()
        for number, wait_s in ((signal.SIGHUP, HANGUP_S), (signal.SIGKILL, None)):
            if self._status is not None:
                return
            os.killpg(command.pid, number)
            poll = select.poll()
            poll.register(self._exit, select.POLLIN)
            if poll.poll(None if wait_s is None else wait_s * 1000):
                self._reap()


def read_task(text: bytes) -> Task:
    """What file descriptor 3 says."""
    told = json.loads(text)
    size = Size(*told["size"]) if told["size"] else None
    return Task(tuple(told["argv"]), told["environment"], size, told["init"], tuple(told["groups"]))


def write_task(task: Task) -> bytes:
    """As `read_task` reads it."""
    size = task.size
    sizes = [size.columns, size.rows, size.width, size.height] if size is not None else []
    told = {"argv": task.argv, "environment": task.environment, "size": sizes, "init": task.init, "groups": task.groups}
    return json.dumps(told).encode()


def _told_to_end(number: int, frame: object) -> None:
    raise ConnectionError("the node ends it")


def main() -> None:
    """Serve one session."""
    with open(3, "rb") as told:
        task = read_task(told.read())
    signal.signal(signal.SIGTERM, _told_to_end)
    link = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    try:
        if task.groups:
            door = Door(task.init, task.groups)
            command, with_ = start(lambda: _serve_files(door), None), door.init
        else:
            command, with_ = start(lambda: os.execvpe(task.argv[0], task.argv, task.environment), task.size), -1
    except Gone:
        return  # the front door looks again
    except OSError as error:
        link.sendall(pieces(REFUSED, f"no session can be started: {error.strerror}".encode()))
        return
    Session(link, command, with_).run()


def _serve_files(door: Door) -> None:
    """Never returns."""
    door.enter()
    os.closerange(3, 256)
    sftp.serve(0, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
