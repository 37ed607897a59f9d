"""
Operations: long calls as named steps that can be watched, that end with a result or an error, and that are remembered.

Shell: runs coroutines, keeps records in an `OperationStore`. At most one at a time for each site.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.api import problems, records
from hybrid.api.changes import Told
from hybrid.api.events import Events
from hybrid.api.names import short_node
from hybrid.api.ports import OperationStore
from hybrid.api.problems import Problem, Refusal
from hybrid.api.records import Record
from hybrid.api.schema import Operation, OperationState, Step
from hybrid.api.transfers import shown
from hybrid.api.waiting import Waiting
from hybrid.deeds import Hosting, Progress
from hybrid.errors import HybridError
from hybrid.model import NodeId, SiteId

MAX_KEPT = 1000
"""Operations remembered; the oldest that have ended go first."""
MAX_STEPS = 200

Work = Callable[[Progress], Awaitable[dict[str, object]]]
"""The long call itself; returns the operation's `result`."""


class Operations:
    """The operations of this node."""

    log = Logger()

    def __init__(
        self,
        node: NodeId,
        node_name: str,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        store: OperationStore,
        events: Events,
        random: Callable[[int], bytes],
        hosting: Hosting,
    ) -> None:
        """`hosting` is asked what is being moved. `clock` measures, `wall_s` (seconds since the epoch) dates."""
        self._node, self._node_name, self._clock, self._wall_s = node, node_name, clock, wall_s
        self._store, self._events, self._random, self._hosting = store, events, random, hosting
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._waiting = Waiting(clock)
        self._began_s: dict[str, float] = {}

    def recover(self) -> None:
        """At start: read what was remembered. What was running then has been interrupted, and says so."""
        for data in self._store.load_operations():
            try:
                record = msgspec.json.decode(data, type=Record)
            except msgspec.MsgspecError:
                self.log.failure("a remembered operation cannot be read")
                continue
            self._records[record.id] = record
            if record.state == "running":
                self._interrupt(record)

    def start(self, kind: str, subject: str, site: SiteId | None, actor: str, work: Work, key: str = "") -> Operation:
        """
        Begin `work`; it goes on after this returns.

        Args:
            subject: Name of the site (or image) it is about; with `site`, what only one operation at a time may touch.
            key: See `Record.key`.

        Raises:
            Refusal: 409, when another operation is at work on the same site or name.
        """
        self.refuse_if_busy(site, subject)
        record = Record(
            id=f"op-{short_node(self._node)}-{self._random(6).hex()}",
            kind=kind,
            site=site,
            site_name=subject or None,
            actor=actor,
            key=key,
            created_at_s=self._wall_s(),
        )
        self._records[record.id] = record
        self._began_s[record.id] = self._clock.seconds()
        self._forget_old()
        self._changed(record, save=True)
        Deferred.fromCoroutine(self._run(record, work))
        return self.shown(record)

    def refuse_if_busy(self, site: SiteId | None, subject: str) -> None:
        """Raises `Refusal` (409) that names the operation running on `site` or on what is called `subject`."""
        running = next((running for running in self._running() if running.is_about(site, subject)), None)
        if running is not None:
            raise Refusal(records.busy(running, subject))

    def get(self, operation_id: str) -> Operation | None:
        """One, or `None`."""
        record = self._records.get(operation_id)
        return self.shown(record) if record else None

    def by_key(self, key: str) -> Operation | None:
        """The one begun by the call with that idempotency key; also from before a restart."""
        return next((self.shown(record) for record in self._records.values() if key and record.key == key), None)

    def newest_first(self, limit: int, site: str | None = None, state: str | None = None) -> list[Operation]:
        """Up to `limit` of them; `site` is an id or a name."""
        found = []
        for record in reversed(self._records.values()):
            if site not in (None, record.site, record.site_name) or state not in (None, record.state):
                continue
            found.append(self.shown(record))
            if len(found) == limit:
                break
        return found

    async def wait(self, operation_id: str, timeout_s: float, seen: int | None = None) -> Operation | None:
        """
        The operation once it has ended, or at `timeout_s` as it then is; `None` when there is none.

        Args:
            seen: Return as soon as its revision is larger than this, not only at its end.
        """
        deadline_s = self._clock.seconds() + timeout_s
        while (record := self._records.get(operation_id)) is not None:
            left_s = deadline_s - self._clock.seconds()
            news = seen is not None and record.revision > seen
            if record.state != "running" or news or left_s <= 0:
                return self.shown(record)
            await self._waiting.next_change(operation_id, left_s)
        return None

    def shown(self, record: Record) -> Operation:
        """As the API gives it."""
        seconds = self._so_far_s(record.id) if record.seconds is None else record.seconds
        moving = [one for one in self._hosting.transfers() if record.moves(one)] if record.state == "running" else []
        return record.shown(self._node_name, seconds, tuple(shown(self._hosting.view(), one) for one in moving))

    async def _run(self, record: Record, work: Work) -> None:
        """Do the work and note how it ended. Never raises."""
        try:
            result = await work(_Steps(record, self._clock, self._changed))
        except Refusal as refusal:
            self._end(record, "failed", error=refusal.problem)
        except HybridError as error:
            self._end(record, "failed", error=problems.of_error(error, record.id))
        except Exception:
            self.log.failure("operation {id} failed", id=record.id)
            self._end(record, "failed", error=problems.internal(record.id))
        else:
            site = result.get("site_id")
            if record.site is None and isinstance(site, str):
                record.site = SiteId(site)
            self._end(record, "done", result=result)

    def _end(
        self,
        record: Record,
        state: OperationState,
        result: dict[str, object] | None = None,
        error: Problem | None = None,
    ) -> None:
        record.state, record.result, record.error = state, result, error
        record.seconds = self._so_far_s(record.id)
        self._began_s.pop(record.id, None)
        self._changed(record, save=True)
        self.log.info("operation {id} {kind} of {subject}: {state}", **_for_log(record))

    def _interrupt(self, record: Record) -> None:
        """Note that the process ended while it ran."""
        record.steps = [
            msgspec.structs.replace(step, state="failed") if step.state == "running" else step for step in record.steps
        ]
        self._end(record, "interrupted", error=records.interrupted(record))

    def _changed(self, record: Record, save: bool) -> None:
        """Count the change, write it down if it is to survive, wake those who wait."""
        record.revision += 1
        if save:
            try:
                self._store.save_operation(record.id, msgspec.json.encode(record))
            except Exception:
                self.log.failure("operation {id} cannot be written down", id=record.id)
            subject = f" of {record.site_name}" if record.site_name else ""
            told = Told("operation", f"{record.kind}{subject}: {record.state}", site=record.site, node=self._node)
            self._events.tell(told, operation=record.id)
        self._waiting.changed(record.id)

    def _so_far_s(self, operation_id: str) -> float:
        """Since it began; 0 for one of an earlier process."""
        now_s = self._clock.seconds()
        return round(now_s - self._began_s.get(operation_id, now_s), 3)

    def _running(self) -> Iterator[Record]:
        return (record for record in self._records.values() if record.state == "running")

    def _forget_old(self) -> None:
        """Keep the number bounded; those that run are never forgotten."""
        surplus = len(self._records) - MAX_KEPT
        ended = [record.id for record in self._records.values() if record.state != "running"]
        for operation_id in ended[: max(0, surplus)]:
            del self._records[operation_id]
            self._store.drop_operation(operation_id)


class _Steps:
    """`hybrid.deeds.Progress` on one record."""

    def __init__(self, record: Record, clock: IReactorTime, changed: Callable[[Record, bool], None]) -> None:
        self._record, self._clock, self._changed = record, clock, changed

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """See `hybrid.deeds.Progress`."""
        index, began_s = len(self._record.steps), self._clock.seconds()
        if index >= MAX_STEPS:
            yield
            return
        self._record.steps.append(Step(name=name, state="running"))
        self._changed(self._record, False)
        try:
            yield
        except BaseException:
            self._note(index, Step(name=name, state="failed", seconds=self._since(began_s)))
            raise
        self._note(index, Step(name=name, state="done", seconds=self._since(began_s)))

    def _note(self, index: int, step: Step) -> None:
        self._record.steps[index] = step
        self._changed(self._record, False)

    def _since(self, began_s: float) -> float:
        return round(self._clock.seconds() - began_s, 3)


def _for_log(record: Record) -> dict[str, str]:
    """Fields of one log line."""
    return {"id": record.id, "kind": record.kind, "subject": record.site_name or "-", "state": record.state}
