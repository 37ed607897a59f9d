"""From the vocabulary of the past to what the API gives: see `hybrid.api.render`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid.api import pastschema as schema
from hybrid.api.moments import rfc3339
from hybrid.deeds import Difference, DiscardedStash, Entry
from hybrid.model import Snapshot, Stash
from hybrid.view import SiteView


def snapshot(site: SiteView, taken: Snapshot, now_s: float, stands_for: int = 1) -> schema.SnapshotAnswer:
    """One moment of `site`."""
    mark = next((mark for mark in site.spec.marks if mark.guid == taken.guid), None)
    return schema.SnapshotAnswer(
        guid=str(taken.guid),
        name=taken.name,
        created_at=rfc3339(taken.created_at_s),
        age_s=max(0, int(now_s - taken.created_at_s)),
        kind=taken.kind,
        locked=mark is not None,
        label=mark.name if mark else "",
        note=mark.note if mark else "",
        stands_for=stands_for,
        branches=tuple(dict.fromkeys(stash.id for stash in site.stashes if stash.base == taken.guid)),
    )


def stash(kept: Stash) -> schema.StashAnswer:
    """History set aside."""
    return schema.StashAnswer(
        id=kept.id,
        site=kept.site,
        why=kept.why,
        base=None if kept.base is None else str(kept.base),
        head=str(kept.head),
        head_at=rfc3339(kept.head_at_s),
    )


def discarded(kept: DiscardedStash) -> schema.DiscardedStash:
    """A stash in the trash."""
    return schema.DiscardedStash(
        stash=stash(kept.stash), discarded_at=rfc3339(kept.at_s), until=rfc3339(kept.until_s), by=kept.by
    )


def entries(found: Sequence[Entry]) -> tuple[schema.EntryAnswer, ...]:
    """Directory entries."""
    return tuple(
        schema.EntryAnswer(
            name=one.name, kind=one.kind, size_bytes=one.size_bytes, modified_at=rfc3339(one.modified_at_s)
        )
        for one in found
    )


def differences(found: Sequence[Difference]) -> tuple[schema.DifferenceAnswer, ...]:
    """What is not the same."""
    return tuple(
        schema.DifferenceAnswer(
            change=one.change,
            path=one.path,
            was=one.was,
            kind=one.kind,
            old_bytes=one.old_bytes,
            new_bytes=one.new_bytes,
        )
        for one in found
    )
