"""Lines of access logs that are not in the files of their sites yet: bounded, oldest first. Pure."""

from __future__ import annotations

from collections import deque

from hybrid.model import SiteId

SITE_BYTES = 1024 * 1024
"""Of one site; its oldest lines go first."""
ALL_BYTES = 32 * 1024 * 1024
"""Of all; beyond that no new ones are taken."""
PIECE_BYTES = 256 * 1024
"""As much is written at once."""


class Backlog:
    """
    What waits.

    Attributes:
        lost: Lines there was no room for, since this process began.
    """

    def __init__(self) -> None:
        self._lines: dict[SiteId, deque[bytes]] = {}
        self._sizes: dict[SiteId, int] = {}
        self._bytes = 0
        self.lost = 0

    def sites(self) -> list[SiteId]:
        """Those of which something waits; the one that was taken from last is the last."""
        return list(self._lines)

    def add(self, site: SiteId, line: bytes) -> None:
        """One more line, which ends in a line feed and has no other."""
        if self._bytes + len(line) > ALL_BYTES or len(line) > PIECE_BYTES:
            self.lost += 1
            return
        self._lines.setdefault(site, deque()).append(line)
        self._grow(site, len(line))
        self._shorten(site)

    def take(self, site: SiteId) -> list[bytes]:
        """The oldest lines, as many as are written at once; they are here no more."""
        waiting, taken, size = self._lines.pop(site, deque()), [], 0
        while waiting and size + len(waiting[0]) <= PIECE_BYTES:
            size += len(waiting[0])
            taken.append(waiting.popleft())
        self._grow(site, -size)
        if waiting:
            self._lines[site] = waiting
        return taken

    def put_back(self, site: SiteId, lines: list[bytes]) -> None:
        """They could not be written: they are the oldest again."""
        self._lines.setdefault(site, deque()).extendleft(reversed(lines))
        self._grow(site, sum(map(len, lines)))
        self._shorten(site)

    def forget(self, site: SiteId) -> None:
        """There is no such site any more."""
        self._grow(site, -sum(map(len, self._lines.pop(site, ()))))

    def _shorten(self, site: SiteId) -> None:
        waiting = self._lines[site]
        while waiting and self._sizes.get(site, 0) > SITE_BYTES:
            self._grow(site, -len(waiting.popleft()))
            self.lost += 1
        if not waiting:
            del self._lines[site]

    def _grow(self, site: SiteId, count: int) -> None:
        self._bytes += count
        self._sizes[site] = self._sizes.get(site, 0) + count
        if not self._sizes[site]:
            del self._sizes[site]
