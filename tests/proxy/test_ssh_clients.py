"""Programs of OpenSSH through a node that does not own the site; what they run is run here, in no container."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest_twisted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from hybrid.errors import NotHere
from hybrid.sessiondesk import SessionDesk
from hybrid.sessions import Opening
from hybrid_containers.session import Task
from hybrid_containers.sitting import Sitting, argv_of, environment_of
from hybrid_proxy.ssh.door import HOST_KEY
from tests.proxy.nodes import Nodes, free_port, reactor, run

ENTRY = "127.0.0.2"


def private_key() -> str:
    """As OpenSSH has it."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


class Owner:
    """The node process of the site's owner, as far as sessions go."""

    def __init__(self, nodes: Nodes, home: Path) -> None:
        self.nodes, self.home, self.epoch = nodes, home, 1
        self.sittings: list[Sitting] = []
        self.desk = SessionDesk(cast(Any, reactor), str(nodes.run_dir / "sessions.sock"), self.begin)
        self.desk.startService()

    def begin(self, opening: Opening, connection: int) -> Sitting:
        """See `SessionDesk`."""
        if opening.epoch != self.epoch:
            raise NotHere("another claim")
        if opening.kind == "files":
            serve = "from hybrid_containers.sftp import serve; serve(0, 1)"
            task = Task(("env", "-C", str(self.home), sys.executable, "-c", serve), dict(os.environ))
        else:
            words = {**environment_of(opening), "HOME": str(self.home)}
            environment = [f"{name}={value}" for name, value in words.items()]
            size = opening.size if opening.terminal else None
            task = Task(("env", "-i", *environment, *argv_of(opening)), dict(os.environ), size)
        sitting = Sitting.begin(cast(Any, reactor), task, connection)
        self.sittings.append(sitting)
        return sitting


class Client:
    """Somebody with a key, and OpenSSH."""

    def __init__(self, where: Path, port: int) -> None:
        self.key, self._port, self._hosts = where / "key", port, where / "known_hosts"

    def options(self, port: str = "-p") -> list[str]:
        """Of all programs; `port`: how the program wants that."""
        told = ("BatchMode=yes", f"UserKnownHostsFile={self._hosts}", "StrictHostKeyChecking=accept-new")
        options = [word for one in told for word in ("-o", one)]
        return ["-F", "none", port, str(self._port), "-i", str(self.key), *options]

    async def ssh(self, *words: str, user: str = "shop") -> tuple[str, str, int]:
        """Output, complaints, status."""
        return await run("ssh", *self.options(), f"{user}@{ENTRY}", *words)


@pytest_twisted.async_yield_fixture
async def owner(tmp_path: Path) -> AsyncIterator[tuple[Owner, Client]]:
    """Two nodes, of which the first owns the site, and who may log in."""
    client = Client(tmp_path, free_port())
    await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ann@work", "-f", str(client.key))
    line = client.key.with_suffix(".pub").read_text().strip()
    (tmp_path / "home").mkdir()
    nodes = Nodes(tmp_path / "state", (), {"ssh_port": client._port}, (line,))
    host_key = private_key()
    for doors in nodes.doors:
        doors.follow_secrets({HOST_KEY: host_key})
    owner = Owner(nodes, tmp_path / "home")
    try:
        yield owner, client
    finally:
        await nodes.close()
        await (owner.desk.stopService() or Deferred())
        await gatherResults([Deferred.fromCoroutine(sitting.ended()) for sitting in owner.sittings])


@pytest_twisted.ensureDeferred
async def test_commands(owner: tuple[Owner, Client]) -> None:
    """Their output, errors apart, status, input and signals are those of the command."""
    _, client = owner
    out, err, status = await client.ssh("echo out; echo err >&2; exit 7")
    assert (out, err.splitlines()[-1], status) == ("out\n", "err", 7)


@pytest_twisted.ensureDeferred
async def test_bytes_both_ways(owner: tuple[Owner, Client]) -> None:
    """Ten megabytes in and out again come back as they were, while keys are exchanged anew in between."""
    _, client = owner
    letter = owner[0].home.parent / "letter"
    letter.write_bytes(os.urandom(1 << 20) * 10)
    ssh = " ".join(["ssh", *client.options(), "-o", "RekeyLimit=1M", f"shop@{ENTRY}"])
    out, err, status = await run("sh", "-c", f"{ssh} 'cat; echo done >&2' < {letter} | cmp - {letter}")
    assert (out, err.splitlines()[-1], status) == ("", "done", 0)


