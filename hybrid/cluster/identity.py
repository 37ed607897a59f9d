"""
Who this node is: its key, its certificate, its cluster. Files in the state directory, TLS contexts made of them. Shell.

Every member holds the authority's key: any node can let others in, none is a single point of failure, and a thief of
one node's disk can add nodes (but cannot take over the id of an existing one). Certificates last a year; `renewed`
makes a new one from the same key. A revocation list would be asked in `hybrid.cluster.tls.is_member`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.interfaces import ITransport
from twisted.internet.ssl import CertificateOptions, TLSVersion

from hybrid.cluster import tls
from hybrid.cluster.certificates import (
    NotAMember,
    cluster_id,
    due_for_renewal,
    issue,
    member,
    names_address,
    new_authority,
    new_key,
    spki_sha256,
)
from hybrid.cluster.keyfiles import key_from_pem, key_pem, write_private
from hybrid.errors import HybridError
from hybrid.model import NodeId

_TRY = "restore the file from a backup, or move the directory away and run `hybrid join` again"


class IdentityError(HybridError):
    """This node's keys or certificates are missing, broken, or already there."""


class ClusterDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What all members know of their cluster (`cluster.json`)."""

    id: str
    name: str
    zones: tuple[str, ...] = ()
    """DNS zones the cluster answers for; the first is the main one."""
    created_at_s: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """A member of a cluster."""

    node: NodeId
    name: str
    cluster: ClusterDocument
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    authority: x509.Certificate
    authority_key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, state_dir: Path) -> Identity:
        """
        Read what `save` wrote.

        Raises:
            IdentityError: A file is missing, cannot be read, or does not fit the others; says which and what to try.
        """
        if not (state_dir / "cluster.json").exists():
            raise IdentityError(f"{state_dir} holds no cluster", "", "run `hybrid init` or `hybrid join` first")
        authority = _certificate(state_dir / "ca.crt")
        certificate = _certificate(state_dir / "node.crt")
        key = _key(state_dir / "node.key")
        authority_key = _key(state_dir / "ca.key")
        if spki_sha256(key.public_key()) != spki_sha256(certificate.public_key()):
            raise IdentityError(f"{state_dir}/node.key is not the key of node.crt", "", _TRY)
        if spki_sha256(authority_key.public_key()) != spki_sha256(authority.public_key()):
            raise IdentityError(f"{state_dir}/ca.key is not the key of ca.crt", "", _TRY)
        return cls.of(_document(state_dir / "cluster.json"), key, certificate, authority, authority_key)

    @classmethod
    def of(
        cls,
        cluster: ClusterDocument,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        authority: x509.Certificate,
        authority_key: ec.EllipticCurvePrivateKey,
    ) -> Identity:
        """Put the parts together. Raises `IdentityError` when they are not of one cluster."""
        try:
            node = member(authority, certificate)
        except NotAMember as error:
            raise IdentityError("this node's certificate is not of its cluster", error.why, _TRY) from error
        if cluster.id != cluster_id(authority):
            raise IdentityError(f"cluster.json is of {cluster.id}", f"ca.crt is of {cluster_id(authority)}", _TRY)
        return cls(node, _common_name(certificate), cluster, key, certificate, authority, authority_key)

    def save(self, state_dir: Path) -> None:
        """Write all files, for root's eyes only; `cluster.json` last, so that half a set is never taken for one."""
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(state_dir / "node.key", key_pem(self.key))
        write_private(state_dir / "node.crt", self.certificate.public_bytes(Encoding.PEM))
        write_private(state_dir / "ca.crt", self.authority.public_bytes(Encoding.PEM))
        write_private(state_dir / "ca.key", key_pem(self.authority_key))
        write_private(state_dir / "cluster.json", msgspec.json.format(msgspec.json.encode(self.cluster), indent=2))

    def renewed(self, address: str, now_s: float) -> Identity | None:
        """
        This identity with a new certificate, to be saved; `None` while the present one does.

        It does while it has long enough to live and names `address`.
        """
        if not due_for_renewal(self.certificate, now_s) and names_address(self.certificate, address):
            return None
        public = self.key.public_key()
        certificate = issue(self.authority, self.authority_key, public, self.name, address, now_s)
        return replace(self, certificate=certificate)

    def server_options(self, protocols: Sequence[bytes] = ()) -> tls.ServerTLS:
        """For links that other nodes open: each must show a certificate of this cluster."""
        return tls.ServerTLS(self._server(protocols, mandatory=True))

    def cluster_port_options(self) -> tls.ServerTLS:
        """For the cluster port: as `server_options`, but who has no certificate yet gets in, only to join."""
        return tls.ServerTLS(self._server((tls.CONTROL, tls.STREAM, tls.JOIN), mandatory=False))

    def client_options(self, node: NodeId, protocols: Sequence[bytes] = ()) -> tls.ClientTLS:
        """For a link to `node`: the handshake fails with anybody else."""
        context = tls.inside(self.authority)
        tls.present(context, self.key, self.certificate, self.authority)
        tls.require(context, tls.is_member(self.authority, node))
        if protocols:
            context.set_alpn_protos(list(protocols))
        return tls.ClientTLS(context)

    def api_options(self) -> CertificateOptions:
        """For the API: TLS 1.2 or newer with this node's certificate, clients need none."""
        return CertificateOptions(
            privateKey=PKey.from_cryptography_key(self.key),
            certificate=X509.from_cryptography(self.certificate),
            extraCertChain=[X509.from_cryptography(self.authority)],
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )

    def peer_node(self, transport: ITransport | None) -> NodeId:
        """Who is at the other end of a TLS link. Raises `NotAMember`, also when there was no certificate."""
        certificate = tls.peer_certificate(transport)
        if certificate is None:
            raise NotAMember("no certificate", "the other side showed none")
        return member(self.authority, certificate)

    def _server(self, protocols: Sequence[bytes], mandatory: bool) -> SSL.Context:
        context = tls.inside(self.authority)
        tls.present(context, self.key, self.certificate, self.authority)
        tls.require(context, tls.is_member(self.authority), mandatory)
        if protocols:
            tls.accept_protocols(context, protocols)
        return context


