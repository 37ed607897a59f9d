"""A node's side of DNS without sockets: the shared map, registry, keys, and what name servers answer by them."""

from __future__ import annotations

from collections.abc import Callable

import dns.message

from hybrid.certs.vault import Sealed
from hybrid.dns_deeds import Edit
from hybrid.view import View
from hybrid_dns import book
from hybrid_dns.answer import Answers
from hybrid_dns.keys import Keys
from hybrid_dns.lookup import Zones
from hybrid_dns.registry import Registry
from hybrid_dns.zone import contents
from hybrid_dns.zonekeys import ZoneKeys

NOW_S = 1_790_000_000.0


class PlainSeals:
    """`Seals` that only turn around."""

    def seal(self, secret: bytes, about: str) -> Sealed:
        """See `hybrid_dns.tsigkeys.Seals`."""
        return Sealed(about, secret[::-1])

    def open(self, sealed: Sealed, about: str) -> bytes | None:
        """See `hybrid_dns.tsigkeys.Seals`."""
        return sealed.data[::-1] if sealed.key_id == about else None


class Map:
    """The shared map."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.followers: list[Callable[[str], None]] = []

    def put(self, key: str, value: str | None) -> None:
        """See `Shared`."""
        self.values.pop(key, None)
        if value is not None:
            self.values[key] = value
        for heard in self.followers:
            heard(key)

    def get(self, key: str) -> str | None:
        """See `Shared`."""
        return self.values.get(key)

    def prefix(self, prefix: str) -> dict[str, str]:
        """See `Shared`."""
        return {key: value for key, value in self.values.items() if key.startswith(prefix)}


class World:
    """A registry, and what name servers answer by it."""

    def __init__(self, view: View, shared: Map | None = None) -> None:
        self.view, self.shared = view, Map() if shared is None else shared
        self.now_s = NOW_S
        self.keys = Keys(self.shared, PlainSeals(), lambda count: bytes(range(count)))
        self.signing = ZoneKeys(self.shared, PlainSeals())
        self.registry = Registry(self.shared, lambda: self.view, self.keys, self.signing, lambda: self.now_s)
        self.shared.followers += [self.signing.heard, self.registry.heard, self.keys.heard]

    def set(self, zone: str, name: str, kind: str, *texts: str, ttl_s: int | None = None) -> None:
        """Have these records."""
        self.registry.edit(zone, [Edit(name=name, type=kind, records=texts, ttl_s=ttl_s)])

    def ask(self, name: str, kind: str) -> dns.message.Message:
        """What a name server says; asked twice, to see that the table says the same as the slow path."""
        answers = Answers(Zones(contents(self.view, book.read(self.shared.values)), 1))
        query = dns.message.make_query(name, kind).to_wire()
        first, second = answers.answer(query), answers.answer(query)
        assert first == second and first is not None
        return dns.message.from_wire(first)

    def texts(self, name: str, kind: str) -> list[str]:
        """The answer section, as text without names, classes and types."""
        return [rdata.to_text() for rrset in self.ask(name, kind).answer for rdata in rrset]
