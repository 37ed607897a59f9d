"""Endpoints about the proof that copies of sites work: how often, and now. Shell."""

from __future__ import annotations

from hybrid.api import proofs, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.sites import begin, site_of
from hybrid.api.jsonbody import decode
from hybrid.api.parts import Parts
from hybrid.api.routes import Route
from hybrid.deeds import Progress
from hybrid.errors import BadRequest, ContainerError

LEAST_S = 600.0


async def verify_site(parts: Parts, call: Call) -> Answer:
    """Start the copy that this node holds, apart from the world; the core has passed the call to whose turn it is."""
    decode(call.body, schema.Empty)
    site = site_of(parts, call)

    async def work(progress: Progress) -> dict[str, object]:
        proof = await parts.hosting.verify(site.spec.id, progress)
        view = parts.view
        told = proofs.answer(view.me, proof, proof.good_at_s, view, parts.wall_s())
        if proof.outcome != "good":
            raise ContainerError(f"the copy of {site.spec.name} on {told.node} is not proven", told.sentence)
        return {"outcome": told.outcome, "node": told.node, "snapshot": told.snapshot, "seconds": told.seconds}

    return begin(parts, call, "verify", site, site.spec.name, work)


async def show_verification(parts: Parts, call: Call) -> Answer:
    """How often."""
    return json_answer(proofs.Verification(every_s=parts.hosting.verify_every_s()))


async def change_verification(parts: Parts, call: Call) -> Answer:
    """Change how often."""
    wanted = decode(call.body, proofs.VerificationChange).every_s
    if 0 < wanted < LEAST_S:
        raise BadRequest(f"every {wanted:g} s is too often", f"at least every {LEAST_S:g} s, or 0 for never")
    parts.hosting.set_verify_every_s(wanted)
    return json_answer(proofs.Verification(every_s=wanted))


ROUTES = (
    Route(
        method="POST",
        template="/v1/sites/{site}/verify",
        endpoint=verify_site,
        summary="Prove now that a site could be restored: start a copy on a server that holds one",
        body=schema.Empty,
        answer=schema.Operation,
        status=202,
        at="prover",
    ),
    Route(
        method="GET",
        template="/v1/cluster/verification",
        endpoint=show_verification,
        summary="How often copies of sites are started to see whether they work",
        answer=proofs.Verification,
    ),
    Route(
        method="PATCH",
        template="/v1/cluster/verification",
        endpoint=change_verification,
        summary="Change how often copies of sites are started",
        body=proofs.VerificationChange,
        answer=proofs.Verification,
    ),
)
