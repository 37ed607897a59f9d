"""A spike on one site gets a server to itself: its neighbours leave, and nothing else moves."""

from __future__ import annotations

import msgspec
import pytest

from hybrid.cluster.bursting import Here, Host, Limits, Move, Resident, Stay, choose, heat, unfit, why_not
from hybrid.load import NodeLoad, SiteLoad
from hybrid.model import NodeId, SiteId
from tests.cluster.decisions.hosters import Hoster, flash_crowd

A, B, C = (NodeId(name) for name in "abc")
GIB = 2**30
LIMITS = Limits()
NOW_S = 100_000.0
COOL = NodeLoad(8.0, 64 * GIB, cpu=0.2, memory=0.1)
HOT = Here(name="n1", dc="paris", load=NodeLoad(8.0, 64 * GIB, cpu=0.95, memory=0.1))


def site(name: str, cpu: float, **more: object) -> Resident:
    """A resident with fresh copies on b and c."""
    known: dict[str, object] = {"load": SiteLoad(cpu, GIB // 8), "fresh": (B, C), **more}
    return Resident(site=SiteId(f"s-{name}"), name=name, **known)  # type: ignore[arg-type]  # by name


def host(node: NodeId, load: NodeLoad | None = COOL, **more: object) -> Host:
    """Another node."""
    known: dict[str, object] = {"dc": "paris", **more}
    return Host(node=node, name=node, load=load, **known)  # type: ignore[arg-type]  # by name


SHOP, BLOG, NEWS = site("shop", 6.0), site("blog", 0.4), site("news", 0.8)
BOTH = (host(B), host(C))


def chosen(here: Here, *residents: Resident, hosts: tuple[Host, ...] = BOTH, limits: Limits = LIMITS) -> Move | Stay:
    """What is decided."""
    return choose(here, residents, hosts, limits, NOW_S)


def test_the_neighbours_go_and_the_busy_site_stays() -> None:
    """First the neighbour that takes most, until the busy one is alone; why is said in figures."""
    first = chosen(HOT, SHOP, BLOG, NEWS)
    assert isinstance(first, Move)
    assert first.site == NEWS.site
    assert "95% of its processors" in first.why
    assert "shop takes most" in first.why
    assert isinstance(second := chosen(HOT, SHOP, BLOG), Move) and second.site == BLOG.site
    alone = chosen(HOT, SHOP)
    assert isinstance(alone, Stay)
    assert alone.busy == SHOP.site
    assert "to itself" in alone.why


def test_a_node_that_is_not_hot_moves_nothing() -> None:
    """Also just below, and where it is other programs that keep the machine busy."""
    warm = msgspec.structs.replace(HOT.load, cpu=0.84)
    assert isinstance(chosen(Here(name="n1", dc="paris", load=warm), SHOP, BLOG), Stay)
    assert heat(HOT, [site("shop", 1.0), BLOG], LIMITS) is None


def test_memory_and_disks_make_a_node_hot_as_well() -> None:
    """Then who takes most of these stays, and who takes most besides goes."""
    load = NodeLoad(8.0, 64 * GIB, cpu=0.1, memory=0.9)
    full = Here(name="n1", dc="paris", load=load)
    cache = site("cache", 0.1, load=SiteLoad(0.1, 50 * GIB))
    moved = chosen(full, cache, site("a", 0.1, load=SiteLoad(0.1, 4 * GIB)), site("b", 0.7))
    assert isinstance(moved, Move) and moved.site == "s-a"
    slow = Here(name="n1", dc="paris", load=NodeLoad(8.0, 64 * GIB, io=0.9), io_bytes_s=1e8)
    backup = site("backup", 0.1, load=SiteLoad(0.1, GIB, 9e7))
    moved = chosen(slow, backup, site("a", 0.1, load=SiteLoad(0.1, GIB, 1e7)), site("b", 0.7))
    assert isinstance(moved, Move) and moved.site == "s-a"
    assert "disks" in moved.why


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (host(B, refuses="is down"), "down"),
        (host(B, None), "does not tell"),
        (host(B, NodeLoad(8.0, 64 * GIB, cpu=0.59)), "busy with it"),
        (host(B, NodeLoad(0.5, 64 * GIB, cpu=0.0)), "busy with it"),
        (host(B, NodeLoad(8.0, 64 * GIB, cpu=0.1, memory=0.7)), "busy with it"),
        (host(B, coming=0.5), "busy with it"),
        (host(NodeId("d")), "no copy"),
        (host(B, apart=frozenset({"shard"})), "apart"),
    ],
)
def test_a_site_goes_only_where_it_does_no_harm(host: Host, why: str) -> None:
    """Each reason not to, by itself, keeps it here."""
    news = site("news", 0.8, apart="shard")
    assert why in unfit(news, host, HOT, LIMITS)
    assert isinstance(chosen(HOT, SHOP, news, hosts=(host,)), Stay)
    assert unfit(news, BOTH[0], HOT, LIMITS) == ""


