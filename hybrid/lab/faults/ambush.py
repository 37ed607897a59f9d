"""
Lies in wait for the next `zfs` command of a kind in a node, and kills the storage daemon meanwhile. Synchronous.

Such commands end within milliseconds: who looks for one in the process table comes too late. So for as long as it
waits, a script stands in that node, and there alone, where `zfs` is. It does what `zfs` would, and kills by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hybrid.lab.command import LabError
from hybrid.lab.node import Node
from hybrid.lab.processes import pid_inside

Moment = Literal["before", "amid", "after"]
"""Before the daemon is asked, while it works, or when it has done it but nobody was told."""

_SCRIPT = """\
#!/bin/sh
strike() {{ mv {base}/armed {base}/sprung 2>/dev/null && kill -KILL "$victim"; }}
if [ "$1" = {verb} ] && read -r victim moment delay_s 2>/dev/null < {base}/armed; then
    case $moment in
    before) strike ;;
    amid) {{ sleep "$delay_s"; kill -0 $$ && strike; }} >/dev/null 2>&1 & ;;
    after)
        {base}/zfs "$@"
        status=$?
        strike
        exit $status
        ;;
    esac
fi
exec {base}/zfs "$@"
"""


class Ambush:
    """
    In a folder.

    Args:
        base: A folder of its own; its path needs no quoting.
        real: The command `zfs`.
    """

    def __init__(self, base: Path, real: Path, verb: str) -> None:
        self._base = base
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        shutil.copy(real, base / "zfs")
        self.script = base / "script"
        self.script.write_text(_SCRIPT.format(verb=verb, base=base))
        self.script.chmod(0o755)

    def arm(self, victim: int, moment: Moment, delay_s: float = 0.0) -> None:
        """
        Kill `victim`, a pid as the script sees it, once.

        `amid` is `delay_s` after the beginning; of a command that is over by then, the next one is waited for.
        """
        (self._base / "sprung").unlink(missing_ok=True)
        (self._base / "arming").write_text(f"{victim} {moment} {delay_s:.3f}\n")
        (self._base / "arming").rename(self._base / "armed")

    @property
    def sprung(self) -> bool:
        """Whether it was killed."""
        return (self._base / "sprung").exists()


@contextmanager
def lying_in_wait(node: Node, verb: str) -> Iterator[Ambush]:
    """For `zfs <verb>` in the running `node`; arm it with `daemon`. Raises `LabError`."""
    real = shutil.which("zfs", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if real is None:
        raise LabError("there is no command `zfs`")
    ambush = Ambush(node.base / "ambush", Path(real), verb)
    _do(node, "mount", "--bind", str(ambush.script), real)
    try:
        yield ambush
    finally:
        if node.alive():
            _do(node, "umount", "--lazy", real)  # some call of it may be under way


def daemon(node: Node) -> int:
    """The pid, within the node, of its storage daemon. Raises `LabError`."""
    for pid in node.pids("zfs-fuse"):
        inside = pid_inside(pid)
        if inside is not None:
            return inside
    raise LabError(f"{node.name} has no storage daemon")


def _do(node: Node, *argv: str) -> None:
    done = node.shell(argv)
    if done.returncode:
        raise LabError(f"{node.name}: `{' '.join(argv)}` failed", done.stderr.decode(errors="replace"))
