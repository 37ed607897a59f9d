"""
The cookie of a browser that is signed in, and what proves that a form is ours. Pure.

The cookie holds the token itself (RFC 6265): every node can check it, also cut off, and revoking the token signs out.
It is sent along by the browser with whatever asks, so it counts for reading only; a form brings a proof besides.
"""

from __future__ import annotations

import hashlib
import hmac
import re

NAME = "hybrid"
_TOKEN = re.compile(r"hybpat_[a-z2-7]{8}_[a-z2-7]{32}")


def token_in(header: str) -> str:
    """The token in a `Cookie` header; `""` when there is none that looks like one."""
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == NAME and _TOKEN.fullmatch(value):
            return value
    return ""


def signed_in(token: str) -> str:
    """`Set-Cookie` after signing in: until the browser ends, never over plain HTTP, out of reach of scripts."""
    return f"{NAME}={token}; Path=/; Secure; HttpOnly; SameSite=Lax"


def signed_out() -> str:
    """`Set-Cookie` that ends it."""
    return f"{NAME}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"


def proof(token: str) -> str:
    """What every form carries: only a page of ours, made for who holds `token`, can know it."""
    return hmac.new(token.encode(), b"hybrid form", hashlib.sha256).hexdigest()


def is_proof(token: str, given: str) -> bool:
    """Whether `given` is the proof of `token`."""
    return hmac.compare_digest(proof(token).encode(), given.encode("utf-8", "replace"))
