"""
Every crash point of every deed: `python -m tests.crashes.run [--only WORDS] [--single]`, minutes of work.

Writes `build/crashes.json`: a list of {deed, cuts, points, failing, wall_s}.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

from tests.crashes.deeds import DEEDS, TWICE, Deed
from tests.crashes.points import Point, pairs, points, run


def tried(deed: Deed, cuts: int, chosen: Iterable[Point]) -> dict[str, object]:
    """Try points one after the other, and print each that fails."""
    began_s, count, failing = time.monotonic(), 0, list[str]()
    for point in chosen:
        count += 1
        try:
            run(point)
        except Exception as error:
            failing.append(f"{type(error).__name__}: {error}")
            print(failing[-1], flush=True)
    wall_s = round(time.monotonic() - began_s, 1)
    print(f"{deed.name}, {cuts} in a row: {count} points, {len(failing)} failing, {wall_s} s", flush=True)
    return {"deed": deed.name, "cuts": cuts, "points": count, "failing": failing, "wall_s": wall_s}


def main() -> None:
    """All of them, or those deeds whose name has the given words."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="deeds whose name contains this")
    parser.add_argument("--single", action="store_true", help="one cut each, no second one")
    chosen = parser.parse_args()
    deeds = [deed for deed in DEEDS if chosen.only in deed.name]
    results = [tried(deed, 1, points(deed)) for deed in deeds]
    if not chosen.single:
        results += [tried(deed, 2, pairs(deed)) for deed in deeds if deed.name in TWICE]
    Path("build").mkdir(exist_ok=True)
    Path("build/crashes.json").write_text(json.dumps(results, indent=1))
    raise SystemExit(1 if any(result["failing"] for result in results) else 0)


if __name__ == "__main__":
    main()
