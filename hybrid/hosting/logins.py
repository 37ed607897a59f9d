"""Who logged in by SSH gets a session in the container of a site that is served here, or of a past moment. Shell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hybrid.errors import NoSuchContainer, NotHere
from hybrid.hosting.holdings import Holdings
from hybrid.model import Claim, NodeId, SiteId
from hybrid.ports import Containers, Sitting
from hybrid.sessions import Opening


class Logins:
    """
    See the module.

    Args:
        holdings: What this node owns.
        containers: Of this node.
        past: The container of a preview that runs here; `None` for others.
    """

    def __init__(self, holdings: Holdings, containers: Containers, past: Callable[[SiteId], SiteId | None]) -> None:
        self._holdings, self._containers, self._past = holdings, containers, past

    def begin(self, opening: Opening, connection: int) -> Sitting:
        """
        See `hybrid.ports.Containers.begin_session`.

        Raises:
            NotHere: The site does not run here under the claim that the front door knows.
            ContainerError: No session can be begun in it now.
        """
        site = SiteId(opening.site)
        container = self._past(site)
        if container is None:
            holding = self._holdings.get(site)
            claim = Claim(opening.epoch, NodeId(opening.node))
            if holding is None or holding.role != "owner" or holding.claim != claim:
                raise NotHere(f"site {site} does not run here under claim {claim}")
            container = site
        try:
            return self._containers.begin_session(replace(opening, site=container), connection)
        except NoSuchContainer as error:
            raise NotHere(error.what) from error
