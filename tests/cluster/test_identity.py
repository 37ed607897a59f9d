"""Who is a member of the cluster, and what TLS makes of those who are not."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump

from hybrid.cluster import tls
from hybrid.cluster.certificates import (
    BadName,
    NotAMember,
    cluster_id,
    due_for_renewal,
    issue,
    member,
    new_authority,
    new_key,
    node_id,
    valid_at,
)
from hybrid.cluster.identity import Identity, IdentityError, create_cluster
from hybrid.model import NodeId

DAY_S = 86_400.0


class Noting(Protocol):
    """The ends of a connection, see conftest."""

    shaken: bool
    lost: Failure | None
    transport: TLSMemoryBIOProtocol


Shake = Callable[[tls.ServerTLS, tls.ClientTLS], tuple[Noting, Noting, IOPump]]
Forge = Callable[[Identity, Identity], tuple[ec.EllipticCurvePrivateKey, x509.Certificate]]


class TestCertificates:
    """What a certificate proves."""

    def test_id_is_the_digest_of_the_key(self, alpha: Identity) -> None:
        """A node keeps its id for as long as it keeps its key, whatever it is called."""
        assert alpha.node == node_id(alpha.key.public_key())
        assert alpha.node.startswith("n-") and len(alpha.node) == 18
        assert alpha.cluster.id == cluster_id(alpha.authority)

    def test_names_in_the_certificate(self, alpha: Identity) -> None:
        """Clients may check a node by its name, its id or its address; other nodes check the URI."""
        names = alpha.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["alpha", alpha.node]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"hybrid://{alpha.cluster.id}/node/{alpha.node}"
        ]

    def test_other_clusters_members_are_none_of_ours(self, alpha: Identity, stranger: Identity) -> None:
        """A certificate of another cluster says nothing here."""
        with pytest.raises(NotAMember):
            member(alpha.authority, stranger.certificate)

    def test_certificate_for_somebody_elses_id_is_refused(self, alpha: Identity, beta: Identity, forge: Forge) -> None:
        """Even who holds the authority's key cannot speak for another node: the id is that node's key."""
        _, forged = forge(alpha, beta)
        with pytest.raises(NotAMember, match="its key says"):
            member(alpha.authority, forged)

    def test_authority_itself_is_no_node(self, alpha: Identity) -> None:
        """The authority's certificate opens no link."""
        with pytest.raises(NotAMember):
            member(alpha.authority, alpha.authority)

    def test_lifetime(self, alpha: Identity, now_s: float) -> None:
        """A certificate counts for a year, from a day ago on so that a wrong clock does not lock a node out."""
        assert valid_at(alpha.certificate, now_s - 0.9 * DAY_S)
        assert valid_at(alpha.certificate, now_s + 364 * DAY_S)
        assert not valid_at(alpha.certificate, now_s + 366 * DAY_S)
        assert not due_for_renewal(alpha.certificate, now_s + 200 * DAY_S)
        assert due_for_renewal(alpha.certificate, now_s + 300 * DAY_S)

    @pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "a" * 33, "a/b", "ü", "a.b", "a\n", "..", "%2e"])
    def test_bad_names_are_refused(self, tmp_path: Path, name: str, now_s: float) -> None:
        """A node's name becomes part of host names and certificates: nothing odd gets in."""
        with pytest.raises(BadName):
            create_cluster(tmp_path, name, "127.0.0.1", now_s)

    @pytest.mark.parametrize("address", ["", "localhost", "0.0.0.0", "::", "10.0.0.256", "10.0.0.1/8", "10.0.0.1\n"])
    def test_bad_addresses_are_refused(self, tmp_path: Path, address: str, now_s: float) -> None:
        """A node needs an address that others can reach."""
        with pytest.raises(BadName):
            create_cluster(tmp_path, "n1", address, now_s)


