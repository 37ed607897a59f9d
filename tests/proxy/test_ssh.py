"""The SSH door without sockets: what it bears, whom it lets in, and where sessions are found."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import msgspec
import pytest
from twisted.conch.ssh.common import NS
from twisted.internet.address import IPv4Address
from twisted.logger import LogLevel, capturedLogs

from hybrid import sessions
from hybrid.model import Claim, SiteId
from hybrid.sessions import Messages, Opening, Size
from hybrid_proxy.limits import Limits
from hybrid_proxy.proxyv2 import header_bytes, parse_header
from hybrid_proxy.route import Here, There
from hybrid_proxy.ssh.door import STRANGERS, SshFactory
from hybrid_proxy.ssh.guesses import FREE, SLOWEST_S, Guesses
from hybrid_proxy.ssh.transport import BEFORE_LOGIN
from hybrid_proxy.ssh.userauth import ATTEMPTS
from tests.proxy.conftest import ME, OTHER, SESSIONS, Wire, World
from tests.proxy.sshclient import Channel, Pair, door_of, key_of, line_of

HELLO = b"SSH-2.0-test\r\n"


@pytest.fixture
def door(world: World) -> SshFactory:
    """Of a node that owns `x`, into which key 1 leads."""
    world.follow(world.site(keys=(line_of(key_of(1)),)))
    return door_of(world)


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(4096),
        b"\0" * 5000,
        b"SSH-1.5-old\r\n",
        b"SSH-2.0\n" + b"\xff" * 64,
        HELLO + b"\xff\xff\xff\xff" + bytes(60),
        HELLO + struct.pack("!IB", 12, 200) + bytes(11),
        HELLO + struct.pack("!IB", 13, 4) + bytes(60),
        HELLO + struct.pack("!IB", 28, 4) + b"\x14" + bytes(26),
        HELLO + struct.pack("!IB", 28, 4) + b"\x1e" + bytes(26),
        HELLO + struct.pack("!IB", 28, 4) + b"\x15" + bytes(26),
        HELLO + struct.pack("!IB", 28, 10) + b"\x05" + NS(b"ssh-userauth") + bytes(10),
        HELLO + struct.pack("!IB", 28, 10) + b"\x32" + NS(b"ssh-userauth") + bytes(10),
        HELLO + struct.pack("!IB", 12, 6) + b"\x02" + bytes(10) * (BEFORE_LOGIN // 10),
    ],
    ids=lambda said: "",
)
def test_nonsense_ends_its_connection_and_nothing_else(world: World, door: SshFactory, said: bytes) -> None:
    """Whatever is sent before a key: the connection is gone in time, and nothing went wrong in the door."""
    with capturedLogs() as logs:
        for cuts in (len(said), 1000, 7):
            wire = world.plug(door)
            for at in range(0, len(said), cuts):
                if not wire.closed:
                    wire.send(said[at : at + cuts])
            world.pass_time(world.house.limits.login_s + world.house.limits.linger_s + 1)
            assert wire.closed
    assert not [event for event in logs if event["log_level"] >= LogLevel.error]
    assert not door.transports and Pair(world, door).client.connection is not None


def test_a_conversation_with_mistakes_in_it(world: World, door: SshFactory) -> None:
    """Bits that change anywhere in what a client says end its connection, without an error in the door."""
    chance = random.Random(20)
    with capturedLogs() as logs:
        for _ in range(60):
            pair = _SpoiledPair(world, door, chance.randrange(1400), 1 << chance.randrange(8))
            if not pair.door_end.closed:
                pair.door_end.hang_up()
    assert not [event for event in logs if event["log_level"] >= LogLevel.error]
    assert not door.transports


class _SpoiledPair(Pair):
    """One byte of what the client says is not what it should be."""

    def __init__(self, world: World, door: SshFactory, at: int, bits: int) -> None:
        self._at, self._bits, self._said = at, bits, 0
        super().__init__(world, door)

    def pump(self) -> None:
        """See `Pair`."""
        while True:
            self._clock.advance(0)
            there, back = bytearray(self.client_end.taken()), self.door_end.taken()
            if not there and not back:
                return
            if self._said <= self._at < self._said + len(there):
                there[self._at - self._said] ^= self._bits
            self._said += len(there)
            if there and not self.door_end.closed:
                self.door_end.send(bytes(there))
            if back and not self.client_end.closed:
                try:
                    self.client_end.send(back)
                except Exception:  # the client is not what is tested
                    return


def test_who_says_nothing_is_cut(world: World, door: SshFactory) -> None:
    """Also drop by drop: what arrives puts no deadline off."""
    wire = world.plug(door)
    for letter in HELLO[:-2]:
        wire.send(bytes([letter]))
        world.pass_time(4)
    assert wire.closed


def test_too_much_before_a_key(world: World, door: SshFactory) -> None:
    """Packets that mean nothing are borne up to a bound."""
    wire = world.plug(door)
    ignored = struct.pack("!IB", 1020, 6) + b"\x02" + bytes(1018)
    wire.send(HELLO + ignored * (BEFORE_LOGIN // 1024 - 1))
    assert not wire.closed
    wire.send(ignored * 2)
    assert wire.closed


def test_keys_are_exchanged_once_before_a_login(world: World, door: SshFactory) -> None:
    """What costs the door much cannot be asked for again and again."""
    pair = Pair(world, door, keys=())
    pair.client.sendKexInit()
    pair.pump()
    assert pair.client.disconnected == b"show a key first"


def test_a_window_that_is_not_kept(world: World, door: SshFactory) -> None:
    """A client that sends more than it may, or speaks of channels that are none, is sent away."""
    pair = Pair(world, door)
    pair.client.sendPacket(94, struct.pack("!I", 7) + NS(b"data"))
    pair.pump()
    assert pair.client.disconnected == b"this is not understood"


# ------------------------------------------------------------------------------------------------- who is let in


def test_by_name_domain_and_id(world: World, door: SshFactory) -> None:
    """A site goes by all of them, in any case."""
    for user in (b"x", b"X", b"shop.test", b"s-shop"):
        assert Pair(world, door, user).client.connection is not None


def test_unknown_sites_look_like_wrong_keys(world: World, door: SshFactory) -> None:
    """The same answers, at the same time: nobody learns which sites there are."""
    heard = []
    for user, key in ((b"nosuch", 1), (b"x", 2), (b"x#2h", 2), (b"\xff\0", 1)):
        pair = Pair(world, door, user, (key_of(key),))
        heard.append(pair.client.refused)
        assert pair.client.connection is None and not pair.door_end.closed
        pair.door_end.hang_up()
    assert heard == [[NS(b"publickey") + b"\0"]] * 4


def test_a_key_that_was_taken_away(world: World, door: SshFactory) -> None:
    """Nobody logs in by it any more, as soon as the view says so."""
    world.follow(world.site(keys=(line_of(key_of(2)),)))
    assert Pair(world, door).client.connection is None
    assert Pair(world, door, keys=(key_of(2),)).client.connection is not None


def test_a_signature_for_another_user_or_service(world: World, door: SshFactory) -> None:
    """What was signed must be what is asked for."""
    world.follow(world.site(site=SiteId("s-two"), domains=("two.test",), keys=(line_of(key_of(1)),)))
    pair = Pair(world, door, keys=())
    pair.client.auth.offer(key_of(1), service=b"ssh-other")
    pair.pump()
    assert pair.client.refused and pair.client.connection is None
    blob = key_of(1).public().blob()
    asked = NS(b"x") + NS(b"ssh-connection") + NS(b"publickey") + b"\1" + NS(b"ssh-ed25519") + NS(blob)
    session = pair.client.sessionID
    assert session is not None
    signature = key_of(1).sign(NS(session) + b"\x32" + asked.replace(NS(b"x"), NS(b"s-two")))
    pair.client.sendPacket(50, asked + NS(signature))
    pair.pump()
    assert len(pair.client.refused) == 2 and pair.client.connection is None


def test_too_many_keys(world: World, door: SshFactory) -> None:
    """The connection is closed after some."""
    pair = Pair(world, door, keys=tuple(key_of(number) for number in range(2, 2 + ATTEMPTS)))
    world.pass_time(30)
    pair.pump()
    assert pair.client.disconnected == b"too many keys were refused"


def test_passwords_are_not_asked_for(world: World, door: SshFactory) -> None:
    """One that is sent all the same is refused like a wrong key."""
    pair = Pair(world, door, keys=())
    for method in (b"none", b"password", b"keyboard-interactive"):
        pair.client.sendPacket(50, NS(b"x") + NS(b"ssh-connection") + NS(method) + b"\0" + NS(b"secret"))
        pair.pump()
    assert pair.client.refused == [NS(b"publickey") + b"\0"] * 3


def test_guessing_becomes_slow_and_is_forgotten() -> None:
    """A source whose keys are refused again and again waits longer and longer; others and later do not."""
    guesses = Guesses()
    waits = [guesses.wrong("a", 0.0) for _ in range(FREE + 20)]
    assert waits[:FREE] == [0.0] * FREE and waits[FREE:] == sorted(waits[FREE:]) and waits[-1] == SLOWEST_S
    assert guesses.wrong("b", 0.0) == 0.0
    assert guesses.wrong("a", 600.0) == 0.0
    for number in range(20_000):
        guesses.wrong(str(number), 601.0)
    assert len(guesses._sources) <= 10_000


def test_a_slow_answer_is_waited_for(world: World, door: SshFactory) -> None:
    """A client that has to wait gets its answer then, and cannot try another key meanwhile."""
    for _ in range(FREE):
        door.guesses.wrong("198.51.100.9", world.clock.seconds())
    pair = Pair(world, door, keys=(key_of(2), key_of(1)))
    assert not pair.client.refused
    world.pass_time(2)
    pair.pump()
    assert pair.client.refused and pair.client.connection is not None
    hasty = Pair(world, door, keys=())
    for _ in range(FREE + 1):
        door.guesses.wrong("198.51.100.9", world.clock.seconds())
    hasty.client.auth.offer(key_of(2))
    hasty.client.auth.offer(key_of(1))
    hasty.pump()
    assert hasty.client.disconnected == b"one try after the other"


def test_connections_that_come_to_nothing_become_slow(world: World, door: SshFactory) -> None:
    """Who has keys exchanged over and over waits before that; who only looks whether the port is open does not."""
    for _ in range(FREE + 5):
        world.plug(door).hang_up()
    assert not door.guesses.wait_s("198.51.100.9", world.clock.seconds())
    for _ in range(FREE + 5):
        Pair(world, door, keys=()).door_end.hang_up()
    pair = Pair(world, door)
    assert pair.door_end.producerState == "paused"
    world.pass_time(SLOWEST_S)
    assert pair.door_end.producerState == "producing"
    pair.door_end.hang_up()
    other = world.plug(door, source="203.0.113.1")
    assert other.producerState == "producing"


def test_strangers_are_bounded(world: World, door: SshFactory) -> None:
    """From however many sources; who has logged in takes nobody's place."""
    for number in range(STRANGERS):
        world.plug(door, source=f"203.0.{number}.1")
    assert door.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)) is None
    for transport in list(door.strangers)[:1]:
        transport.transport.abortConnection()
    assert Pair(world, door).client.connection is not None
    assert len(door.strangers) == STRANGERS - 1 and len(door.transports) == STRANGERS


