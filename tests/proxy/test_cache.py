"""A cache for a site that wants one: what may be kept and said again, to whom, for how long, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.task import Clock

from hybrid.model import Claim, NodeId, SiteId
from hybrid.sitehttp import Http
from hybrid_proxy import caching
from hybrid_proxy.cache import VARIANTS, Cache
from hybrid_proxy.head import parse_request
from hybrid_proxy.limits import Limits
from hybrid_proxy.proxyv2 import Passport, header_bytes
from hybrid_proxy.reply import ReplyHead, parse_reply
from tests.proxy.test_http2 import GET, Client

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

ME, OTHER, SHOP = NodeId("n-me"), NodeId("n-other"), SiteId("s-shop")
DAY = b"Cache-Control: max-age=86400\r\n"


def wish(world: World, epoch: int = 1, owner: NodeId = ME, **http: object) -> None:
    """The site's user wants that."""
    seen = world.site(owner=owner, epoch=epoch)
    world.follow(replace(seen, spec=replace(seen.spec, http=Http(**{"cache": True, **http}))))  # type: ignore[arg-type]


def get(fields: bytes = b"", target: bytes = b"/", method: bytes = b"GET") -> bytes:
    """A request."""
    return method + b" " + target + b" HTTP/1.1\r\nHost: shop.test\r\n" + fields + b"\r\n"


def reply(fields: bytes = DAY, body: bytes = b"one", status: bytes = b"200 OK") -> bytes:
    """An answer of the site."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


class Site:
    """The site behind the front door, and a client that asks for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._wire: Wire | None = None
        self._client = world.client()
        self.asked = 0

    def said(self, request: bytes, answer: bytes) -> bytes:
        """What a client is told that asks so, where the site, if it is asked, answers so."""
        client = self._client
        if client.closed:
            client = self._client = self.world.client()
        client.send(request)
        if self.world.calls:
            self._wire = self.world.call().accept()
        if self._wire is not None and self._wire.taken():
            self.asked += 1
            self._wire.send(answer)
        return client.taken()

    def keeps(self, request: bytes, answer: bytes) -> bool:
        """Whether the answer is said again without asking the site."""
        self.said(request, answer)
        before = self.asked
        self.said(request, reply(b"", b"another"))
        return self.asked == before


@pytest.fixture
def site(world: World) -> Site:
    """One with a cache."""
    wish(world)
    return Site(world)


# ------------------------------------------------------------------------------------------- what is not kept


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Cache-Control: public\r\n",
        b"Cache-Control: max-age=0\r\n",
        b"Cache-Control: max-age=-1\r\n",
        b"Cache-Control: max-age=soon\r\n",
        b"Cache-Control: max-age=\r\n",
        b"Cache-Control: max-age=3600, max-age=0\r\n",
        b"Cache-Control: max-age=3600, s-maxage=0\r\n",
        b'Cache-Control: max-age=3600, private="x-y, public"\r\n',
        b"Cache-Control: max-age=3600, PRIVATE\r\n",
        b"Cache-Control: max-age=3600\r\nCache-Control: no-store\r\n",
        b'Cache-Control: no-cache="set-cookie", max-age=3600\r\n',
        b'Cache-Control: x="max-age=3600"\r\n',
        b"Expires: 0\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\n",
        b"Expires: Sat, 28 Nov 2026 09:00:00 GMT\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\n",
        b"Expires: Sat, 28 Nov 2026 11:00:00 GMT\r\n",
        b"Expires: Sat, 99 Nov 2026 11:00:00 GMT\r\nDate: Sat, 28 Nov 2026 10:00:00 GMT\r\n",
        DAY + b"Set-Cookie: a=b\r\n",
        DAY + b"Vary: *\r\n",
        DAY + b"Vary: Accept-Encoding, Cookie\r\n",
        DAY + b"Vary: User-Agent\r\n",
        DAY + b"Age: 86400\r\n",
    ],
)
def test_answers_that_are_not_kept(site: Site, fields: bytes) -> None:
    """What does not say that it is fresh for a while, or is for one visitor only, goes to nobody else."""
    assert not site.keeps(get(), reply(fields))


