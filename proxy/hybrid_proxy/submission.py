"""
Submission of mail by users, ports 587 and 465 (RFC 6409, 4954): up to the end of the login. Pure.

The client logs in here, as `user@domain`, by PLAIN or LOGIN; the login is made again, by PLAIN, at the server of that
domain's site. After it bytes only pass: all that the user sends goes through the server of its site.
"""

from __future__ import annotations

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
from hybrid_proxy.lines import Credentials, Lines, TooLong, read_plain, read_word

MAX_LINE = 4096
ATTEMPTS = 3


class Submission:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._secured = False
        self._host = ""
        self._lines, self._server = Lines(MAX_LINE), Lines(MAX_LINE)
        self._helo = b""
        self._asked = ""
        """What the next line of the client is: the message of PLAIN, or the `user` or `password` of LOGIN."""
        self._user = ""
        self._login: Credentials | None = None
        self._stage = 0
        """Of the login at the server: 0 its greeting, 1 EHLO, 2 AUTH."""
        self._reply = b""
        self._relayed = False
        self._attempts = 0

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return (_say("220 ESMTP ready, log in as user@domain"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`: nothing that was said in the clear counts."""
        self._secured, self._host, self._helo = True, host, b""
        return ()

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        try:
            self._lines.add(data)
            return self._go_on()
        except TooLong:
            return _say("500 5.5.2 that is too long"), End()

    def _go_on(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._login is None and (line := self._lines.line()) is not None:
            if self._asked:
                effects += self._told(line)
            else:
                verb, _, rest = line.partition(b" ")
                effects += self._do(verb.upper(), rest)
            if effects and isinstance(effects[-1], Secure | End):
                break
        return effects

    def _do(self, verb: bytes, rest: bytes) -> Effects:
        if verb in (b"EHLO", b"HELO"):
            return self._greeted(verb, rest)
        if verb == b"STARTTLS":
            if not self._setting.tls or self._secured or not self._lines.empty:
                return self._failed("503 5.5.1 no TLS now")
            return _say("220 2.0.0 begin"), Secure()
        if verb == b"AUTH":
            return self._authenticate(rest)
        if verb == b"QUIT":
            return _say("221 2.0.0 goodbye"), End()
        if verb in (b"NOOP", b"RSET"):
            return (_say("250 2.0.0 done"),)
        if verb in (b"MAIL", b"RCPT", b"DATA"):
            first = "530 5.7.0 log in first" if self._setting.may_log_in(self._secured) else "530 5.7.0 begin TLS first"
            return self._failed(first)
        return self._failed("500 5.5.1 that is no command here")

    def _greeted(self, verb: bytes, rest: bytes) -> Effects:
        if not rest or not rest.isascii() or not rest.decode().isprintable():
            return self._failed("501 5.5.4 that is no host name")
        self._helo = rest
        if verb == b"HELO":
            return (_say("250 ready"),)
        words = ["250-ready", "250-PIPELINING", "250-8BITMIME"]
        if self._setting.tls and not self._secured:
            words.append("250-STARTTLS")
        if self._setting.may_log_in(self._secured):
            words.append("250-AUTH PLAIN LOGIN")
        return (_say("\r\n".join([*words, "250 ENHANCEDSTATUSCODES"])),)

    def _authenticate(self, rest: bytes) -> Effects:
        if not self._helo:
            return self._failed("503 5.5.1 say EHLO first")
        if not self._setting.may_log_in(self._secured):
            return self._failed("530 5.7.0 begin TLS first")
        mechanism, _, message = rest.partition(b" ")
        if mechanism.upper() == b"PLAIN":
            self._asked = "plain"
            return self._told(message) if message else (_say("334 "),)
        if mechanism.upper() == b"LOGIN":
            self._asked = "user"
            return self._told(message) if message else (_say("334 VXNlcm5hbWU6"),)
        return self._failed("504 5.5.4 only PLAIN and LOGIN are spoken")

    def _told(self, line: bytes) -> Effects:
        """An answer to 334."""
        asked, self._asked = self._asked, ""
        if asked == "plain":
            login = read_plain(line)
            return self._find(login) if login is not None else self._failed("501 5.5.2 that is not understood")
        word = read_word(line)
        if not word:
            return self._failed("501 5.5.2 that is not understood")
        if asked == "user":
            self._user, self._asked = word, "password"
            return (_say("334 UGFzc3dvcmQ6"),)
        return self._find(Credentials(self._user, word))

    def _find(self, login: Credentials) -> Effects:
        user, past = split_moment(login.user)
        login = Credentials(user, login.password)
        site = self._setting.names.site([login.domain or self._host])
        if site is None or not login.fits_a_line:
            return self._failed(f"535 5.7.8 {TEXTS['unknown']}: log in as user@domain")
        self._login, self._stage, self._reply = login, 0, b""
        self._server = Lines(MAX_LINE)
        return (Find(site, past),)

    def _failed(self, text: str) -> list[Effect]:
        self._login = None
        self._attempts += 1
        said = _say(text)
        return [said, _say("421 4.7.0 too many errors"), End()] if self._attempts > 2 * ATTEMPTS else [said]

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
                self._reply += line + b"\r\n"
                if len(self._reply) > 8 * MAX_LINE:
                    raise TooLong
                if line[3:4] != b"-":
                    reply, self._reply = self._reply, b""
                    effects += self._answered(reply, self._login)
                    if effects and isinstance(effects[-1], Relay | End):
                        break
        except TooLong:
            return [*effects, *self._lost()]
        return effects

    def _answered(self, reply: bytes, login: Credentials) -> Effects:
        if self._stage < 2:
            if reply[:1] != b"2":
                return self._lost()
            self._stage += 1
            if self._stage == 1:
                return (ToSite(b"EHLO " + self._helo + b"\r\n"),)
            return (ToSite(b"AUTH PLAIN " + login.plain() + b"\r\n"),)
        if reply[:1] != b"2":
            return [Part(), *self._failed(reply.decode("utf-8", "replace").strip()), *self._go_on()]
        self._relayed = True
        return ToClient(reply + self._server.rest()), ToSite(self._lines.rest()), Relay()

    def _lost(self) -> list[Effect]:
        return [Part(), *self._failed(f"454 4.3.2 {TEXTS['unavailable']}"), *self._go_on()]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        if trouble == "slow":
            return _say("421 4.4.2 " + TEXTS["slow"]), End()
        return [*self._failed(f"454 4.3.2 {TEXTS[trouble]}"), *self._go_on()]

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: 421 at any time, as RFC 5321 §3.8 has it, but not amidst a reply."""
        if self._login is not None and self._stage == 0:
            self._server = Lines(MAX_LINE)
            return (Again(),)
        if not self._relayed:
            return self._lost()
        if last and not last.endswith(b"\r\n"):
            return (End(),)
        return _say("421 4.3.2 the mailboxes move to another server, connect again"), End()


def _say(text: str) -> ToClient:
    return ToClient(text.encode() + b"\r\n")
