"""Has the access logs of sites written by a child, one for all there are at the moment. Shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hybrid.errors import ContainerError
from hybrid_containers import child

DEADLINE_S = 60.0
_SCRIPT = Path(__file__).parent / "logfiles.py"


async def append(reactor: child.Reactor, portions: Sequence[tuple[str, int, bytes]]) -> Sequence[str]:
    """
    See `hybrid.hosting.accesslogs.Append`.

    Raises:
        ContainerError: It was not done in time, or is not known.
    """
    records = b"".join(json.dumps([root, owner, len(data)]).encode() + b"\n" + data for root, owner, data in portions)
    script = [sys.executable, "-I", "-S", str(_SCRIPT)]
    try:
        done = await child.run(reactor, script, stdin=records, timeout_s=DEADLINE_S)
    except child.TooLate:
        raise ContainerError("access logs could not be written", f"not done in {DEADLINE_S:g} s") from None
    if done.status:
        raise ContainerError("access logs could not be written", done.stderr.decode("utf-8", "replace").strip()[-500:])
    whys: list[str] = json.loads(done.stdout)
    return whys
