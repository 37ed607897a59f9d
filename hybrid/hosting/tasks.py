"""One deed at a time per site; the others wait or are told. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from hybrid.detach import detach
from hybrid.errors import Conflict, HybridError
from hybrid.model import SiteId

T = TypeVar("T")

Background = Callable[[str, Callable[[], Coroutine[Any, Any, object]]], None]
"""`background(what, deed)`: do it without waiting, log its failure."""


def in_background(what: str, deed: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """See `Background`."""

    def failed(error: Exception) -> None:
        if isinstance(error, HybridError):
            SiteTasks.log.warn("{what} failed: {error}", what=what, error=str(error))
        else:
            SiteTasks.log.failure("{what} failed", what=what)

    detach(deed(), failed=failed)


class Silent:
    """A `Progress` of what nobody watches."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """See `hybrid.deeds.Progress`."""
        return nullcontext()


class SiteTasks:
    """What is being done to which site on this node."""

    log = Logger()

    def __init__(self) -> None:
        self._running: dict[SiteId, tuple[str, Deferred[Any]]] = {}

    def busy(self, site: SiteId) -> str | None:
        """What is being done to `site`, or `None`."""
        task = self._running.get(site)
        return task[0] if task else None

    async def run(self, site: SiteId, what: str, deed: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do `deed`. Raises `Conflict` when something else is being done to the site."""
        self._refuse_second(site, what)
        deferred: Deferred[T] = Deferred.fromCoroutine(deed())
        self._remember(site, what, deferred)
        return await deferred

    def start(self, site: SiteId, what: str, deed: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Do `deed` in the background and log its failure; `False` when something else is being done."""
        if site in self._running:
            return False
        deferred: Deferred[Any] = Deferred.fromCoroutine(self._logged(site, what, deed))
        self._remember(site, what, deferred)
        return True

    async def _logged(self, site: SiteId, what: str, deed: Callable[[], Awaitable[object]]) -> None:
        try:
            await deed()
        except HybridError as error:
            self.log.warn("{what} of {site} failed: {error}", what=what, site=site, error=str(error))
        except Exception:
            self.log.failure("{what} of {site} failed", what=what, site=site)

    def _refuse_second(self, site: SiteId, what: str) -> None:
        other = self.busy(site)
        if other:
            raise Conflict(f"cannot {what}: {other} of this site is under way", "", "wait for it: hybrid op list")

    def _remember(self, site: SiteId, what: str, deferred: Deferred[Any]) -> None:
        if deferred.called and not deferred.paused:
            return
        self._running[site] = (what, deferred)

        def ended(result: Any) -> Any:
            self._running.pop(site, None)
            return result

        deferred.addBoth(ended)

    async def ended(self) -> None:
        """Returns when what runs now has ended."""
        watchers: list[Deferred[None]] = []
        for _, deferred in self._running.values():
            watcher: Deferred[None] = Deferred()
            watchers.append(watcher)

            def told(result: Any, watcher: Deferred[None] = watcher) -> Any:
                watcher.callback(None)
                return result

            deferred.addBoth(told)
        await DeferredList(watchers)
