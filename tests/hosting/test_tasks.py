"""One deed at a time per site."""

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.errors import Conflict
from hybrid.hosting.tasks import SiteTasks
from hybrid.model import SiteId

SITE = SiteId("s-a")


def test_a_second_deed_is_refused_with_the_name_of_the_first() -> None:
    """Two operations never work on one site at once, and the user is told which one is under way."""
    tasks, gate = SiteTasks(), Deferred[str]()

    async def slow() -> str:
        return await gate

    first = Deferred.fromCoroutine(tasks.run(SITE, "move", slow))
    assert tasks.busy(SITE) == "move"
    with pytest.raises(Conflict, match="cannot delete: move"):
        raise failure_of(tasks, "delete")
    assert not tasks.start(SITE, "fence", slow)
    gate.callback("moved")
    results: list[str] = []
    first.addCallback(results.append)
    assert results == ["moved"]
    assert tasks.busy(SITE) is None


def failure_of(tasks: SiteTasks, what: str) -> BaseException:
    """The error of a deed that must be refused."""

    async def nothing() -> None:
        return None

    caught: list[BaseException] = []

    def keep(failure: Failure) -> None:
        caught.append(failure.value or AssertionError("no error"))

    Deferred.fromCoroutine(tasks.run(SITE, what, nothing)).addErrback(keep)
    return caught[0]


def test_a_failed_deed_frees_the_site() -> None:
    """A deed that raises leaves the site free for the next one."""
    tasks, gate = SiteTasks(), Deferred[None]()

    async def doomed() -> None:
        await gate
        raise Conflict("no")

    assert tasks.start(SITE, "fence", doomed)
    done: list[object] = []
    Deferred.fromCoroutine(tasks.ended()).addCallback(done.append)
    assert done == []
    gate.callback(None)
    assert tasks.busy(SITE) is None
    assert done == [None]
