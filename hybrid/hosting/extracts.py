"""
Gets something out of a past moment that is no file there, such as one table of a database. Shell.

The image's manifest names commands that can (`hybrid.manifest.Extract`). One is run in a throw-away container of the
site's own image on a clone of the moment, without network, after the site's own init has begun to start what it needs
(a database server, say). What it writes is kept for a while, to be downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hybrid.deeds import Progress, TimeMachine
from hybrid.errors import BadRequest, ContainerError, NoSuchPath
from hybrid.hosting.sandboxes import Sandbox, Sandboxes
from hybrid.manifest import Extract
from hybrid.model import Guid, SiteSpec
from hybrid.ports import ByteSource, Containers

KEEP_S = 900.0
"""A result can be downloaded for so long."""
OUTPUT = "/.hybrid-extract"
"""Where the command writes it, in its container."""
MAX_VALUE = 1000
"""Characters of a parameter."""


class Extracts:
    """The extracts that this node makes."""

    log = Logger()

    def __init__(self, clock: IReactorTime, containers: Containers, machine: TimeMachine, sandboxes: Sandboxes) -> None:
        self._clock, self._containers, self._machine, self._sandboxes = clock, containers, machine, sandboxes
        self._kept: dict[str, tuple[Sandbox, IDelayedCall]] = {}

    async def extract(
        self, spec: SiteSpec, guid: Guid, wanted: Extract, values: Mapping[str, str], token: str, progress: Progress
    ) -> None:
        """
        Make one; then `content(token)` has it, for `KEEP_S`.

        Raises:
            BadRequest: A value is missing, or is none of its parameters.
            ContainerError: The command failed, with the end of what it said.
            Conflict, StorageError: See `Sandboxes.open`.
        """
        argv = (*wanted.command, OUTPUT, *_arguments(wanted, values))
        sandbox = await self._sandboxes.open(spec, guid, {"HYBRID_EXTRACT": "1"}, progress)
        try:
            with progress.step("extract"):
                done = await self._containers.execute(sandbox.name, argv, timeout_s=wanted.deadline_s)
                if done.status:
                    said = (done.stderr or done.stdout)[-300:].decode("utf-8", "replace").strip()
                    raise ContainerError(f"{wanted.command[0]} ended with status {done.status}", said)
            with progress.step("stop container"):
                await self._sandboxes.stop(sandbox)
        except BaseException:
            await self._sandboxes.close(sandbox)
            raise
        self._kept[token] = (sandbox, self._clock.callLater(KEEP_S, self._expire, token))

    async def content(self, token: str) -> ByteSource:
        """What was extracted. Raises `NoSuchPath` when it is not here any more, or the command wrote nothing."""
        if token not in self._kept:
            raise NoSuchPath(
                "the extract is not kept any more", f"it is for {KEEP_S / 60:.0f} minutes", "make it again"
            )
        sandbox, timer = self._kept[token]
        if not self._sandboxes.is_open(sandbox):
            raise NoSuchPath("the extract is not kept any more", "the history of its site was changed", "make it again")
        timer.reset(KEEP_S)
        return await self._machine.read_lent(sandbox.name, OUTPUT)

    def _expire(self, token: str) -> None:
        sandbox, _ = self._kept.pop(token)
        Deferred.fromCoroutine(self._sandboxes.close(sandbox)).addErrback(
            lambda failure: self.log.failure("an extract could not be thrown away", failure)
        )


def _arguments(wanted: Extract, values: Mapping[str, str]) -> list[str]:
    """The values of its parameters, in their order."""
    unknown = sorted(set(values) - set(wanted.parameters))
    missing = sorted(set(wanted.parameters) - set(values))
    if unknown or missing:
        known = ", ".join(f"{name} ({text})" for name, text in wanted.parameters.items()) or "none"
        what = f"{unknown[0]} is not a parameter of it" if unknown else f"{missing[0]} is not given"
        raise BadRequest(what, f"its parameters: {known}")
    odd = next((name for name, value in values.items() if "\0" in value or len(value) > MAX_VALUE), None)
    if odd is not None:
        raise BadRequest(f"the value of {odd} cannot be used", f"at most {MAX_VALUE} characters, without NUL")
    return [values[name] for name in wanted.parameters]
