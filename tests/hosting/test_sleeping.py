"""A site that is asked for while its container is being stopped is started as soon as it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hybrid.hosting.holdings import Holding, Holdings
from hybrid.hosting.sleeping import Sleeping
from hybrid.hosting.tasks import SiteTasks
from hybrid.hosting.terms import Terms
from hybrid.model import Claim, NodeId, SiteId, SiteSpec, Version
from hybrid.sitetraffic import Awaited, Used

SHOP = SiteId("s-shop")
SPEC = SiteSpec(
    id=SHOP, version=Version(1, 0), name="shop", domains=("shop.test",), image="x@1", number=1, sleep_after_s=60.0
)


class World:
    """One site, owned here, whose container takes its time to stop. Stands for holdings and terms."""

    def __init__(self) -> None:
        self.holding = Holding(SPEC, "owner", Claim(1, NodeId("n-a")), serving=True)
        self.deeds: list[str] = []
        self.stopping: Deferred[None] = Deferred()

    def __iter__(self) -> Iterator[SiteId]:
        return iter([SHOP])

    def get(self, site: SiteId) -> Holding:
        """See `Holdings`."""
        return self.holding

    need = get

    def update(self, site: SiteId, **changes: object) -> None:
        """See `Holdings`."""
        self.holding = replace(self.holding, **changes)

    async def write_spec(self, spec: SiteSpec) -> None:
        """See `Holdings`."""
        self.update(spec.id, spec=spec)

    async def halt(self, site: SiteId) -> None:
        """See `Terms`."""
        self.deeds.append("stop")
        await self.stopping

    async def restart(self, site: SiteId) -> None:
        """See `Terms`."""
        self.deeds.append("start")
        self.update(site, serving=True)


def test_asked_for_while_it_stops() -> None:
    """Nobody waits for the second time that it is asked for; who asked before it stopped for good is not forgotten."""
    world, clock = World(), Clock()
    sleeping = Sleeping(clock, cast(Holdings, world), cast(Terms, world), SiteTasks(), lambda kind, site, text: None)
    for number in range(1, 20):
        sleeping.observe(Used("f", number, ()))
        sleeping.look()
        if world.deeds:
            break
        clock.advance(10)
    assert world.deeds == ["stop"] and world.holding.spec.asleep
    sleeping.observe(Awaited(SHOP))
    assert world.deeds == ["stop"]
    world.stopping.callback(None)
    assert world.deeds == ["stop", "start"]
    assert world.holding.serving and not world.holding.spec.asleep