def test_connections_of_one_source_are_bounded(world: World, door: SshFactory) -> None:
    """Like those at all other doors."""
    wires = [world.plug(door) for _ in range(Limits().per_source)]
    assert door.buildProtocol(wires[0].getPeer()) is not None  # another source
    assert door.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)) is None
    for wire in wires:
        wire.hang_up()
    assert door.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)) is not None


def test_no_host_key_no_door(world: World) -> None:
    """Before there is one nobody is let in, and nothing is made up; one that cannot be read changes nothing."""
    door = SshFactory(world.house, world.connect, world.clock, SESSIONS)
    assert door.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)) is None
    door.follow_secrets({"ssh/host": "nonsense"})
    assert door.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)) is None


# ----------------------------------------------------------------------------------------------------- sessions


class Session:
    """The session's end of a connection."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self._messages = wire, Messages()

    def heard(self) -> list[tuple[bytes, bytes]]:
        """What it was told since."""
        return self._messages.feed(self.wire.taken())

    def say(self, kind: bytes, body: bytes = b"") -> None:
        """It says."""
        self.wire.send(sessions.message(kind, body))


def begun(world: World, pair: Pair, channel: Channel) -> tuple[Session, Opening]:
    """The session that `channel` asked for, here."""
    call = world.call()
    assert isinstance(call.destination, Here) and (call.destination.address, call.destination.port) == (SESSIONS, 0)
    session = Session(call.accept())
    ((kind, body),) = session.heard()
    assert kind == sessions.OPEN
    session.say(sessions.STARTED)
    pair.pump()
    return session, sessions.decode(body)


def test_a_command(world: World, door: SshFactory) -> None:
    """What is told to whom runs it; what it says, apart; how it ended."""
    pair = Pair(world, door)
    channel = pair.open()
    assert pair.ask(channel, b"env", NS(b"LC_TIME") + NS(b"de_AT.UTF-8"))
    assert not pair.ask(channel, b"env", NS(b"LD_PRELOAD") + NS(b"/tmp/bad"))
    assert pair.ask(channel, b"exec", NS("printf café\udcff".encode("utf-8", "surrogateescape")))
    assert not pair.ask(channel, b"exec", NS(b"another"))
    channel.write(b"early")
    pair.pump()
    session, opening = begun(world, pair, channel)
    assert (opening.site, opening.epoch, opening.node, opening.kind) == ("s-shop", 1, ME, "command")
    assert opening.command == "printf café\udcff" and opening.environment == {"LC_TIME": "de_AT.UTF-8"}
    assert (opening.terminal, opening.source, opening.user) == ("", "198.51.100.9 40001", "ann@work")
    assert session.heard() == [(sessions.INPUT, b"early")]
    session.say(sessions.OUTPUT, b"out")
    session.say(sessions.ERRORS, b"err")
    session.say(sessions.STATUS, (7).to_bytes(4, "big"))
    pair.pump()
    assert (channel.said, channel.errors, channel.status, channel.is_closed) == (b"out", b"err", 7, True)
    assert session.wire.closed and not door.callers


def test_a_terminal(world: World, door: SshFactory) -> None:
    """A shell on a terminal, whose size may change; signals; the end by a signal."""
    pair = Pair(world, door)
    channel = pair.open()
    assert pair.ask(channel, b"pty-req", NS(b"vt100") + struct.pack("!4I", 100, 30, 0, 0) + NS(b"\0"))
    assert pair.ask(channel, b"shell")
    session, opening = begun(world, pair, channel)
    assert (opening.kind, opening.terminal, opening.size) == ("shell", "vt100", Size(100, 30))
    assert pair.ask(channel, b"window-change", struct.pack("!4I", 80, 50, 0, 0))
    assert pair.ask(channel, b"signal", NS(b"TERM"))
    pair.client.connection.sendEOF(channel)  # type: ignore[union-attr]  # it is connected
    pair.pump()
    told = [(sessions.WINDOW, Size(80, 50).packed()), (sessions.SIGNAL, b"TERM"), (sessions.END, b"")]
    assert session.heard() == told
    session.say(sessions.KILLED, b"TERM")
    pair.pump()
    assert channel.signal == b"TERM" and channel.is_closed


def test_what_is_not_offered(world: World, door: SshFactory) -> None:
    """Ports, agents, displays and other subsystems are refused; the session goes on."""
    pair = Pair(world, door)
    channel = pair.open()
    for request, data in (
        (b"x11-req", b"\0" + NS(b"") + NS(b"") + bytes(4)),
        (b"auth-agent-req@openssh.com", b""),
        (b"subsystem", NS(b"nosuch")),
        (b"exec", NS(b"a\0b")),
        (b"exec", NS(bytes(40_000))),
        (b"\xff\xfe", b""),
    ):
        assert not pair.ask(channel, request, data), request
    tunnel = Channel()
    tunnel.name = b"direct-tcpip"
    pair.open(tunnel, NS(b"10.0.0.1") + bytes(4) + NS(b"") + bytes(4))
    assert not tunnel.is_open and tunnel.failure.data == 1  # administratively prohibited
    assert pair.client.connection is not None
    refused = pair.client.connection.sendGlobalRequest(b"tcpip-forward", NS(b"") + bytes(4), wantReply=1)
    failed: list[object] = []
    refused.addErrback(failed.append)
    pair.pump()
    assert failed and pair.ask(channel, b"exec", NS(b"true"))
    opened = [pair.open() for _ in range(12)]
    assert sum(one.is_open for one in opened) == 9


def test_through_another_node(world: World, door: SshFactory) -> None:
    """The owner's front door is told whose session it is, and passes it to its node process."""
    world.follow(world.site(owner=OTHER, epoch=4, keys=(line_of(key_of(1)),)))
    pair = Pair(world, door)
    channel = pair.open()
    assert pair.ask(channel, b"exec", NS(b"true"))
    call = world.call()
    assert isinstance(call.destination, There) and call.destination.service == "ssh"
    wire = call.accept()
    parsed = parse_header(wire.taken())
    assert parsed is not None and (parsed[0].service, parsed[0].site, parsed[0].claim.epoch) == ("ssh", "s-shop", 4)


