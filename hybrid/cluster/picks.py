"""
A person's choice between histories of a site whose policy is `ask` (rule R5). Pure.

A pick names the claim it chose and those it chose it over. It decides between these and no others: claims are never
used twice, so a pick can never decide a later conflict.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from hybrid.model import Claim, SiteId

KEY = "pick/"
"""Shared keys: `pick/<site-id>`."""


class Pick(msgspec.Struct, frozen=True, kw_only=True):
    """Which of two or more histories a person wants to go on with."""

    site: SiteId
    claim: Claim
    """Under which the picked history was written."""
    over: tuple[Claim, ...]
    """The claims that give way."""
    by: str = ""
    at_s: int = 0

    def decides(self, claims: Collection[Claim]) -> bool:
        """
        Whether it says who wins among `claims`.

        The picked node may have gone on to a larger claim meanwhile; that is the same history.
        """
        return all(claim in self.over or self.picks(claim) for claim in claims)

    def picks(self, claim: Claim) -> bool:
        """Whether `claim` is the picked one, or what its holder went on to."""
        return claim.node == self.claim.node and claim >= self.claim


def encode(pick: Pick) -> tuple[str, str]:
    """Key and value for the shared map."""
    return KEY + pick.site, msgspec.json.encode(pick).decode()


def decode(value: str | None) -> Pick | None:
    """The pick in a shared value, or `None` if there is no readable one."""
    if value is None:
        return None
    try:
        return msgspec.json.decode(value, type=Pick)
    except msgspec.MsgspecError:
        return None