@pytest.mark.parametrize("status", [b"302 Found", b"307 Moved", b"500 Oops", b"204 No Content", b"206 Partial Content"])
def test_statuses_that_are_not_kept(site: Site, status: bytes) -> None:
    """Only 200, 301 and 404 are."""
    assert not site.keeps(get(), b"HTTP/1.1 %b\r\n%bContent-Length: 0\r\n\r\n" % (status, DAY))


@pytest.mark.parametrize(
    "fields",
    [
        b"Authorization: Basic eDp5\r\n",
        b"Range: bytes=0-1\r\n",
        b'If-Match: "a"\r\n',
        b"If-Unmodified-Since: Sat, 28 Nov 2026 10:00:00 GMT\r\n",
        b"Cache-Control: no-store\r\n",
        b"Cache-Control: no-cache\r\n",
        b"Pragma: no-cache\r\n",
        b"Cookie: session=1\r\n",
    ],
)
def test_requests_that_are_asked_of_the_site(site: Site, fields: bytes) -> None:
    """Logins, parts, and who wants no kept answer; nor does one for a visitor with cookies come to others."""
    site.said(get(), reply())
    before = site.asked
    site.said(get(fields), reply(b"", b"theirs"))
    if b"Cookie" not in fields:  # what is kept may be said to them; what they are told may not be kept
        assert site.asked == before + 1
    assert not site.keeps(get(fields, b"/other"), reply())


@pytest.mark.parametrize("fields", [b"Cache-Control: public, max-age=60\r\n", b"Cache-Control: s-maxage=60\r\n"])
def test_what_is_for_everybody(site: Site, fields: bytes) -> None:
    """An answer to a visitor with cookies is kept where the site says so; one to a login is not even then."""
    assert site.keeps(get(b"Cookie: a=b\r\n"), reply(fields))
    assert not site.keeps(get(b"Authorization: Basic eDp5\r\n", b"/private"), reply(fields))


def test_an_answer_that_was_cut(site: Site) -> None:
    """Half an answer is never said again; nor one that ends with its connection, as that may be half of one."""
    world, client = site.world, site.world.client()
    client.send(get())
    wire = world.call().accept()
    wire.send(b"HTTP/1.1 200 OK\r\n" + DAY + b"Content-Length: 10\r\n\r\nhalf")
    wire.hang_up()
    assert client.closed
    client = world.client()
    client.send(get())
    wire = world.call().accept()
    wire.send(b"HTTP/1.1 200 OK\r\n" + DAY + b"\r\nall of it, perhaps")
    wire.hang_up(clean=True)
    assert client.taken().endswith(b"0\r\n\r\n")
    assert site.keeps(get(), reply()) and site.asked == 1


def test_every_request_comes_to_the_cache(world: World, site: Site) -> None:
    """None of a site with a cache, or with a bound for all, takes a way around them."""
    told = [site.said(get(), reply()) for _ in range(12)]
    assert all(b"hybrid; hit" in answer for answer in told[1:]) and site.asked == 1
    wish(world, cache=False, requests_per_s_in_all=2.0)
    told = [site.said(get(), reply()) for _ in range(12)]
    assert [answer[:12] for answer in told] == [b"HTTP/1.1 200"] * 10 + [b"HTTP/1.1 429"] * 2


def test_sites_without_a_cache(world: World) -> None:
    """Have none, and say nothing of one."""
    world.follow(world.site())
    plain = Site(world)
    assert not plain.keeps(get(), reply()) and world.house.cache.bytes == 0
    assert b"Cache-Status" not in plain.said(get(), reply())


# --------------------------------------------------------------------------------------------- what is said again


