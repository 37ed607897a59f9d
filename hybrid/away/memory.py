"""`hybrid.away.ports.Objects` in memory: verified by the same contract tests as a real store. Pure."""

from __future__ import annotations

from hybrid.errors import NoSuchObject, StoreUnreachable


class MemoryObjects:
    """A bucket that lasts as long as this object."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.reachable = True
        self.fails_after: int | None = None
        """So many more calls succeed; then none does."""

    async def put(self, name: str, data: bytes) -> None:
        """See `Objects`."""
        self._called()
        self.objects[name] = bytes(data)

    async def get(self, name: str) -> bytes:
        """See `Objects`."""
        self._called()
        try:
            return self.objects[name]
        except KeyError:
            raise NoSuchObject(f"there is no object {name}") from None

    async def names(self, prefix: str) -> dict[str, int]:
        """See `Objects`."""
        self._called()
        return {name: len(self.objects[name]) for name in sorted(self.objects) if name.startswith(prefix)}

    async def folders(self, prefix: str) -> list[str]:
        """See `Objects`."""
        rests = (name.removeprefix(prefix) for name in await self.names(prefix))
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    async def remove(self, name: str) -> None:
        """See `Objects`."""
        self._called()
        self.objects.pop(name, None)

    def _called(self) -> None:
        if self.fails_after is not None:
            self.fails_after -= 1
        if not self.reachable or (self.fails_after is not None and self.fails_after < 0):
            raise StoreUnreachable("the store does not answer", "", "see that it runs")
