"""
Where claims come from, as the deeds of hosting need it. Pure declaration.

An available site's owner mints its next claim itself; a strict site's comes from etcd (`hybrid.strict.claims`).
"""

from __future__ import annotations

from typing import Protocol

from hybrid.model import Claim, SiteId, SiteSpec


class Claims(Protocol):
    """
    The claims of this node.

    What etcd has to say may be missing: then every call but `let_go` raises a `HybridError` with the reason.
    """

    async def first(self, spec: SiteSpec) -> Claim:
        """For a new site. Raises `BadRequest` where it wants to be strict and this node knows no etcd."""

    async def next(self, site: SiteId, after: Claim | None = None) -> Claim:
        """
        A claim larger than all known ones, for this node.

        Args:
            site: Owned by this node, or without an owner, or handed over to it.
            after: The claim whose owner hands it over.
        """

    async def switch(self, old: SiteSpec, new: SiteSpec) -> Claim | None:
        """What the owner needs before `old` becomes `new`: a claim from etcd where it becomes strict, else nothing."""

    def let_go(self, site: SiteId) -> None:
        """The owner stopped the site and is about to hand it over: it is not sure of it any more."""

    async def regain(self, site: SiteId, claim: Claim) -> Claim:
        """The hand-over failed: `claim`, or the one that replaces it. Raises where the successor has it after all."""

    async def permit(self, site: SiteId) -> None:
        """Returns if the site may run here now. To be asked last before it starts."""

    async def adopt(self, site: SiteId, claim: Claim) -> bool:
        """Whether this process may go on with what an earlier one ran under `claim`."""
