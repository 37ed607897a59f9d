"""Keeps this node's audit log. Shell. See `hybrid.audit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from twisted.logger import Logger

from hybrid.api.calls import Answer, Call
from hybrid.api.ports import AuditStore, SharedMap
from hybrid.audit import START, Entry, Witness, digest
from hybrid.model import NodeId

MAX_KEPT = 100_000
"""Entries; older ones go."""
TRIM = 1000
"""So many at a time."""
MAX_TEXT = 500
PREFIX = "audit/"


class Audit:
    """The log of one node. Writing never fails a call: what cannot be written down is in the node's ordinary log."""

    log = Logger()

    def __init__(
        self, store: AuditStore, shared: SharedMap, node: NodeId, name: str, wall_s: Callable[[], float]
    ) -> None:
        """`name`: the node's, as decisions name it."""
        self._store, self._shared, self._node, self._name, self._wall_s = store, shared, node, name, wall_s
        newest = store.newest_audit()
        self._last = None if newest is None else msgspec.json.decode(newest, type=Entry)

    def answered(self, call: Call, answer: Answer) -> None:
        """A call that changes something was answered, or refused."""
        site = call.params.get("site", "")
        self._write("call", call.actor.name, f"{call.method} {call.path}", site, str(answer.status))

    def decided(self, kind: str, site: str, text: str) -> None:
        """This node decided something of its own."""
        self._write("decision", self._name, kind, site, text)

    def entries(self, after: int, limit: int) -> list[Entry]:
        """Up to `limit` with a number above `after`, oldest first."""
        return [msgspec.json.decode(record, type=Entry) for record in self._store.audits(after, limit)]

    def witness(self) -> Witness | None:
        """What the cluster was told last."""
        text = self._shared.get(PREFIX + self._node)
        return None if text is None else msgspec.json.decode(text, type=Witness)

    async def look(self) -> None:
        """Tell the cluster how far the log is, where it went on."""
        known = self.witness()
        if self._last is not None and (known is None or known.number != self._last.number):
            told = Witness(self._last.number, digest(self._last))
            self._shared.put(PREFIX + self._node, msgspec.json.encode(told).decode())

    def _write(self, kind: Literal["call", "decision"], actor: str, what: str, site: str, outcome: str) -> None:
        last = self._last
        entry = Entry(
            number=1 if last is None else last.number + 1,
            at_s=round(self._wall_s(), 3),
            kind=kind,
            actor=actor,
            what=what[:MAX_TEXT],
            site=site[:64],
            outcome=outcome[:MAX_TEXT],
            before=START if last is None else digest(last),
        )
        try:
            self._store.keep_audit(entry.number, msgspec.json.encode(entry))
            if entry.number % TRIM == 0:
                self._store.drop_audits(entry.number - MAX_KEPT)
        except Exception:
            self.log.failure("the audit log cannot be written: {what}", what=entry.what)
            return
        self._last = entry
