"""Where memory is short, a node's processes are spared (`OOMScoreAdjust=` of its unit), its sites are not. Does I/O."""

from __future__ import annotations

SCORE = "/proc/self/oom_score_adj"


def like_any_other(path: str = SCORE) -> None:
    """Let this process, and what it starts, be killed like any other: proc_pid_oom_score_adj(5). Never less."""
    with open(path) as score:
        spared = int(score.read()) < 0
    if spared:
        with open(path, "w") as score:
            score.write("0")
