"""Who obeys a tombstone."""

from hybrid.hosting.tombstones import Tombstone, decode, encode, obeyed
from hybrid.model import Claim, Guid, NodeId, SiteId, Snapshot

CLAIM = Claim(3, NodeId("n-aaaaaaaa"))


def snapshot(guid: int, epoch: int) -> Snapshot:
    """A snapshot of that epoch."""
    return Snapshot(Guid(guid), f"hyb-{epoch:06d}-aaaaaaaa-{guid:07d}", 0)


STONE = Tombstone(SiteId("s-a"), "shop", CLAIM, Guid(5), 1)


def test_a_tombstone_survives_its_encoding() -> None:
    """What one node writes, another reads; anything else is not taken for a tombstone."""
    assert decode(*encode(STONE)) == STONE
    assert decode("token/x", "{}") is None
    assert decode("deleted/s-a", "garbage") is None


def test_a_replica_at_or_before_the_buried_head_obeys() -> None:
    """A copy that holds nothing newer goes to the trash."""
    assert obeyed(STONE, (snapshot(4, 3), snapshot(5, 3)))
    assert obeyed(STONE, (snapshot(4, 3),))
    assert obeyed(STONE, ())


def test_a_history_that_went_on_is_kept() -> None:
    """Who wrote after the buried head, while cut off, keeps the site: a person decides."""
    assert not obeyed(STONE, (snapshot(5, 3), snapshot(6, 4)))
    assert not obeyed(STONE, (snapshot(7, 4),))
