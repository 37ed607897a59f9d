"""
POP3: from the greeting to the end of a login (RFC 1939, 2449, 2595, 5034). Pure.

The client logs in here, as `user@domain`; the login is made again with USER and PASS at the server of that domain's
site, whose answer goes to the client.
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
from hybrid_proxy.lines import Credentials, Lines, TooLong, read_plain

MAX_LINE = 1024
ATTEMPTS = 3


class Pop3:
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
        self._user = ""
        self._asked = False
        """The next line of the client is the message of AUTH PLAIN."""
        self._login: Credentials | None = None
        self._to_say: list[bytes] = []
        """To the server, each after a +OK."""
        self._relayed = False
        self._attempts = 0

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return (ToClient(b"+OK ready, log in as user@domain\r\n"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`."""
        self._secured, self._host = True, host
        return ()

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        try:
            self._lines.add(data)
            return self._go_on()
        except TooLong:
            return ToClient(b"-ERR that is too long\r\n"), End()

    def _go_on(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._login is None and (line := self._lines.line()) is not None:
            if self._asked:
                self._asked = False
                effects += self._authenticated(line)
            else:
                verb, _, rest = line.partition(b" ")
                effects += self._do(verb.upper(), rest)
            if effects and isinstance(effects[-1], Secure | End):
                break
        return effects

    def _do(self, verb: bytes, rest: bytes) -> Effects:
        if verb == b"CAPA":
            return (ToClient(b"+OK\r\n" + self._capabilities() + b".\r\n"),)
        if verb == b"QUIT":
            return ToClient(b"+OK goodbye\r\n"), End()
        if verb == b"STLS":
            if not self._setting.tls or self._secured or not self._lines.empty:
                return self._failed("no TLS now")
            return ToClient(b"+OK begin\r\n"), Secure()
        if verb not in (b"USER", b"PASS", b"AUTH"):
            return self._failed("log in first")
        if not self._setting.may_log_in(self._secured):
            return self._failed("begin TLS first")
        if verb == b"USER":
            self._user = rest.decode("utf-8", "surrogateescape")
            return (ToClient(b"+OK\r\n"),)
        if verb == b"PASS":
            return self._find(Credentials(self._user, rest.decode("utf-8", "surrogateescape")))
        mechanism, _, message = rest.partition(b" ")
        if mechanism.upper() != b"PLAIN":
            return self._failed("only PLAIN is spoken")
        if message:
            return self._authenticated(message)
        self._asked = True
        return (ToClient(b"+ \r\n"),)

    def _capabilities(self) -> bytes:
        words = b"TOP\r\nUIDL\r\nRESP-CODES\r\n"
        if self._setting.tls and not self._secured:
            words += b"STLS\r\n"
        return words + b"USER\r\nSASL PLAIN\r\n" if self._setting.may_log_in(self._secured) else words

    def _authenticated(self, message: bytes) -> Effects:
        login = read_plain(message)
        return self._failed("that is not understood") if login is None else self._find(login)

    def _find(self, login: Credentials) -> Effects:
        user, past = split_moment(login.user)
        login = Credentials(user, login.password)
        site = self._setting.names.site([login.domain or self._host])
        if site is None or not login.fits_a_line or " " in login.user:
            return self._failed(f"[AUTH] {TEXTS['unknown']}: log in as user@domain")
        self._login = login
        lines = (f"USER {login.user}\r\n", f"PASS {login.password}\r\n")
        self._to_say = [line.encode("utf-8", "surrogateescape") for line in lines]
        self._server = Lines(MAX_LINE)
        return (Find(site, past),)

    def _failed(self, text: str) -> list[Effect]:
        self._login = None
        self._attempts += 1
        said = ToClient(f"-ERR {text}\r\n".encode())
        return [said, End()] if self._attempts >= ATTEMPTS else [said]

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
                effects += self._answered(line)
                if effects and isinstance(effects[-1], Relay | End):
                    break
        except TooLong:
            return [*effects, *self._lost()]
        return effects

    def _answered(self, line: bytes) -> Effects:
        if not line.startswith(b"+OK"):
            if len(self._to_say) == 2 or not line.startswith(b"-ERR"):
                return self._lost()
            text = line[5:].decode("utf-8", "replace")
            return [Part(), *self._failed(text), *self._go_on()]
        if self._to_say:
            return (ToSite(self._to_say.pop(0)),)
        self._relayed = True
        return ToClient(line + b"\r\n" + self._server.rest()), ToSite(self._lines.rest()), Relay()

    def _lost(self) -> list[Effect]:
        return [Part(), *self._failed(f"[SYS/TEMP] {TEXTS['unavailable']}"), *self._go_on()]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        if trouble == "slow":
            return ToClient(b"-ERR [SYS/TEMP] " + TEXTS["slow"].encode() + b"\r\n"), End()
        return [*self._failed(f"[SYS/TEMP] {TEXTS[trouble]}"), *self._go_on()]

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: a server says nothing of its own accord."""
        if self._login is not None and len(self._to_say) == 2:
            self._server = Lines(MAX_LINE)
            return (Again(),)
        return (End(),) if self._relayed else self._lost()