def create_cluster(
    state_dir: Path, name: str, address: str, now_s: float, cluster: str = "hybrid", zones: Sequence[str] = ()
) -> Identity:
    """
    Begin a new cluster with this node as its first member, and save it.

    Args:
        state_dir: Where the files go; made if missing.
        name: The node's name.
        address: The IP address others reach this node at.
        now_s: Seconds since the epoch.
        cluster: A name for people.
        zones: DNS zones the cluster answers for, the main one first.

    Raises:
        IdentityError: This node already belongs to a cluster.
        BadName: `name` or `address` cannot be a node's.
    """
    refuse_member(state_dir)
    authority_key, key = new_key(), new_key()
    authority = new_authority(authority_key, cluster, now_s)
    document = ClusterDocument(id=cluster_id(authority), name=cluster, zones=tuple(zones), created_at_s=int(now_s))
    certificate = issue(authority, authority_key, key.public_key(), name, address, now_s)
    identity = Identity.of(document, key, certificate, authority, authority_key)
    identity.save(state_dir)
    return identity


def refuse_member(state_dir: Path) -> None:
    """Raises `IdentityError` when `state_dir` already belongs to a member of some cluster."""
    if (state_dir / "cluster.json").exists():
        cluster = _document(state_dir / "cluster.json")
        why = f"of the cluster {cluster.name} ({cluster.id})"
        raise IdentityError("this node is a member already", why, f"move {state_dir} away to begin anew")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"cannot read {path}", str(error.strerror), _TRY) from error


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise IdentityError(f"{path} is not a certificate", str(error), _TRY) from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        return key_from_pem(_read(path))
    except (ValueError, TypeError) as error:
        raise IdentityError(f"{path} is not a private key", type(error).__name__, _TRY) from error


def _document(path: Path) -> ClusterDocument:
    try:
        return msgspec.json.decode(_read(path), type=ClusterDocument)
    except msgspec.MsgspecError as error:
        raise IdentityError(f"{path} is not valid", str(error), _TRY) from error


def _common_name(certificate: x509.Certificate) -> str:
    values = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""
