"""
Whose word a register is: its writer signs it, and who got it from another checks that. Pure.

What comes from its writer over TLS is proven by that. What another node passes on is taken only with the writer's
signature over the whole part, under the key that the writer's id is the digest of; only what would be taken is checked,
so nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec

from hybrid.cluster.sealing import Seals
from hybrid.model import Copy, NodeId, NodeRegister, SiteId, SiteRegister

Part = TypeVar("Part", SiteRegister, Copy, NodeRegister)
_encode = msgspec.msgpack.Encoder().encode


class Vouching:
    """The signature of one node, and its judgement of others'."""

    def __init__(self, me: NodeId, seals: Seals | None, key_of: Callable[[NodeId], bytes | None]) -> None:
        """
        Args:
            seals: `None`: nothing is signed, and everything is believed.
            key_of: The key a node is known by; `None` while it is not known.
        """
        self._me, self._seals, self._key_of = me, seals, key_of
        self.ignored: Counter[str] = Counter()
        """Parts that were not believed: why to how many."""
        self.doubts = 0
        """How many in all."""

    def signed(self, part: Part, site: SiteId | None = None) -> Part:
        """`part`, which this node says about `site` (`None`: about itself), with its signature."""
        if self._seals is None:
            return part
        return msgspec.structs.replace(part, seal=self._seals.sign(_payload(self._me, part, site)))

    def believes(self, part: Part, writer: NodeId, sender: NodeId | None, site: SiteId | None = None) -> bool:
        """Whether `writer` said `part`, as `sender` tells; `None` is this node's own memory."""
        if self._seals is None or sender is None or sender == writer:
            return True
        key = part.key if isinstance(part, NodeRegister) else self._key_of(writer)
        if not key:
            return self._doubted("its writer is not known")
        payload = _payload(writer, part, site)
        if self._seals.belongs(key, writer) and self._seals.valid(key, payload, part.seal):
            return True
        return self._doubted("not signed by its writer")

    def _doubted(self, why: str) -> bool:
        self.ignored[why] += 1
        self.doubts += 1
        return False


def _payload(writer: NodeId, part: Part, site: SiteId | None) -> bytes:
    """What is signed: which kind of part, whose, about what, and all of it."""
    return _encode((type(part).__name__, writer, site, msgspec.structs.replace(part, seal=b"")))
