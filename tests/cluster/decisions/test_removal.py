"""Which nodes are kept out, and what stands in the way of removing one."""

from __future__ import annotations

import pytest

from hybrid.cluster.removal import REMOVED, Removal, Removals, dumps, obstacles
from hybrid.model import Claim, Guid, NodeId, Role, SiteId, SiteRegister, SiteSpec, Stash, Version

A, B, C, D = (NodeId(f"n-{letter}") for letter in "abcd")


def removed(node: NodeId, *spared: NodeId) -> tuple[str, str]:
    """An entry of the shared map."""
    return REMOVED + node, dumps(Removal(name="n9", by="admin at n1", at_s=0, spared=spared))


class TestLines:
    """Who is let in after a removal."""

    def test_members_are_let_in(self) -> None:
        """Nobody is kept out before somebody was removed."""
        assert Removals().why_not((A,)) == Removals().why_not((C, B, A)) == ""

    def test_removed_node_is_kept_out_for_good(self) -> None:
        """Wherever it stands, with who did it and when."""
        removals = Removals()
        assert removals.take([removed(B, A, C)]) == [B]
        assert removals.why_not((B, A)) == "n9 was removed from this cluster by admin at n1, 1970-01-01 00:00 UTC"
        assert removals.why_not((A,)) == ""

    def test_whom_it_let_in_stays(self) -> None:
        """The first node of a cluster can be removed: those it let in, and those they let in, are members still."""
        removals = Removals()
        removals.take([removed(A, B, C)])
        assert removals.why_not((B, A)) == removals.why_not((C, B, A)) == removals.why_not((D, B, A)) == ""

    def test_its_key_lets_nobody_in_any_more(self) -> None:
        """A thief of a removed node's disk makes no new members with it, not even through a second one."""
        removals = Removals()
        removals.take([removed(A, B, C)])
        assert "was let in by it and not known then" in removals.why_not((D, A))
        assert removals.why_not((NodeId("n-e"), D, A))

    def test_several_removals_add_up(self) -> None:
        """Each note counts for itself."""
        removals = Removals()
        assert removals.take([removed(A, B, C), removed(B, C)]) == [A, B]
        assert removals.take([removed(A, B, C)]) == []
        assert removals.why_not((C, B, A)) == ""
        assert removals.why_not((B, A)) and removals.why_not((D, B, A))

    @pytest.mark.parametrize("value", ["", "{}", "null", "[1]", "\x00", '{"name": 5}'])
    def test_note_that_cannot_be_read_removes_all_the_same(self, value: str) -> None:
        """Ignorance never lets a removed node back in."""
        removals = Removals()
        assert removals.take([(REMOVED + B, value), ("token/x", value)]) == [B]
        assert removals.why_not((B, A)) and removals.why_not((C, B, A))


def says(role: Role, stashes: tuple[str, ...] = (), claim: Claim | None = None) -> SiteRegister:
    """What a node says of the site `shop`."""
    spec = SiteSpec(
        id=SiteId("s-1"), version=Version(1, 0), name="shop", domains=("shop.test",), image="php@1", number=1
    )
    kept = tuple(Stash(name, SiteId("s-1"), None, Guid(1), 0, "conflict") for name in stashes)
    return SiteRegister(role=role, spec=spec, stashes=kept, claim=claim)


class TestObstacles:
    """What would be lost."""

    def test_spare_copy_may_go(self) -> None:
        """A replica is removed when others that are up hold the site."""
        sites = [{A: says("owner", claim=Claim(1, A)), B: says("replica")}]
        assert obstacles(B, sites, {A, B}) == obstacles(B, sites, {A}) == []

    def test_owner_that_is_up_must_give_the_site_away_first(self) -> None:
        """A move costs a second, an election more; one that is down is owner of nothing."""
        sites = [{A: says("owner", claim=Claim(1, A)), B: says("replica")}]
        assert obstacles(A, sites, {A, B}) == ["shop is on it: move it to another node"]
        assert obstacles(A, sites, {B}) == []

    def test_last_copy_that_is_up(self) -> None:
        """Copies on nodes that are down do not count: nobody knows whether they come back."""
        sites = [{A: says("replica"), B: says("replica"), C: says("none")}]
        assert obstacles(A, sites, {A, C}) == obstacles(A, sites, {C}) == ["no other node that is up holds shop"]
        assert obstacles(A, sites, {B, C}) == []

    def test_stash_that_only_it_holds(self) -> None:
        """Somebody's other version of a site is data as well."""
        sites = [{A: says("replica", ("x", "y")), B: says("replica", ("y",))}]
        assert obstacles(A, sites, {A, B}) == ["no other node that is up holds x, a stash of shop"]

    def test_node_without_sites(self) -> None:
        """It may always go."""
        assert obstacles(A, [], {B}) == []
        assert obstacles(A, [{A: says("none"), B: says("replica")}], {B}) == []
