"""
Two nodes with one key: how each of them notices, and which of them gives way. Pure.

A disk was cloned, or a backup of a whole machine started beside it. Each life of a node has a *boot*, `(incarnation,
chance)`, which its register carries. A register of this node with another boot, and as new as its own, is of an earlier
life that it does not remember, or of a twin. This node outdoes it, naming that boot; an earlier life does not answer,
a twin does. The one that started later goes on. The other says so once more, then outdoes nothing, tells nobody of its
sites and claims none, until a person has stopped one of the two.
"""

from __future__ import annotations

from hybrid.model import NO_BOOT, Boot, NodeRegister, Version


class Twins:
    """
    What this life of a node knows of others of its name.

    Attributes:
        boot: Of this life.
        suspect: Of the other life last heard of, to be named in this node's register; `NO_BOOT` without one.
        other: Of a twin that certainly lives; `NO_BOOT` without one.
    """

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.suspect = self.other = NO_BOOT
        self._heard = Version(0, 0)

    @property
    def yields(self) -> bool:
        """Whether there is a twin that started later: this one gives way."""
        return self.other > self.boot

    def heard(self, register: NodeRegister, ours: NodeRegister | None) -> bool:
        """
        Take what others believe to be this node's register.

        Args:
            register: As they told it.
            ours: The one this node published last.

        Returns:
            Whether something is known now that was not before: publish again.
        """
        if register.boot in (self.boot, NO_BOOT):
            return False
        newer = ours is None or register.version >= ours.version
        answered = register.boot == self.suspect and register.version > self._heard
        if register.twin == self.boot or (newer and answered):
            return self._certain(register.boot)
        if not newer or register.boot == self.suspect:
            return False
        self.suspect, self._heard = register.boot, register.version
        return True

    def _certain(self, boot: Boot) -> bool:
        new = self.other != boot
        self.suspect = self.other = boot
        return new
