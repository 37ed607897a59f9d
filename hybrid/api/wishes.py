"""Logins to past moments: the preview that one asks for is opened here, where the history is. Shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hybrid.api import moments
from hybrid.deeds import Hosting
from hybrid.errors import HybridError
from hybrid.model import Fact, SiteId, Wished
from hybrid.view import View

FOR_S = 1800
AT_ONCE = 2
"""Of one site: nobody has shown a password yet."""
BY = "a login"


class Wishes:
    """
    Opens them.

    Args:
        hosting: Whose sites they are.
        view: The newest.
        wall_s: Seconds since the epoch.
    """

    log = Logger()

    def __init__(self, hosting: Hosting, view: Callable[[], View], wall_s: Callable[[], float]) -> None:
        self._hosting, self._view, self._wall_s = hosting, view, wall_s
        self._under_way: set[tuple[SiteId, str]] = set()

    def observe(self, fact: Fact) -> None:
        """A front door of this node reports something."""
        if isinstance(fact, Wished) and (fact.site, fact.moment) not in self._under_way:
            self._under_way.add((fact.site, fact.moment))
            Deferred.fromCoroutine(self._open(fact))

    async def _open(self, wished: Wished) -> None:
        try:
            await self._opened(wished)
        except HybridError as error:
            site, moment = wished.site, wished.moment
            self.log.warn(
                "{moment} of {site} cannot be logged in to: {error}", moment=moment, site=site, error=str(error)
            )
        except Exception:
            self.log.failure("{moment} of {site} cannot be logged in to", moment=wished.moment, site=wished.site)
        finally:
            self._under_way.discard((wished.site, wished.moment))

    async def _opened(self, wished: Wished) -> None:
        """Unless it is there, or not for us."""
        view = self._view()
        seen = view.sites.get(wished.site)
        if seen is None or view.me not in seen.holders:
            return
        there = self._hosting.previews(wished.site)
        if any(one.label == wished.moment for one in there) or sum(one.by == BY for one in there) >= AT_ONCE:
            return
        moment = moments.parse(wished.moment)
        if isinstance(moment, moments.ByName):
            marked = next((mark.guid for mark in seen.spec.marks if mark.name == moment.name), None)
            moment = moments.ByGuid(marked) if marked is not None else moment
        source = moments.find(self._hosting.history(wished.site), moment, self._wall_s())
        await self._hosting.preview(wished.site, source.guid, FOR_S, BY, _Silent(), wished.moment)


class _Silent:
    """A `Progress` that nobody follows."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """See `hybrid.deeds.Progress`."""
        yield
