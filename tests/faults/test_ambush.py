"""The script that kills a daemon in the middle of a command: it always comes to it, once, and changes nothing else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid.lab.faults.ambush import Ambush, Moment

ZFS = """#!/bin/sh
read -r line
echo "$@: $line; daemon $(kill -0 $(cat {pid}) 2>/dev/null && echo up || echo down)"
exit 3
"""


class Scene:
    """A command that says what it was called with and whether the daemon lives, and a daemon that sleeps."""

    def __init__(self, folder: Path) -> None:
        self.daemon = subprocess.Popen(["sleep", "60"])
        (folder / "pid").write_text(str(self.daemon.pid))
        (folder / "zfs").write_text(ZFS.format(pid=folder / "pid"))
        (folder / "zfs").chmod(0o755)
        self.ambush = Ambush(folder / "ambush", folder / "zfs", "snapshot")

    def command(self, *arguments: str) -> tuple[int, str]:
        """What became of a call: its status, and what it said."""
        done = subprocess.run([self.ambush.script, *arguments], input=b"data\n", capture_output=True, timeout=30)
        assert done.stderr == b""
        return done.returncode, done.stdout.decode().strip()

    def has_died(self) -> bool:
        """Whether the daemon was killed."""
        return self.daemon.poll() == -9


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """With a daemon."""
    scene = Scene(tmp_path)
    yield scene
    scene.daemon.kill()
    scene.daemon.wait()


def test_unarmed_it_is_the_command_itself(scene: Scene) -> None:
    """Arguments, input, output and status are passed on."""
    assert scene.command("snapshot", "a@b") == (3, "snapshot a@b: data; daemon up")
    assert not scene.ambush.sprung


def test_other_commands_are_left_alone(scene: Scene) -> None:
    """Only the kind that it waits for counts."""
    scene.ambush.arm(scene.daemon.pid, "before")
    assert scene.command("get", "all") == (3, "get all: data; daemon up")
    assert not scene.ambush.sprung and not scene.has_died()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_before_and_after_are_just_that(scene: Scene, moment: Moment) -> None:
    """The daemon is dead as the command is called; or it does all of it, and is dead as the command ends."""
    scene.ambush.arm(scene.daemon.pid, moment)
    status, said = scene.command("snapshot", "a@b")
    assert (status, scene.ambush.sprung) == (3, True)
    scene.daemon.wait(10)
    assert scene.has_died() and (moment == "before" or said.endswith("daemon up"))


def test_amid_is_while_the_command_runs(scene: Scene, tmp_path: Path) -> None:
    """A call that is over sooner is not the one; it waits for one that lasts."""
    scene.ambush.arm(scene.daemon.pid, "amid", 0.1)
    shutil.copy("/bin/true", tmp_path / "ambush/zfs")
    subprocess.run([scene.ambush.script, "snapshot"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        scene.daemon.wait(0.5)
    assert not scene.ambush.sprung
    (tmp_path / "ambush/zfs").write_text("#!/bin/sh\nexec sleep 30\n")
    lasting = subprocess.Popen([scene.ambush.script, "snapshot"])
    scene.daemon.wait(20)
    assert scene.ambush.sprung and lasting.poll() is None
    lasting.kill()
    lasting.wait()


def test_it_kills_once(scene: Scene) -> None:
    """What is started again is spared."""
    scene.ambush.arm(scene.daemon.pid, "after")
    scene.command("snapshot", "a@b")
    scene.daemon.wait(10)
    (armed,) = [path.name for path in scene.ambush.script.parent.iterdir() if path.name in ("armed", "sprung")]
    assert armed == "sprung"
    assert scene.command("snapshot", "a@c") == (3, "snapshot a@c: data; daemon down")
