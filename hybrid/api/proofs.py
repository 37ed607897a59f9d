"""What the API tells of whether copies of sites were started and found good. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hybrid.api.moments import rfc3339
from hybrid.cluster import proving
from hybrid.model import NodeId, Proof
from hybrid.view import SiteView, View

VerifyEvery = Annotated[
    float,
    Meta(ge=0, le=366 * 86400, description="How often a copy is started to see whether it works; 0: never."),
]


class ProofAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the newest start of a copy of a site, apart from the world."""

    outcome: Literal["good", "failed", "skipped"]
    at: str
    age_s: int
    node: str
    """Whose copy it was."""
    snapshot: str
    """Guid of the snapshot that was started."""
    snapshot_at: str
    seconds: float
    why: str
    good_at: str | None
    """When a copy on whatever node was last found good."""
    good_age_s: int | None
    sentence: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How often sites are proven that do not say it themselves."""

    every_s: VerifyEvery


class VerificationChange(Verification, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, as clients send it."""


def of_site(view: View, site: SiteView, now_s: float) -> ProofAnswer | None:
    """The last word on a site; `None` where nobody ever tried."""
    last = proving.newest(site.proofs)
    if last is None:
        return None
    return answer(last[0], last[1], proving.good_at_s(site.proofs.values()), view, now_s)


def answer(node: NodeId, proof: Proof, good_at_s: int, view: View, now_s: float) -> ProofAnswer:
    """One proof of `node`; `good_at_s`: when any copy was last found good, 0 for never."""
    known = view.nodes.get(node)
    return ProofAnswer(
        outcome=proof.outcome,
        at=rfc3339(proof.at_s),
        age_s=max(0, int(now_s - proof.at_s)),
        node=known.name if known else node,
        snapshot=str(proof.guid),
        snapshot_at=rfc3339(proof.of_s),
        seconds=proof.seconds,
        why=proof.why,
        good_at=rfc3339(good_at_s) if good_at_s else None,
        good_age_s=max(0, int(now_s - good_at_s)) if good_at_s else None,
        sentence=_sentence(proof, good_at_s, now_s),
    )


def _sentence(proof: Proof, good_at_s: int, now_s: float) -> str:
    good = f"last proven restorable {_ago(now_s - good_at_s)}" if good_at_s else "never proven restorable"
    return good if proof.outcome == "good" else f"{proof.outcome}: {proof.why}; {good}"


def _ago(seconds: float) -> str:
    """`3 h ago`."""
    for unit_s, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:.0f} {name} ago"
    return f"{max(0, seconds):.0f} s ago"
