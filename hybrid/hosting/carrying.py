"""
Giving this node the floating addresses it is to have, and telling the network so. Shell.

Neighbours keep for minutes which machine an address is at. They are told by what nobody asked for: an ARP announcement
(RFC 5227 §3) or a neighbour advertisement (RFC 4861 §7.2.6), some times, and again when a node came or went, which may
have told them otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.hosting.floating import held, live
from hybrid.settings import Floating
from hybrid.view import View

LOOK_EVERY_S = 0.5
TELLINGS = 4


class Interfaces(Protocol):
    """The machine's."""

    async def add(self, one: Floating) -> None:
        """Give it the address; there: fine. Raises `OSError`."""

    async def remove(self, one: Floating) -> None:
        """Take it away; not there: fine. Raises `OSError`."""

    async def announce(self, one: Floating) -> None:
        """Tell the neighbours that it is here. Raises `OSError`."""


class Carrying:
    """
    See the module.

    Args:
        clock: Any epoch.
        floating: Of the settings.
        view: The newest.
        interfaces: Of this machine.
        wait_s: From the start to when the view says who lives. What an earlier process left is kept so long.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        floating: Sequence[Floating],
        view: Callable[[], View],
        interfaces: Interfaces,
        wait_s: float,
    ) -> None:
        self._clock, self._floating, self._view, self._interfaces = clock, floating, view, interfaces
        self._from_s = clock.seconds() + wait_s
        self._has: dict[Floating, bool] = {}
        self._live: dict[Floating, tuple[str, ...]] = {}
        self._to_tell: dict[Floating, int] = {}

    async def look(self) -> None:
        """Often: take what is ours now, leave what is not, tell the neighbours."""
        if not self._floating or self._clock.seconds() < self._from_s:
            return
        view = self._view()
        ours = held(self._floating, view)
        for one in self._floating:
            try:
                await self._be(one, one in ours, live(one, view))
            except OSError as error:
                self.log.warn(
                    "{address} at {interface}: {why}", address=one.address, interface=one.interface, why=error
                )

    async def _be(self, one: Floating, is_ours: bool, there: tuple[str, ...]) -> None:
        if self._has.get(one) != is_ours:
            await (self._interfaces.add(one) if is_ours else self._interfaces.remove(one))
            self._has[one] = is_ours
            self._live.pop(one, None)
            self.log.info("{address} is {where}", address=one.address, where="here" if is_ours else "not here")
        if self._live.get(one) != there:
            self._live[one], self._to_tell[one] = there, TELLINGS
        if is_ours and self._to_tell[one]:
            self._to_tell[one] -= 1
            await self._interfaces.announce(one)

    async def leave(self) -> None:
        """This node stops: another may have them."""
        for one in [one for one, is_ours in self._has.items() if is_ours]:
            try:
                await self._interfaces.remove(one)
            except OSError as error:
                self.log.warn("{address} could not be left: {why}", address=one.address, why=error)
        self._has = {}
