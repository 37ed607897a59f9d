"""
Features of send streams (`DMU_BACKUP_FEATURE_*` of OpenZFS's `sys/zfs_ioctl.h`) and who takes which. Pure.

A stream says in its first record which of them it uses; a pool that lacks one of these cannot receive it. zfs-fuse
(pool version 23) knows none that Hybrid sends: what it takes was made on zfs-fuse, wherever it was since.

A file system made by OpenZFS with `version=4` could be received there too, and not be opened (measured): zfs-fuse takes
object 3 for the root of every file system, OpenZFS makes it object 34.
"""

from __future__ import annotations

from collections.abc import Mapping

SPILL = 1 << 2
"""System attributes: every file system of version 5, which is what OpenZFS makes unless told otherwise."""
EMBEDDED = 1 << 16
LZ4 = 1 << 17
LARGE_BLOCKS = 1 << 19
RESUMING = 1 << 20
"""Goes on where another stream was cut."""
COMPRESSED = 1 << 22
LARGE_DNODES = 1 << 23
RAW = 1 << 24
"""Of an encrypted dataset, as it is on disk."""
ZSTD = 1 << 25
LARGER_BLOCKS_LATER = 1 << 27
LONG_NAMES = 1 << 28
LARGE_MICROZAPS = 1 << 29

NEVER = {0: "deduplicated", 1: "deduplicated", 21: "redacted", 26: "with holds"}
"""Bits of what is taken from nobody."""
SAFE = (
    SPILL
    | EMBEDDED
    | LZ4
    | LARGE_BLOCKS
    | RESUMING
    | COMPRESSED
    | LARGE_DNODES
    | RAW
    | ZSTD
    | LARGER_BLOCKS_LATER
    | LONG_NAMES
    | LARGE_MICROZAPS
)
"""All that any pool is ever said to take."""

_ADVICE = {
    SPILL: (
        "system attributes (file system version 5)",
        "keep it on nodes with OpenZFS, or make it on zfs-fuse",
    ),
    EMBEDDED: ("embedded blocks", "enable `embedded_data` on the receiving pool"),
    LZ4: ("LZ4", "enable `lz4_compress` on the receiving pool"),
    LARGE_BLOCKS: ("blocks of more than 128 KiB", "enable `large_blocks` on the receiving pool, or lower `recordsize`"),
    RESUMING: ("going on after a cut", "send from the beginning"),
    COMPRESSED: ("compressed blocks", "enable `lz4_compress` on the receiving pool"),
    LARGE_DNODES: ("large dnodes", "enable `large_dnode` on the receiving pool, or create with `dnodesize=legacy`"),
    RAW: ("encrypted blocks", "enable `encryption` on the receiving pool, or encrypt below the pool"),
    ZSTD: ("zstd", "enable `zstd_compress` on the receiving pool"),
    LARGER_BLOCKS_LATER: ("larger blocks than before", "upgrade the receiving node"),
    LONG_NAMES: ("file names of more than 255 bytes", "enable `longname` on the receiving pool"),
    LARGE_MICROZAPS: ("large directories in one block", "enable `large_microzap` on the receiving pool"),
}
_BY_POOL_FEATURE = {
    "embedded_data": EMBEDDED,
    "lz4_compress": LZ4 | COMPRESSED,
    "large_blocks": LARGE_BLOCKS,
    "large_dnode": LARGE_DNODES,
    "encryption": RAW,
    "zstd_compress": ZSTD,
    "longname": LONG_NAMES,
    "large_microzap": LARGE_MICROZAPS,
}
RESUMABLE, BOOKMARKS = "extensible_dataset", "bookmarks"
"""Pool features without which nothing of a cut stream is kept, and without which there are no bookmarks."""


def enabled(properties: Mapping[str, str]) -> frozenset[str]:
    """Features of a pool that are `enabled` or `active`, from its `feature@…` properties."""
    on = ("enabled", "active")
    return frozenset(key.removeprefix("feature@") for key, value in properties.items() if "@" in key and value in on)


def taken_by(pool_features: frozenset[str]) -> int:
    """What a pool of OpenZFS takes; one of version 28 has no features, and takes a plain stream."""
    takes = SPILL | LARGER_BLOCKS_LATER
    for feature, bits in _BY_POOL_FEATURE.items():
        takes |= bits if feature in pool_features else 0
    return takes | (RESUMING if RESUMABLE in pool_features else 0)


def wanted(takes: int) -> frozenset[str]:
    """Flags, as pyzfs names them, for a stream to a receiver that takes `takes`: as small as it can be."""
    needed = {"large_blocks": LARGE_BLOCKS, "embedded_data": EMBEDDED | LZ4, "compress": COMPRESSED | LZ4 | ZSTD}
    return frozenset(flag for flag, bits in needed.items() if takes & bits == bits)


def refusal(uses: int, takes: int) -> tuple[str, str] | None:
    """Why a stream cannot be received, and what to try; `None` if it can."""
    lacking = [bit for bit in range(30) if (uses & ~takes) >> bit & 1]
    if not lacking:
        return None
    texts = [_ADVICE.get(1 << bit, (NEVER.get(bit, f"feature {bit}"), "it is taken from nobody")) for bit in lacking]
    return f"it uses what this pool does not take: {', '.join(what for what, _ in texts)}", texts[0][1]