class TestFiles:
    """What is kept in the state directory."""

    def test_saved_identity_is_loaded_again(self, tmp_path: Path, now_s: float) -> None:
        """After a restart a node is who it was."""
        created = create_cluster(tmp_path / "new", "n1", "10.0.0.1", now_s, "hoster", ("example.net", "example.org"))
        loaded = Identity.load(tmp_path / "new")
        assert (loaded.node, loaded.name, loaded.cluster) == (created.node, "n1", created.cluster)
        assert loaded.cluster.zones == ("example.net", "example.org")

    def test_files_are_for_root_only(self, tmp_path: Path, now_s: float) -> None:
        """No other user of the server reads a key."""
        create_cluster(tmp_path / "new", "n1", "10.0.0.1", now_s)
        files = sorted((tmp_path / "new").iterdir())
        assert [file.name for file in files] == ["ca.crt", "ca.key", "cluster.json", "node.crt", "node.key"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700

    def test_a_member_does_not_begin_another_cluster(self, tmp_path: Path, now_s: float) -> None:
        """`hybrid init` on a member changes nothing and says of which cluster it is."""
        created = create_cluster(tmp_path, "n1", "10.0.0.1", now_s, "first")
        with pytest.raises(IdentityError, match="first"):
            create_cluster(tmp_path, "n1", "10.0.0.1", now_s, "second")
        assert Identity.load(tmp_path).node == created.node

    def test_half_written_cluster_is_begun_again(self, tmp_path: Path, now_s: float) -> None:
        """A crash during `hybrid init` is cured by running it again."""
        create_cluster(tmp_path, "n1", "10.0.0.1", now_s)
        (tmp_path / "cluster.json").unlink()
        with pytest.raises(IdentityError, match="hybrid init"):
            Identity.load(tmp_path)
        assert create_cluster(tmp_path, "n1", "10.0.0.1", now_s).node == Identity.load(tmp_path).node

    @pytest.mark.parametrize("name", ["ca.crt", "ca.key", "node.crt", "node.key"])
    @pytest.mark.parametrize("content", [None, b"", b"\x00garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
    def test_broken_file_is_named(self, tmp_path: Path, name: str, content: bytes | None, now_s: float) -> None:
        """A missing or damaged file is named, with what to do; nothing is overwritten."""
        create_cluster(tmp_path, "n1", "10.0.0.1", now_s)
        if content is None:
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(IdentityError, match=name) as caught:
            Identity.load(tmp_path)
        assert caught.value.try_

    @pytest.mark.parametrize("name", ["ca.crt", "ca.key", "node.crt", "node.key", "cluster.json"])
    def test_file_of_another_cluster_is_noticed(self, tmp_path: Path, name: str, now_s: float) -> None:
        """Files mixed up by a restore from backup are told apart."""
        create_cluster(tmp_path / "a", "n1", "10.0.0.1", now_s)
        create_cluster(tmp_path / "b", "n1", "10.0.0.1", now_s)
        (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(IdentityError):
            Identity.load(tmp_path / "a")

    def test_certificate_is_renewed_by_its_own_node(self, alpha: Identity, now_s: float) -> None:
        """No node drops out of its cluster because a year has passed."""
        assert alpha.renewed("127.0.0.1", now_s) is None
        renewed = alpha.renewed("127.0.0.1", now_s + 300 * DAY_S)
        assert renewed is not None
        assert renewed.node == alpha.node
        assert valid_at(renewed.certificate, now_s + 600 * DAY_S)

    def test_node_that_moved_names_its_new_address(self, alpha: Identity, now_s: float) -> None:
        """After a change of address in the settings clients can check the certificate again."""
        renewed = alpha.renewed("192.0.2.7", now_s)
        assert renewed is not None and renewed.node == alpha.node
        assert renewed.renewed("192.0.2.7", now_s) is None


def accepted(shake: Shake, server: tls.ServerTLS, client: tls.ClientTLS) -> bool:
    """Whether both sides of a handshake are content; TLS 1.3 clients learn of a refusal only afterwards."""
    ours, theirs, _ = shake(server, client)
    return ours.shaken and theirs.shaken and ours.lost is None and theirs.lost is None


def client_with(
    trusted: x509.Certificate,
    key: ec.EllipticCurvePrivateKey | None = None,
    certificate: x509.Certificate | None = None,
) -> tls.ClientTLS:
    """A client made by hand, that checks nothing and shows what it is told to."""
    context = tls.inside(trusted)
    if key is not None and certificate is not None:
        context.use_privatekey(key)
        context.use_certificate(certificate)
    return tls.ClientTLS(context)


class TestLinks:
    """Mutual TLS."""

    def test_members_meet_and_know_each_other(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """Two members link up over TLS 1.3, and each knows the other's id."""
        server, client, _ = shake(alpha.server_options(), beta.client_options(alpha.node))
        assert alpha.peer_node(server.transport) == beta.node
        assert beta.peer_node(client.transport) == alpha.node
        connection = client.transport.getHandle()
        assert connection.get_protocol_version_name() == "TLSv1.3"

    def test_protocol_is_chosen(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """One port serves control links, streams and joining, told apart before the first byte."""
        server, _, _ = shake(alpha.cluster_port_options(), beta.client_options(alpha.node, [tls.STREAM]))
        assert server.transport.getHandle().get_alpn_proto_negotiated() == tls.STREAM

    def test_client_insists_on_the_node_it_wants(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """A member that answers at somebody else's address is not taken for that other."""
        assert not accepted(shake, alpha.server_options(), beta.client_options(NodeId("n-someoneelse00000")))

    def test_no_certificate(self, shake: Shake, alpha: Identity) -> None:
        """Without a certificate there is no link."""
        assert not accepted(shake, alpha.server_options(), client_with(alpha.authority))

    def test_certificate_of_another_cluster(self, shake: Shake, alpha: Identity, stranger: Identity) -> None:
        """A member of another cluster gets no link, neither as client nor as server, on no port."""
        client = client_with(alpha.authority, stranger.key, stranger.certificate)
        assert not accepted(shake, alpha.server_options(), client)
        assert not accepted(shake, alpha.cluster_port_options(), client)
        assert not accepted(shake, stranger.server_options(), alpha.client_options(stranger.node))

    def test_expired_certificate(self, shake: Shake, alpha: Identity, beta: Identity, now_s: float) -> None:
        """A certificate past its time opens nothing."""
        public = beta.key.public_key()
        old = issue(alpha.authority, alpha.authority_key, public, "beta", "127.0.0.1", now_s - 400 * DAY_S)
        expired = replace(beta, certificate=old)
        assert not accepted(shake, alpha.server_options(), expired.client_options(alpha.node))
        assert not accepted(shake, expired.server_options(), alpha.client_options(beta.node))

    def test_certificate_whose_uri_is_not_its_key(
        self, shake: Shake, alpha: Identity, beta: Identity, forge: Forge
    ) -> None:
        """Claiming somebody else's id with the right authority ends the handshake."""
        key, forged = forge(alpha, beta)
        assert not accepted(shake, alpha.server_options(), client_with(alpha.authority, key, forged))

    def test_authority_of_the_same_name(self, shake: Shake, alpha: Identity, now_s: float) -> None:
        """An authority that only calls itself like ours is none."""
        key = new_key()
        fake_authority = new_authority(key, "test", now_s)
        mine = new_key()
        fake = issue(fake_authority, key, mine.public_key(), "beta", "127.0.0.1", now_s)
        assert not accepted(shake, alpha.server_options(), client_with(alpha.authority, mine, fake))

    def test_old_tls_is_refused(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """Inside there is TLS 1.3 only."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        tls.present(context, beta.key, beta.certificate, beta.authority)
        assert not accepted(shake, alpha.server_options(), tls.ClientTLS(context))

    def test_cluster_port_lets_a_newcomer_shake_hands(self, shake: Shake, alpha: Identity) -> None:
        """Who joins has no certificate yet; that it can do nothing else is for the port to see to."""
        server, _, _ = shake(alpha.cluster_port_options(), client_with(alpha.authority))
        assert server.shaken
        with pytest.raises(NotAMember):
            alpha.peer_node(server.transport)
