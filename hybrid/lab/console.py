"""What a person at the demo's terminal may do to the cluster: pull plugs, cut cables, look. Synchronous."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

from hybrid.lab.cluster import Lab
from hybrid.lab.command import LabError

HELP = """Type:  kill n1     power cut            start n1    power again
       pause n1    the machine hangs    resume n1   it goes on
       cut         the data centres do not hear each other     heal     they do
       status      what the nodes say   quit        (or Ctrl-C) the end"""


class Console:
    """
    Reads commands from `source` until its end, `quit` or Ctrl-C; without a terminal just waits.

    Args:
        lab: Up.
        say: Told of progress.
        source: Where commands come from.
    """

    def __init__(self, lab: Lab, say: Callable[[str], None], source: TextIO = sys.stdin) -> None:
        self._lab, self._say, self._source = lab, say, source

    def run(self) -> None:
        """Until the end."""
        if not self._source.isatty():
            self._say("up until SIGTERM or Ctrl-C")
            while True:
                time.sleep(3600)
        print(HELP, flush=True)
        for line in self._source:
            if line.strip() in ("quit", "exit"):
                return
            try:
                self.obey(line.split())
            except LabError as error:
                print(error, flush=True)

    def obey(self, words: list[str]) -> None:
        """One command. Raises `LabError` when it cannot be done."""
        match words:
            case []:
                return
            case ["status"]:
                self._status()
            case ["cut"]:
                sides: dict[str, list[str]] = {}
                for node in self._lab.nodes.values():
                    sides.setdefault(node.dc, []).append(node.name)
                self._lab.network.cut(sides.values())
                self._say(" | ".join(f"{dc}: {' '.join(side)}" for dc, side in sides.items()))
            case ["heal"]:
                self._lab.network.heal()
                self._say("all hear all")
            case [("kill" | "start" | "pause" | "resume") as deed, name] if name in self._lab.nodes:
                self._deed(deed, name)
            case _:
                print(HELP, flush=True)

    def _deed(self, deed: str, name: str) -> None:
        node = self._lab.nodes[name]
        match deed:
            case "kill":
                node.kill()
            case "start":
                self._lab.start(name)
                self._lab.wait(lambda: self._lab.sees_all(node), f"{name} sees the others", 60.0)
            case "pause":
                node.pause()
            case _:
                node.resume()
        self._say(f"{deed} {name}: done")

    def _status(self) -> None:
        api = self._lab.any_api()
        self._say(api.call("GET", "/status")["sentence"])
        for site in api.items("/sites"):
            self._say(f"  {site['name']}: {site['state']}, owner {site['owner']}, held by {' '.join(site['holders'])}")
