"""
`hybrid demo`: a cluster on this machine, for a person to play with until Ctrl-C, or as a story that measures itself.

Exit status: 0 well (story: every promise kept), 1 not, 8 this machine lacks something (0-7 as elsewhere).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hybrid.lab import checks, promises, report
from hybrid.lab.cluster import BASE, ZONE, Lab
from hybrid.lab.command import LabError
from hybrid.lab.console import Console
from hybrid.lab.leftovers import remove_leftovers
from hybrid.lab.spike import BURSTING
from hybrid.lab.story import Story

IMAGES = ("php", "static")
FAILED, USAGE, LACKING = 1, 2, 8


class Clock:
    """Says lines with the seconds since the beginning."""

    def __init__(self) -> None:
        self._begin_s = time.monotonic()

    def say(self, line: str) -> None:
        """One line of progress. A terminal that is gone stops nothing: the end must come."""
        with contextlib.suppress(OSError):
            print(f"[{time.monotonic() - self._begin_s:6.1f} s] {line}", flush=True)


def main(argv: Sequence[str]) -> int:
    """Run the demo or the story. Everything is removed at the end, also after SIGTERM."""
    options = _parser().parse_args(argv)
    if options.story and options.nodes < 3:
        print("The story needs 3 nodes: it cuts one data centre off and kills a server of the other.", file=sys.stderr)
        return USAGE
    base = options.base_dir or BASE
    lacking = checks.missing(options.image_dir, IMAGES, base)
    if lacking:
        print("The demo cannot run here:\n" + "\n".join(f"- {item}" for item in lacking), file=sys.stderr)
        return LACKING
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    say = Clock().say
    for name in remove_leftovers():
        say(f"removed what an earlier run ({name}) left")
    lab = Lab(options.nodes, options.image_dir, options.base_dir, say, options.keep, bursting=BURSTING)
    try:
        return _story(lab, options.json, say) if options.story else _demo(lab, say)
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return FAILED if options.story else 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("removing everything" + (f" but {lab.base}" if options.keep else ""))
        lab.tear_down()


def interrupt(number: int, frame: object) -> None:
    """A signal that ends the program as Ctrl-C does: with everything removed."""
    raise KeyboardInterrupt


def _story(lab: Lab, path: Path | None, say: Callable[[str], None]) -> int:
    lab.up()
    figures = Story(lab, say).tell()
    judged = promises.verdicts(figures)
    print("\n" + report.table(figures, judged) + "\n", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(promises.as_json(figures, judged), indent=2) + "\n")
    return 0 if promises.all_kept(judged) else FAILED


def _demo(lab: Lab, say: Callable[[str], None]) -> int:
    lab.up()
    for site, image in (("guestbook", "php"), ("hello", "static")):
        say(f"deploying {site}.{ZONE}")
        lab.deploy(site, image, lab.first.name)
    say("waiting for the replicas")
    lab.wait(lambda: all(safe(lab, site) for site in ("guestbook", "hello")), "every site has its replicas", 180.0)
    print(welcome(lab), flush=True)
    Console(lab, say).run()
    return 0


def safe(lab: Lab, site: str) -> bool:
    """Whether every node that shall hold the site holds all of it."""
    seen = lab.any_api().site(site)
    return bool(seen["safe_copies"] >= min(seen["copies"], len(lab.nodes) - 1))


def welcome(lab: Lab) -> str:
    """Names, addresses, and things to try."""
    first, last = lab.first, list(lab.nodes.values())[-1]
    nodes = "\n".join(f"  {node.name}  {node.dc:8} {node.address}" for node in lab.nodes.values())
    return f"""
The cluster is up. Nodes:
{nodes}

Any node answers for any site:
  curl -H 'Host: guestbook.{ZONE}' http://{last.address}/
  curl -H 'Host: guestbook.{ZONE}' http://{last.address}/append -d id=1 -d text=hello
  curl -H 'Host: hello.{ZONE}' http://{first.address}/
  dig @{last.address} guestbook.{ZONE}
In a browser on this machine:
  chromium --host-resolver-rules='MAP *.{ZONE} {last.address}' http://guestbook.{ZONE}/
Command line and API, at any node:
  export HYBRID_CREDENTIALS={first.state_dir}/admin.json
  {Path(sys.executable).parent}/hybrid status
  curl -k -H 'Authorization: Bearer {_token(lab)}' https://{last.address}:8443/v1/status
Logs: {lab.base}/n*/log
"""


def _token(lab: Lab) -> str:
    return str(json.loads((lab.first.state_dir / "admin.json").read_text())["token"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hybrid demo", description="A cluster on this machine, until Ctrl-C.")
    parser.add_argument("--nodes", type=int, choices=range(1, 7), default=3, help="how many (default 3)")
    parser.add_argument("--story", action="store_true", help="tell the story and measure every promise")
    parser.add_argument("--json", type=Path, help="where the story's figures go")
    parser.add_argument("--image-dir", type=Path, default=Path("/var/cache/hybrid/images"), help="built images")
    parser.add_argument("--base-dir", type=Path, help=f"disks and logs (default: a folder in {BASE})")
    parser.add_argument("--keep", action="store_true", help="leave disks and logs")
    return parser
