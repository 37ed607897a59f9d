"""Boots the guest, passes on what it says, brings its results back. Ends at deadlines, and nothing stays. Blocks."""

from __future__ import annotations

import queue
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybrid.errors import ImageError
from hybrid.lab.guest.build import Disk
from hybrid.lab.guest.children import Say, end, processor_s, tail

BOOT_S = 300.0
"""Typical: 25 s on two idle cores."""
END_S = 120.0
"""From the deadline that the guest itself keeps until it is off."""
RESULTS_BYTES = 64 * 1024**2
READY = "guest: ready"
TRIPPED = "Oops: int3"
"""
On the console when a processor of QEMU ran into a break point that the kernel had put where it changed its own code,
and had taken away again: a fault of emulation in several threads (seen with QEMU 7.2, in one boot of ten).
"""
BOOTS = 3
"""At most, where it trips. Whatever else goes wrong does so once."""


class GuestError(ImageError):
    """The guest did not do what it was booted for."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that came to its end."""

    status: int
    """Of the command."""
    boot_s: float
    ran_s: float
    processor_s: float
    """What QEMU used: unlike the others it hardly depends on what else this machine does."""
    versions: dict[str, str]


def command_line(disk: Disk, payload: Path, results: Path, console: Path) -> list[str]:
    """
    QEMU's arguments: software emulation, three disks, the console in a file, the second serial port on standard output.

    What is written to the first disk goes to a temporary file that QEMU removes. A kernel that panics ends the machine.
    Without `cx16=off` a 6.12 kernel panics under QEMU 7.2. `norandmaps`: QEMU translates a program's code anew wherever
    else it lies, which made every start of a child three times slower.
    """
    append = "root=/dev/vda rw console=ttyS0 quiet mitigations=off norandmaps panic=-1 init=/sbin/guest-init"
    drives = [(disk.root, "snapshot=on"), (payload, "readonly=on"), (results, "snapshot=off")]
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,cx16=off"),
        *("-m", "2048", "-smp", "2", "-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot"),
        *("-kernel", str(disk.kernel), "-initrd", str(disk.initrd), "-append", append),
        *(word for path, mode in drives for word in ("-drive", _drive(path, mode))),
        *("-serial", f"file:{console}", "-serial", "stdio"),
    ]


def _drive(path: Path, mode: str) -> str:
    return f"file={str(path).replace(',', ',,')},if=virtio,format=raw,cache=unsafe,{mode}"


def run(disk: Disk, payload: Path, out: Path, deadline_s: float, say: Say) -> Ran:
    """
    Boot, let the payload's command run, switch off. Where QEMU trips, all of it is done again.

    Args:
        disk: From `build`.
        payload: From `payload.write`.
        out: Where the guest's results go, `console.log` beside them; a folder that is there.
        deadline_s: For the command; the guest itself keeps it, this only sees to it.
        say: Told every line that the guest says.

    Raises:
        GuestError: It did not boot, fell over, or did not end: with the end of its console.
    """
    console = out / "console.log"
    return again(lambda: _once(disk, payload, out, deadline_s, say), console, say)


def again(attempt: Callable[[], Ran], console: Path, say: Say) -> Ran:
    """What `attempt` returns, at most `BOOTS` times where QEMU tripped, as the file `console` tells."""
    for left in reversed(range(BOOTS)):
        try:
            return attempt()
        except GuestError:
            if not left or TRIPPED not in console.read_text(errors="replace"):
                raise
            say(f"QEMU tripped over code that the kernel changed ({TRIPPED}); booting again")
    raise AssertionError


def _once(disk: Disk, payload: Path, out: Path, deadline_s: float, say: Say) -> Ran:
    console, results = out / "console.log", out / ".results.img"
    console.write_bytes(b"")
    with results.open("wb") as file:
        file.truncate(RESULTS_BYTES)
    try:
        argv = command_line(disk, payload, results, console)
        before_s = processor_s()
        boot_s, ran_s = attend(argv, out / "qemu.log", BOOT_S, deadline_s + END_S, say)
        status, versions = _unpack(results, out)
        return Ran(status, boot_s, ran_s, processor_s() - before_s, versions)
    except GuestError as error:
        raise GuestError(error.what, f"{error.why}\n{tail(console, 40)}\n", f"see {console}") from error
    finally:
        results.unlink()


def attend(argv: Sequence[str], log: Path, boot_s: float, run_s: float, say: Say) -> tuple[float, float]:
    """
    Run QEMU until it ends by itself.

    Args:
        argv: Of QEMU; what the guest says comes from its standard output.
        log: For what QEMU itself has to say.
        boot_s: Until the guest says that it is ready.
        run_s: From then until it is off.
        say: Told every line.

    Returns:
        Seconds until it was ready, and from then until it was off.

    Raises:
        GuestError: It took longer, or went off before it was ready. Nothing of it runs then.
    """
    begun_s = time.monotonic()
    with log.open("wb") as errors:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    said: queue.Queue[str | None] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(child, said), daemon=True)
    listener.start()
    try:
        _until(READY, said, begun_s + boot_s, say, "boot")
        ready_s = time.monotonic()
        _until(None, said, ready_s + run_s, say, "end")
        child.wait(10)
        return ready_s - begun_s, time.monotonic() - ready_s
    except subprocess.TimeoutExpired:
        raise GuestError("the guest's QEMU closed its output and did not end") from None
    finally:
        end(child)
        listener.join(10)


def _listen(child: subprocess.Popen[bytes], said: queue.Queue[str | None]) -> None:
    """Lines from the guest, then None. The queue is as bounded as what a test run prints."""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            said.put(line.decode(errors="replace").rstrip())
    said.put(None)


def _until(word: str | None, said: queue.Queue[str | None], end_s: float, say: Say, what: str) -> None:
    """Pass lines on until one begins with `word`; without one, until the machine is off."""
    while True:
        try:
            line = said.get(timeout=max(0.0, end_s - time.monotonic()))
        except queue.Empty:
            raise GuestError(f"the guest did not {what} in time", "it was switched off") from None
        if line is None:
            if word is None:
                return
            raise GuestError(f"the guest did not {what}", "it went off; the end of its console:")
        say(line)
        if word is not None and line.startswith(word):
            return


def _unpack(results: Path, out: Path) -> tuple[int, dict[str, str]]:
    """Status and versions; all files of the archive `results` go to `out`."""
    try:
        with tarfile.open(results, "r:") as archive:
            for entry in archive:
                if entry.isfile() and (content := archive.extractfile(entry)) is not None:
                    (out / Path(entry.name).name).write_bytes(content.read())
        status = int((out / "status").read_text())
        lines = (out / "versions").read_text().split("\n")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise GuestError("the guest brought no results back", str(error)) from error
    versions = dict(line.split("=", 1) for line in lines if "=" in line)
    return status, versions
