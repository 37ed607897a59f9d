"""
A cluster begins: its root, its first member. Shell.

The root signs the first node and nothing else. Its key is left in a file to be taken away; no node reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from hybrid.cluster.certificates import (
    check_address,
    check_name,
    cluster_id,
    new_key,
    new_root,
    spki_sha256,
    vouch,
)
from hybrid.cluster.identity import (
    ClusterDocument,
    Identity,
    IdentityError,
    read_certificates,
    read_key,
    refuse_member,
)
from hybrid.cluster.keyfiles import key_pem, write_private


@dataclass(frozen=True, slots=True)
class Root:
    """The cluster's root with its key. Needed once, and again only where every node was lost."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, cluster: str, now_s: float) -> Root:
        """That of a new cluster."""
        key = new_key()
        return cls(key, new_root(key, cluster, now_s))

    @classmethod
    def read(cls, path: Path) -> Root:
        """What `pem` gave, from a file. Raises `IdentityError`."""
        root = cls(read_key(path), read_certificates(path)[0])
        if spki_sha256(root.key.public_key()) != spki_sha256(root.certificate.public_key()):
            raise IdentityError(
                f"{path} is no root", "its key is not that of its certificate", "give the file that `hybrid init` wrote"
            )
        return root

    def pem(self) -> bytes:
        """Both, for a file."""
        return key_pem(self.key) + self.certificate.public_bytes(Encoding.PEM)


def create_cluster(
    state_dir: Path,
    name: str,
    address: str,
    now_s: float,
    cluster: str = "hybrid",
    zones: Sequence[str] = (),
    root: Root | None = None,
) -> Identity:
    """
    Begin a cluster with this node as its first member, and save it.

    Args:
        state_dir: Where the files go; made if missing.
        name: The node's name.
        address: The IP address others reach this node at.
        now_s: Seconds since the epoch.
        cluster: A name for people.
        zones: DNS zones the cluster answers for, the main one first.
        root: Of a cluster whose nodes are all lost; by default a new one, left in `root_file(state_dir)`.

    Raises:
        IdentityError: This node already belongs to a cluster.
        BadName: `name` or `address` cannot be a node's.
    """
    refuse_member(state_dir)
    check_name(name)
    check_address(address)
    if root is None:
        root = Root.new(cluster, now_s)
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(root_file(state_dir), root.pem())
    key = new_key()
    issuers = (vouch(root.certificate, root.certificate, root.key, key.public_key(), now_s),)
    document = ClusterDocument(
        id=cluster_id(root.certificate), name=cluster, zones=tuple(zones), created_at_s=int(now_s)
    )
    identity = Identity.begin(document, key, issuers, root.certificate, name, address, now_s)
    identity.save(state_dir)
    return identity


def root_file(state_dir: Path) -> Path:
    """Where `create_cluster` leaves the root, to be taken away."""
    return state_dir / "root.pem"
