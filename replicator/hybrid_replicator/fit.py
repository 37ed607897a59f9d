"""Decides what an offered stream means for what is here. Pure; the receiver's counterpart of `plan`."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid.history import History
from hybrid.model import Guid


@dataclass(frozen=True, slots=True)
class Held:
    """What is offered is the newest here already."""


@dataclass(frozen=True, slots=True)
class CutBack:
    """The sender's line ends at `to`; what came after it here is to be set aside, and nothing need be sent."""

    to: Guid


@dataclass(frozen=True, slots=True)
class Extends:
    """The stream begins where our line ends."""


@dataclass(frozen=True, slots=True)
class Diverges:
    """The stream begins at `base`; what came after it here is to be set aside first."""

    base: Guid


@dataclass(frozen=True, slots=True)
class Fresh:
    """There is no such dataset here yet."""


@dataclass(frozen=True, slots=True)
class Beside:
    """There is one that has nothing in common with the stream: both are kept."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """The stream begins at a snapshot that is not here."""


Fit = Held | CutBack | Extends | Diverges | Fresh | Beside | Misfit


def fit(ours: History | None, base: Guid | None, to: Guid, base_elsewhere: bool) -> Fit:
    """
    How a stream from `base` to `to` fits.

    Args:
        ours: Snapshots of the dataset here, oldest first; `None` when it is not here.
        base: `None` for a full stream.
        base_elsewhere: `base` is a snapshot of another dataset here (an image) of which a clone can be made.
    """
    guids = [snapshot.guid for snapshot in ours or ()]
    if to in guids:
        return Held() if guids[-1] == to else CutBack(to)
    if base in guids:
        return Extends() if guids[-1] == base else Diverges(guids[guids.index(base)])
    if base is not None and not base_elsewhere:
        return Misfit()
    return Fresh() if ours is None else Beside()
