"""Passing a call on to the node that can answer it, and answering those passed on by others. Shell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from hybrid.api.calls import Actor, Answer, Call, problem_answer
from hybrid.api.names import node_name
from hybrid.api.pieces import PIECE, Pieces
from hybrid.api.problems import Refusal, of_error, problem
from hybrid.errors import Busy, NoSuchPath, PeerError, TooLarge
from hybrid.model import NodeId
from hybrid.ports import ByteSource, Peers
from hybrid.view import View
from hybrid.wire import ApiAnswer, ApiCall

MORE = "x-hybrid-more"
"""`<key> <total bytes>`: the answer's body is only the first piece. Never leaves the cluster."""
STREAM = "x-hybrid-stream"
"""`<key>`: the answer is a stream, to be fetched piece by piece. Never leaves the cluster."""
MAX_ANSWER = 128 * 1024 * 1024
NEXT, DROP = "NEXT", "DROP"
"""Methods between nodes, of streams by their key."""
_READ_ONLY = "read:"
"""Marks an actor who may not write, in `ApiCall.actor`."""


class Passing:
    """One node's end of calls that travel between nodes."""

    def __init__(
        self,
        peers: Peers,
        answer: Callable[[Call], Awaitable[Answer]],
        monotonic_s: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """`answer` answers a call here."""
        self._peers, self._answer, self._monotonic_s = peers, answer, monotonic_s
        self._pieces = Pieces(lambda: random(16).hex())
        peers.handle(ApiCall, self._passed_on)

    async def pass_on(self, view: View, node: NodeId, call: Call, deadline_s: float) -> Answer:
        """
        What `node` answers to `call`.

        Raises:
            Refusal: 503, the node does not answer; says whether the call may have been carried out.
        """
        message = ApiCall(
            method=call.method,
            path=call.path,
            query=call.query,
            body=call.body,
            actor=call.actor.name if call.actor.may_write else _READ_ONLY + call.actor.name,
            key=call.key,
            site=call.actor.site,
            account=call.actor.account,
        )
        try:
            answered = await self._request(node, message, deadline_s)
            body = await self._whole(node, answered, deadline_s)
        except PeerError as error:
            raise _unreachable(node_name(view, node), error, reads=call.method in ("GET", "HEAD")) from error
        headers = {name: value for name, value in answered.headers.items() if name not in (MORE, STREAM)}
        key = answered.headers.get(STREAM)
        return Answer(answered.status, body, headers, self._fetched(node, key, deadline_s) if key else None)

    def _fetched(self, node: NodeId, key: str, deadline_s: float) -> ByteSource:
        async def ask(method: str) -> ApiAnswer:
            return await self._request(node, ApiCall(method=method, path=key), deadline_s)

        return _Fetched(ask)

    async def _request(self, node: NodeId, message: ApiCall, deadline_s: float) -> ApiAnswer:
        reply = await self._peers.request(node, message, deadline_s)
        if not isinstance(reply, ApiAnswer):
            raise PeerError(f"{node} did not answer as it should", f"it sent {type(reply).__name__}")
        return reply

    async def _whole(self, node: NodeId, answered: ApiAnswer, deadline_s: float) -> bytes:
        """The body of an answer, its other pieces fetched."""
        if MORE not in answered.headers:
            return answered.body
        key, total_text = answered.headers[MORE].split(" ")
        total = int(total_text)
        if total > MAX_ANSWER:
            raise PeerError(f"{node} sent too much", f"{total} bytes, at most {MAX_ANSWER} are taken")
        pieces, got = [answered.body], len(answered.body)
        while got < total:
            ask = ApiCall(method="PIECE", path=key, query=str(got))
            piece = (await self._request(node, ask, deadline_s)).body
            if not piece:
                raise PeerError(f"{node} forgot the rest of its answer", f"after {got} of {total} bytes")
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)

    async def _passed_on(self, sender: NodeId, message: msgspec.Struct) -> msgspec.Struct:
        """Answer a call that another node passed on: it has checked who asks."""
        assert isinstance(message, ApiCall)
        if message.method in (NEXT, DROP):
            return await self._next(message)
        if message.method == "PIECE":
            start = int(message.query) if message.query.isdigit() else 0
            return ApiAnswer(status=200, body=self._pieces.piece(message.path, start, self._monotonic_s()) or b"")
        may_write = not message.actor.startswith(_READ_ONLY)
        answer = await self._answer(
            Call(
                method=message.method,
                path=message.path,
                query=message.query,
                body=message.body,
                actor=Actor(message.actor.removeprefix(_READ_ONLY), may_write, message.site, message.account),
                key=message.key,
                passed_on=True,
            )
        )
        return self._first_piece(answer) if answer.stream is None else await self._kept(answer, answer.stream)

    async def _kept(self, answer: Answer, stream: ByteSource) -> ApiAnswer:
        """The answer with the key of its stream."""
        key = self._pieces.keep_stream(stream, self._monotonic_s())
        if key is None:
            await stream.abort()
            return self._first_piece(problem_answer(of_error(Busy("too many downloads", "from this node", "wait"))))
        return ApiAnswer(status=answer.status, body=b"", headers={**answer.headers, STREAM: key})

    async def _next(self, message: ApiCall) -> ApiAnswer:
        """What comes next of a stream, 204 at its end; or let go of it."""
        if message.method == DROP:
            await self._pieces.drop_stream(message.path)
            return ApiAnswer(status=204, body=b"")
        piece = await self._pieces.stream_piece(message.path, self._monotonic_s())
        if piece is None:
            raise NoSuchPath("the rest of the download is not here", "nobody asked for it for a while", "begin again")
        return ApiAnswer(status=200 if piece else 204, body=piece)

    def _first_piece(self, answer: Answer) -> ApiAnswer:
        """The answer as one message; what does not fit is kept to be fetched."""
        if len(answer.body) > MAX_ANSWER:
            why = f"{len(answer.body)} bytes, at most {MAX_ANSWER} travel between nodes"
            answer = problem_answer(of_error(TooLarge("the answer is too large", why)))
        if len(answer.body) <= PIECE:
            return ApiAnswer(status=answer.status, body=answer.body, headers=answer.headers)
        key = self._pieces.keep(answer.body, self._monotonic_s())
        headers = {**answer.headers, MORE: f"{key} {len(answer.body)}"}
        return ApiAnswer(status=answer.status, body=answer.body[:PIECE], headers=headers)


class _Fetched:
    """A `ByteSource` that another node keeps: it reads on when it is asked for more."""

    def __init__(self, ask: Callable[[str], Awaitable[ApiAnswer]]) -> None:
        self._ask, self._is_over = ask, False

    async def read(self) -> bytes:
        """See `hybrid.ports.ByteSource`."""
        if self._is_over:
            return b""
        try:
            answer = await self._ask(NEXT)
        except BaseException:
            self._is_over = True
            raise
        self._is_over = answer.status != 200
        return answer.body

    async def abort(self) -> None:
        """See `hybrid.ports.ByteSource`. What the other node does not hear it finds out by itself."""
        if not self._is_over:
            self._is_over = True
            with suppress(PeerError):
                await self._ask(DROP)


def _unreachable(name: str, error: PeerError, reads: bool) -> Refusal:
    """503; a write that got no answer may have been carried out all the same."""
    hint = "try again" if reads else "it may have been carried out all the same: look before you try again"
    return Refusal(
        problem(
            503,
            "node-unreachable",
            f"node {name} should answer this and does not",
            ": ".join(part for part in (error.what, error.why) if part),
            hint,
            retry_after_s=3,
        )
    )
