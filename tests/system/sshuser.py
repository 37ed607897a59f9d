"""Somebody with a key and the programs of OpenSSH, at the doors of a real cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hybrid.lab.cluster import Lab

PORT = 2222


class Session:
    """One that echoes lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def echoes(self, line: str) -> bool:
        """Whether it does."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline() == line + "\n"

    def last_words(self) -> str:
        """What it is told at its end, which must come within a minute."""
        assert self._process.stderr is not None
        complaint = self._process.stderr.read() if self._process.wait(60) else ""
        assert complaint, "it ended well"
        return complaint


class SshUser:
    """Whose key is let in to `site` from now on. `folder`: for keys."""

    def __init__(self, lab: Lab, site: str, folder: Path) -> None:
        self._lab, self._site, self.folder = lab, site, folder
        self._key = folder / "key"
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@work", "-f", str(self._key)]
        subprocess.run(words, check=True)
        public = self._key.with_suffix(".pub").read_text()
        lab.any_api().call("POST", f"/sites/{site}/keys", {"key": public})

    def _options(self, port: str) -> list[str]:
        hosts = self.folder / "known_hosts"
        told = ("BatchMode=yes", f"UserKnownHostsFile={hosts}", "StrictHostKeyChecking=accept-new", "ConnectTimeout=20")
        # one name for all nodes: they must show one key
        options = [word for one in (*told, "HostKeyAlias=the-cluster") for word in ("-o", one)]
        return ["-F", "none", port, str(PORT), "-i", str(self._key), *options]

    def _run(self, argv: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, capture_output=True, text=True, timeout=90, check=False, cwd=cwd)

    def ssh(self, node: str, command: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """A command through a node."""
        where = f"{user or self._site}@{self._lab.nodes[node].address}"
        return self._run(["ssh", *self._options("-p"), where, command])

    def is_in(self, node: str) -> bool:
        """Whether it gets in through `node`."""
        return self.ssh(node, "true").returncode == 0

    def sftp(self, node: str, *commands: str, user: str = "") -> subprocess.CompletedProcess[str]:
        """A batch through a node; paths on this machine begin in the folder."""
        batch = self.folder / "batch"
        batch.write_text("".join(f"{command}\n" for command in commands))
        where = f"{user or self._site}@{self._lab.nodes[node].address}"
        return self._run(["sftp", "-b", str(batch), *self._options("-P"), where], self.folder)

    def scp(self, node: str, file: Path, to: str) -> subprocess.CompletedProcess[str]:
        """A file up through a node."""
        where = f"{self._site}@{self._lab.nodes[node].address}:{to}"
        return self._run(["scp", *self._options("-P"), str(file), where])

    @contextmanager
    def session(self, node: str) -> Iterator[Session]:
        """One through a node, which is there."""
        argv = ["ssh", *self._options("-p"), f"{self._site}@{self._lab.nodes[node].address}", "cat"]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            session = Session(process)
            assert session.echoes("here")
            try:
                yield session
            finally:
                process.kill()
