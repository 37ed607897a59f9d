"""The command line as people use it: processes against a served cluster of fakes."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SERVE = Path(__file__).with_name("serve.py")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


class Terminal:
    """A command whose input, output and talk are one terminal."""

    def __init__(self, words: list[str], environment: dict[str, str], width: int) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, width))
        self.process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self._seen = ""

    def read_until(self, text: str) -> str:
        """What came up to and with `text`, within a minute."""
        until_s = time.monotonic() + 60
        while text not in self._seen:
            assert time.monotonic() < until_s, f"{text!r} did not come: {self._seen[-2000:]}"
            part = self._read()
            assert part, f"it ended before {text!r}: {self._seen}"
            self._seen += part
        found, _, self._seen = self._seen.partition(text)
        return found + text

    def read_to_end(self) -> str:
        """All there is."""
        while part := self._read():
            self._seen += part
        self.process.wait(timeout=20)
        return self._seen

    def write(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def close(self) -> None:
        """Hang up."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self) -> str:
        ready, _, _ = select.select([self._ours], [], [], 20)
        assert ready, f"nothing more came: {self._seen}"
        try:
            return os.read(self._ours, 65536).decode()
        except OSError:  # how Linux tells the end of a terminal
            return ""


class Served:
    """A cluster of fakes in a process, and commands against it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._terminals: list[Terminal] = []
        self.process = subprocess.Popen(
            [sys.executable, str(SERVE), str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._expect("listening")

    def steer(self, command: str) -> None:
        """Tell the served cluster something; see `serve.py`."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self._expect("ok")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "hybrid.main", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HYBRID_CREDENTIALS": str(self.directory / "admin.json"), "NO_COLOR": "1"},
        )

    def __call__(self, *words: str, stdin: str = "") -> Ran:
        """Run a command to its end."""
        process = self.start(*words)
        out, err = process.communicate(stdin, timeout=60)
        return Ran(process.returncode, out, err)

    def terminal(self, *words: str, colour: bool = False, width: int = 100) -> Terminal:
        """Begin a command on a terminal."""
        environment = dict(os.environ) | {"HYBRID_CREDENTIALS": str(self.directory / "admin.json"), "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        if not colour:
            environment["NO_COLOR"] = "1"
        made = Terminal([sys.executable, "-m", "hybrid.main", *words], environment, width)
        self._terminals.append(made)
        return made

    def close(self) -> None:
        """End the served cluster."""
        for terminal in self._terminals:
            terminal.close()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line


@pytest.fixture
def hybrid(tmp_path: Path) -> Iterator[Served]:
    """`hybrid("site", "list")` runs the command against a fresh cluster of fakes."""
    served = Served(tmp_path / "state")
    yield served
    served.close()


@pytest.fixture
def in_process(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the command line in this process, for what needs no API."""
    from hybrid.main import main

    def run(*words: str) -> Ran:
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(str(ended.code or 0))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run
