"""
FTP (RFC 959, 2428, 4217): the control connection. Pure.

The client logs in here, as `user@site`, and again, as `user`, at the server of that site. Commands and replies pass
line by line from then on, as those that open data connections must be understood: the client is told a port of this
node's own, which leads to the one that the server opened. Addresses that a server names are not looked at, and clients
cannot name any (PORT), so that nobody is sent anywhere (RFC 2577). TLS ends here, that of data connections too.
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
    OpenData,
    Part,
    Patient,
    Secure,
    Setting,
    ToClient,
    ToSite,
    Trouble,
    login_names,
    split_moment,
)
from hybrid_proxy.lines import Lines, TooLong

MAX_LINE = 4096
ATTEMPTS = 3
IDLE_S = 1800.0
_PASSIVE = re.compile(r"\((\d{1,3},){4}(\d{1,3}),(\d{1,3})\)")
_EXTENDED = re.compile(r"\((.)\1\1(\d{1,5})\1\)")
_REFUSED = {
    "PORT": "502 use passive mode",
    "EPRT": "502 use passive mode",
    "LPRT": "502 use passive mode",
    "LPSV": "502 use EPSV",
    "REIN": "502 connect again instead",
    "CCC": "533 not here",
    "AUTH": "503 not now",
}


class Ftp:
    """
    See `hybrid_proxy.dialogue.Dialogue`.

    Args:
        setting: Of the connection.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._secured = self._private = False
        self._host = ""
        self._lines, self._server = Lines(MAX_LINE), Lines(MAX_LINE)
        self._user = ""
        self._own_user = ""
        self._password = ""
        self._looking = self._logged_in = False
        self._stage = 0
        """Of the login at the server: 0 its greeting, 1 USER, 2 PASS."""
        self._passive = ""
        """The command that asked for a data connection, until that is answered."""
        self._attempts = 0

    def begin(self) -> Effects:
        """See `Dialogue`."""
        return (_say("220 ready, log in as user@site"),)

    def secured(self, host: str) -> Effects:
        """See `Dialogue`: nothing that was said in the clear counts."""
        self._secured, self._host, self._user = True, host, ""
        return ()

    # ------------------------------------------------------------------------------------------------- the client

    def heard_client(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        try:
            self._lines.add(data)
            return self._go_on()
        except TooLong:
            return _say("500 that is too long"), End()

    def _go_on(self) -> list[Effect]:
        effects: list[Effect] = []
        while not self._looking and not self._passive and (line := self._lines.line()) is not None:
            text = line.lstrip(b"\xff\xf4\xf2").decode("utf-8", "surrogateescape")  # telnet's, before ABOR
            verb, _, rest = text.partition(" ")
            if "\r" in text or "\n" in text or "\0" in text:
                return [*effects, _say("500 only CR and LF together end a line"), End()]
            effects += self._in_session(verb.upper(), rest, text) if self._logged_in else self._do(verb.upper(), rest)
            if effects and isinstance(effects[-1], Find | Secure | End):
                break
        return effects

    def _do(self, verb: str, rest: str) -> Effects:
        """Before the login."""
        if verb == "USER":
            if not self._setting.may_log_in(self._secured):
                return self._failed("530 begin TLS first (AUTH TLS)")
            self._user = rest
            return (_say("331 the password"),)
        if verb == "PASS":
            return self._find(rest)
        if verb == "AUTH":
            wants_tls = rest.upper() in ("TLS", "TLS-C", "SSL")
            if not wants_tls or not self._setting.tls or self._secured or not self._lines.empty:
                return self._failed("504 no such security now")
            return _say("234 begin"), Secure()
        if verb == "FEAT":
            features = ["211-features", " UTF8", " EPSV", " PASV"]
            if self._setting.tls:
                features += [" AUTH TLS", " PBSZ", " PROT"]
            return (_say("\r\n".join([*features, "211 end"])),)
        if verb in ("PBSZ", "PROT"):
            return self._protect(verb, rest)
        if verb == "QUIT":
            return _say("221 goodbye"), End()
        if verb in ("NOOP", "OPTS", "SYST", "CLNT"):
            return (_say("215 UNIX Type: L8" if verb == "SYST" else "200 fine"),)
        return self._failed("530 log in first")

    def _protect(self, verb: str, rest: str) -> Effects:
        """RFC 4217: data connections in the clear (C) or within TLS (P)."""
        if not self._secured:
            return (_say("503 AUTH TLS first"),)
        if verb == "PBSZ":
            return (_say("200 PBSZ=0"),)
        if rest.upper() not in ("C", "P"):
            return (_say("536 only C and P"),)
        self._private = rest.upper() == "P"
        return (_say("200 fine"),)

    def _find(self, password: str) -> Effects:
        if not self._user:
            return self._failed("503 USER first")
        full, past = split_moment(self._user)
        user, named = login_names(full)
        names = self._setting.names
        by_user = names.site([named]) if named else None
        site = by_user or names.site([self._host])
        if site is None:
            return self._failed(f"530 {TEXTS['unknown']}: log in as user@site")
        self._own_user, self._password = (user if by_user else full), password
        self._looking, self._stage = True, 0
        self._server = Lines(MAX_LINE)
        return (Find(site, past),)

    def _failed(self, text: str) -> list[Effect]:
        self._looking = False
        self._attempts += 1
        said = _say(text)
        return [said, _say("421 too many errors"), End()] if self._attempts > 2 * ATTEMPTS else [said]

    def _in_session(self, verb: str, rest: str, text: str) -> Effects:
        if verb in ("PBSZ", "PROT"):
            return self._protect(verb, rest)
        if verb in _REFUSED:
            return (_say(_REFUSED[verb]),)
        if verb in ("PASV", "EPSV"):
            self._passive = verb
            text = "EPSV" if verb == "EPSV" and rest.upper() != "ALL" else text
            if verb == "EPSV" and rest.upper() == "ALL":
                self._passive = ""
                return (_say("200 fine"),)
        return (ToSite(text.encode("utf-8", "surrogateescape") + b"\r\n"),)

    # ------------------------------------------------------------------------------------------------- the server

    def joined(self) -> Effects:
        """See `Dialogue`: the server speaks first."""
        return ()

    def heard_site(self, data: bytes) -> Effects:
        """See `Dialogue`."""
        effects: list[Effect] = []
        try:
            self._server.add(data)
            while (self._looking or self._logged_in) and (line := self._server.line()) is not None:
                text = line.decode("utf-8", "surrogateescape")
                if self._logged_in:
                    effects += self._passed(text)
                elif text[:3].isdigit() and text[3:4] == " ":
                    effects += self._answered(text)
                if effects and isinstance(effects[-1], End):
                    break
        except TooLong:
            return [*effects, *self._lost()]
        return effects

    def _answered(self, text: str) -> Effects:
        """A reply to a step of the login."""
        self._stage += 1
        if self._stage == 1 and text[0] == "2":
            return (ToSite(f"USER {self._own_user}\r\n".encode("utf-8", "surrogateescape")),)
        if self._stage == 2 and text[0] == "3":
            return (ToSite(f"PASS {self._password}\r\n".encode("utf-8", "surrogateescape")),)
        self._password = ""
        if text[0] == "2" and self._stage > 1:
            self._looking, self._logged_in = False, True
            return [Patient(IDLE_S), _say(text), *self._go_on()]
        if self._stage == 1 or text[0] == "4":
            return self._lost()
        return [Part(), *self._failed(text), *self._go_on()]

    def _passed(self, text: str) -> Effects:
        """A line of a reply after the login."""
        if not self._passive or not text[:3].isdigit() or text[3:4] == "-":
            return (_say(text),)
        port = data_port(text)
        if port is not None:
            return (OpenData(port, self._private, self._data_opened),)
        self._passive = ""
        return [_say("425 no data connection can be opened" if text[0] == "2" else text), *self._go_on()]

    def _data_opened(self, address: str, port: int | None) -> Effects:
        """
        The answer to `OpenData`.

        Args:
            address: Of this node, IPv4, that the client is connected to.
            port: Where it is listened to; `None`: none is free.
        """
        asked, self._passive = self._passive, ""
        if port is None or (asked == "PASV" and ":" in address):
            return [_say("425 no data connection can be opened"), *self._go_on()]
        if asked == "EPSV":
            return [_say(f"229 Entering Extended Passive Mode (|||{port}|)"), *self._go_on()]
        numbers = ",".join([*address.split("."), str(port >> 8), str(port & 255)])
        return [_say(f"227 Entering Passive Mode ({numbers})."), *self._go_on()]

    def _lost(self) -> list[Effect]:
        return [Part(), *self._failed(f"430 {TEXTS['unavailable']}"), *self._go_on()]

    def refused(self, trouble: Trouble) -> Effects:
        """See `Dialogue`."""
        if trouble == "slow":
            return _say("421 " + TEXTS["slow"]), End()
        return [*self._failed(f"430 {TEXTS[trouble]}"), *self._go_on()]

    def farewell(self, last: bytes) -> Effects:
        """See `Dialogue`: 421 at any time, as RFC 959 has it."""
        if self._looking and self._stage == 0:
            self._server = Lines(MAX_LINE)
            return (Again(),)
        if not self._logged_in:
            return self._lost()
        return _say("421 the site moves to another server, connect again"), End()


def data_port(text: str) -> int | None:
    """The port in a reply to PASV or EPSV; `None` when there is none, or one of a system's own service."""
    if text.startswith("227"):
        found = _PASSIVE.search(text)
        port = int(found[2]) * 256 + int(found[3]) if found else 0
    else:
        extended = _EXTENDED.search(text) if text.startswith("229") else None
        port = int(extended[2]) if extended else 0
    return port if 1024 <= port <= 65535 else None


def _say(text: str) -> ToClient:
    return ToClient(text.encode("utf-8", "surrogateescape") + b"\r\n")
