"""
How well this node itself is: Lifeguard's local health multiplier (Dadgar, Phillips, Currey, DSN 2018). Pure.

A node that misses answers may be the one that is slow. It then waits longer before it says so of others.
"""

from __future__ import annotations

WORST = 7


class Awareness:
    """A score from 0 (well) to `WORST`."""

    def __init__(self) -> None:
        self.score = 0

    def better(self) -> None:
        """A probe was answered."""
        if self.score:
            self.score -= 1

    def worse(self, by: int = 1) -> None:
        """An answer, or the word of a helper, did not come; or this node was accused, or late."""
        self.score = min(WORST, self.score + by)

    def scale(self, seconds: float) -> float:
        """One of this node's own timeouts, as it must be now."""
        return seconds * (self.score + 1)
