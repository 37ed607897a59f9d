"""
The service `ssh-userauth` (RFC 4252): public keys only, checked against those of the site that is logged in to. Shell.

Conch's own imports the global reactor, which this process installs later. Nothing that is answered tells whether a site
is there: one that is not has no keys, which is looked up and answered like any wrong key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, DISCONNECT_PROTOCOL_ERROR
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hybrid import sshkeys
from hybrid.model import SiteId
from hybrid_proxy.dialogue import split_moment

if TYPE_CHECKING:
    from hybrid_proxy.ssh.transport import SshTransport

REQUEST, FAILURE, SUCCESS, KEY_IS_GOOD = 50, 51, 52, 60
ATTEMPTS = 8
"""Refusals, the question of what may be tried among them; then the connection is closed."""
NEXT = b"ssh-connection"


@dataclass(frozen=True, slots=True)
class Login:
    """Who has shown a key."""

    site: SiteId
    moment: str
    """A past one of the site, as the login named it; empty: now."""
    key: str
    """What its owner called the key."""


class KeyRing:
    """
    Which keys open which site.

    Args:
        site: The site of a name; `None`: there is none.
        keys: Lines of the keys of a site.
    """

    def __init__(self, site: Callable[[str], SiteId | None], keys: Callable[[SiteId], tuple[str, ...]]) -> None:
        self._site, self._keys = site, keys

    def owner(self, user: bytes, blob: bytes) -> Login | None:
        """Who logs in as `user` with the key `blob`; `None`: nobody."""
        name, moment = split_moment(user.decode("utf-8", "replace"))
        site = self._site(name)
        comment = sshkeys.is_allowed(self._keys(site) if site is not None else (), blob)
        return Login(site, moment, comment) if site is not None and comment is not None else None


class UserAuth(SSHService):
    """One connection's. `ring`: who may log in. `clock`: for delays. `wrong`: how long a wrong key has to wait."""

    name = b"ssh-userauth"
    protocolMessages = {REQUEST: "MSG_USERAUTH_REQUEST"}
    transport: SshTransport

    def __init__(self, ring: KeyRing, clock: IReactorTime, wrong: Callable[[], float]) -> None:
        self._ring, self._clock, self._wrong = ring, clock, wrong
        self._refused = 0
        self._delay: IDelayedCall | None = None

    def serviceStopped(self) -> None:
        """See `SSHService`."""
        if self._delay is not None and self._delay.active():
            self._delay.cancel()

    def ssh_USERAUTH_REQUEST(self, packet: bytes) -> None:
        """One try: user, the service wanted next, method, and what belongs to that."""
        if self._delay is not None and self._delay.active():
            self.transport.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, b"one try after the other")
            return
        user, service, method, rest = getNS(packet, 3)
        login = self._publickey(user, rest) if service == NEXT and method == b"publickey" else None
        if isinstance(login, Login):
            self.transport.sendPacket(SUCCESS, b"")
            self.transport.logged_in(login)
        elif login is None:
            self._refuse(0.0 if method == b"none" and not self._refused else self._wrong())

    def _publickey(self, user: bytes, rest: bytes) -> Login | bool | None:
        """Who showed a key; `True`: answered otherwise; `None`: refused."""
        is_signed, (algorithm, blob, rest) = rest[:1] != b"\0", getNS(rest[1:], 2)
        if algorithm.decode("ascii", "replace") not in sshkeys.ALGORITHMS:
            return None
        login = self._ring.owner(user, blob)
        if not is_signed:
            if login is not None:
                self.transport.sendPacket(KEY_IS_GOOD, NS(algorithm) + NS(blob))
            return login is not None or None
        session = self.transport.sessionID
        assert session is not None  # nobody gets here without one
        asked = bytes((REQUEST,)) + NS(user) + NS(NEXT) + NS(b"publickey") + b"\1" + NS(algorithm) + NS(blob)
        signature, _ = getNS(rest)
        if login is None or not sshkeys.verifies(blob, algorithm, signature, NS(session) + asked):
            return None
        return login

    def _refuse(self, delay_s: float) -> None:
        self._refused += 1
        if delay_s > 0:
            self._delay = self._clock.callLater(delay_s, self._say_no)
        else:
            self._say_no()

    def _say_no(self) -> None:
        if self._refused >= ATTEMPTS:
            self.transport.sendDisconnect(DISCONNECT_NO_MORE_AUTH_METHODS_AVAILABLE, b"too many keys were refused")
        else:
            self.transport.sendPacket(FAILURE, NS(b"publickey") + b"\0")
