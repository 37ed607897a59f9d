"""HTTP/2 at the front door: what goes through, and what bad clients get for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from hybrid_proxy.calm import FRAME, MOST, PER_S, RESET, Calm
from hybrid_proxy.h2front import H2Front
from hybrid_proxy.limits import Limits
from tests.proxy.conftest import plug

if TYPE_CHECKING:
    from tests.proxy.conftest import Wire, World

OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok"
GET = ((":method", "GET"), (":scheme", "https"), (":authority", "shop.test"), (":path", "/"))
POST = ((":method", "POST"), *GET[1:])


class Client:
    """An HTTP/2 client behind a wire; `strictly=False`: one that does not mind what it sends."""

    def __init__(self, world: World, strictly: bool = True) -> None:
        self.world = world
        self.front = H2Front(world.house, world.house.secure_door("198.51.100.9", 40000, "shop.test"))
        self.wire: Wire = plug(self.front)
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=strictly,
            normalize_outbound_headers=strictly,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.events()

    def flush(self) -> None:
        """Send what was written."""
        data = self.h2.data_to_send()
        if data and not self.wire.closed:
            self.wire.send(data)

    def events(self) -> list[Any]:
        """What came."""
        found = self.h2.receive_data(self.wire.taken())
        self.flush()
        return found

    def ask(self, fields: Iterable[tuple[str, str]] = GET, body: bytes | None = None) -> int:
        """A request; `body`: its first part."""
        number: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, list(fields), end_stream=body is None)
        if body:
            self.h2.send_data(number, body)
        self.flush()
        return number

    def answers(self) -> dict[int, list[Any]]:
        """Status, body and how it ended, by stream."""
        found: dict[int, list[Any]] = {}
        for event in self.events():
            if isinstance(event, h2.events.ResponseReceived):
                found.setdefault(event.stream_id or 0, []).append(str(next(value for _, value in event.headers or ())))
            elif isinstance(event, h2.events.DataReceived):
                found.setdefault(event.stream_id or 0, []).append(bytes(event.data or b""))
            elif isinstance(event, h2.events.StreamEnded):
                found.setdefault(event.stream_id or 0, []).append("end")
            elif isinstance(event, h2.events.StreamReset):
                found.setdefault(event.stream_id or 0, []).append(ErrorCodes(event.error_code or 0))
            elif isinstance(event, h2.events.ConnectionTerminated):
                found.setdefault(0, []).append(ErrorCodes(event.error_code or 0))
        return found


@pytest.fixture
def client(world: World) -> Client:
    """Connected."""
    return Client(world)


def test_a_request_and_its_response(world: World, client: Client) -> None:
    """The site is asked by HTTP/1.1, with cookies in one field; nothing of the one hop comes through."""
    client.ask([*GET, ("cookie", "a=1"), ("cookie", "b=2"), ("accept", "x"), ("x-forwarded-for", "6.6.6.6")])
    site = world.call().accept()
    request = site.taken()
    assert request.startswith(b"GET / HTTP/1.1\r\nHost: shop.test\r\naccept: x\r\ncookie: a=1; b=2\r\n")
    assert b"X-Forwarded-Proto: https\r\n" in request and b"6.6.6.6" not in request
    site.send(OK)
    (response, data, ended) = client.events()
    assert response.headers == [(":status", "200"), ("server", "x"), ("content-length", "2")]
    assert data.data == b"ok" and isinstance(ended, h2.events.StreamEnded)
    assert not client.front.busy


def test_requests_at_once_are_answered_as_the_sites_answer(world: World, client: Client) -> None:
    """Not in the order they were asked in."""
    first, second = client.ask(), client.ask()
    one, two = (call.accept() for call in world.calls)
    two.send(OK)
    assert client.answers() == {second: ["200", b"ok", "end"]}
    one.send(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    one.send(b"1\r\nb\r\n0\r\n\r\n")
    assert client.answers() == {first: ["404", b"a", b"b", "end"]}


def test_a_body_without_a_length_is_sent_on_in_chunks(world: World, client: Client) -> None:
    """As it comes; with a length it goes as it is."""
    number = client.ask(POST, b"ab")
    site = world.call().accept()
    assert site.taken().endswith(b"\r\n\r\n2\r\nab\r\n")
    client.h2.send_data(number, b"c", end_stream=True)
    client.flush()
    assert site.taken() == b"1\r\nc\r\n0\r\n\r\n"
    site.send(OK)
    assert client.answers() == {number: ["200", b"ok", "end"]}
    number = client.ask([*POST, ("content-length", "3")], b"abc")
    request = site.taken()
    assert b"Content-Length: 3\r\n" in request and request.endswith(b"\r\n\r\nabc")


def test_a_site_that_takes_nothing_gives_no_window(world: World, client: Client) -> None:
    """The client can send no more than one window; when the site goes on, so does the client."""
    number = client.ask(POST, b"x" * 16000)
    site = world.call().accept()
    assert site.producer is not None
    site.producer.pauseProducing()
    client.events()
    for _ in range(2):
        client.h2.send_data(number, b"x" * 16000)
    client.flush()
    assert not [event for event in client.events() if isinstance(event, h2.events.WindowUpdated) and event.stream_id]
    site.producer.resumeProducing()
    assert [event for event in client.events() if isinstance(event, h2.events.WindowUpdated) and event.stream_id]


def test_a_client_that_gives_no_window_stops_the_site(world: World, client: Client) -> None:
    """Nothing piles up here; with a window the rest follows; without one for a minute the stream is reset."""
    sites = []
    for goes_on in (True, False):
        number = client.ask()
        sites += [call.accept() for call in world.calls]
        world.calls.clear()
        (site,) = sites
        site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 90000)
        client.answers()
        assert site.producerState == "paused"
        if goes_on:
            client.h2.increment_flow_control_window(100000)
            client.h2.increment_flow_control_window(100000, number)
            client.flush()
            assert site.producerState == "producing"
            site.send(b"x" * 10000)
            assert client.answers()[number][-1] == "end"
        else:
            client.h2.increment_flow_control_window(1, number)
            client.flush()
            world.pass_time(Limits().stuck_s + 1)
            assert client.answers()[number][-1] == ErrorCodes.INTERNAL_ERROR and site.aborted


def test_a_client_that_takes_back_what_it_asked(world: World, client: Client) -> None:
    """The site is let go; the others go on."""
    number, other = client.ask(), client.ask()
    one, two = (call.accept() for call in world.calls)
    client.h2.reset_stream(number)
    client.flush()
    assert one.aborted
    two.send(OK)
    assert client.answers() == {other: ["200", b"ok", "end"]}


def test_an_early_answer_ends_the_upload(world: World, client: Client) -> None:
    """The client hears the answer, and that the rest is not wanted."""
    number = client.ask(POST, b"ab")
    world.call().accept().send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
    assert client.answers() == {number: ["413", b"no", "end", ErrorCodes.NO_ERROR]}


def test_a_site_that_breaks_off(world: World, client: Client) -> None:
    """The client sees that the response is not whole; the connection lives on."""
    number = client.ask()
    site = world.call().accept()
    site.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    site.hang_up()
    assert client.answers() == {number: ["200", b"ab", ErrorCodes.INTERNAL_ERROR]}
    client.ask()
    world.call()


def test_pages_of_our_own(world: World, client: Client) -> None:
    """Another host, a stopped site, a method that is not offered; HEAD gets no body."""
    other = client.ask([*GET[:2], (":authority", "none.test"), GET[3]])
    assert client.answers()[other][0] == "421"
    world.follow(world.site("stopped"))
    assert client.answers() == {} and client.answers() == {}
    stopped = client.ask([(":method", "HEAD"), *GET[1:]])
    assert client.answers() == {stopped: ["503", "end"]}
    trace = client.ask([(":method", "TRACE"), *GET[1:]])
    assert client.answers()[trace][0] == "405"


def test_a_site_is_waited_for(world: World, client: Client) -> None:
    """As by HTTP/1.1: held while its owner changes, then answered; bounded by time."""
    world.follow(world.site("changing"))
    number = client.ask()
    assert client.answers() == {}
    world.follow(world.site(epoch=2))
    world.call().accept().send(OK)
    assert client.answers() == {number: ["200", b"ok", "end"]}
    world.follow(world.site("changing", epoch=2))
    number = client.ask()
    world.pass_time(Limits().hold_s + 1)
    assert client.answers()[number][0] == "503"


@pytest.mark.parametrize(
    "fields",
    [
        (*GET, ("x", "a\r\nHost: evil.test")),
        (*GET, ("x", "a\nb")),
        (*GET, ("x", "a\x00b")),
        (*GET, ("a b", "c")),
        (*GET, ("a:b", "c")),
        (*GET, ("X", "c")),
        (*GET, ("", "c")),
        (*GET, ("connection", "close")),
        (*GET, ("transfer-encoding", "chunked")),
        (*GET, ("upgrade", "websocket")),
        (*GET, ("te", "gzip")),
        (*GET, ("host", "evil.test")),
        (*GET, ("content-length", "5")),
        (*GET, ("content-length", "5, 5")),
        (*GET, (":path", "/twice")),
        (("x", "y"), *GET),
        (*GET[:3], (":path", "/ HTTP/1.1\r\nx: y")),
        (*GET[:3], (":path", "")),
        (*GET[:3], (":path", "nowhere")),
        (*GET[:2], (":authority", "a b"), GET[3]),
        (*GET[:2], (":authority", "shop.test\r\n"), GET[3]),
        (*GET[:2], GET[3]),
        ((":method", "GET /"), *GET[1:]),
        ((":method", "get"), *GET[1:]),
        (GET[0], (":scheme", "http"), *GET[2:]),
        (*GET, (":odd", "1")),
        (*GET, *((f"x-{number}", "y") for number in range(120))),
    ],
)
def test_what_is_no_request_reaches_no_site(world: World, fields: tuple[tuple[str, str], ...]) -> None:
    """Its stream or its connection ends, or it gets a page; nothing of it is sent on."""
    client = Client(world, strictly=False)
    client.ask(fields)
    answers = client.answers()
    assert world.calls == []
    told = [one for said in answers.values() for one in said]
    assert client.wire.closed or told[0] in ("400", "431", ErrorCodes.PROTOCOL_ERROR), told


def test_a_request_that_was_taken_back_at_once_costs_no_site(world: World, client: Client) -> None:
    """Rapid reset (CVE-2023-44487): nobody is connected to, and it soon ends."""
    for _ in range(int(MOST / RESET) + 1):
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(number, list(GET), end_stream=True)
        client.h2.reset_stream(number)
        if not client.wire.closed:
            client.wire.send(client.h2.data_to_send())
    assert world.calls == []
    assert client.answers()[0] == [ErrorCodes.ENHANCE_YOUR_CALM] and client.wire.closed


@pytest.mark.parametrize(
    "frame",
    [
        PingFrame(0, b"12345678"),
        SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 65535}),
    ],
)
def test_floods_end(world: World, client: Client, frame: Any) -> None:
    """Pings and settings make work and bring nothing."""
    for _ in range(int(MOST) + 60):
        if not client.wire.closed:
            client.wire.send(frame.serialize())
    assert client.wire.closed


def test_empty_data_frames_end(world: World, client: Client) -> None:
    """CVE-2019-9518."""
    number = client.ask(POST, b"a")
    world.call().accept()
    for _ in range(int(MOST) + 60):
        if not client.wire.closed:
            client.wire.send(DataFrame(number, b"").serialize())
    assert client.wire.closed


def test_a_head_without_end(world: World, client: Client) -> None:
    """CONTINUATION floods: a bounded number of frames, then it is over."""
    first = HeadersFrame(1, Encoder().encode([(name.encode(), value.encode()) for name, value in GET]))
    client.wire.send(first.serialize())
    sent = 0
    while not client.wire.closed and sent < 100:
        client.wire.send(ContinuationFrame(1, b"\x00" * 100).serialize())
        sent += 1
    assert client.wire.closed and world.calls == []


def test_a_head_that_is_too_large_when_unpacked(world: World, client: Client) -> None:
    """HPACK bombs (CVE-2016-6581) end the connection."""
    encoder = Encoder()
    bomb = encoder.encode([(b"x", b"y" * 3000)]) + b"\xbe" * 2000
    frame = HeadersFrame(1, bomb)
    frame.flags.add("END_HEADERS")
    client.wire.send(frame.serialize())
    assert client.wire.closed and world.calls == []


def test_too_many_streams(world: World, client: Client) -> None:
    """A hundred at a time."""
    encoder = Encoder()
    for number in range(1, 2 * 101, 2):
        frame = HeadersFrame(number, encoder.encode([(name.encode(), value.encode()) for name, value in GET]))
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        if not client.wire.closed:
            client.wire.send(frame.serialize())
    assert client.wire.closed and len(world.calls) == 100


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 40, RstStreamFrame(7).serialize()])
def test_what_is_no_http2_is_closed(world: World, noise: bytes) -> None:
    """After the preface, and in place of it."""
    client = Client(world)
    client.wire.send(noise)
    assert client.wire.closed
    bare = plug(H2Front(world.house, world.house.secure_door("198.51.100.9", 1, "shop.test")))
    bare.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    assert bare.closed and world.calls == []


def test_an_idle_connection_ends(world: World, client: Client) -> None:
    """Pings put nothing off; a request does, while it lasts."""
    client.ask()
    site = world.call().accept()
    world.pass_time(20)
    site.send(OK)
    client.answers()
    for _ in range(4):
        world.pass_time(4)
        if not client.wire.closed:
            client.h2.ping(b"12345678")
            client.flush()
    assert client.wire.closed


def test_a_slow_body_ends(world: World, client: Client) -> None:
    """A byte now and then is too slow: 408, and the site is let go."""
    number = client.ask(POST, b"a")
    site = world.call().accept()
    for _ in range(12):
        world.pass_time(1)
        if site.closed:
            break
        client.h2.send_data(number, b"a")
        client.flush()
    assert site.aborted and client.answers()[number][0] == "408"


def test_a_site_that_says_nothing_is_late(world: World, client: Client) -> None:
    """After a minute."""
    number = client.ask()
    site = world.call().accept()
    world.pass_time(Limits().reply_s + 1)
    assert site.aborted and client.answers()[number][0] == "504"


def test_a_full_transport_stops_everything(world: World, client: Client) -> None:
    """A client that does not read is not read from, and is cut off after a minute."""
    client.ask()
    site = world.call().accept()
    client.front.pauseProducing()
    site.send(OK)
    assert client.wire.producerState == "paused"
    client.front.resumeProducing()
    assert "200" in str(client.answers()) and client.wire.producerState == "producing"
    client.front.pauseProducing()
    world.pass_time(Limits().stuck_s + 1)
    assert client.wire.aborted


def test_draining(world: World, client: Client) -> None:
    """What is under way is answered, then it ends; an idle connection ends at once."""
    number = client.ask()
    site = world.call().accept()
    idle = Client(world)
    world.house.draining = True
    client.front.drain()
    idle.front.drain()
    assert idle.wire.closed and not client.wire.closed
    site.send(OK)
    assert client.wire.closed and client.wire.taken().endswith(b"ok")
    assert number == 1


def test_tokens() -> None:
    """They come with time and with bytes, up to a bound."""
    calm = Calm(0.0)
    assert all(calm.spend(FRAME, 0.0) for _ in range(int(MOST)))
    assert not calm.spend(FRAME, 0.0)
    assert calm.spend(FRAME, 2 / PER_S + 0.1)
    calm.earn(10 * 1024)
    assert calm.spend(10.0, 1.0)
    calm.earn(2**40)
    assert calm.spend(MOST, 1.0) and not calm.spend(FRAME, 1.0)
