"""
Catalog zones (RFC 9432, version 2): a zone that lists others, so that a secondary takes up new ones by itself. Pure.

A catalog lists the zones that people made and the cluster's own. The little zones of sites' domains are left out: they
change with each takeover and are best asked of the cluster itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from hybrid_dns.records import RecordSet, Sets

SERVER = "invalid"
"""Named as the name server: nobody is to ask a catalog anything (§4.1)."""
TTL_S = 0


def listed(catalog: str, members: Iterable[str]) -> Sets:
    """The records of `catalog` besides SOA and NS. A member keeps its label as long as it has its name (§4.4.1)."""
    sets = [_set(catalog, f"version.{catalog}", "TXT", '"2"')]
    sets += [_set(catalog, f"{_label(member)}.zones.{catalog}", "PTR", f"{member}.") for member in members]
    return {one.name: {one.type: one} for one in sets}


def _set(catalog: str, name: str, kind: str, text: str) -> RecordSet:
    return RecordSet(zone=catalog, name=name, type=kind, ttl_s=TTL_S, records=(text,))


def _label(member: str) -> str:
    return hashlib.blake2b(member.encode(), digest_size=16).hexdigest()
