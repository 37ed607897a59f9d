"""
What stands in etcd about strict sites: who owns each, and on which holders that owner counts. Shell.

`/hybrid/<cluster>/own/<site>` is the owner's id, on the lease of the owner; its `mod_revision` is the claim's epoch.
`/hybrid/<cluster>/holders/<site>` are ids, written only while the first key is as it was. `/hybrid/<cluster>/raised`
is written to bring the revisions of a young etcd beyond the epochs that a site has seen.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hybrid.errors import Conflict
from hybrid.model import Claim, NodeId, SiteId
from hybrid.strict.ports import Etcd, Reading

AT_ONCE = 50
"""Sites per reading."""
RAISE_AT_MOST = 1000
"""Revisions that a claim may skip; a larger gap is a person's to explain."""


@dataclass(frozen=True, slots=True)
class Record:
    """What stands there about one site."""

    owner: NodeId | None
    revision: int
    """Of the owner's key; 0 without."""
    lease: int
    counted: frozenset[NodeId] | None
    """`None`: nothing is written."""
    counted_revision: int
    store_revision: int
    """Of the store, when it was read."""


class Records:
    """The keys of one cluster in etcd."""

    def __init__(self, etcd: Etcd, cluster: str) -> None:
        self._etcd, self._root = etcd, f"/hybrid/{cluster}"

    def _own(self, site: SiteId) -> str:
        return f"{self._root}/own/{site}"

    def _holders(self, site: SiteId) -> str:
        return f"{self._root}/holders/{site}"

    async def read(self, sites: Collection[SiteId]) -> dict[SiteId, Record]:
        """All of `sites`, at most `AT_ONCE`. Raises `EtcdUnreachable`."""
        reading = await self._etcd.read([key for site in sites for key in (self._own(site), self._holders(site))])
        return {site: self._record(site, reading) for site in sites}

    def _record(self, site: SiteId, reading: Reading) -> Record:
        own, holders = reading.entries.get(self._own(site)), reading.entries.get(self._holders(site))
        return Record(
            owner=NodeId(own.value) if own else None,
            revision=own.mod_revision if own else 0,
            lease=own.lease if own else 0,
            counted=frozenset(NodeId(node) for node in holders.value.split()) if holders else None,
            counted_revision=holders.mod_revision if holders else 0,
            store_revision=reading.revision,
        )

    async def take(self, site: SiteId, record: Record, me: NodeId, lease: int, seen: Claim) -> int:
        """
        Make `me` the owner, if nothing changed since `record`.

        Returns:
            The epoch of the claim, larger than that of `seen`.

        Raises:
            Conflict: Another was quicker, or etcd is too young for what this site has seen.
            EtcdUnreachable: It may have happened.
        """
        await self._raise(record.store_revision, seen)
        compares = {self._own(site): record.revision, self._holders(site): record.counted_revision}
        revision = await self._etcd.put_if(compares, self._own(site), me, lease)
        if revision is None:
            now = (await self.read([site]))[site]
            if (now.owner, now.lease) != (me, lease) or now.revision <= seen.epoch:
                raise Conflict(f"{now.owner or 'nobody'} owns {site} in etcd", "it changed a moment ago")
            revision = now.revision  # the first answer was lost
        return revision

    async def _raise(self, revision: int, seen: Claim) -> None:
        """An epoch never falls: not when a site becomes strict, not when etcd begins anew."""
        if seen.epoch - revision > RAISE_AT_MOST:
            raise Conflict(
                f"epoch {seen.epoch} was seen, and etcd is at revision {revision}",
                "its data is younger than the site: a claim from it would be older than what replicas hold",
                f"if it was rebuilt on purpose: write {self._root}/raised {seen.epoch - revision} times with etcdctl",
            )
        while revision < seen.epoch:
            revision = await self._etcd.put_if({}, f"{self._root}/raised", str(seen.epoch)) or revision

    async def count(self, site: SiteId, record: Record, nodes: Collection[NodeId]) -> bool:
        """Write down `nodes` as the holders, if nothing changed since `record`. Returns whether that is so."""
        compares = {self._own(site): record.revision, self._holders(site): record.counted_revision}
        return await self._etcd.put_if(compares, self._holders(site), " ".join(sorted(nodes))) is not None

    async def give_back(self, site: SiteId, revision: int) -> bool:
        """Remove the owner's key, if it is still that of `revision`."""
        return await self._etcd.remove_if({self._own(site): revision}, self._own(site))