def test_the_owner_passes_it_to_its_node_process(world: World, door: SshFactory) -> None:
    """Only under the claim that it knows, and never to the container's own port."""
    world.follow(world.site(owner=OTHER, epoch=4, keys=(line_of(key_of(1)),)))
    pair = Pair(world, door)
    pair.ask(pair.open(), b"exec", NS(b"true"))
    header = world.call().accept().taken()
    world.follow(world.site(epoch=5, keys=(line_of(key_of(1)),)))
    assert world.member(header).taken().startswith(b"HTTP/1.1 421 ")
    parsed = parse_header(header)
    assert parsed is not None
    member = world.member(header_bytes(replace(parsed[0], claim=Claim(5, ME))))
    call = world.call()
    assert isinstance(call.destination, Here) and call.destination.address == SESSIONS
    call.refuse()
    assert member.taken().startswith(b"HTTP/1.1 503 ") and not world.house.room.doubts


def test_waiting_for_an_owner(world: World, door: SshFactory) -> None:
    """Who comes while the owner changes waits, and goes on; not for ever."""
    world.follow(world.site(state="changing", keys=(line_of(key_of(1)),)))
    pair = Pair(world, door)
    channel, late = pair.open(), pair.open()
    assert pair.ask(channel, b"exec", NS(b"true"))
    world.pass_time(5)
    world.follow(world.site(epoch=2, keys=(line_of(key_of(1)),)))
    _, opening = begun(world, pair, channel)
    assert opening.epoch == 2
    world.follow(world.site(state="changing", keys=(line_of(key_of(1)),)))
    assert pair.ask(late, b"exec", NS(b"true"))
    world.pass_time(world.house.limits.hold_s + 1)
    pair.pump()
    assert b"is moving to another server" in late.errors and late.status == 255


