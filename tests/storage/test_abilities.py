"""A pool is used as far as it goes, and people are told what it lacks."""

from __future__ import annotations

from hybrid.storage.abilities import abilities, warnings
from hybrid.storage.features import SAFE, SPILL
from hybrid.storage.openzfs import OPENZFS

NEW = {
    f"feature@{name}": "enabled"
    for name in (
        "embedded_data lz4_compress large_blocks large_dnode encryption zstd_compress longname large_microzap"
        " extensible_dataset bookmarks"
    ).split()
}


def test_a_new_pool_can_do_everything() -> None:
    """With the library; by command alone the same but for what only the library can."""
    assert abilities(NEW, library=True) == OPENZFS
    by_command = abilities(NEW, library=False)
    assert (by_command.bookmarks, by_command.resumable) == (False, False)
    assert (by_command.diff, by_command.many_snapshots_at_once, by_command.knows_written) == (True, True, True)


def test_a_pool_of_version_28_is_not_asked_for_what_it_lacks() -> None:
    """It replicates all the same, with plain streams."""
    old = {name: "disabled" for name in NEW} | {"version": "28"}
    found = abilities(old, library=True)
    assert (found.bookmarks, found.resumable) == (False, False)
    assert found.takes & SPILL
    assert found.takes != SAFE
    assert found.knows_written


def test_people_hear_of_a_pool_that_two_machines_could_import() -> None:
    """And of one of an old version; of nothing else."""
    assert warnings("tank", {"multihost": "on", "version": "-"}) == ()
    assert warnings("tank", {}) == ()
    [said] = warnings("tank", {"multihost": "off", "version": "-"})
    assert "zpool set multihost=on tank" in said
    [said] = warnings("tank", {"multihost": "on", "version": "28"})
    assert "zpool upgrade tank" in said