@pytest.mark.parametrize("status", [b"200 OK", b"301 Moved Permanently", b"404 Not Found"])
def test_a_kept_answer(site: Site, status: bytes) -> None:
    """As it was, with its age, for as long as the site says, and no longer."""
    first = site.said(get(), reply(b"Cache-Control: max-age=60\r\nX-A: b\r\nAge: 10\r\n", b"one", status))
    assert b"\r\nCache-Status: hybrid; fwd=uri-miss; stored\r\n" in first
    site.world.pass_time(20)
    again = site.said(get(), b"")
    assert again.startswith(b"HTTP/1.1 " + status + b"\r\n") and again.endswith(b"\r\n\r\none") and site.asked == 1
    assert b"\r\nX-A: b\r\n" in again and again.count(b"Age: ") == 1 and b"\r\nAge: 30\r\n" in again
    assert b"\r\nCache-Status: hybrid; hit; ttl=30\r\n" in again
    site.world.pass_time(31)
    assert b"fwd=stale; stored" in site.said(get(), reply(body=b"two")) and site.asked == 2
    assert site.said(get(), b"").endswith(b"two") and site.asked == 2


def test_head_and_pipelined_requests(site: Site) -> None:
    """HEAD is told the length and no body; several requests at once are answered in their order."""
    site.said(get(), reply())
    told = site.said(get(method=b"HEAD"), b"")
    assert told.endswith(b"\r\n\r\n") and b"\r\nContent-Length: 3\r\n" in told and site.asked == 1
    both = site.said(get() + get(method=b"HEAD") + get(), b"")
    assert both.count(b"HTTP/1.1 200 OK\r\n") == 3 and both.count(b"\r\n\r\none") == 2


def test_by_http2(world: World) -> None:
    """The same for requests by HTTP/2, of which many are answered at once."""
    wish(world)
    client = Client(world)
    client.ask()
    world.call().accept().send(reply())
    assert list(client.answers().values()) == [["200", b"one", "end"]]
    numbers = [client.ask() for _ in range(3)]
    head = client.ask([(name, "HEAD" if name == ":method" else value) for name, value in GET])
    known = client.ask([*GET, ("if-none-match", "*")])
    assert client.answers() == {
        **{number: ["200", b"one", "end"] for number in numbers},
        head: ["200", "end"],
        known: ["304", "end"],
    }
    assert world.calls == [] and not client.front.busy


def test_an_answer_in_chunks(site: Site) -> None:
    """Is kept when it is complete, and then has a length."""
    site.said(get(), b"HTTP/1.1 200 OK\r\n" + DAY + b"Transfer-Encoding: chunked\r\n\r\n2\r\non\r\n1\r\ne\r\n0\r\n\r\n")
    told = site.said(get(), b"")
    assert b"\r\nContent-Length: 3\r\n" in told and told.endswith(b"\r\n\r\none") and site.asked == 1


@pytest.mark.parametrize(
    ("fields", "unchanged"),
    [
        (b'If-None-Match: "v1"\r\n', True),
        (b'If-None-Match: W/"v1"\r\n', True),
        (b'If-None-Match: "v0", "v1"\r\n', True),
        (b"If-None-Match: *\r\n", True),
        (b'If-None-Match: "v2"\r\n', False),
        (b"If-None-Match: v1\r\n", False),
        (b'If-None-Match: "v2"\r\nIf-Modified-Since: Sat, 28 Nov 2026 12:00:00 GMT\r\n', False),
        (b"If-Modified-Since: Sat, 28 Nov 2026 10:00:00 GMT\r\n", True),
        (b"If-Modified-Since: Sat, 28 Nov 2026 09:59:59 GMT\r\n", False),
        (b"If-Modified-Since: yesterday\r\n", False),
    ],
)
def test_who_has_it_already(site: Site, fields: bytes, unchanged: bool) -> None:
    """Is told so, by tag before date, without a body."""
    site.said(get(), reply(DAY + b'ETag: W/"v1"\r\nLast-Modified: Sat, 28 Nov 2026 10:00:00 GMT\r\nX-A: b\r\n'))
    told = site.said(get(fields), b"")
    assert site.asked == 1 and told.startswith(b"HTTP/1.1 304 " if unchanged else b"HTTP/1.1 200 ")
    if unchanged:
        assert b'\r\nETag: W/"v1"\r\n' in told and b"Content-Length" not in told and told.endswith(b"\r\n\r\n")


