"""
Every dialogue under any bytes from either side, in any order: it never fails, keeps little, and acts in turn.

More examples than by default: HYBRID_FUZZ=100000.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid.model import SiteId
from hybrid_proxy import mysql, postgres
from hybrid_proxy.dialogue import (
    TEXTS,
    Again,
    Dialogue,
    Effects,
    End,
    Find,
    OpenData,
    Part,
    Relay,
    Secure,
    Setting,
    ToSite,
)
from hybrid_proxy.lines import Credentials, Lines
from hybrid_proxy.shared import DIALOGUES

EXAMPLES = int(os.environ.get("HYBRID_FUZZ", "700"))
MAX_KEPT = 256 * 1024
PLAIN = Credentials("ann@shop.test", "secret").plain()
GREETING = mysql.greeting(b"10.11.0-MariaDB", bytes(range(20)), mysql.OFFERED)
LOGIN = mysql.response(
    mysql.Login(mysql.OFFERED, bytes(28), "app@shop", "d", b"\x08\x03_os\x03BSD"),
    mysql.read_greeting(GREETING),
    b"x" * 20,
)
PAYLOADS = (
    GREETING,
    LOGIN,
    LOGIN[:32],
    b"x" * 20,
    b"\0\0\0\x02\0\0\0",
    b"\xfexx\0yy",
    mysql.error(1053, b"08S01", "no"),
)
LINES = {
    "imap": (
        "a LOGIN ann@shop.test secret|a LOGIN {13}|ann@shop.test {6+}|secret|a AUTHENTICATE PLAIN|a CAPABILITY|"
        'a STARTTLS|* OK hello|+ |hybrid OK done|hybrid NO|* BYE|a ID ("x" "y")|' + PLAIN.decode()
    ),
    "pop3": "USER ann@shop.test|PASS secret|AUTH PLAIN|CAPA|STLS|+OK|-ERR|" + PLAIN.decode(),
    "submission": (
        "EHLO x|AUTH LOGIN|YW5uQHNob3AudGVzdA==|STARTTLS|220 a|250-a|250 AUTH|235 a|535 a|AUTH PLAIN " + PLAIN.decode()
    ),
    "smtp": (
        "EHLO x|MAIL FROM:<a@b>|RCPT TO:<ann@shop.test>|RCPT TO:<ann@zoo.test>|DATA|text|.|RSET|STARTTLS|220 a|"
        "250-a|250 XCLIENT ADDR|250 a|354 a|550 a|421 a|a\n."
    ),
    "ftp": (
        "USER ann@shop|PASS secret|AUTH TLS|PROT P|PASV|EPSV|PORT 1,2,3,4,5,6|LIST|220 a|331 a|230 a|530 a|"
        "227 x (1,2,3,4,200,5)|229 x (|||51210|)|500 a"
    ),
}
SAID: dict[str, list[bytes]] = {
    "postgres": [
        struct.pack("!II", 8, 80877103),
        struct.pack("!II", 8, 80877104),
        struct.pack("!IIII", 16, 80877102, 1 << 17, 1),
        postgres.startup(196608, {"user": "app@shop", "database": "d"}),
        b"p\0\0\0\x08abc\0",
        b"R\0\0\0\x08\0\0\0\0",
        b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02",
        b"Z\0\0\0\x05I",
        postgres.error("57P03", "no"),
    ],
    "mysql": [mysql.packet(number, payload) for number in range(4) for payload in PAYLOADS],
    **{service: [line.encode() + b"\r\n" for line in lines.split("|")] for service, lines in LINES.items()},
}


class Known:
    """Two sites that speak everything."""

    def site(self, names: Iterable[str]) -> SiteId | None:
        """See `Names`."""
        known = {"shop": "s-shop", "shop.test": "s-shop", "zoo.test": "s-zoo"}
        return next((SiteId(known[name.lower()]) for name in names if name.lower() in known), None)

    def numbered(self, number: int) -> SiteId | None:
        """See `Names`."""
        return SiteId("s-shop") if number == 1 else None

    def number(self, site: SiteId) -> int:
        """See `Names`."""
        return 1


class Stage:
    """Performs what a dialogue decides as `Guest` does, and watches that it acts in turn."""

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.looking = self.joined = self.relaying = self.over = self.handshaking = False
        self.perform(dialogue.begin())

    def perform(self, effects: Effects) -> None:
        """Each in its turn."""
        for effect in effects:
            if self.over:
                return
            if isinstance(effect, ToSite):
                assert self.joined or not effect.data
            elif isinstance(effect, Find):
                assert not self.joined and not self.looking
                self.looking = True
            elif isinstance(effect, Again):
                self.looking, self.joined = True, False
            elif isinstance(effect, Relay):
                assert self.joined
                self.relaying = True
            elif isinstance(effect, Part):
                self.joined = False
            elif isinstance(effect, Secure):
                assert not self.joined and not self.looking
                self.handshaking = True
            elif isinstance(effect, OpenData):
                assert self.joined and effect.port >= 1024
                self.perform(effect.then("192.0.2.7", 50000))
            elif isinstance(effect, End):
                self.over = True

    def happen(self, kind: int, data: bytes) -> None:
        """One of the things that can happen now."""
        if self.relaying or self.over:
            return
        dialogue = self.dialogue
        if self.handshaking:
            self.handshaking = False
            self.perform(dialogue.secured("shop.test" if kind % 2 else ""))
        elif self.looking and kind % 4 == 0:
            self.looking = False
            self.perform(dialogue.refused(sorted(TEXTS)[kind % len(TEXTS)]))
        elif self.looking and kind % 4 < 3:
            self.looking, self.joined = False, True
            self.perform(dialogue.joined())
        elif self.joined and kind % 16 == 0:
            self.joined = False
            self.perform(dialogue.farewell(data))
        elif self.joined and kind % 2:
            self.perform(dialogue.heard_site(data))
        else:
            self.perform(dialogue.heard_client(data))
        assert kept(dialogue) <= MAX_KEPT


def kept(dialogue: Dialogue) -> int:
    """Bytes that a dialogue holds on to."""
    values = list(vars(dialogue).values())
    values += [value.__dict__["_buffer"] for value in values if isinstance(value, Lines)]
    return sum(len(value) for value in values if isinstance(value, bytes | str))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(service=st.sampled_from(sorted(SAID)), data=st.data())
def test_any_bytes_in_any_order(service: str, data: st.DataObject) -> None:
    """Words of the protocol, cut anywhere, and what is none, from both sides, while sites come and go."""
    word = st.sampled_from(SAID[service])
    cut = st.builds(lambda text, at: text[: at % (len(text) + 1)], word, st.integers(0, 500))
    odd = st.one_of(word, word, word, cut, st.binary(max_size=30), st.builds(bytes, st.integers(0, 20000)))
    tls, trusted = data.draw(st.booleans()), data.draw(st.booleans())
    stage = Stage(DIALOGUES[service](Setting(Known(), "198.51.100.9", tls, trusted)))
    for kind, said in data.draw(st.lists(st.tuples(st.integers(0, 63), odd), max_size=40)):
        stage.happen(kind, said)
