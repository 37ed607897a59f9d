"""Who obeys a tombstone, and which tombstones are any."""

import msgspec

from hybrid.cluster.sealing import MemorySeals
from hybrid.hosting.tombstones import MOST, Tombstone, Undeleted, buried, decode, encode, genuine, obeyed, sealed
from hybrid.model import Claim, Guid, NodeId, SiteId, Snapshot

A, B = NodeId("n-aaaaaaaa"), NodeId("n-bbbbbbbb")


def snapshot(guid: int, epoch: int) -> Snapshot:
    """A snapshot of that epoch."""
    return Snapshot(Guid(guid), f"hyb-{epoch:06d}-aaaaaaaa-{guid:07d}", 0)


STONE = sealed(
    Tombstone(
        site=SiteId("s-a"), name="shop", claim=Claim(3, A), buried=buried([Guid(2**64 - 5), Guid(4)]), at_s=1, by=A
    ),
    MemorySeals(A),
)


def test_a_tombstone_survives_its_encoding() -> None:
    """What one node writes, another reads; anything else is not taken for a tombstone."""
    assert decode(*encode(STONE)) == STONE
    undone = Undeleted(site=SiteId("s-a"), at_s=2, by="anna")
    assert decode(*encode(undone)) == undone
    assert decode("token/x", "{}") is None
    assert decode("deleted/s-a", "garbage") is None
    assert decode("deleted/s-b", encode(STONE)[1]) is None


def test_a_tombstone_is_of_the_node_that_signed_it() -> None:
    """A site is not deleted because somebody says that its owner said so, nor by a tombstone that was changed."""
    seals = MemorySeals(B)
    assert genuine(STONE, seals)
    assert not genuine(msgspec.structs.replace(STONE, by=B), seals)
    assert not genuine(msgspec.structs.replace(STONE, site=SiteId("s-b")), seals)
    assert not genuine(msgspec.structs.replace(STONE, buried=STONE.buried + buried([Guid(9)])), seals)
    assert not genuine(msgspec.structs.replace(STONE, key=b"", signature=b""), seals)


def test_a_replica_at_or_before_the_buried_head_obeys() -> None:
    """A copy that holds nothing newer goes to the trash."""
    assert obeyed(STONE, (snapshot(4, 3), snapshot(2**64 - 5, 3)))
    assert obeyed(STONE, (snapshot(4, 3),))
    assert obeyed(STONE, ())


def test_a_history_that_went_on_is_kept() -> None:
    """Who wrote after the parting keeps the site, also under the very epoch of the deletion: a person decides."""
    assert not obeyed(STONE, (snapshot(2**64 - 5, 3), snapshot(6, 4)))
    assert not obeyed(STONE, (snapshot(4, 3), snapshot(7, 3)))


def test_guids_are_compared_whole() -> None:
    """Eight bytes that lie across two guids are no guid."""
    stone = msgspec.structs.replace(STONE, buried=buried([Guid(1 << 32), Guid(2 << 32)]))
    assert not obeyed(stone, (snapshot(2, 1),))


def test_a_tombstone_has_a_bound() -> None:
    """A history of any length makes a tombstone of a few kilobytes."""
    assert len(buried(Guid(number) for number in range(10_000))) == 8 * MOST
