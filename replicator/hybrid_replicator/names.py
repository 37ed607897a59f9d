"""The names the replicator owns in a pool: datasets, hold tags, user properties. Pure."""

from __future__ import annotations

import re
from typing import Literal

from hybrid.model import NodeId, SiteId

SITES, IMAGES, STASH, TRASH, TEMPORARY = "sites/", "images/", "stash/", "trash/", "temporary/"

NOT_OURS = (TEMPORARY, "standby/")
"""Datasets that the replicator does not look at."""

JOURNAL = "stash/journal"
"""The dataset whose properties `intent-<site-id>` are the journal: at most one intent per site."""
_INTENT = "intent-"
_RESTORING = "restoring-"

SPEC, CLAIM, SEEN = "spec", "claim", "seen"
"""Properties of `sites/<id>`: JSON of the spec, the claim held here, the largest claim heard of."""
FROM = IMAGES + "from-"
"""`images/from-<site-id>-<guid>`: a clone of a moment of a site, never mounted, that clones of the site hang on."""
STASHED = "stash"
"""Property of `stash/<id>`: JSON of `hybrid.model.Stash`."""
STASHED_AT = "stashed-at"
"""Property of `stash/<id>`: when it was set aside, seconds since the epoch; gives the order of stashes."""
TRASHED = "trashed"
"""Property of `trash/<id>`: when it was put there, seconds since the epoch."""

STASH_TAG = "hyb-stash"
"""Holds the head of every stash."""
_BASE_TAG = "hyb-base-"

Kind = Literal["site", "image", "stash"]
_KINDS: dict[Kind, re.Pattern[str]] = {
    "site": re.compile(r"sites/s-[a-z0-9]{1,40}"),
    "image": re.compile(r"images/[A-Za-z0-9][A-Za-z0-9._-]{0,150}"),
    "stash": re.compile(r"stash/s-[a-z0-9]{1,40}\.[0-9]+\.[a-z0-9]+\.[a-z0-9.]+"),
}


def kind_of(dataset: str) -> Kind | None:
    """What a name that a peer sent stands for; `None` for anything the replicator does not replicate."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(dataset)), None)


def site_dataset(site: SiteId) -> str:
    """Where the main line of `site` lives."""
    return SITES + site


def site_of(dataset: str) -> SiteId:
    """The site whose main line `dataset` is."""
    return SiteId(dataset.removeprefix(SITES))


def stash_dataset(stash_id: str) -> str:
    """Where a stash lives."""
    return STASH + stash_id


def intent_key(site: SiteId) -> str:
    """The property of `JOURNAL` that says what is under way with `site`."""
    return _INTENT + site


def is_intent(key: str) -> bool:
    """Whether a property of `JOURNAL` is an intent."""
    return key.startswith(_INTENT)


def restoring_key(site: SiteId) -> str:
    """The property of `JOURNAL` that says that files are being restored in `site`."""
    return _RESTORING + site


def restored_site(key: str) -> SiteId | None:
    """The site that a `restoring_key` is about; `None` for any other property."""
    return SiteId(key.removeprefix(_RESTORING)) if key.startswith(_RESTORING) else None


def base_tag(peer: NodeId) -> str:
    """The hold on the newest snapshot in common with `peer`."""
    return _BASE_TAG + peer


def peer_of_tag(tag: str) -> NodeId | None:
    """The peer for which a hold was made; `None` for a hold that is not `base_tag`'s."""
    return NodeId(tag.removeprefix(_BASE_TAG)) if tag.startswith(_BASE_TAG) else None


def short_node(node: NodeId) -> str:
    """The eight characters by which names mention a node."""
    return node.removeprefix("n-")[:8]
