"""The guestbook: the site that the story and the faults write to, and what they ask about it. Synchronous."""

from __future__ import annotations

import time

from hybrid.lab.client import Json
from hybrid.lab.cluster import ZONE, Lab
from hybrid.lab.command import LabError
from hybrid.lab.node import Node
from hybrid.lab.visitor import Unanswered, visit

SITE = "guestbook"
HOST = f"{SITE}.{ZONE}"


class Guestbook:
    """The guestbook on `lab`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def deploy(self, node: str) -> None:
        """Make it on `node`, and wait until it serves there."""
        self._lab.deploy(SITE, "php", node)

    def served_by(self, node: Node) -> bool:
        """Whether it answers through `node`."""
        try:
            return visit(node.address, HOST, "/health").startswith("ok")
        except Unanswered:
            return False

    def ids(self) -> list[str]:
        """
        The ids of its entries, oldest first, through any node; asks again until it is answered.

        Raises:
            Unanswered: It was not, for half a minute.
        """
        address = self._lab.live()[-1].address
        end_s = time.monotonic() + 30.0
        while True:
            try:
                return visit(address, HOST, "/list").split()
            except Unanswered:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.1)

    def owner(self) -> Node:
        """The node that owns it, as a live node says. Raises `LabError` when there is none."""
        site = self._lab.any_api().site(SITE)
        if site["owner"] is None:
            raise LabError(f"{SITE} has no owner", site["trouble"])
        return self._lab.nodes[site["owner"]]

    def agreed(self) -> bool:
        """Whether all live nodes name the same owner and claim and say it serves. Raises `ApiError`."""
        seen = self._seen()
        same = all((site["owner"], site["claim"]) == (seen[0]["owner"], seen[0]["claim"]) for site in seen)
        return same and all(site["state"] == "serving" for site in seen)

    def safe(self) -> bool:
        """Whether besides that every node that shall hold it holds all the owner has. Raises `ApiError`."""
        first = self._seen()[0]
        return self.agreed() and bool(first["safe_copies"] >= min(first["copies"], len(self._lab.live()) - 1))

    def _seen(self) -> list[Json]:
        live = self._lab.live()
        if not live:
            raise LabError("no node runs")
        return [self._lab.api(node.name).site(SITE) for node in live]

    def await_copies(self, deadline_s: float = 120.0) -> float:
        """Until all nodes agree on the owner and hold all it has (nobody writes now). Returns the seconds."""
        return self._lab.wait(self.safe, "all nodes agree on the owner and hold all it has", deadline_s)
