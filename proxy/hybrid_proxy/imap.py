"""
IMAP: from the greeting to the end of a login (RFC 9051, 4959). Pure.

The client is greeted here and logs in here, as `user@domain`; the login is then made again, by AUTHENTICATE PLAIN, at
the server of that domain's site, whose answer goes to the client. A refused login may be tried again.
"""

from __future__ import annotations

import re

from hybrid_proxy.dialogue import (
    TEXTS,
    Again,
    Effect,
    Effects,
    End,
    Find,
    Part,
    Relay,
    Secure,
    Setting,
    ToClient,
    ToSite,
    Trouble,
    split_moment,
)
from hybrid_proxy.lines import Credentials, Lines, TooLong, read_plain

MAX_LINE = 8192
MAX_LITERAL = 1024
ATTEMPTS = 3
_LINE = re.compile(rb"([^\x00-\x20(){%*\"\\\]+]{1,64}) ([A-Za-z]{1,20})(?: (.*))?", re.DOTALL)
_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}$")
_STRING = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"|([^\x00-\x20(){%*"\\]+)|\{\d+\+?\}\r\n')
_TAG = b"hybrid"


class Imap:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._secured = False
        self._host = ""
        self._lines = Lines(MAX_LINE)
        self._server = Lines(MAX_LINE)
        self._command = b""
        """Of a command whose literals are still coming."""
        self._literal = 0
        self._tag = b"*"
        self._asked = False
        """The next line of the client is the message of AUTHENTICATE PLAIN."""
        self._login: Credentials | None = None
        self._greeted = self._relayed = False
        self._attempts = 0

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return (ToClient(b"* OK [CAPABILITY " + self._capabilities() + b"] ready, log in as user@domain\r\n"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`."""
        self._secured, self._host = True, host
        return ()

    def _capabilities(self) -> bytes:
        words = [b"IMAP4rev1", b"SASL-IR", b"LITERAL+", b"ID"]
        if self._setting.tls and not self._secured:
            words.append(b"STARTTLS")
        words.append(b"AUTH=PLAIN" if self._setting.may_log_in(self._secured) else b"LOGINDISABLED")
        return b" ".join(words)

    # ------------------------------------------------------------------------------------------------- the client

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        try:
            self._lines.add(data)
            return self._go_on()
        except TooLong:
            return ToClient(b"* BYE that is too long\r\n"), End()

    def _go_on(self) -> list[Effect]:
        """Understand what the client said, up to a login."""
        effects: list[Effect] = []
        while self._login is None:
            if self._literal:
                if (text := self._lines.exactly(self._literal)) is None:
                    break
                self._command += text
                self._literal = 0
            if (line := self._lines.line()) is None:
                break
            effects += self._understood(line)
            if effects and isinstance(effects[-1], Secure | End):
                break
        return effects

    def _understood(self, line: bytes) -> Effects:
        if self._asked:
            self._asked = False
            return self._authenticated(line)
        self._command += line
        literal = _LITERAL.search(line)
        if literal is not None:
            size = int(literal[1])
            if size > MAX_LITERAL or len(self._command) > MAX_LINE:
                raise TooLong
            self._literal = size
            self._command += b"\r\n"
            return () if literal[2] else (ToClient(b"+ go on\r\n"),)
        command, self._command = self._command, b""
        found = _LINE.fullmatch(command)
        if found is None:
            return self._bad(b"*", b"BAD that is no command")
        self._tag = found[1]
        return self._do(found[2].upper(), found[3] or b"")

    def _do(self, verb: bytes, rest: bytes) -> Effects:
        if verb == b"CAPABILITY":
            return ToClient(b"* CAPABILITY " + self._capabilities() + b"\r\n"), self._tagged(b"OK done")
        if verb == b"NOOP":
            return (self._tagged(b"OK done"),)
        if verb == b"ID":
            return ToClient(b"* ID NIL\r\n"), self._tagged(b"OK done")
        if verb == b"LOGOUT":
            return ToClient(b"* BYE goodbye\r\n"), self._tagged(b"OK done"), End()
        if verb == b"STARTTLS":
            if not self._setting.tls or self._secured or not self._lines.empty:
                return self._bad(self._tag, b"BAD no TLS now")
            return self._tagged(b"OK begin"), Secure()
        if verb not in (b"LOGIN", b"AUTHENTICATE"):
            return self._bad(self._tag, b"BAD log in first")
        if not self._setting.may_log_in(self._secured):
            return (self._tagged(b"NO [PRIVACYREQUIRED] begin TLS first"),)
        return self._log_in(rest) if verb == b"LOGIN" else self._authenticate(rest)

    def _log_in(self, rest: bytes) -> Effects:
        words = read_strings(rest)
        if words is None or len(words) != 2:
            return self._bad(self._tag, b"BAD user and password are wanted")
        user, password = (word.decode("utf-8", "surrogateescape") for word in words)
        return self._find(Credentials(user, password))

    def _authenticate(self, rest: bytes) -> Effects:
        mechanism, _, message = rest.partition(b" ")
        if mechanism.upper() != b"PLAIN":
            return (self._tagged(b"NO only PLAIN is spoken"),)
        if message:
            return self._authenticated(message)
        self._asked = True
        return (ToClient(b"+ \r\n"),)

    def _authenticated(self, message: bytes) -> Effects:
        login = read_plain(message)
        return self._bad(self._tag, b"BAD that is not understood") if login is None else self._find(login)

    def _find(self, login: Credentials) -> Effects:
        user, past = split_moment(login.user)
        login = Credentials(user, login.password)
        site = self._setting.names.site([login.domain or self._host])
        if site is None or not login.fits_a_line:
            return self._failed(b"NO [AUTHENTICATIONFAILED] " + TEXTS["unknown"].encode() + b": log in as user@domain")
        self._login, self._greeted = login, False
        self._server = Lines(MAX_LINE)
        return (Find(site, past),)

    def _bad(self, tag: bytes, text: bytes) -> Effects:
        self._attempts += 1
        said = ToClient(tag + b" " + text + b"\r\n")
        return (said, ToClient(b"* BYE too many errors\r\n"), End()) if self._attempts > 10 else (said,)

    def _tagged(self, text: bytes) -> ToClient:
        return ToClient(self._tag + b" " + text + b"\r\n")

    def _failed(self, text: bytes) -> list[Effect]:
        """The login is refused; a few more may be tried."""
        self._login = None
        self._attempts += 1
        said = self._tagged(text)
        return [said, ToClient(b"* BYE too many errors\r\n"), End()] if self._attempts >= ATTEMPTS else [said]

    # ------------------------------------------------------------------------------------------------- the server

    def joined(self) -> Effects:
        """See `Dialogue`: the server speaks first."""
        return ()

    def heard_site(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        effects: list[Effect] = []
        try:
            self._server.add(data)
            while self._login is not None and (line := self._server.line()) is not None:
                effects += self._answered(line, self._login)
                if effects and isinstance(effects[-1], Relay | End):
                    break
        except TooLong:
            return [*effects, *self._lost()]
        return effects

    def _answered(self, line: bytes, login: Credentials) -> Effects:
        if not self._greeted:
            if not line.upper().startswith(b"* OK"):
                return self._lost()
            self._greeted = True
            return (ToSite(_TAG + b" AUTHENTICATE PLAIN\r\n"),)
        if line.startswith(b"+"):
            return (ToSite(login.plain() + b"\r\n"),)
        if line.startswith(b"* BYE"):
            return self._lost()
        if not line.startswith(_TAG + b" "):
            return (ToClient(line + b"\r\n"),)
        answer = line[len(_TAG) + 1 :]
        if answer[:2].upper() != b"OK":
            return [Part(), *self._failed(answer), *self._go_on()]
        self._relayed = True
        said = self._tagged(answer)
        return said, ToClient(self._server.rest()), ToSite(self._lines.rest()), Relay()

    def _lost(self) -> list[Effect]:
        text = b"NO [UNAVAILABLE] " + TEXTS["unavailable"].encode()
        return [Part(), *self._failed(text), *self._go_on()]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        if trouble == "slow":
            return ToClient(b"* BYE " + TEXTS["slow"].encode() + b"\r\n"), End()
        return [*self._failed(b"NO [UNAVAILABLE] " + TEXTS[trouble].encode()), *self._go_on()]

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: BYE, where it is not amidst an answer."""
        if self._login is not None and not self._greeted and not self._relayed:
            self._server = Lines(MAX_LINE)
            return (Again(),)
        if not self._relayed:
            return self._lost()
        bye = ToClient(b"* BYE [UNAVAILABLE] the mailbox moves to another server, connect again\r\n")
        return (bye, End()) if last.endswith(b"\r\n") else (End(),)


def read_strings(text: bytes) -> list[bytes] | None:
    """Strings and atoms with one space between, literals with their text (RFC 9051, `astring`); else `None`."""
    words: list[bytes] = []
    at = 0
    while True:
        found = _STRING.match(text, at)
        if found is None:
            return None
        at = found.end()
        if found[0].endswith(b"\r\n"):
            size = int(found[0].strip(b"{+}\r\n"))
            words.append(text[at : at + size])
            at += size
        else:
            words.append(found[2] if found[1] is None else re.sub(rb'\\(["\\])', rb"\1", found[1]))
        if at == len(text):
            return words
        if text[at : at + 1] != b" ":
            return None
        at += 1