@pytest_twisted.ensureDeferred
async def test_a_terminal(owner: tuple[Owner, Client]) -> None:
    """A shell on a terminal of the client's size and type, in the home folder, with the language of the client."""
    _, client = owner
    ssh = " ".join(["ssh", *client.options(), "-tt", "-o", "SendEnv=LC_TIME", f"shop@{ENTRY}"])
    said = "tty; stty size; pwd; echo $TERM $LC_TIME; exit 3"
    script = f"stty rows 33 cols 111; TERM=vt100 LC_TIME=C.UTF-8 {ssh}"
    out, err, status = await run("sh", "-c", f"printf '{said}\\n' | script -qec '{script}' /dev/null")
    lines = [line.strip() for line in out.splitlines()]
    assert "/dev/pts/" in out and "33 111" in lines and "vt100 C.UTF-8" in lines, out + err
    assert str(owner[0].home) in lines and status == 3


@pytest_twisted.ensureDeferred
async def test_who_is_let_in(owner: tuple[Owner, Client]) -> None:
    """Nobody with another key, and nobody to a site that is not there: both are told the same."""
    _, client = owner
    assert (await client.ssh("true"))[2] == 0
    _, unknown, status = await client.ssh("true", user="nosuch")
    assert status == 255
    await run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(client.key) + "2")
    client.key = client.key.with_name("key2")
    _, wrong, status = await client.ssh("true")
    assert status == 255 and "Permission denied (publickey)" in wrong
    assert wrong.replace("shop@", "nosuch@") == unknown


@pytest_twisted.ensureDeferred
async def test_a_site_that_moves(owner: tuple[Owner, Client]) -> None:
    """Who has a session is told that it ends; who comes meanwhile waits, and is let in at the new claim."""
    node, client = owner
    running = Deferred.fromCoroutine(client.ssh("echo begun > begun; sleep 100"))
    while not (node.home / "begun").exists():
        await deferLater(reactor, 0.05)
    node.nodes.follow(state="changing")
    node.sittings[-1].end()  # its container stops
    _, err, status = await running
    assert "the site moves to another server" in err and status == 255, err
    coming = Deferred.fromCoroutine(client.ssh("echo", "hello"))
    await deferLater(reactor, 0.5)
    node.nodes.follow(epoch=2)
    await deferLater(reactor, 0.5)
    node.epoch = 2  # the node process is behind its front doors: they try again
    assert (await coming)[0] == "hello\n"


@pytest_twisted.ensureDeferred
async def test_what_is_left_when_a_client_goes(owner: tuple[Owner, Client]) -> None:
    """Nothing: its command is hung up on, and is reaped."""
    node, client = owner
    ssh = " ".join(["ssh", *client.options(), f"shop@{ENTRY}"])
    begun = node.home / "begun"
    await run("sh", "-c", f"{ssh} 'echo > begun; sleep 100' & until [ -e {begun} ]; do sleep 0.1; done; kill -KILL $!")
    (sitting,) = node.sittings
    await Deferred.fromCoroutine(sitting.ended()).addTimeout(30, reactor)


@pytest_twisted.ensureDeferred
async def test_files(owner: tuple[Owner, Client]) -> None:
    """sftp and scp copy up, down and whole folders, list, rename and remove; what cannot be done is said."""
    node, client = owner
    letter = node.home.parent / "letter"
    letter.write_bytes(os.urandom(1 << 20) * 5)
    options, target = client.options("-P"), f"shop@{ENTRY}"
    _, err, status = await run("scp", "-rp", *options, str(letter), f"{target}:up")
    assert status == 0 and (node.home / "up").read_bytes() == letter.read_bytes(), err
    folder = node.home / "folder" / "below"
    folder.mkdir(parents=True)
    for number in range(250):
        (folder / f"file {number}").write_text(str(number))
    _, err, status = await run("scp", "-r", *options, f"{target}:folder", str(letter.parent / "copy"))
    assert status == 0 and len(list((letter.parent / "copy" / "below").iterdir())) == 250, err
    batch = letter.parent / "batch"
    batch.write_text(
        "pwd\nls -l folder/below\nrename up down\nln -s down link\nln down hard\nls -l\nget link back\n"
        "-rm nosuch\nmkdir new\n-mkdir new\nchmod 600 down\nput batch new/batch\nrm new/batch\nrmdir new\ndf\n"
    )
    out, err, status = await run("sh", "-c", f"cd {letter.parent} && sftp -b batch {' '.join(options)} {target}")
    assert status == 0, err
    assert f"Remote working directory: {node.home}" in out and out.count("file 1") >= 111
    assert "No such file" in err and (node.home / "down").stat().st_mode & 0o777 == 0o600
    assert (letter.parent / "back").read_bytes() == letter.read_bytes()
    assert (node.home / "link").is_symlink() and (node.home / "hard").samefile(node.home / "down")
    assert not (node.home / "new").exists()
