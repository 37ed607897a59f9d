"""Whose turn it is to prove that a copy works, and when: every table of the decision."""

from __future__ import annotations

import msgspec

from hybrid.cluster import proving
from hybrid.model import Guid, NodeId, Proof, SiteId, SiteSpec, Version
from hybrid.view import NodeView, SiteView, View

A, B, C = NodeId("n-a"), NodeId("n-b"), NodeId("n-c")
NOW_S, DAY_S = 1_790_000_000.0, 86400.0
SPEC = SiteSpec(id=SiteId("s-x"), version=Version(1, 0), name="x", domains=("x.test",), image="i@1", number=1)


def proof(outcome: str, ago_s: float) -> Proof:
    """One that ended so long ago."""
    at_s = int(NOW_S - ago_s)
    return msgspec.convert({"outcome": outcome, "at_s": at_s, "guid": 1, "of_s": at_s}, Proof)


def site(*, spec: SiteSpec = SPEC, **proofs: Proof) -> SiteView:
    """Owned by a, held by b and c."""
    said = {NodeId(f"n-{name}"): one for name, one in proofs.items()}
    return SiteView(spec=spec, state="serving", owner=A, holders=(A, B, C), proofs=said)


def view(me: NodeId, sick: NodeId | None = None) -> View:
    """Three live nodes as `me` sees them."""
    nodes = {
        node: NodeView(
            id=node,
            name=node,
            dc="x",
            address="",
            cluster_port=1,
            interior_port=2,
            api_port=3,
            live=True,
            storage_ok=node != sick,
        )
        for node in (A, B, C)
    }
    return View(me=me, serial=1, zones=("test",), nodes=nodes, sites={})


def due_s(seen: SiteView, me: NodeId, born_ago_s: float = 9 * DAY_S, cluster_s: float = DAY_S) -> float | None:
    """In how many seconds it is `me`'s turn, negative for long ago, with its patience."""
    turn = proving.turn(seen, view(me), NOW_S - born_ago_s, cluster_s, NOW_S)
    return None if turn is None else turn.due_s + turn.patience_s - NOW_S


def test_an_owner_never_starts_its_own_data_a_second_time() -> None:
    """What is proven is a copy on another server, and one with healthy storage."""
    assert due_s(site(), A) is None
    assert A not in proving.provers(site(), view(B))
    assert proving.provers(site(), view(B, sick=B)) == (C,)
    stranger = msgspec.structs.replace(site(), holders=(A, C))
    assert due_s(stranger, B) is None


def test_turns_rotate() -> None:
    """All copies are tried over the days: who tried last comes last."""
    assert proving.provers(site(b=proof("good", 5000), c=proof("good", 90000)), view(A)) == (C, B)
    assert proving.provers(site(b=proof("good", 5000)), view(A)) == (C, B)
    first, second = proving.provers(site(), view(A))
    assert due_s(site(), second) == (due_s(site(), first) or 0) + proving.TURN_S


def test_a_day_after_the_last_proof_of_any_copy() -> None:
    """One proof a day of each site, whoever makes it; where its turn is not taken, the next holder takes it."""
    seen = site(b=proof("good", 1000))
    assert due_s(seen, C) == DAY_S - 1000
    assert due_s(seen, B) == DAY_S - 1000 + proving.TURN_S


def test_what_failed_is_tried_soon_by_the_next() -> None:
    """Whether one copy is broken, or the site, shows when another one is started."""
    seen = site(b=proof("failed", 1000), c=proof("good", 2000))
    assert due_s(seen, C) == proving.AGAIN_S - 1000


def test_what_was_skipped_says_nothing_about_the_site() -> None:
    """A node without room leaves the turn to the next, and is not asked again for an hour."""
    seen = site(b=proof("skipped", 10), c=proof("good", DAY_S + 100))
    assert due_s(seen, C) == -100
    assert due_s(seen, B) == proving.AGAIN_S - 10 + proving.TURN_S


def test_sites_that_nobody_proved_do_not_come_all_at_once() -> None:
    """The first proof of a hundred sites made in one minute is spread over the day."""
    specs = [msgspec.structs.replace(SPEC, id=SiteId(f"s-{number}")) for number in range(100)]
    due = sorted(min(due_s(site(spec=spec), node, born_ago_s=0.0) or 0 for node in (B, C)) for spec in specs)
    assert 0 <= due[0] and due[-1] < DAY_S
    assert [sum(hour * DAY_S / 4 <= at < (hour + 1) * DAY_S / 4 for at in due) > 10 for hour in range(4)] == [True] * 4


def test_how_often_is_the_clusters_or_the_sites() -> None:
    """A site may be proven more often than others, or never; so may all."""
    often = msgspec.structs.replace(SPEC, verify_every_s=3600.0)
    never = msgspec.structs.replace(SPEC, verify_every_s=0.0)
    good = proof("good", 100)
    assert due_s(site(spec=often, b=good), C) == 3500
    assert due_s(site(spec=never, b=good), C) is None
    assert due_s(site(b=good), C, cluster_s=0.0) is None
    assert due_s(site(spec=often, b=good), C, cluster_s=0.0) == 3500


def test_a_proof_from_the_future_does_not_stop_all_others() -> None:
    """A server whose clock was years ahead once must not keep a site from being proven until then."""
    assert due_s(site(b=proof("good", -9 * DAY_S), c=proof("good", DAY_S + 50)), C) == -50


def test_the_last_word() -> None:
    """What is shown is the newest that says something; when a copy was last good is never forgotten over a failure."""
    proofs = {B: proof("failed", 50), C: proof("skipped", 10), A: proof("good", 5000)}
    assert proving.newest(proofs) == (B, proofs[B])
    assert proving.newest({C: proofs[C]}) == (C, proofs[C])
    assert proving.newest({}) is None
    kept = msgspec.structs.replace(proofs[B], good_at_s=7, guid=Guid(3))
    assert proving.good_at_s([kept, proofs[C]]) == 7