def test_a_node_process_that_restarts(world: World, door: SshFactory) -> None:
    """It is asked again for a while; the site's website is not taken for doubtful meanwhile."""
    pair = Pair(world, door)
    channel = pair.open()
    assert pair.ask(channel, b"exec", NS(b"true"))
    world.call().refuse()
    world.pass_time(1)
    Session(world.call().accept()).wire.hang_up()  # it does not own the site yet
    world.pass_time(1)
    assert not world.house.room.doubts
    begun(world, pair, channel)
    assert not channel.errors


def test_sites_that_are_off(world: World, door: SshFactory) -> None:
    """Each in its own words."""
    for state, text in (("stopped", b"switched off"), ("unavailable", b"cannot be reached")):
        world.follow(world.site(state=state, owner=None, keys=(line_of(key_of(1)),)))  # type: ignore[arg-type]
        pair = Pair(world, door)
        channel = pair.open()
        assert pair.ask(channel, b"shell")
        assert text in channel.errors and channel.status == 255


def test_a_session_ends_with_its_owner(world: World, door: SshFactory) -> None:
    """Whoever is in the site when it moves, stops or is lost is told, and may come again."""
    key = (line_of(key_of(1)),)
    for change, text in (
        (world.site(epoch=2, owner=OTHER, keys=key), b"moves to another server"),
        (world.site(state="stopped", keys=key), b"switched off"),
    ):
        world.sites.clear()
        world.follow(world.site(keys=key))
        pair = Pair(world, door)
        channel = pair.open()
        pair.ask(channel, b"shell")
        session, _ = begun(world, pair, channel)
        world.follow(change)
        door.follow()
        pair.pump()
        assert text in channel.errors and channel.status == 255 and session.wire.closed
    world.sites.clear()
    world.follow(world.site(keys=key))
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    begun(world, pair, channel)[0].wire.hang_up()
    pair.pump()
    assert b"log in again" in channel.errors.lower() and channel.status == 255


