"""Which cut streams are gone on with: decided from what a peer says it has."""

from __future__ import annotations

from hybrid.model import Guid, NodeId, Snapshot
from hybrid.ports import Partial
from hybrid_replicator.resuming import MOST_TRIES, Resuming

B = NodeId("n-b")
ONE, TWO, THREE = (Snapshot(Guid(number), f"s{number}", number) for number in (1, 2, 3))
OURS = (ONE, TWO, THREE)


def part(to: int, base: int | None, received: int = 5) -> Partial:
    """What a peer has."""
    origin = Guid(base) if base is not None else None
    return Partial(to=Guid(to), base=origin, object=1, offset=received, received_bytes=received)


def test_what_the_peer_has_is_gone_on_with_once() -> None:
    """Each time it was told; not again from memory, as it may have gone since."""
    known = Resuming()
    assert known.next("d", B, OURS, None) is None
    known.told("d", B, part(2, None))
    assert known.next("d", B, OURS, None) == (part(2, None), TWO)
    assert known.next("d", B, OURS, None) is None
    known.told("d", B, part(2, 1))
    known.told("d", B, None)
    assert known.next("d", B, OURS, (ONE,)) is None


def test_a_part_of_what_is_gone_or_does_not_fit_is_not() -> None:
    """Its snapshot was forgotten here, or the peer's line goes on elsewhere since."""
    known = Resuming()
    known.told("d", B, part(9, 1))
    assert known.next("d", B, OURS, (ONE,)) is None
    known.told("d", B, part(3, 1))
    assert known.next("d", B, OURS, (ONE, TWO)) is None
    known.told("d", B, part(3, 2))
    assert known.next("d", B, OURS, (ONE, TWO)) == (part(3, 2), THREE)


def test_what_does_not_grow_is_given_up() -> None:
    """After some tries without a byte more; one byte more and it counts anew."""
    known = Resuming()
    for received in (5, 6):
        for _ in range(MOST_TRIES):
            known.told("d", B, part(2, None, received))
            assert known.next("d", B, OURS, None) is not None
    known.told("d", B, part(2, None, 6))
    assert known.next("d", B, OURS, None) is None
