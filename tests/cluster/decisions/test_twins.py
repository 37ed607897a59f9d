"""Two nodes with one key, and the third that hears of both."""

from __future__ import annotations

import msgspec
import pytest

from hybrid.cluster.ledger import Ledger
from hybrid.cluster.news import Self
from hybrid.cluster.parcels import parcel
from hybrid.cluster.twins import Twins
from hybrid.model import NO_BOOT, Boot, NodeId, NodeRegister, Version

ME, OTHER = NodeId("n-me"), NodeId("n-other")


class Life:
    """One life of a node: what it knows of itself, and what it publishes."""

    def __init__(self, boot: Boot, address: str = "10.0.0.1") -> None:
        self.twins, self.ledger, self.address = Twins(boot), Ledger(ME, boot[0]), address
        self.load = 0.0
        self.publish()

    def publish(self) -> None:
        """Say what is true now, which is something new each time."""
        self.load += 1
        boot, twin = self.twins.boot, self.twins.suspect
        self.ledger.publish_node(
            NodeRegister(id=ME, name="n1", dc="x", address=self.address, boot=boot, twin=twin, load=self.load)
        )

    def exchange(self, third: Ledger) -> None:
        """Tell the third node, and hear from it."""
        self.publish()
        third.merge(parcel(self.ledger, [Self(ME)])[0], ME)
        news = parcel(third, [Self(ME)])[0]
        register = news.nodes.get(ME)
        if register is not None and self.twins.heard(register, self.ledger.nodes().get(ME)):
            self.ledger.raise_to(register.version.major + 1)
            if self.twins.yields:
                self.ledger.give_way()
            self.publish()
        self.ledger.merge(news, OTHER)


def together(*lives: Life, rounds: int = 12) -> Ledger:
    """Let them live at the same time, each speaking with a third node."""
    third = Ledger(OTHER, 1)
    for _ in range(rounds):
        for life in lives:
            life.exchange(third)
    return third


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("later", [(100, 2), (101, 1)], ids=["by chance", "by incarnation"])
def test_both_notice_and_the_one_that_started_first_gives_way(order: tuple[int, int], later: Boot) -> None:
    """Whoever speaks first, after a few exchanges both know, and only one of them goes on."""
    lives = [Life((100, 1)), Life(later, "10.0.0.2")]
    third = together(*(lives[number] for number in order))
    first, second = lives
    assert first.twins.other == second.twins.boot and second.twins.other == first.twins.boot
    assert first.twins.yields and not second.twins.yields
    assert third.nodes()[ME].address == "10.0.0.2"


def test_they_do_not_outdo_each_other_for_ever() -> None:
    """Once both know, the one that goes on is the one that everybody hears of, at the pace of its own news."""
    lives = Life((100, 1)), Life((100, 2), "10.0.0.2")
    third = together(*lives)
    settled = third.nodes()[ME].version
    for _ in range(5):
        for life in lives:
            life.exchange(third)
            assert third.nodes()[ME].boot == (100, 2)
    assert third.nodes()[ME].version == Version(settled.major, settled.minor + 5)


def test_an_earlier_life_is_no_twin() -> None:
    """After a restart others still tell of the life before: it does not answer, and no alarm is raised."""
    before = Life((100, 1))
    third = together(before)
    after = Life((101, 9))
    for _ in range(12):
        after.exchange(third)
    assert after.twins.other == NO_BOOT and not after.twins.yields
    assert third.nodes()[ME].boot == (101, 9)


def test_a_life_that_is_not_remembered_is_no_twin_either() -> None:
    """A node whose disk was lost, or restored from long ago, outdoes what it once was and is believed."""
    before = Life((500, 1))
    for load in range(5):
        before.ledger.publish_node(msgspec.structs.replace(before.ledger.nodes()[ME], load=float(load)))
    third = together(before)
    after = Life((3, 9))
    for _ in range(12):
        after.exchange(third)
    assert after.twins.other == NO_BOOT and not after.twins.yields
    assert third.nodes()[ME].boot == (3, 9)