def test_a_session_whose_container_stops(world: World, door: SshFactory) -> None:
    """That its owner is not serving ends none: its node process may start anew. That its command is killed does."""
    key = (line_of(key_of(1)),)
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    session, _ = begun(world, pair, channel)
    world.follow(world.site(state="changing", keys=key))
    door.follow()
    session.say(sessions.OUTPUT, b"still here")
    pair.pump()
    assert channel.said == b"still here" and not channel.ended
    session.say(sessions.KILLED, b"KILL")
    pair.pump()
    assert b"moves to another server" in channel.errors and channel.status == 255


def test_refused_by_the_node_process(world: World, door: SshFactory) -> None:
    """Its words reach the user."""
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    session = Session(world.call().accept())
    session.say(sessions.REFUSED, b"too many sessions are open")
    pair.pump()
    assert channel.errors == b"hybrid: too many sessions are open\r\n" and channel.status == 255


def test_a_session_that_talks_nonsense(world: World, door: SshFactory) -> None:
    """It ends; the client's other sessions go on."""
    pair = Pair(world, door)
    channel, other = pair.open(), pair.open()
    pair.ask(channel, b"shell")
    session, _ = begun(world, pair, channel)
    session.wire.send(b"\xff" * 20)
    pair.pump()
    assert channel.is_closed and pair.ask(other, b"shell")