def test_what_must_stay_stays_and_others_go_for_it() -> None:
    """What is pinned, at work, or came a moment ago."""
    pinned, fresh = site("news", 0.8, stays="pinned"), site("mail", 0.7, here_s=60.0)
    moved = chosen(HOT, SHOP, pinned, fresh, BLOG)
    assert isinstance(moved, Move) and moved.site == BLOG.site
    assert "less than 30 min" in why_not(fresh, LIMITS)
    assert isinstance(chosen(HOT, SHOP, pinned, fresh), Stay)


def test_sites_of_one_application_stay_together() -> None:
    """A shop's database is none of its neighbours: it would only be farther away."""
    shop, database = site("shop", 6.0, group="shop"), site("db", 1.0, group="shop")
    assert isinstance(chosen(HOT, shop, database), Stay)


def test_bounds_hold_however_hot_it_is() -> None:
    """A pause after each move, and no more than so many within an hour."""
    just = Here(name="n1", dc="paris", load=HOT.load, left_s=[NOW_S - 5])
    assert isinstance(chosen(just, SHOP, BLOG), Stay)
    often = Here(name="n1", dc="paris", load=HOT.load, left_s=[NOW_S - 100 * n for n in range(20, 0, -1)])
    assert isinstance(stayed := chosen(often, SHOP, BLOG), Stay) and "the most" in stayed.why
    assert isinstance(chosen(often, SHOP, BLOG, limits=Limits(per_hour=21)), Move)


def test_of_several_places_one_at_home_then_the_coolest() -> None:
    """Where the site is at home, else where it is; a place far away is better than none."""
    far, near = host(C, dc="london"), host(B, NodeLoad(8.0, 64 * GIB, cpu=0.5))
    assert isinstance(moved := chosen(HOT, SHOP, BLOG, hosts=(far, near)), Move) and moved.to == B
    away = site("blog", 0.4, home_dc="london")
    assert isinstance(moved := chosen(HOT, SHOP, away, hosts=(far, near)), Move) and moved.to == C
    assert isinstance(moved := chosen(HOT, SHOP, BLOG, hosts=(far, host(B, refuses="is down"))), Move)
    assert moved.to == C
    assert isinstance(moved := chosen(HOT, SHOP, BLOG, hosts=(near, host(C))), Move) and moved.to == C


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_servers_calm_down_without_flapping(seed: int) -> None:
    """
    Flash crowds, batch jobs and people: crowds come to have servers to themselves, few other sites move, none comes
    back, and none makes the server hot that it was sent to.
    """
    hoster = Hoster(100, 400, seed, every_s=20.0)
    crowds = list({one.owner: one for _, one in sorted(hoster.sites.items())}.values())[:10]
    for number, one in enumerate(crowds):
        one.wants = flash_crowd(0.05, 0.95 * hoster.servers[one.owner].cores, 1800.0 + 120 * number, 3000.0)
    homes = [one.owner for one in crowds]
    neighbours: dict[float, int] = {}

    def look() -> None:
        if hoster.now_s in (1800.0, 3600.0):
            beside = [other.owner == one.owner for one in crowds for other in hoster.sites.values()]
            neighbours[hoster.now_s] = sum(beside) - len(crowds)

    hoster.lives(1.5 * 3600, look)
    assert neighbours[1800.0] > 20
    assert neighbours[3600.0] <= neighbours[1800.0] / 5
    assert [one.owner for one in crowds] == homes
    assert hoster.returned(3600.0) == []
    assert hoster.most_within_an_hour() <= hoster.limits.per_hour
    assert len(hoster.moves) < 100
    assert hoster.made_hot(1800.0) == []