def test_variants(site: Site) -> None:
    """One for each that the site says there is; who asks for another gets that."""
    for coding in (b"gzip", b"br"):
        site.said(get(b"Accept-Encoding: %b\r\n" % coding), reply(DAY + b"Vary: accept-encoding\r\n", coding))
    assert site.asked == 2
    for coding in (b"gzip", b"br"):
        assert site.said(get(b"Accept-Encoding: %b\r\n" % coding), b"").endswith(b"\r\n\r\n" + coding)
    assert b"fwd=vary-miss" in site.said(get(), reply(DAY + b"Vary: accept-encoding\r\n")) and site.asked == 3
    for number in range(20):
        site.said(get(b"Accept-Encoding: x%d\r\n" % number), reply(DAY + b"Vary: accept-encoding\r\n"))
    before = site.asked
    for number in range(20 - VARIANTS, 20):
        site.said(get(b"Accept-Encoding: x%d\r\n" % number), b"")
    assert site.asked == before and site.world.house.cache.bytes < VARIANTS * 2000


def test_how_fresh_a_visitor_wants_it(site: Site) -> None:
    """`max-age` and `min-fresh` of a request are heeded."""
    site.said(get(), reply(b"Cache-Control: max-age=60\r\n"))
    site.world.pass_time(20)
    for fields, kept in (
        (b"max-age=30", True),
        (b"max-age=10", False),
        (b"min-fresh=30", True),
        (b"min-fresh=50", False),
    ):
        before = site.asked
        site.said(get(b"Cache-Control: %b\r\n" % fields), reply(b"", b"anew"))
        assert (site.asked == before) is kept


def test_by_tls_and_without(site: Site) -> None:
    """A redirect to HTTPS is not what who came by HTTPS is told; nor is one address another's."""
    head = parse_request(get())
    assert head is not None
    plain, secure = (caching.address(head, b"X-Forwarded-Proto: %b\r\n" % scheme) for scheme in (b"http", b"https"))
    assert plain is not None and secure is not None and plain != secure
    assert caching.address(head, b"") is None
    site.said(get(), reply())
    assert b"uri-miss" in site.said(get(target=b"/?a=b"), reply(body=b"other"))


# -------------------------------------------------------------------------------------------------- thrown away


def test_moved_rolled_back_and_purged(site: Site) -> None:
    """Nothing of before is said under a new claim, or after a purge."""
    world = site.world
    site.said(get(), reply())
    for change in ({"epoch": 2}, {"epoch": 2, "purges": 1}, {"epoch": 2, "purges": 2}):
        wish(world, **change)  # type: ignore[arg-type]
        before = site.asked
        site.said(get(), reply())
        assert site.asked == before + 1


def test_an_answer_under_way_while_all_is_thrown_away(world: World) -> None:
    """It may be of before: who asked for it gets it, nobody else."""
    wish(world)
    client, other = world.client(), world.client()
    client.send(get())
    wire = world.call().accept()
    wish(world, purges=1)
    wire.send(reply())
    assert client.taken().endswith(b"one")
    wire.taken()
    other.send(get())
    assert wire.taken().startswith(b"GET / ")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE"])
def test_a_change_of_what_is_kept(site: Site, method: bytes) -> None:
    """RFC 9111 §4.4: what was there is forgotten when the site says that it was changed; not when it refuses."""
    site.said(get(), reply())
    site.said(get(method=method), reply(b"", b"", b"403 Forbidden"))
    before = site.asked
    assert site.said(get(), b"").endswith(b"one") and site.asked == before
    site.said(get(method=method), reply(b"", b""))
    assert site.said(get(), reply(body=b"two")).endswith(b"two")


