# What `_brief.c` offers, where it was built (`make native`). See `hybrid_proxy.brief` and `hybrid_proxy.cores`.

from hybrid_proxy.brief import PreparedInPython as Prepared
from hybrid_proxy.cores import ClientInPython as ClientCore
from hybrid_proxy.cores import SiteInPython as SiteCore
from hybrid_proxy.front import Front
from hybrid_proxy.upstream import Upstream

__all__ = ["ClientCore", "Flight", "Prepared", "SiteCore", "ask", "use"]

class Flight:
    """A request under way."""

    method: bytes
    minor: int
    keep_alive: bool

    def answer(self, upstream: Upstream, data: bytes) -> bool:
        """See `hybrid_proxy.upstream.BriefAsker`."""

def ask(front: Front, data: bytes) -> bool:
    """See `hybrid_proxy.brief.ask_in_python`."""

def use(kind: type[Flight]) -> None:
    """Let requests under way be of this kind."""
