"""
`python -m hybrid.lab.faults`: the fault campaign on real nodes, judged.

Exit status: 0 every fault survived (score 2 or more), 1 not, 2 a name that is no fault, 8 this machine lacks something.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybrid.lab import checks
from hybrid.lab.cluster import BASE
from hybrid.lab.command import LabError
from hybrid.lab.demo import FAILED, LACKING, USAGE, Clock, interrupt
from hybrid.lab.faults import catalogue
from hybrid.lab.faults.campaign import campaign
from hybrid.lab.faults.scoring import Verdict
from hybrid.lab.faults.table import GOOD, report, table
from hybrid.lab.leftovers import remove_leftovers


def main(argv: Sequence[str]) -> int:
    """Perform the chosen faults. What was judged before an interruption is reported all the same."""
    options = _parser().parse_args(argv)
    try:
        faults = catalogue.chosen(options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return USAGE
    lacking = checks.missing(options.image_dir, ("php",), BASE)
    if lacking:
        print("The faults cannot run here:\n" + "\n".join(f"- {item}" for item in lacking), file=sys.stderr)
        return LACKING
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    say, verdicts = Clock().say, list[Verdict]()
    say(f"seed {options.seed}: --seed or SEED= repeats what was chosen by chance")
    for name in remove_leftovers():
        say(f"removed what an earlier run ({name}) left")

    def told(verdict: Verdict) -> None:
        verdicts.append(verdict)
        _write(options.json, verdicts)

    ended = False
    try:
        campaign(faults, options.image_dir, say, told, options.seed, options.keep)
        ended = True
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        say("interrupted")
    print("\n" + table(verdicts) + "\n", flush=True)
    return 0 if ended and all(verdict.score >= GOOD for verdict in verdicts) else FAILED


def _write(path: Path | None, verdicts: Sequence[Verdict]) -> None:
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report(verdicts, _commit()), indent=2) + "\n")


def _commit() -> str:
    """Of the checkout this runs from; empty outside one."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hybrid.lab.faults", description="Faults on real nodes, judged.")
    parser.add_argument("--only", default="", help="ids or names, separated by commas (default: all)")
    parser.add_argument("--json", type=Path, help="where the report goes")
    parser.add_argument("--image-dir", type=Path, default=Path("/var/cache/hybrid/images"), help="built images")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of what is chosen by chance")
    parser.add_argument("--keep", action="store_true", help="leave disks and logs")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
