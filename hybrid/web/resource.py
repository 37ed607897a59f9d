"""
The pages over HTTP: who is signed in, which page, which form. Shell.

A page is made from answers of the API alone, asked in this process, so that it may do what its visitor's token may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import parse_qsl, quote, urlsplit

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.template import flattenString

from hybrid.api import cookies
from hybrid.api.calls import Actor
from hybrid.api.core import Core, no_such_path
from hybrid.api.endpoints.links import SESSION_S
from hybrid.api.problems import Refusal, internal, of_error, problem
from hybrid.api.requests import BoundedRequest, answer_later
from hybrid.api.router import Found, Router
from hybrid.api.tokens import Tokens
from hybrid.api.web import NothingHere
from hybrid.errors import BadRequest, HybridError
from hybrid.web import signing
from hybrid.web.forms import FORMS, body_of, path_of
from hybrid.web.layout import Page, Visitor, document
from hybrid.web.reader import Reader
from hybrid.web.table import PAGES
from hybrid.web.visits import Visit

MAX_FIELDS = 100
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "server": "hybrid",
}
_STATIC = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8"}


class Pages(Resource):
    """Everything beside `/v1`."""

    isLeaf = True
    log = Logger()

    def __init__(self, core: Core, tokens: Tokens, node_name: str, random: Callable[[int], bytes]) -> None:
        super().__init__()
        self._core, self._tokens, self._node, self._random = core, tokens, node_name, random
        self._router: Router[str] = Router()
        for template in PAGES:
            self._router.add("GET", template, template)
        static = files("hybrid.web") / "static"
        self._static = {name: (static / name).read_bytes() for name in _STATIC}

    def render(self, request: Request) -> int:
        """Answer; a browser that has gone meanwhile is told nothing. Programs are told as everywhere in the API."""
        if "text/html" not in _header(request, b"accept") and not request.path.startswith(b"/static/"):
            return NothingHere().render(request)
        return answer_later(request, self._respond, self.log)

    async def _respond(self, request: BoundedRequest, gone: list[Failure | None]) -> None:
        path, _, query = request.uri.decode("latin-1").partition("?")
        method = request.method.decode("latin-1")
        if path.startswith("/static/"):
            self._send_static(request, path.removeprefix("/static/"))
            return
        token = cookies.token_in(_header(request, b"cookie"))
        actor = self._actor(token)
        if method == "POST":
            await self._post(request, path, token, actor, gone)
        elif path in ("/sign-in", "/enter"):
            await self._arrive(request, path, query, gone)
        elif actor is None:
            _redirect(request, f"/sign-in?back={quote(path + ('?' + query if query else ''), safe='/')}")
        elif actor.is_bound and path == "/":
            _redirect(request, _home(actor))
        else:
            visitor = self._visitor(actor, token)
            await self._send(request, path, await self._page(path, query, actor, visitor), visitor, gone)

    async def _arrive(self, request: Request, path: str, query: str, gone: list[Failure | None]) -> None:
        """Somebody who is not signed in yet: asked for a token, or here by a link."""
        try:
            given = _fields(query)
            if path == "/enter":
                token, actor = self._tokens.redeem(given.get("ticket", ""), SESSION_S)
                _redirect(request, _home(actor), cookies.signed_in(token))
                return
            page = signing.sign_in(signing.local(given.get("back", "/")))
        except Refusal:
            page = signing.used_up()
        except HybridError as error:
            page = signing.refusal(of_error(error), "/")
        await self._send(request, path, page, None, gone)

    async def _page(self, path: str, query: str, actor: Actor, visitor: Visitor) -> Page:
        """The page at `path`, or the one that says why it cannot be shown."""
        try:
            found = self._router.match("GET", path)
            if not isinstance(found, Found):
                raise Refusal(no_such_path(path))
            visit = Visit(visitor=visitor, names=found.params, query=_fields(query))
            return await PAGES[found.target](Reader(self._core, actor), visit)
        except Refusal as refusal:
            return signing.refusal(refusal.problem, "/")
        except HybridError as error:
            return signing.refusal(of_error(error), "/")
        except Exception:
            self.log.failure("the page {path} failed", path=path)
            return signing.refusal(internal(f"the page {path}"), "/")

    async def _post(
        self, request: BoundedRequest, path: str, token: str, actor: Actor | None, gone: list[Failure | None]
    ) -> None:
        """A form was sent."""
        back = _came_from(request)
        visitor = None if actor is None else self._visitor(actor, token)
        try:
            given = _fields(request.body.decode("utf-8", "replace"))
            _check_origin(request)
            if path == "/sign-in":
                self._sign_in(request, given)
                return
            if actor is None:
                _redirect(request, f"/sign-in?back={quote(back, safe='/')}")
                return
            if not cookies.is_proof(token, given.get("proof", "")):
                raise Refusal(
                    problem(403, "foreign-form", "this form is not from here", "", "go back, reload and try again")
                )
            if path == "/sign-out":
                _redirect(request, "/sign-in", cookies.signed_out())
                return
            page = await self._do(request, path.removeprefix("/do/"), given, actor, back, gone)
        except Refusal as refusal:
            page = (
                signing.sign_in("/", refusal.problem) if path == "/sign-in" else signing.refusal(refusal.problem, back)
            )
        except HybridError as error:
            page = signing.refusal(of_error(error), back)
        if page is not None:
            await self._send(request, path, page, visitor, gone)

    def _sign_in(self, request: Request, given: dict[str, str]) -> None:
        """Check the token, and have the browser keep it. Raises `Refusal`."""
        token = given.get("token", "").strip()
        self._tokens.actor(f"Bearer {token}")
        _redirect(request, signing.local(given.get("back", "/")), cookies.signed_in(token))

    async def _do(
        self, request: Request, name: str, given: dict[str, str], actor: Actor, back: str, gone: list[Failure | None]
    ) -> Page | None:
        """Make the call of a form; the page to show, or `None` when the browser was sent on. Raises `HybridError`."""
        form = FORMS.get(name)
        if form is None:
            raise Refusal(no_such_path(f"/do/{name}"))
        reader = Reader(self._core, actor)
        answer = await reader.send(form.method, path_of(form, given), body_of(form, given), given.get("nonce", ""))
        if form.shows:
            return signing.shown_once(form.shows, answer.body, back)
        if not gone:
            operation = answer.headers.get("location", "").removeprefix("/v1/operations/")
            gone_with_it = name == "delete-site"
            _redirect(request, f"/operations/{operation}" if operation else "/sites" if gone_with_it else back)
        return None

    async def _send(
        self, request: Request, path: str, page: Page, visitor: Visitor | None, gone: list[Failure | None]
    ) -> None:
        tree = document(page, path, self._node if visitor else "", visitor)
        body = b"<!doctype html>\n" + await flattenString(request, tree)
        if not gone:
            _write(request, page.status, body, "text/html; charset=utf-8")

    def _send_static(self, request: Request, name: str) -> None:
        """A file that belongs to the pages; asked again only when it changed."""
        if name not in self._static:
            _write(request, 404, b"", "text/plain")
            return
        tag = f'"{hashlib.sha256(self._static[name]).hexdigest()[:16]}"'
        request.setHeader(b"etag", tag.encode())
        if _header(request, b"if-none-match") == tag:
            _write(request, 304, b"", _STATIC[name], cache="no-cache")
        else:
            _write(request, 200, self._static[name], _STATIC[name], cache="no-cache")

    def _actor(self, token: str) -> Actor | None:
        """Who holds `token`; `None` when nobody does."""
        try:
            return self._tokens.actor(f"Bearer {token}") if token else None
        except Refusal:
            return None

    def _visitor(self, actor: Actor, token: str) -> Visitor:
        return Visitor(
            name=actor.name,
            may_write=actor.may_write,
            is_bound=actor.is_bound,
            proof=cookies.proof(token),
            nonce=self._random(12).hex(),
        )


def _home(actor: Actor) -> str:
    """Where who came by a link begins."""
    return f"/sites/{actor.site}/past" if actor.site else "/sites"


def _fields(text: str) -> dict[str, str]:
    """A query or a sent form; the last of each name. Raises `BadRequest`."""
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise BadRequest("the form cannot be read", str(error)) from error


def _check_origin(request: Request) -> None:
    """Refuse what another site's page sent. Raises `Refusal`."""
    origin = _header(request, b"origin")
    if origin and urlsplit(origin).netloc.lower() != _header(request, b"host").lower():
        raise Refusal(problem(403, "foreign-form", "this form is not from here", f"it was sent by {origin}"))


def _came_from(request: Request) -> str:
    """The path of the page that a form was on."""
    came = urlsplit(_header(request, b"referer"))
    return signing.local(came.path + (f"?{came.query}" if came.query else "")) if came.path else "/"


def _redirect(request: Request, path: str, cookie: str = "") -> None:
    """Have the browser look at `path` (303: with GET)."""
    if cookie:
        request.setHeader(b"set-cookie", cookie.encode())
    request.setHeader(b"location", path.encode("ascii", "replace"))
    _write(request, 303, b"", "text/plain")


def _write(request: Request, status: int, body: bytes, kind: str, cache: str = "no-store") -> None:
    request.setResponseCode(status)
    for name, value in {**_HEADERS, "content-type": kind, "cache-control": cache}.items():
        request.setHeader(name.encode(), value.encode())
    if status != 304:
        request.setHeader(b"content-length", b"%d" % len(body))
    if request.method != b"HEAD" and status != 304:
        request.write(body)
    request.finish()


def _header(request: Request, name: bytes) -> str:
    return (request.requestHeaders.getRawHeaders(name) or [b""])[-1].decode("latin-1")