def test_a_client_that_goes(world: World, door: SshFactory) -> None:
    """Its sessions are hung up on, those that wait too."""
    pair = Pair(world, door)
    running, waiting = pair.open(), pair.open()
    pair.ask(running, b"shell")
    session, _ = begun(world, pair, running)
    world.follow(world.site(state="changing", keys=(line_of(key_of(1)),)))
    pair.ask(waiting, b"shell")
    pair.door_end.hang_up()
    assert session.wire.closed and not door.callers and not world.house.room.held


# ------------------------------------------------------------------------------------------------- back-pressure


def test_a_client_that_does_not_read(world: World, door: SshFactory) -> None:
    """Nothing more comes from its session, until it reads."""
    pair = Pair(world, door)
    channel = pair.open(Channel(window=1000))
    pair.ask(channel, b"shell")
    session, _ = begun(world, pair, channel)
    channel.dataReceived = lambda data: None  # type: ignore[method-assign]
    channel.conn.adjustWindow = lambda channel, size: None  # type: ignore[method-assign, union-attr]
    session.say(sessions.OUTPUT, bytes(3000))
    pair.pump()
    assert session.wire.producerState == "paused"
    del channel.conn.adjustWindow  # type: ignore[union-attr]
    channel.conn.adjustWindow(channel, 5000)  # type: ignore[union-attr]
    pair.pump()
    assert session.wire.producerState == "producing"
    transport = next(iter(door.transports))
    transport.pauseProducing()
    assert session.wire.producerState == "paused"
    transport.resumeProducing()
    assert session.wire.producerState == "producing"


