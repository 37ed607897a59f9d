"""
A day of a hundred servers with 600 sites, in simulated time: `make bench AREA=bursting`.

People by day, batch jobs, and forty flash crowds at random moments; every server measures, tells and decides by the
code of the product (`tests/cluster/decisions/hosters.py`). The peer is the same day on which nothing moves.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.cluster.decisions.hosters import DAY_S, Hoster, flash_crowd

SERVERS, SITES, CROWDS, STEP_S = 100, 600, 40, 30.0


def day(seed: int, moving: bool) -> tuple[Hoster, float]:
    """The day, and for how many server hours more was wanted of a server than it has."""
    hoster, chance = Hoster(SERVERS, SITES, seed, every_s=STEP_S), random.Random(seed)
    if not moving:
        hoster.limits = type(hoster.limits)(hot=2.0)
    for one in chance.sample(sorted(hoster.sites), CROWDS):
        site = hoster.sites[one]
        height = chance.uniform(0.7, 0.95) * hoster.servers[site.owner].cores
        site.wants = flash_crowd(0.05, height, chance.uniform(0, DAY_S - 7200), chance.uniform(1800, 7200))
    over_s = 0.0

    def look() -> None:
        nonlocal over_s
        wanted = dict.fromkeys(hoster.servers, 0.0)
        for site in hoster.sites.values():
            wanted[site.owner] += site.wants(hoster.now_s)
        over_s += STEP_S * sum(wanted[node] > server.cores for node, server in hoster.servers.items())

    hoster.lives(DAY_S, look)
    return hoster, round(over_s / 3600, 2)


def main() -> None:
    """Measure, print, and write down."""
    (ours, over), (_, over_still) = day(7, True), day(7, False)
    rows = [
        row("sites moved", "in a day", len(ours.moves), None, "", None),
        row("moved away from one server", "most in an hour", ours.most_within_an_hour(), None, "<= 20", 20),
        row("came back within half an hour", "sites", len(ours.returned(1800.0)), None, "0", 0),
        row("made hot within half an hour by what was sent there", "moves", len(ours.made_hot(1800.0)), None, "0", 0),
        row("more is wanted of a server than it has", "server hours", over, over_still, "< peer", over_still),
    ]
    for one in rows:
        print(f"{one['case']:45} {one['ours']!s:>8} {one['peer']!s:>8} {one['unit']:18} {one['target']:8} {one['ok']}")
    path = Path("build/bench-bursting.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n")


def row(case: str, unit: str, ours: float, peer: float | None, target: str, most: float | None) -> dict[str, object]:
    """One line, as all benchmarks tell."""
    ratio = round(ours / peer, 2) if peer else None
    named = {"peer_name": "nothing moves" if peer is not None else "", "ratio": ratio, "target": target}
    return {"case": case, "unit": unit, "ours": ours, "peer": peer, **named, "ok": most is None or ours <= most}


if __name__ == "__main__":
    main()
