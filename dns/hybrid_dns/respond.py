"""The answer to a query, with what its EDNS options ask for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import dns.rcode

from hybrid_dns.answer import ELSEWHERE, bare
from hybrid_dns.options import COOKIE, NSID, BadOptions, Cookies, asked, with_options


class Answering(Protocol):
    """`hybrid_dns.answer.Answers.answer`, of the newest zones, for `source`."""

    def __call__(self, query: bytes, stream: bool, source: str) -> bytes | None:
        """The reply, or `None` for silence."""


class Responder:
    """
    Answers, and adds our name and a cookie where they are asked for.

    Args:
        answer: From query to reply.
        nsid: What this server is called (RFC 5001); at most `options.MAX_NSID` bytes.
        cookies: Makes and knows them.
        wall_s: Seconds since the epoch: other processes and nodes read our cookies.
    """

    def __init__(self, answer: Answering, nsid: bytes, cookies: Cookies, wall_s: Callable[[], float]) -> None:
        self._answer, self._nsid, self.cookies, self._wall_s = answer, nsid, cookies, wall_s

    def __call__(self, query: bytes, source: str, stream: bool) -> tuple[bytes, bool] | None:
        """
        The reply to `query` from `source` (an address as text), and whether that is known to be where it says.

        `None` when silence is the answer, `ELSEWHERE` as the reply when only the node process can answer.
        """
        reply = self._answer(query, stream, source)
        if reply is None:
            return None
        if reply == ELSEWHERE:
            return reply, False
        try:
            wanted = asked(query)
        except BadOptions:
            return bare(query, dns.rcode.FORMERR), False
        if wanted is None or len(reply) == 12:
            return reply, False
        options = [(NSID, self._nsid)] if wanted.nsid else []
        known = False
        if wanted.cookie:
            now_s = self._wall_s()
            known = self.cookies.knows(wanted.cookie, source, now_s)
            options.append((COOKIE, self.cookies.reply(wanted.cookie, known, source, now_s)))
        return with_options(reply, options), known
