"""Zone files (RFC 1035 §5) to edits. Pure."""

from __future__ import annotations

import dns.exception
import dns.name
import dns.rdatatype
import dns.zone

from hybrid.dns_deeds import Edit
from hybrid.errors import BadRecord

MAX_TEXT = 4 * 1024 * 1024


def parsed(zone: str, text: str) -> list[Edit]:
    """
    What a zone file says, but for SOA, and NS of the zone itself: these are the platform's.

    Raises:
        BadRecord: It is no zone file, or uses `$INCLUDE` or `$GENERATE`.
    """
    if len(text) > MAX_TEXT:
        raise BadRecord("the zone file is too large", f"at most {MAX_TEXT} characters are read")
    if "$generate" in text.lower():
        raise BadRecord("$GENERATE is not taken", "it can stand for millions of records", "write them out")
    origin = dns.name.from_text(zone)
    try:
        found = dns.zone.from_text(text, origin, relativize=False, check_origin=False, allow_include=False)
    except (dns.exception.DNSException, ValueError, KeyError) as error:
        raise BadRecord("this is no zone file", str(error)[:300]) from error
    edits = []
    for name, rdataset in found.iterate_rdatasets():
        kind = dns.rdatatype.to_text(rdataset.rdtype)
        if kind == "SOA" or (kind == "NS" and name == origin):
            continue
        records = tuple(rdata.to_text() for rdata in rdataset)
        edits.append(Edit(name=name.to_text(), type=kind, ttl_s=rdataset.ttl, records=records))
    return edits
