"""
The cluster's certificates on this node: taken, sealed, replicated, opened again and handed to the front doors. Shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from twisted.logger import Logger

from hybrid.certs import bundle, records, vault, wishes
from hybrid.certs.names import covers
from hybrid.certs.ports import Shared
from hybrid.certs.records import Record, Shown
from hybrid.errors import BadRequest, NoSuchCertificate
from hybrid.model import NodeId, SiteId
from hybrid.view import View

Show = Callable[[Mapping[str, str]], None]
"""Takes all that the front doors are to have, by name (`cert/<name>`, JSON of `Shown`, …)."""


class Certificates:
    """
    See the module.

    Args:
        keys: This node's access to the cluster keys.
        shared: The cluster's shared map.
        nodes: The cluster's nodes, to their public keys (DER).
        view: Which sites there are.
        wall_s: Seconds since the epoch.
        show: Hears of all that the front doors are to have, whenever that changed.
    """

    log = Logger()

    def __init__(
        self,
        keys: vault.Vault,
        shared: Shared,
        nodes: Callable[[], Mapping[NodeId, bytes]],
        view: Callable[[], View],
        wall_s: Callable[[], float],
        show: Show,
    ) -> None:
        self._keys, self._shared, self._nodes, self._view = keys, shared, nodes, view
        self._wall_s, self._show = wall_s, show
        self._opened: dict[str, tuple[str, str]] = {}
        self._told: dict[str, str] | None = None
        self.beside: list[Callable[[], Mapping[str, str]]] = []
        """What else the front doors are to have."""

    # --------------------------------------------------------------------------------------------- what there is

    def all(self) -> list[Record]:
        """Those known, by name."""
        found = records.decode(self._shared.prefix(records.KEY))
        return [found[name] for name in sorted(found)]

    def find(self, name: str) -> Record:
        """One. Raises `NoSuchCertificate`."""
        found = records.decode(self._shared.prefix(records.KEY)).get(name)
        if found is None:
            raise NoSuchCertificate(f"there is no certificate {name[:100]}", "", "hybrid cert list")
        return found

    def sites_of(self, record: Record) -> list[str]:
        """Names of the sites it is shown for, sorted."""
        sites = self._view().sites.values()
        return sorted(
            seen.spec.name
            for seen in sites
            if record.site in (None, seen.spec.id)
            and any(covers(name, domain) for name in record.names for domain in seen.spec.domains)
        )

    # ---------------------------------------------------------------------------------------------------- changes

    def upload(self, chain: str, key: str, site: SiteId | None, by: str) -> Record:
        """
        Take a certificate that somebody has.

        Raises:
            BadRequest: See `hybrid.certs.bundle.read`; or no site here has a domain that it is for.
        """
        return self.keep(bundle.read(chain, key, self._wall_s()), "uploaded", site, by)

    def keep(self, read: bundle.Bundle, source: records.Source, site: SiteId | None, by: str) -> Record:
        """Seal, replicate and show a checked certificate. Raises `BadRequest`."""
        name = read.names[0]
        record = Record(
            name=name,
            names=read.names,
            chain=read.chain,
            key=self.seal(read.key.encode(), name),
            not_before_s=read.not_before_s,
            not_after_s=read.not_after_s,
            issuer=read.issuer,
            source=source,
            site=site,
            by=by,
            at_s=int(self._wall_s()),
        )
        if not self.sites_of(record):
            which = "site" if site is None else "domain of that site"
            hint = "give the site its domain first: hybrid site set SITE --domain DOMAIN"
            raise BadRequest(f"no {which} here is named by this certificate", ", ".join(read.names)[:300], hint)
        self._shared.put(*records.encode(record))
        self.look()
        return record

    def seal(self, secret: bytes, about: str) -> vault.Sealed:
        """Seal a secret of somebody else for all nodes, bound to the name `about`."""
        self._learn()
        self._keys.make()
        self._share_keys()
        return self._keys.seal(secret, about)

    def open(self, sealed: vault.Sealed, about: str) -> bytes | None:
        """What was sealed; `None` while this node does not have the cluster key."""
        self._learn()
        return self._keys.open(sealed, about)

    def remove(self, name: str) -> None:
        """Show it no more. Raises `NoSuchCertificate`."""
        self._shared.put(records.KEY + self.find(name).name, None)
        self.look()

    # ------------------------------------------------------------------------------------------------- following

    def look(self) -> None:
        """Hand cluster keys to who lacks them, and the front doors what is new. Cheap when nothing is."""
        self._learn()
        self._share_keys()
        found = self._shared.prefix(records.KEY)
        for place in self._opened.keys() - found.keys():
            del self._opened[place]
        for place, value in found.items():
            known = self._opened.get(place)
            if known is None or known[0] != value:
                self._open(place, value)
        told = {place: text for place, (_, text) in self._opened.items()}
        told |= wishes.texts(self._shared.prefix(wishes.ANSWER))
        for others in self.beside:
            told |= others()
        if told != self._told:
            self._told = told
            self._show(told)

    def _open(self, place: str, value: str) -> None:
        record = records.decode({place: value}).get(place.removeprefix(records.KEY))
        key = self._keys.open(record.key, record.name) if record is not None else None
        if record is None or key is None:
            return  # its cluster key comes with a later look
        shown = Shown(
            names=record.names,
            chain=record.chain,
            key=key.decode(),
            not_after_s=record.not_after_s,
            source=record.source,
            site=record.site,
        )
        self._opened[place] = value, msgspec.json.encode(shown).decode()
        self.log.info("certificate {name} is shown from now on", name=record.name)

    def _learn(self) -> None:
        self._keys.learn(self._shared.prefix(vault.KEY))

    def _share_keys(self) -> None:
        known, nodes = self._shared.prefix(vault.KEY), self._nodes()
        for place, wrapped in self._keys.missing(known, nodes).items():
            self._shared.put(place, wrapped)
