"""
Who this node is: its key, its certificate, its cluster. Files in the state directory, TLS contexts made of them. Shell.

A node's key is also an issuer (`hybrid.cluster.certificates`), so any node can let others in and renews its own
certificate, and none of them is special. A thief of one node's disk is that node, and can let others in, until it is
removed (`hybrid.cluster.removal`). The root's key is written once, by `create_cluster`, to be taken away.
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
    MAX_LINE,
    NotAMember,
    cluster_id,
    due_for_renewal,
    issue,
    line,
    names_address,
    spki_sha256,
    vouch,
)
from hybrid.cluster.keyfiles import key_from_pem, key_pem, write_private, write_public
from hybrid.errors import Conflict, HybridError
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
    issuers: tuple[x509.Certificate, ...]
    """This node's own, then that of the node which let it in, and so on up to the first node's."""
    root: x509.Certificate

    @classmethod
    def load(cls, state_dir: Path) -> Identity:
        """
        Read what `save` wrote.

        Raises:
            IdentityError: A file is missing, cannot be read, or does not fit the others; says which and what to try.
        """
        if not (state_dir / "cluster.json").exists():
            raise IdentityError(f"{state_dir} holds no cluster", "", "run `hybrid init` or `hybrid join` first")
        (root,) = read_certificates(state_dir / "ca.crt")[:1]
        issuers = tuple(read_certificates(state_dir / "issuers.crt"))
        (certificate,) = read_certificates(state_dir / "node.crt")[:1]
        key = read_key(state_dir / "node.key")
        if spki_sha256(key.public_key()) != spki_sha256(certificate.public_key()):
            raise IdentityError(f"{state_dir}/node.key is not the key of node.crt", "", _TRY)
        return cls.of(_document(state_dir / "cluster.json"), key, certificate, issuers, root)

    @classmethod
    def of(
        cls,
        cluster: ClusterDocument,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        issuers: Sequence[x509.Certificate],
        root: x509.Certificate,
    ) -> Identity:
        """Put the parts together. Raises `IdentityError` when they are not of one cluster."""
        try:
            node = line(root, [certificate, *issuers])[0]
        except NotAMember as error:
            raise IdentityError("this node's certificate is not of its cluster", error.why, _TRY) from error
        if cluster.id != cluster_id(root):
            raise IdentityError(f"cluster.json is of {cluster.id}", f"ca.crt is of {cluster_id(root)}", _TRY)
        return cls(node, _common_name(certificate), cluster, key, certificate, tuple(issuers), root)

    @classmethod
    def begin(
        cls,
        cluster: ClusterDocument,
        key: ec.EllipticCurvePrivateKey,
        issuers: Sequence[x509.Certificate],
        root: x509.Certificate,
        name: str,
        address: str,
        now_s: float,
    ) -> Identity:
        """
        A node that has just been let in: it makes its first certificate itself.

        Raises:
            BadName: `name` or `address` cannot be a node's.
            IdentityError: The parts are not of one cluster.
        """
        return cls.of(cluster, key, issue(root, key, name, address, now_s), issuers, root)

    def save(self, state_dir: Path) -> None:
        """Write all files, keys for root's eyes only; `cluster.json` last, so that half a set is no whole one."""
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(state_dir / "node.key", key_pem(self.key))
        self.save_certificate(state_dir)
        write_public(state_dir / "issuers.crt", b"".join(one.public_bytes(Encoding.PEM) for one in self.issuers))
        write_public(state_dir / "ca.crt", self.root.public_bytes(Encoding.PEM))
        write_private(state_dir / "cluster.json", msgspec.json.format(msgspec.json.encode(self.cluster), indent=2))

    def save_certificate(self, state_dir: Path) -> None:
        """Write what `renewed` made: the other processes of this node, which may not read its key, read this."""
        write_public(state_dir / "node.crt", self.certificate.public_bytes(Encoding.PEM))

    def reread(self, state_dir: Path) -> Identity:
        """
        This identity with the certificate that is in the file now; itself when that is the one it has.

        Raises:
            IdentityError: It cannot be read, or is not this node's.
        """
        (certificate,) = read_certificates(state_dir / "node.crt")[:1]
        if certificate == self.certificate:
            return self
        return Identity.of(self.cluster, self.key, certificate, self.issuers, self.root)

    def renewed(self, address: str, now_s: float) -> Identity | None:
        """
        This identity with a new certificate, to be saved; `None` while the present one does.

        It does while it has long enough to live and names `address`. Nobody is asked: a node that was away for months,
        or whose cluster is, comes back by itself.
        """
        if not due_for_renewal(self.certificate, now_s) and names_address(self.certificate, address):
            return None
        return replace(self, certificate=issue(self.root, self.key, self.name, address, now_s))

    def check_may_admit(self) -> None:
        """Raises `Conflict` when this node is the last of too long a line to let anybody in."""
        if len(self.issuers) >= MAX_LINE:
            hint = "make the token on a node that joined earlier"
            raise Conflict("this node can let nobody in", f"{MAX_LINE} nodes each let the next one in up to it", hint)

    def admit(self, key: ec.EllipticCurvePublicKey, now_s: float) -> tuple[x509.Certificate, ...]:
        """
        The issuers of a new member with `key`, its own first.

        Raises:
            Conflict: This node is the last of too long a line.
        """
        self.check_may_admit()
        return (vouch(self.root, self.issuers[0], self.key, key, now_s), *self.issuers)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What is shown: the certificate, its issuers, the root."""
        return (self.certificate, *self.issuers, self.root)

    def server_options(self, protocols: Sequence[bytes] = (), refuses: tls.Refuses = tls.nobody) -> tls.ServerTLS:
        """For links that other nodes open: each must show a certificate of this cluster, and not be refused."""
        return tls.ServerTLS(self._server(protocols, True, refuses))

    def cluster_port_options(self) -> tls.ServerTLS:
        """
        For the cluster port: as `server_options`, but who has no certificate yet gets in, only to join.

        Nobody is refused here: who is kept out can be told why only after the handshake.
        """
        return tls.ServerTLS(self._server((tls.CONTROL, tls.PUMPED_STREAM, tls.STREAM, tls.JOIN), False, tls.nobody))

    def client_options(
        self, node: NodeId, protocols: Sequence[bytes] = (), refuses: tls.Refuses = tls.nobody
    ) -> tls.ClientTLS:
        """For a link to `node`: the handshake fails with anybody else, and when it is refused."""
        context = tls.inside(self.root)
        tls.present(context, self.key, self.chain)
        tls.require(context, tls.is_member(self.root, node, refuses))
        if protocols:
            context.set_alpn_protos(list(protocols))
        return tls.ClientTLS(context)

    def api_options(self) -> tls.ServerTLS:
        """For the API: TLS 1.2 or newer with this node's certificate, clients need none."""
        options = CertificateOptions(
            privateKey=PKey.from_cryptography_key(self.key),
            certificate=X509.from_cryptography(self.certificate),
            extraCertChain=[X509.from_cryptography(one) for one in self.chain[1:]],
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        context = options.getContext()
        tls.accept_protocols(context, [b"http/1.1"])  # Twisted's own choice ends the handshake of who offers any
        return tls.ServerTLS(context)

    def peer_line(self, transport: ITransport | None) -> tuple[NodeId, ...]:
        """
        Who is at the other end of a TLS link, and who vouched for it (`hybrid.cluster.certificates.line`).

        Raises:
            NotAMember: No member of this cluster, also when there was no certificate.
        """
        chain = tls.verified(transport)
        if not chain:
            raise NotAMember("no certificate", "the other side showed none")
        return line(self.root, chain)

    def _server(self, protocols: Sequence[bytes], mandatory: bool, refuses: tls.Refuses) -> SSL.Context:
        context = tls.inside(self.root)
        tls.present(context, self.key, self.chain)
        tls.require(context, tls.is_member(self.root, None, refuses), mandatory)
        if protocols:
            tls.accept_protocols(context, protocols)
        return context


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


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in a PEM file, at least one. Raises `IdentityError`."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise IdentityError(f"{path} is not a certificate", str(error), _TRY) from error


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a PEM file. Raises `IdentityError`."""
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
