"""What is remembered of an operation, and what is told of it. Pure."""

from __future__ import annotations

import msgspec

from hybrid.api.moments import rfc3339
from hybrid.api.problems import Problem, problem
from hybrid.api.schema import Operation, OperationState, Step
from hybrid.api.transfers import TransferAnswer
from hybrid.deeds import TransferSeen
from hybrid.model import SiteId


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One operation. Written down as JSON when it begins and when it ends."""

    id: str
    kind: str
    state: OperationState = "running"
    site: SiteId | None = None
    site_name: str | None = None
    actor: str = ""
    key: str = ""
    """The `Idempotency-Key` of the call that began it, made unique; `""` for none."""
    created_at_s: float
    seconds: float | None = None
    """In all; `None` while it runs."""
    steps: list[Step] = []
    revision: int = 0
    result: dict[str, object] | None = None
    error: Problem | None = None

    def is_about(self, site: SiteId | None, subject: str) -> bool:
        """Whether it is at work on `site`, or, where one of both has no id yet, on what is called `subject`."""
        if site is not None and self.site is not None:
            return self.site == site
        return bool(subject) and self.site_name == subject

    def moves(self, transfer: TransferSeen) -> bool:
        """Whether it waits for these bytes: its site's, or, as long as it has none, those that a restore fetches."""
        if self.site is None:
            return self.kind == "away-restore" and transfer.way == "fetch"
        return transfer.dataset.partition("/")[2].partition(".")[0] == self.site

    def shown(self, node_name: str, seconds: float, transfers: tuple[TransferAnswer, ...] = ()) -> Operation:
        """As the API gives it: run by `node_name`, for `seconds` so far."""
        return Operation(
            id=self.id,
            kind=self.kind,
            state=self.state,
            site=self.site,
            site_name=self.site_name,
            node=node_name,
            actor=self.actor,
            steps=tuple(self.steps),
            transfers=transfers,
            created_at=rfc3339(self.created_at_s),
            seconds=seconds,
            revision=self.revision,
            result=self.result,
            error=self.error,
        )


def busy(running: Record, subject: str) -> Problem:
    """409: `running` is at work on `subject` already."""
    return problem(
        409,
        "busy-with-operation",
        f"{subject} is busy with another operation",
        f"{running.kind} ({running.id}) is running",
        f"wait for it: `hybrid op wait {running.id}`",
        operation=running.id,
        retry_after_s=2,
    )


def interrupted(record: Record) -> Problem:
    """What ran when the process ended; the site itself is put right by the node's own recovery."""
    return problem(
        500,
        "interrupted",
        f"{record.kind} was interrupted",
        "the node's process ended while it was running, and recovered the site when it came back",
        "look at the site and, if it is not as you want it, start the operation again",
        operation=record.id,
    )
