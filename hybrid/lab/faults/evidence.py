"""What was seen while a fault was on. Pure: all times come in, monotonic unless called wall times; in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hybrid.lab.measures import Ack, Answered, Happened, Resolved

Gravity = Literal["slow", "person", "fatal"]
"""What a breach costs: it worked, but not as promised; a person had to act; something is lost or wrong."""


@dataclass(frozen=True, slots=True)
class Window:
    """From one moment to another."""

    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that was not as it has to be."""

    gravity: Gravity
    what: str


@dataclass(frozen=True, slots=True)
class Branches:
    """What a site holds in the end: ids in the order they were written; those that cannot be read, with the reason."""

    main: Sequence[str]
    stashes: dict[str, Sequence[str]]
    unread: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Evidence:
    """
    All that was heard in one scenario.

    `began_s`, `fault_s`, `undone_s`, `agreed_s`: writers and probes at work; the fault's first moment; its last; one
    owner in all eyes again. `None`: it did not come so far. `fault_wall_s` is the wall time of `fault_s`.
    """

    began_s: float
    fault_s: float | None = None
    fault_wall_s: float | None = None
    undone_s: float | None = None
    agreed_s: float | None = None
    ended_s: float = 0.0
    pages: dict[str, list[Answered]] = field(default_factory=dict)
    names: dict[str, list[Resolved]] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    branches: Branches | None = None
    excused: dict[str, list[Window]] = field(default_factory=dict)
    """When which node need not answer."""
    apart: list[Window] = field(default_factory=list)
    """When nodes could not hear each other, so that two owners are as they should be (wall times)."""
    moved: tuple[str, str] | None = None
    """Address of an owner that is gone, and of its successor."""
    epochs: int = 0
    """By how much the epoch grew."""
    breaches: list[Breach] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    """Figures that only this scenario has."""
