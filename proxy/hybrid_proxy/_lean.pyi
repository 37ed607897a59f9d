# What `_lean.c` offers, where it was built (`make native`). See `hybrid_proxy.lean.core`.

from typing import Any

from hybrid_proxy.lean.core import CoreInPython as Core
from hybrid_proxy.lean.reactor import LeanReactor

__all__ = ["Core", "accept", "poll"]

def accept(listening: int) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]] | None:
    """The next connection's descriptor, not blocking, and its other end; `None`: there is none. Raises `OSError`."""

def poll(reactor: LeanReactor, streams: dict[int, Any], epoll: int, milliseconds: int) -> None:
    """As `poll_in_python`, of the descriptor of an epoll."""