def test_keys_that_are_exchanged_anew(world: World, door: SshFactory) -> None:
    """While a client takes its time over that, what its sessions say is not kept for it, but waits where it is."""
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    session, _ = begun(world, pair, channel)
    pair.client.sendKexInit()
    pair.door_end.send(pair.client_end.taken())
    assert session.wire.producerState == "paused"
    pair.pump()
    assert session.wire.producerState == "producing"
    session.say(sessions.OUTPUT, b"after")
    pair.pump()
    assert channel.said == b"after"


def test_a_session_that_does_not_read(world: World, door: SshFactory) -> None:
    """Its client's window stays shut, so no more than a window is ever kept."""
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    session, _ = begun(world, pair, channel)
    window = channel.remoteWindowLeft
    assert session.wire.producer is not None
    session.wire.producer.pauseProducing()
    channel.write(bytes(window + 5000))
    pair.pump()
    assert channel.remoteWindowLeft == 0 and sum(len(body) for _, body in session.heard()) == window
    session.wire.producer.resumeProducing()
    pair.pump()
    assert sum(len(body) for _, body in session.heard()) == 5000


def test_before_a_session_is_there_no_more_than_a_window_is_kept(world: World, door: SshFactory) -> None:
    """What is typed while the owner changes arrives, all of it."""
    pair = Pair(world, door)
    channel = pair.open()
    pair.ask(channel, b"shell")
    window = channel.remoteWindowLeft
    channel.write(bytes(window + 10))
    pair.pump()
    assert channel.remoteWindowLeft == 0
    session, _ = begun(world, pair, channel)
    assert sum(len(body) for _, body in session.heard()) == window + 10


# ------------------------------------------------------------------------------------------------------ the past


def test_a_past_moment(world: World, door: SshFactory) -> None:
    """Who has a key of the site may log in to what it was; that is opened first, and waited for."""
    wished: list[tuple[SiteId, str]] = []
    world.house.wish = lambda site, moment: wished.append((site, moment))
    pair = Pair(world, door, b"shop.test#2h")
    channel = pair.open()
    assert pair.ask(channel, b"subsystem", NS(b"sftp"))
    assert wished[0] == ("s-shop", "2h") and not world.calls
    past = world.site(site=SiteId("preview-1"), domains=("preview-1.test",), epoch=9)
    spec = msgspec.structs.replace(past.spec, name="x#2h", clone_of=SiteId("s-shop"))
    world.follow(msgspec.structs.replace(past, spec=spec))
    session, opening = begun(world, pair, channel)
    assert (opening.site, opening.kind, opening.epoch) == ("preview-1", "files", 9)
    del world.sites[SiteId("preview-1")]
    world.follow()
    door.follow()
    session.say(sessions.KILLED, b"KILL")
    pair.pump()
    assert channel.status == 255 and session.wire.closed
    assert Pair(world, door, b"x#2h", (key_of(2),)).client.connection is None
    assert len(wished) == 1, "who has no key wishes for nothing"
