"""
Errors worth telling people: what failed, why, and what to try. Pure; by the port whose calls raise them.
"""

from __future__ import annotations


class HybridError(Exception):
    """An error worth telling: `what` failed, `why`, and what to `try_`. `temporary` ones are worth a retry."""

    temporary = False

    def __init__(self, what: str, why: str = "", try_: str = "") -> None:
        super().__init__(": ".join(part for part in (what, why) if part) + (f" ({try_})" if try_ else ""))
        self.what, self.why, self.try_ = what, why, try_


class StorageError(HybridError):
    """A storage call failed for a reason not named below."""


class NoSuchDataset(StorageError):
    """The dataset does not exist here."""


class NoSuchSnapshot(StorageError):
    """The dataset exists, the snapshot does not."""


class AlreadyExists(StorageError):
    """The target name (or snapshot name) is taken."""


class OutOfSpace(StorageError):
    """The pool is full."""


class QuotaReached(StorageError):
    """The dataset's quota is reached."""


class Busy(StorageError):
    """In use: mounted, held, or with clones. Worth a retry."""

    temporary = True


class HasHistory(StorageError):
    """A destroy was refused because the dataset has snapshots and the caller did not say `with_history`."""


class StreamRefused(StorageError):
    """`receive` did not take the stream: broken, truncated, or not starting where this dataset ends. Head unchanged."""


class StorageSick(StorageError):
    """The pool or its daemon does not answer in time."""

    temporary = True


class ContainerError(HybridError):
    """A container operation failed."""


class NoSuchContainer(ContainerError):
    """There is no container of that site here."""


class ImageError(HybridError):
    """An image is missing, broken, or could not be built."""


class PeerError(HybridError):
    """A peer cannot be reached, or broke the protocol."""

    temporary = True


class NoSuchPath(HybridError):
    """The path is not in that snapshot, or leads out of the site."""


class TooLarge(HybridError):
    """More bytes than this call may carry."""


class NoSuchSite(HybridError):
    """No site of that name or id."""


class Conflict(HybridError):
    """It cannot be done in the state things are in (name taken, operation under way, not the owner)."""


class BadRequest(HybridError):
    """What was asked for makes no sense."""


class AwayError(HybridError):
    """Something about a store far away, or what lies in it."""


class StoreUnreachable(AwayError):
    """It does not answer, or says that it cannot now. Worth a retry."""

    temporary = True


class StoreRefused(AwayError):
    """It does not let us: keys, bucket, space."""


class NoSuchStore(AwayError):
    """The cluster has no store of that name."""


class NoSuchObject(AwayError):
    """There is no object of that name."""


class Damaged(AwayError):
    """An object is not what was put there, or was sealed with another key."""


class NoSuchCertificate(HybridError):
    """The cluster has no certificate of that name."""


class NotHere(HybridError):
    """The site does not run on this node under that claim."""


class NoSuchZone(HybridError):
    """The cluster has no DNS zone of that name."""


class NoSuchKey(HybridError):
    """The cluster has no DNS key of that name."""


class BadRecord(HybridError):
    """It is no DNS record, or does not go with what else is there."""


class ManagedRecord(HybridError):
    """The platform keeps this DNS record itself."""
