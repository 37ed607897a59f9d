"""
Signing requests to an S3-compatible store: AWS Signature Version 4 ("Authenticating Requests: Using the Authorization
Header", Amazon S3 API Reference). Pure.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


def path_of(*segments: str) -> str:
    """The path of an object, percent-encoded as the signature wants it: `/bucket/name`."""
    return "/" + quote("/".join(segments), safe="/-_.~")


def query_of(arguments: Mapping[str, str]) -> str:
    """The query, sorted and percent-encoded as the signature wants it."""
    return "&".join(f"{quote(key, safe='-_.~')}={quote(arguments[key], safe='-_.~')}" for key in sorted(arguments))


def signed(
    method: str,
    host: str,
    path: str,
    query: str,
    body: bytes,
    region: str,
    access_key: str,
    secret_key: str,
    now_s: float,
    more: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """
    The headers that make a request genuine.

    Args:
        host: With the port where it is not the scheme's.
        path: See `path_of`.
        query: See `query_of`.
        now_s: Seconds since the epoch; stores accept some minutes' difference.
        more: Headers to be signed too, names in lower case.
    """
    moment = datetime.datetime.fromtimestamp(now_s, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": moment, **(more or {})}
    names = ";".join(sorted(headers))
    canonical = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join((method, path, query, canonical, names, digest))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = "\n".join((ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = b"AWS4" + secret_key.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{access_key}/{scope}"
    authorization = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "authorization": authorization}
