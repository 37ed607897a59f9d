"""
SMTP between mail servers, port 25: to the site of the recipients' domain (RFC 5321, 3207, 2034). Pure.

Commands are understood here for as long as the connection lasts, as each message may be for another site: a connection
to a site begins with the first recipient of a message, whose sender is told again there. Recipients of other sites are
told to come again (451), which mail servers do with those alone. What is wrong for a while is 4xx: mail that cannot be
taken now is kept by its sender. No relay, no logins: those come at the port for submission.

Only CRLF.CRLF ends a message; a dot behind a bare line feed breaks the connection to the site off, as two servers
might not agree on what it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hybrid.model import SiteId
from hybrid_proxy.dialogue import (
    TEXTS,
    Again,
    Effect,
    Effects,
    End,
    Find,
    Part,
    Patient,
    Secure,
    Setting,
    ToClient,
    ToSite,
    Trouble,
)
from hybrid_proxy.lines import Lines, TooLong

MAX_LINE = 4096
MAX_COMMANDS = 200
"""Without a message among them."""
SILENT_S = 300.0
_PATH = re.compile(
    rb"(?:FROM|TO):\s*<([^\x00-\x20<>\"]*|\"(?:[^\x00-\x1f\"\\]|\\[ -~])*\"@[^\x00-\x20<>\"]*)>(?: [!-~ ]*)?", re.I
)
_HELO = re.compile(rb"[A-Za-z0-9.:_\[\]-]{1,255}")
_FALSE_END = re.compile(rb"(?<!\r)\n\.\r|\n\.\n|\r\.\r")
"""What some server may take for the end of a message."""


class Smtp:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._lines, self._server = Lines(MAX_LINE), Lines(MAX_LINE)
        self._secured = False
        self._helo = b""
        self._mail: bytes | None = None
        """The command with the sender of the message under way."""
        self._told_mail = False
        """The site's server knows it."""
        self._recipients = 0
        self._site: SiteId | None = None
        """Whose server is connected."""
        self._rcpt = b""
        """The command that waits for the site."""
        self._reply: Callable[[bytes], Effects] | None = None
        """Who hears the server's next reply; the client's commands wait until then."""
        self._waiting = False
        """The site is looked for."""
        self._tail: bytes | None = None
        """While a message passes: the end of what passed."""
        self._announced = b""
        self._commands = 0

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return (ToClient(b"220 ESMTP ready\r\n"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`: nothing that was said in the clear counts."""
        self._secured = True
        self._helo, self._mail = b"", None
        return ()

    # ------------------------------------------------------------------------------------------------- the client

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        if self._tail is not None:
            return self._message(data)
        try:
            self._lines.add(data)
            return self._go_on()
        except TooLong:
            return ToClient(b"500 5.5.2 that is too long\r\n"), End()

    def _go_on(self) -> list[Effect]:
        """Understand what the client said, one command after the other's reply."""
        effects: list[Effect] = []
        while self._reply is None and not self._waiting:
            if self._tail is not None:
                effects += self._message(self._lines.rest())
                break
            if (line := self._lines.line()) is None:
                break
            self._commands += 1
            if self._commands > MAX_COMMANDS:
                return [*effects, ToClient(b"421 4.7.0 too many commands\r\n"), End()]
            verb, _, rest = line.partition(b" ")
            effects += self._do(verb.upper(), rest.strip(), line)
            if effects and isinstance(effects[-1], Secure | End):
                break
        return effects

    def _do(self, verb: bytes, rest: bytes, line: bytes) -> Effects:
        if b"\n" in line or b"\r" in line or b"\0" in line:
            return ToClient(b"500 5.5.2 only CR and LF together end a line\r\n"), End()
        if verb in (b"EHLO", b"HELO"):
            return self._greeted(verb, rest)
        if verb == b"MAIL":
            return self._from(rest, line)
        if verb == b"RCPT":
            return self._to(rest, line)
        if verb == b"DATA":
            return self._data()
        if verb == b"RSET":
            return (*self._reset(), _say(b"250 2.0.0 done"))
        if verb == b"STARTTLS":
            if not self._setting.tls or self._secured or not self._lines.empty:
                return (_say(b"503 5.5.1 no TLS now"),)
            return _say(b"220 2.0.0 begin"), Secure()
        if verb == b"QUIT":
            return _say(b"221 2.0.0 goodbye"), End()
        return (_say(_OTHERS.get(verb, b"500 5.5.1 that is no command")),)

    def _greeted(self, verb: bytes, rest: bytes) -> Effects:
        if not _HELO.fullmatch(rest):
            return (_say(b"501 5.5.4 that is no host name"),)
        self._helo = rest
        reset = self._reset()
        if verb == b"HELO":
            return (*reset, _say(b"250 ready"))
        words = [b"250-ready", b"250-PIPELINING", b"250-8BITMIME"]
        if self._setting.tls and not self._secured:
            words.append(b"250-STARTTLS")
        return (*reset, _say(b"\r\n".join([*words, b"250 ENHANCEDSTATUSCODES"])))

    def _reset(self) -> list[Effect]:
        """The message under way is given up."""
        told = self._mail is not None and self._told_mail
        self._mail, self._told_mail, self._recipients = None, False, 0
        if told and self._site is not None:
            self._site = None
            return [Part()]
        return []

    def _from(self, rest: bytes, line: bytes) -> Effects:
        if not self._helo or self._mail is not None:
            return (_say(b"503 5.5.1 not now"),)
        if not _PATH.fullmatch(rest) or not rest[:1].upper() == b"F":
            return (_say(b"501 5.1.7 that is no sender"),)
        self._mail, self._told_mail, self._recipients = line, False, 0
        return (_say(b"250 2.1.0 go on"),)

    def _to(self, rest: bytes, line: bytes) -> Effects:
        if self._mail is None:
            return (_say(b"503 5.5.1 not now"),)
        found = _PATH.fullmatch(rest)
        if found is None or not found[1] or not rest[:1].upper() == b"T":
            return (_say(b"501 5.1.3 that is no recipient"),)
        domain = found[1].rpartition(b"@")[2].decode("utf-8", "replace").rstrip(".")
        site = self._setting.names.site([domain])
        if site is None:
            return (_say(b"451 4.4.3 no mail is taken here for that domain"),)
        if self._told_mail and site != self._site:
            return (_say(b"451 4.3.0 send it again to this recipient: one message goes to one site"),)
        self._rcpt = line
        if site == self._site:
            return self._tell_recipient() if self._told_mail else self._tell_mail()
        parted: tuple[Effect, ...] = (Part(),) if self._site is not None else ()
        self._site, self._waiting = site, True
        self._server = Lines(MAX_LINE)
        return (*parted, Find(site))

    def _data(self) -> Effects:
        if not self._recipients:
            return (_say(b"503 5.5.1 nobody would get it"),)
        self._reply = self._data_told
        return (ToSite(b"DATA\r\n"),)

    def _message(self, data: bytes) -> list[Effect]:
        """Bytes of the message, up to the dot that ends it."""
        assert self._tail is not None
        seen = self._tail + data
        end = seen.find(b"\r\n.\r\n")
        part = seen if end < 0 else seen[: end + 5]
        if _FALSE_END.search(part if end < 0 else part[:-3]):
            return [_say(b"550 5.6.0 a dot behind a bare line feed"), End()]
        passed = part[len(self._tail) :]
        if end < 0:
            self._tail = seen[-5:]
            return [ToSite(passed)] if passed else []
        self._tail = None
        self._reply = self._message_told
        try:
            self._lines.add(seen[end + 5 :])
        except TooLong:
            return [ToSite(passed), ToClient(b"421 4.7.0 too much at once\r\n"), End()]
        return [ToSite(passed)]

    # ------------------------------------------------------------------------------------------------- the server

    def joined(self) -> Effects:
        """See `Dialogue`: the server speaks first."""
        self._waiting = False
        self._announced = b""
        self._reply = self._server_ready
        return ()

    def heard_site(self, data: bytes) -> Effects:
        """See `Dialogue`: whole replies go to whom they are for."""
        effects: list[Effect] = []
        try:
            self._server.add(data)
            while (line := self._server.line()) is not None:
                self._announced += line + b"\r\n"
                if len(self._announced) > 16 * MAX_LINE or not line[:3].isdigit():
                    return [*effects, *self._away()]
                if line[3:4] == b"-":
                    continue
                reply, self._announced = self._announced, b""
                hears, self._reply = self._reply, None
                if hears is None:
                    return [*effects, *self._away()]
                effects += hears(reply)
                if self._site is None:
                    break
        except TooLong:
            return [*effects, *self._away()]
        return [*effects, *self._go_on()]

    def _server_ready(self, reply: bytes) -> Effects:
        if reply[:3] != b"220":
            return self._unreached()
        self._reply = self._introduced
        return (ToSite(b"EHLO " + self._helo + b"\r\n"),)

    def _introduced(self, reply: bytes) -> Effects:
        if reply[:1] != b"2":
            return self._unreached()
        announced = re.search(rb"^250[ -]XCLIENT (.*)\r$", reply, re.M | re.I)
        if announced is None or b"ADDR" not in announced[1].upper().split():
            return self._tell_mail()
        self._reply = self._source_told
        source = self._setting.source
        return (ToSite(b"XCLIENT ADDR=" + (f"IPV6:{source}" if ":" in source else source).encode() + b"\r\n"),)

    def _source_told(self, reply: bytes) -> Effects:
        if reply[:1] != b"2":
            return self._tell_mail()
        self._reply = self._introduced_anew
        return (ToSite(b"EHLO " + self._helo + b"\r\n"),)

    def _introduced_anew(self, reply: bytes) -> Effects:
        return self._tell_mail() if reply[:1] == b"2" else self._unreached()

    def _tell_mail(self) -> Effects:
        assert self._mail is not None
        self._reply = self._mail_told
        return (ToSite(self._mail + b"\r\n"),)

    def _mail_told(self, reply: bytes) -> Effects:
        if reply[:1] != b"2":
            return (ToClient(reply),)
        self._told_mail = True
        return self._tell_recipient()

    def _tell_recipient(self) -> Effects:
        self._reply = self._recipient_told
        return (ToSite(self._rcpt + b"\r\n"),)

    def _recipient_told(self, reply: bytes) -> Effects:
        self._recipients += reply[:1] == b"2"
        return ToClient(reply), Patient(SILENT_S)

    def _data_told(self, reply: bytes) -> Effects:
        if reply[:1] == b"3":
            self._tail = b"\r\n"
        return (ToClient(reply),)

    def _message_told(self, reply: bytes) -> Effects:
        self._mail, self._told_mail, self._recipients = None, False, 0
        self._commands = 0
        return (ToClient(reply),)

    # -------------------------------------------------------------------------------------------------- bad ends

    def _unreached(self) -> list[Effect]:
        """The site's server takes no mail now: its recipient is to be tried again."""
        self._site, self._waiting, self._reply = None, False, None
        return [Part(), _say(b"451 4.3.2 " + TEXTS["unavailable"].encode())]

    def _away(self) -> list[Effect]:
        """The site's server is gone, or cannot be understood."""
        self._site = None
        idle = self._reply is None and self._mail is None and self._tail is None
        self._reply = None
        if idle:
            return [Part()]
        return [ToClient(b"421 4.3.2 the mailboxes move to another server, send it again\r\n"), End()]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        if trouble == "slow":
            return ToClient(b"421 4.4.2 " + TEXTS["slow"].encode() + b"\r\n"), End()
        self._site, self._waiting = None, False
        return [_say(b"451 4.3.2 " + TEXTS[trouble].encode()), *self._go_on()]

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: 421, or nothing between two messages."""
        if self._reply == self._server_ready:
            self._server, self._waiting, self._reply = Lines(MAX_LINE), True, None
            return (Again(),)
        return self._away()


_OTHERS = {
    b"NOOP": b"250 2.0.0 done",
    b"VRFY": b"252 2.5.2 send it and see",
    b"HELP": b"214 2.0.0 RFC 5321",
    b"EXPN": b"502 5.5.1 not here",
    b"AUTH": b"503 5.5.1 logins come at the port for submission",
    b"BDAT": b"502 5.5.1 not here",
}


def _say(text: bytes) -> ToClient:
    return ToClient(text + b"\r\n")
