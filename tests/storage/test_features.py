"""Which pool takes which streams, and what people are told where one does not."""

from __future__ import annotations

from hybrid.storage.features import (
    COMPRESSED,
    EMBEDDED,
    LARGE_BLOCKS,
    LARGER_BLOCKS_LATER,
    LZ4,
    RAW,
    RESUMING,
    SAFE,
    SPILL,
    ZSTD,
    enabled,
    refusal,
    taken_by,
    wanted,
)


def test_a_new_pool_takes_all_and_one_of_version_28_what_is_plain() -> None:
    """What a pool takes follows from the features it has, whatever the module could do."""
    names = "embedded_data lz4_compress large_blocks large_dnode encryption zstd_compress longname large_microzap"
    new = {f"feature@{name}": "enabled" for name in [*names.split(), "extensible_dataset"]}
    assert taken_by(enabled(new)) == SAFE
    old = {f"feature@{name}": "disabled" for name in names.split()} | {"version": "28"}
    assert taken_by(enabled(old)) == SPILL | LARGER_BLOCKS_LATER
    assert taken_by(enabled({"feature@lz4_compress": "active"})) & (LZ4 | COMPRESSED | ZSTD) == LZ4 | COMPRESSED


def test_a_sender_uses_what_the_receiver_takes() -> None:
    """No flag is used of which a stream might not be taken; without a word from the receiver none at all."""
    assert wanted(0) == frozenset()
    assert wanted(SAFE) == {"compress", "large_blocks", "embedded_data"}
    assert wanted(LARGE_BLOCKS | EMBEDDED | COMPRESSED) == {"large_blocks"}
    assert wanted(COMPRESSED | LZ4) == frozenset()


def test_a_refusal_says_what_is_in_the_way_and_what_to_try() -> None:
    """By name, and for a person."""
    assert refusal(SPILL, SAFE) is None
    assert refusal(0, 0) is None
    said = refusal(SPILL | RAW, 0)
    assert said is not None
    assert "file system version 5" in said[0]
    assert "encrypted blocks" in said[0]
    assert "OpenZFS" in said[1]
    assert refusal(1 << 21, SAFE) == ("it uses what this pool does not take: redacted", "it is taken from nobody")
    assert refusal(RESUMING, SPILL) is not None
