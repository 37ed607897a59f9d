"""
`python -m hybrid.lab.guest`: `build` the guest, `run -- COMMAND` in it, or `test`: what needs OpenZFS, with a report.

Exit status: that of the command inside; 1 too when the guest could not be built, did not boot or did not end.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hybrid.errors import HybridError
from hybrid.lab.guest import machine, payload, report, selection
from hybrid.lab.guest.build import Disk, build
from hybrid.lab.guest.recipe import FOLDER

CHECKOUT = Path(__file__).resolve().parents[3]
STORE = Path("/var/cache/hybrid/guest")
IMAGES = Path("/var/cache/hybrid/images")
BROUGHT = ("static.tar", "static.toml", "static.built")
TURN_S = 3600.0
"""How long to wait for others who have the guest."""
RUN_S = 2700.0
_BEGUN_S = time.monotonic()


def say(line: str) -> None:
    """One line of progress."""
    print(f"[{time.monotonic() - _BEGUN_S:6.1f} s] {line}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        options.store.mkdir(parents=True, exist_ok=True)
        return int(options.verb(options))
    except HybridError as error:
        print(f"guest: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("guest: interrupted", file=sys.stderr)
    return 1


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _turn(lock: Path, what: str) -> Iterator[None]:
    """One at a time on a machine: building and emulating take all the processors there are."""
    end_s, told = time.monotonic() + TURN_S, False
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end_s:
                    raise machine.GuestError(f"somebody else {what}", f"for {TURN_S:.0f} s already") from None
                if not told:
                    say(f"somebody else {what}; waiting")
                told = True
                time.sleep(1.0)
        yield


def _disk(options: argparse.Namespace) -> tuple[Disk, bool]:
    with _turn(options.store / "build.lock", "builds the guest"):
        return build(CHECKOUT, options.store, say)


def _build(options: argparse.Namespace) -> int:
    disk, new = _disk(options)
    say(f"{disk.root.parent}: " + ("built" if new else f"up to date (built in {disk.built_s:.0f} s)"))
    return 0


def _run(options: argparse.Namespace) -> int:
    disk, _ = _disk(options)
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    return _boot(disk, options, words or ["true"]).status


def _boot(disk: Disk, options: argparse.Namespace, argv: Sequence[str]) -> machine.Ran:
    options.out.mkdir(parents=True, exist_ok=True)
    for old in [options.out / name for name in ("status", "versions", "dmesg")] + [*options.out.glob("junit*.xml")]:
        old.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="hyb-guest-") as folder:
        disk_of_payload = Path(folder, "payload.tar")
        images = [options.images / name for name in BROUGHT if (options.images / name).exists()]
        payload.write(disk_of_payload, CHECKOUT, images, argv, options.deadline)
        with _turn(options.store / "lock", "has the guest"):
            say("booting")
            return machine.run(disk, disk_of_payload, options.out, options.deadline, say)


def _test(options: argparse.Namespace) -> int:
    begun_s = time.monotonic()
    seconds: dict[str, float] = {}
    ran: machine.Ran | None = None
    cases: list[report.Case] = []
    why = ""
    selected = selection.read((CHECKOUT / FOLDER / "tests").read_text())
    try:
        disk, _ = _disk(options)
        seconds |= {"build": time.monotonic() - begun_s, "build_from_scratch": disk.built_s}
        ran = _boot(disk, options, selection.command(selected))
        seconds |= {"boot": ran.boot_s, "tests": ran.ran_s, "processor": ran.processor_s}
        for number in range(len(selected.groups)):
            cases += report.read_junit((options.out / selection.junit(number)).read_text())
    except (HybridError, OSError, ValueError) as error:
        why = str(error)
    seconds["all"] = time.monotonic() - begun_s
    found = report.summed_up(cases, ran.status if ran else None, ran.versions if ran else {}, seconds, why)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")
    say(report.sentence(found))
    return 0 if found["ok"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hybrid.lab.guest", description="OpenZFS in an emulated machine.")
    parser.add_argument("--store", type=Path, default=STORE, help="where the disk is kept (%(default)s)")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where site images are (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/guest"), help="for logs and results (%(default)s)")
    parser.add_argument("--deadline", type=float, default=RUN_S, help="seconds for what runs inside (%(default)g)")
    verbs = parser.add_subparsers(required=True)
    verbs.add_parser("build", help="make the disk if its recipe changed").set_defaults(verb=_build)
    run = verbs.add_parser("run", help="boot, run a command in the checkout, switch off")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    run.set_defaults(verb=_run)
    test = verbs.add_parser("test", help="the tests that need OpenZFS, pyzfs or a current LXC")
    test.add_argument("--json", type=Path, default=Path("build/openzfs.json"), help="the report (%(default)s)")
    test.set_defaults(verb=_test)
    return parser


if __name__ == "__main__":
    sys.exit(main())