def test_through_another_node(world: World) -> None:
    """Answers are kept at the owner, where every request is counted, whatever node it came in at."""
    wish(world)
    passport = header_bytes(Passport("198.51.100.9", 40000, SHOP, Claim(1, ME)))
    member = world.member(passport)
    request = get(b"X-Forwarded-Proto: https\r\n")
    member.send(request)
    world.call().accept().send(reply())
    member.taken()
    other = world.member(passport)
    other.send(request)
    assert other.taken().endswith(b"\r\n\r\none") and world.calls == []
    (served,) = world.house.traffic.taken()
    assert served.requests == 2
    wish(world, owner=OTHER, epoch=2)
    client = world.client()
    client.send(get())
    assert client.taken() == b"" and len(world.calls) == 1


def test_what_is_kept_is_bounded() -> None:
    """By the answer, by the site and in all; those used last stay."""
    clock = Clock()
    limits = Limits(cache_bytes=100_000, cache_site_bytes=40_000, cache_entry_bytes=10_000)
    cache, stamp = Cache(clock.seconds, limits), (Claim(1, ME), 0)
    head, answer = parse_request(get()), parse_reply(reply())
    assert head is not None and answer is not None
    fresh = caching.Fresh(60, 0, ())
    for name in range(5):
        for number in range(10):
            key = (b"http", b"shop.test", b"/%d" % number)
            cache.store(SiteId(f"s-{name}"), key, stamp, answer, fresh, b"x" * 9_000)
            assert cache.bytes <= limits.cache_bytes
            cache.find(SiteId("s-0"), (b"http", b"shop.test", b"/9"), stamp, head)
    kept = [name for name in range(5) if cache.find(SiteId(f"s-{name}"), key, stamp, head) != b"uri-miss"]
    assert 0 in kept and 4 in kept and len(kept) <= 4
    cache.keep([])
    assert cache.bytes == 0


def test_an_answer_that_is_too_large(site: Site) -> None:
    """Goes through, and is not kept, whether it says how large it is or not."""
    large = b"x" * (site.world.house.limits.cache_entry_bytes + 1)
    assert not site.keeps(get(), reply(body=large))
    chunked = b"HTTP/1.1 200 OK\r\n" + DAY + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    assert not site.keeps(get(target=b"/chunks"), chunked % (len(large), large))
    assert site.world.house.cache.bytes == 0


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_in_what_is_read(rules: bytes, date: bytes) -> None:
    """Whatever stands in those fields: an answer is either kept for a bounded time, or not."""
    answer = ReplyHead(200, b"OK", 1, 0)
    answer.length = 0
    answer.fields = [(b"Cache-Control", rules), (b"Expires", date), (b"Date", date), (b"Vary", rules), (b"Age", date)]
    head = parse_request(get())
    assert head is not None
    head.fields = [(b"Cache-Control", rules), (b"If-None-Match", date), (b"If-Modified-Since", date)]
    found = caching.storable(head, answer, 1000)
    assert found is None or 0 < found.left_s <= caching.MOST_S
    assert caching.enough(head, 1, 1) in (True, False) and caching.not_modified(head, date, date) in (True, False)


# --------------------------------------------------------------------------------------------------------- rates


def test_what_all_together_may_ask(world: World) -> None:
    """Beyond it everybody is told to come back, whoever asks; what is kept is said without counting."""
    wish(world, requests_per_s_in_all=1.0, cache=True)
    site = Site(world)
    for number in range(5):
        assert b"200 OK" in site.said(get(target=b"/%d" % number), reply())
    stranger = world.client("203.0.113.77")
    stranger.send(get(target=b"/new"))
    told = stranger.taken()
    assert told.startswith(b"HTTP/1.1 429 ") and b"Retry-After: " in told
    for _ in range(20):
        assert site.said(get(target=b"/1"), b"").endswith(b"one")
    world.pass_time(3)
    assert b"200 OK" in site.said(get(target=b"/new"), reply())
