"""The few pages the front doors show themselves: small, neutral, never cached. Pure."""

from __future__ import annotations

from hybrid.model import Claim
from hybrid_proxy.head import Refused
from hybrid_proxy.reply import NOT_OWNER
from hybrid_proxy.route import Stopped, Unavailable, Unknown

REASONS = {
    200: "OK",
    301: "Moved Permanently",
    308: "Permanent Redirect",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    421: "Misdirected Request",
    426: "Upgrade Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    508: "Loop Detected",
}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{reason}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;color:#333}}</style>
<h1>{reason}</h1><p>{text}</p>
</html>
"""


class Page(Exception):
    """
    An answer of our own, complete but for the connection it goes to.

    An exception so that deciding code may raise it; also passed on as a value.
    """

    def __init__(self, status: int, text: str, *, retry_after_s: int | None = None, extra: bytes = b"") -> None:
        super().__init__(f"{status} {text}")
        self.status, self.text = status, text
        self.retry_after_s = retry_after_s
        self.extra = extra
        """Further field lines, each ended."""

    def bytes(self, close: bool, with_body: bool = True) -> bytes:
        """The response; without its body in answer to HEAD."""
        reason = REASONS[self.status]
        body = _PAGE.format(reason=reason, text=self.text).encode()
        head = (
            f"HTTP/1.1 {self.status} {reason}\r\n"
            "Content-Type: text/html; charset=utf-8\r\n"
            "Cache-Control: no-store\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        if self.retry_after_s is not None:
            head += f"Retry-After: {self.retry_after_s}\r\n"
        if close:
            head += "Connection: close\r\n"
        return head.encode() + self.extra + b"\r\n" + (body if with_body else b"")


class Plain(Page):
    """A short text, for programs."""

    def bytes(self, close: bool, with_body: bool = True) -> bytes:
        """See `Page`."""
        body = self.text.encode()
        head = (
            f"HTTP/1.1 {self.status} {REASONS[self.status]}\r\nContent-Type: text/plain\r\n"
            f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n"
        )
        head += "Connection: close\r\n" if close else ""
        return head.encode() + self.extra + b"\r\n" + (body if with_body else b"")


def moved(method: bytes, url: bytes) -> Page:
    """To `url`, for good; what is not GET or HEAD is to be sent there as it is."""
    status = 301 if method in (b"GET", b"HEAD") else 308
    return Page(status, "This website is asked by HTTPS.", extra=b"Location: %b\r\n" % url)


def refused(error: Refused) -> Page:
    """For a head or body that is not served."""
    extra = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" if error.status == 405 else b""
    return Page(
        error.status, f"Your browser or program sent a request this server does not accept: {error.why}.", extra=extra
    )


def not_owner(claim: Claim) -> Page:
    """To another front door: ask elsewhere; `claim` is the newest known here."""
    return Page(421, "The site is not on this server.", extra=NOT_OWNER + f": {claim}\r\n".encode())


def not_served(route: Stopped | Unavailable | Unknown) -> Page:
    """Of a site that nobody serves now."""
    if isinstance(route, Stopped):
        return SUSPENDED if route.is_suspended else STOPPED
    return UNAVAILABLE


TOO_MANY = Page(429, "You ask this website too often. Please try again in a moment.", retry_after_s=2)
OTHER_HOST = Page(421, "This address is not the one the encrypted connection was made for.")
UNKNOWN = Page(421, "There is no website at this address on this server.")
SUSPENDED = Page(503, "This website is suspended. If it is yours, please ask your hosting company.", retry_after_s=3600)
STOPPED = Page(503, "This website is switched off.", retry_after_s=300)
UNAVAILABLE = Page(
    503, "This website cannot be reached just now. Please try again in a little while.", retry_after_s=30
)
WAITED = Page(503, "This website is moving to another server and will be back in a moment.", retry_after_s=5)
CROWDED = Page(503, "Too many people want to see this website at once. Please try again in a moment.", retry_after_s=5)
BAD_GATEWAY = Page(502, "This website gave no proper answer.")
TOO_LATE = Page(504, "This website took too long to answer.")
SLOW = Page(408, "Your request took too long to arrive.")
LOOP = Page(508, "This request has come round in a circle.")
BAD_BODY = Page(400, "Your browser or program sent a request this server does not accept: broken body.")
NO_KEY = Page(400, "This is not a complete WebSocket handshake.")
WRONG_WEBSOCKET = Page(
    426,
    "This version of WebSocket is not offered.",
    extra=b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
)
