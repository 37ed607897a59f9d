"""The port of SSH: who connects there gets a transport; keys and routes come with the view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.conch.ssh.keys import BadKeyError, EncryptedKeyError, Key
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from hybrid.sessions import Kind, Size
from hybrid_proxy.house import House
from hybrid_proxy.pool import Connect
from hybrid_proxy.services import SSH
from hybrid_proxy.ssh.attendant import Attendant, opening_of
from hybrid_proxy.ssh.channels import SessionChannel
from hybrid_proxy.ssh.guesses import Guesses
from hybrid_proxy.ssh.transport import SshTransport
from hybrid_proxy.ssh.userauth import KeyRing, Login

HOST_KEY = "ssh/host"
"""The name of the cluster's host key among the secrets."""
STRANGERS = 300
"""Connections without a login, from wherever; more are refused until some have logged in or left."""
_KIND = b"ssh-ed25519"


class SshFactory(Factory[Any]):
    """
    See the module.

    Args:
        house: Shared.
        dial: Opens connections to nodes.
        clock: For delays.
        path: Of this node's socket for sessions.
    """

    noisy = False
    log = Logger()

    def __init__(self, house: House, dial: Connect, clock: IReactorTime, path: str) -> None:
        self.house, self._dial, self.clock, self._path = house, dial, clock, path
        self.ring = KeyRing(lambda name: house.routes.services.site(SSH, (name,)), house.routes.keys)
        self.guesses = Guesses()
        self.privateKeys: dict[bytes, Key] = {}
        self.publicKeys: dict[bytes, Key] = {}
        self.transports: set[SshTransport] = set()
        self.strangers: set[SshTransport] = set()
        """Those who have shown no key yet."""
        self.callers: set[Attendant] = set()
        """Sessions, and those who wait for one."""

    def follow_secrets(self, secrets: Mapping[str, str]) -> None:
        """Show the host key among `secrets` from now on; without one nobody is let in."""
        text = secrets.get(HOST_KEY)
        if text is None:
            return
        try:
            key = Key.fromString(text)
        except (BadKeyError, EncryptedKeyError, ValueError):
            self.log.failure("the host key of SSH cannot be read")
            return
        self.privateKeys, self.publicKeys = {_KIND: key}, {_KIND: key.public()}

    def follow(self) -> None:
        """The routes changed."""
        for attendant in list(self.callers):
            attendant.follow()

    def buildProtocol(self, addr: IAddress | None) -> SshTransport | None:
        """See `IProtocolFactory`."""
        source = getattr(addr, "host", ""), getattr(addr, "port", 0)
        if not self.privateKeys or len(self.strangers) >= STRANGERS or not self.house.sources.enter(source[0]):
            return None
        transport = SshTransport(source)
        transport.factory = self
        return transport

    def begin(
        self,
        channel: SessionChannel,
        login: Login,
        source: tuple[str, int],
        kind: Kind,
        command: str,
        terminal: str,
        size: Size,
        words: Mapping[str, str],
    ) -> Attendant:
        """A session for `channel`."""
        opening = opening_of(login, source, kind, command, terminal, size, words)
        return Attendant(self.house, self._dial, self._path, channel, login, source, opening, self.callers)

    def cut(self) -> None:
        """End all connections."""
        for transport in list(self.transports):
            transport.close(b"this server restarts its front doors: log in again")
