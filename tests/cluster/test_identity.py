"""Who is a member of the cluster, and what TLS makes of those who are not."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
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
    MAX_LINE,
    BadName,
    NotAMember,
    cluster_id,
    due_for_renewal,
    issue,
    line,
    named,
    new_key,
    node_id,
    valid_at,
    vouch,
)
from hybrid.cluster.founding import Root, create_cluster, root_file
from hybrid.cluster.identity import Identity, IdentityError
from hybrid.errors import Conflict
from hybrid.model import NodeId

DAY_S = 86_400.0
PUBLIC = ("ca.crt", "issuers.crt", "node.crt")


class Noting(Protocol):
    """The ends of a connection, see conftest."""

    shaken: bool
    lost: Failure | None
    transport: TLSMemoryBIOProtocol


Shake = Callable[[tls.ServerTLS, tls.ClientTLS], tuple[Noting, Noting, IOPump]]
LetIn = Callable[[Identity, str], Identity]
Forge = Callable[[Identity, Identity], tuple[ec.EllipticCurvePrivateKey, x509.Certificate]]


class TestCertificates:
    """What a certificate proves."""

    def test_id_is_the_digest_of_the_key(self, alpha: Identity) -> None:
        """A node keeps its id for as long as it keeps its key, whatever it is called."""
        assert alpha.node == node_id(alpha.key.public_key())
        assert alpha.node.startswith("n-") and len(alpha.node) == 18
        assert alpha.cluster.id == cluster_id(alpha.root)

    def test_names_in_the_certificate(self, alpha: Identity) -> None:
        """Clients may check a node by its name, its id or its address; other nodes check the URI."""
        names = alpha.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["alpha", alpha.node]
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"hybrid://{alpha.cluster.id}/node/{alpha.node}"
        ]

    def test_line_names_who_let_whom_in(self, alpha: Identity, beta: Identity, now_s: float, let_in: LetIn) -> None:
        """Every node can let others in, without the root; whom it let in stays known for good."""
        gamma = let_in(beta, "gamma")
        assert line(gamma.root, gamma.chain) == (gamma.node, beta.node, alpha.node)
        assert line(gamma.root, gamma.chain[:-1]) == (gamma.node, beta.node, alpha.node)

    def test_other_clusters_members_are_none_of_ours(self, alpha: Identity, stranger: Identity) -> None:
        """A certificate of another cluster says nothing here."""
        with pytest.raises(NotAMember):
            line(alpha.root, stranger.chain[:-1])
        with pytest.raises(NotAMember):
            line(alpha.root, stranger.chain)

    def test_certificate_for_somebody_elses_id_is_refused(self, alpha: Identity, beta: Identity, forge: Forge) -> None:
        """Even a member cannot speak for another node: the id is that node's key."""
        _, forged = forge(alpha, beta)
        with pytest.raises(NotAMember, match="its key says"):
            named(alpha.root, forged)
        with pytest.raises(NotAMember, match="its key says"):
            line(alpha.root, (forged, *alpha.chain[1:]))

    def test_member_alone_makes_its_certificate(self, alpha: Identity, beta: Identity, now_s: float) -> None:
        """A key that was not vouched for is no member's, whoever stands behind it in the chain."""
        mine = new_key()
        certificate = issue(alpha.root, mine, "mine", "127.0.0.1", now_s)
        with pytest.raises(NotAMember, match="made it for"):
            line(alpha.root, (certificate, *beta.chain[1:]))
        unsigned = vouch(alpha.root, alpha.issuers[0], new_key(), mine.public_key(), now_s)
        with pytest.raises(NotAMember, match="not of this cluster"):
            line(alpha.root, (certificate, unsigned, *alpha.chain[1:]))

    def test_issuers_themselves_are_no_nodes(self, alpha: Identity) -> None:
        """Neither the root nor an issuer opens a link."""
        for chain in ((alpha.root,), alpha.issuers, (alpha.certificate,), ()):
            with pytest.raises(NotAMember):
                line(alpha.root, chain)

    def test_line_has_an_end(self, alpha: Identity, now_s: float, let_in: LetIn) -> None:
        """At the end of a line of forty nobody is let in, with the advice to ask an earlier node."""
        last = alpha
        while len(last.issuers) < MAX_LINE:
            last = let_in(last, "next")
        assert len(line(last.root, last.chain)) == MAX_LINE
        with pytest.raises(Conflict, match="joined earlier"):
            last.admit(new_key().public_key(), now_s)

    def test_lifetime(self, alpha: Identity, now_s: float) -> None:
        """A certificate counts for thirty days, from a day ago on: a wrong clock does not lock a node out."""
        assert valid_at(alpha.certificate, now_s - 0.9 * DAY_S)
        assert valid_at(alpha.certificate, now_s + 29 * DAY_S)
        assert not valid_at(alpha.certificate, now_s + 31 * DAY_S)
        assert not due_for_renewal(alpha.certificate, now_s + 19 * DAY_S)
        assert due_for_renewal(alpha.certificate, now_s + 21 * DAY_S)

    def test_issuers_live_as_long_as_the_root(self, alpha: Identity, beta: Identity) -> None:
        """No line breaks because one of its links has ended: the root is not needed again."""
        ends = {certificate.not_valid_after_utc for certificate in (*beta.issuers, alpha.root)}
        assert len(ends) == 1

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

    def test_keys_are_for_root_only(self, tmp_path: Path, now_s: float) -> None:
        """No other user of the server reads a key."""
        create_cluster(tmp_path / "new", "n1", "10.0.0.1", now_s)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
        public, private = dict.fromkeys(PUBLIC, 0o644), dict.fromkeys(("cluster.json", "node.key", "root.pem"), 0o600)
        assert modes == public | private
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

    @pytest.mark.parametrize("name", [*PUBLIC, "node.key"])
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

    @pytest.mark.parametrize("name", [*PUBLIC, "node.key", "cluster.json"])
    def test_file_of_another_cluster_is_noticed(self, tmp_path: Path, name: str, now_s: float) -> None:
        """Files mixed up by a restore from backup are told apart."""
        create_cluster(tmp_path / "a", "n1", "10.0.0.1", now_s)
        create_cluster(tmp_path / "b", "n1", "10.0.0.1", now_s)
        (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
        with pytest.raises(IdentityError):
            Identity.load(tmp_path / "a")

    def test_root_is_needed_by_no_node(self, tmp_path: Path, now_s: float, let_in: LetIn) -> None:
        """With the root taken away a cluster lets nodes in and renews its certificates all the same."""
        create_cluster(tmp_path, "n1", "10.0.0.1", now_s)
        root_file(tmp_path).unlink()
        first = Identity.load(tmp_path)
        second = let_in(first, "n2")
        assert line(first.root, second.chain) == (second.node, first.node)
        assert first.renewed("10.0.0.1", now_s + 25 * DAY_S) is not None

    def test_cluster_whose_nodes_are_lost_is_begun_again(self, tmp_path: Path, now_s: float) -> None:
        """With the root that was kept it is the same cluster: its other members are members still."""
        first = create_cluster(tmp_path / "a", "n1", "10.0.0.1", now_s)
        kept = Root.read(root_file(tmp_path / "a"))
        again = create_cluster(tmp_path / "b", "n1", "10.0.0.1", now_s, root=kept)
        assert again.cluster.id == first.cluster.id and again.node != first.node
        assert line(first.root, again.chain) == (again.node,)
        assert not root_file(tmp_path / "b").exists()

    def test_file_that_is_no_root_is_refused(self, tmp_path: Path, now_s: float) -> None:
        """A wrong or damaged file begins no cluster, and is named."""
        one, other = Root.new("a", now_s), Root.new("b", now_s)
        key, _, certificate = one.pem().partition(b"-----BEGIN CERTIFICATE-----")
        for wrong in (b"", key, certificate, one.pem()[300:], Root(one.key, other.certificate).pem()):
            (tmp_path / "root.pem").write_bytes(wrong)
            with pytest.raises(IdentityError, match=r"root\.pem"):
                Root.read(tmp_path / "root.pem")

    def test_certificate_is_renewed_by_its_own_node(self, alpha: Identity, now_s: float) -> None:
        """No node drops out of its cluster because a month has passed; one that was away for a year comes back."""
        assert alpha.renewed("127.0.0.1", now_s) is None
        for days in (21, 365):
            renewed = alpha.renewed("127.0.0.1", now_s + days * DAY_S)
            assert renewed is not None
            assert line(alpha.root, renewed.chain) == (alpha.node,)
            assert valid_at(renewed.certificate, now_s + (days + 29) * DAY_S)

    def test_other_processes_of_the_node_read_the_new_certificate(self, tmp_path: Path, now_s: float) -> None:
        """Proxies run for months: they take a renewed certificate up, and nobody else's."""
        identity = create_cluster(tmp_path, "n1", "10.0.0.1", now_s)
        assert identity.reread(tmp_path) is identity
        renewed = identity.renewed("10.0.0.1", now_s + 21 * DAY_S)
        assert renewed is not None
        renewed.save_certificate(tmp_path)
        assert identity.reread(tmp_path).certificate == renewed.certificate
        create_cluster(tmp_path / "other", "n1", "10.0.0.1", now_s).save_certificate(tmp_path)
        with pytest.raises(IdentityError):
            identity.reread(tmp_path)

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
    chain: Sequence[x509.Certificate] = (),
) -> tls.ClientTLS:
    """A client made by hand, that checks nothing and shows what it is told to."""
    context = tls.inside(trusted)
    if key is not None:
        tls.present(context, key, chain)
    return tls.ClientTLS(context)


class TestLinks:
    """Mutual TLS."""

    def test_members_meet_and_know_each_other(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """Two members link up over TLS 1.3, and each knows the other's id."""
        server, client, _ = shake(alpha.server_options(), beta.client_options(alpha.node))
        assert alpha.peer_line(server.transport) == (beta.node, alpha.node)
        assert beta.peer_line(client.transport) == (alpha.node,)
        connection = client.transport.getHandle()
        assert connection.get_protocol_version_name() == "TLSv1.3"

    def test_api_takes_a_renewed_certificate_up(self, shake: Shake, alpha: Identity, now_s: float) -> None:
        """Browsers and panels see the new certificate with the next connection, without a restart."""
        options = alpha.api_options()
        renewed = alpha.renewed("192.0.2.7", now_s)
        assert renewed is not None
        seen = []
        for _ in range(2):
            _, client, _ = shake(options, client_with(alpha.root))
            assert client.shaken and client.lost is None
            seen.append(tls.shown(client.transport)[0])
            options.become(renewed.api_options())
        assert seen == [alpha.certificate, renewed.certificate]

    def test_protocol_is_chosen(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """One port serves control links, streams and joining, told apart before the first byte."""
        server, _, _ = shake(alpha.cluster_port_options(), beta.client_options(alpha.node, [tls.STREAM]))
        assert server.transport.getHandle().get_alpn_proto_negotiated() == tls.STREAM

    def test_client_insists_on_the_node_it_wants(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """A member that answers at somebody else's address is not taken for that other."""
        assert not accepted(shake, alpha.server_options(), beta.client_options(NodeId("n-someoneelse00000")))

    def test_no_certificate(self, shake: Shake, alpha: Identity) -> None:
        """Without a certificate there is no link."""
        assert not accepted(shake, alpha.server_options(), client_with(alpha.root))

    def test_certificate_of_another_cluster(self, shake: Shake, alpha: Identity, stranger: Identity) -> None:
        """A member of another cluster gets no link, neither as client nor as server, on no port."""
        client = client_with(alpha.root, stranger.key, stranger.chain)
        assert not accepted(shake, alpha.server_options(), client)
        assert not accepted(shake, alpha.cluster_port_options(), client)
        assert not accepted(shake, stranger.server_options(), alpha.client_options(stranger.node))

    def test_expired_certificate(self, shake: Shake, alpha: Identity, beta: Identity, now_s: float) -> None:
        """A certificate past its time opens nothing."""
        old = issue(beta.root, beta.key, "beta", "127.0.0.1", now_s - 31 * DAY_S)
        expired = replace(beta, certificate=old)
        assert not accepted(shake, alpha.server_options(), expired.client_options(alpha.node))
        assert not accepted(shake, expired.server_options(), alpha.client_options(beta.node))

    def test_certificate_whose_uri_is_not_its_key(
        self, shake: Shake, alpha: Identity, beta: Identity, forge: Forge
    ) -> None:
        """Claiming somebody else's id with the right authority ends the handshake."""
        key, forged = forge(alpha, beta)
        assert not accepted(shake, alpha.server_options(), client_with(alpha.root, key, (forged, *alpha.chain[1:])))

    def test_root_of_the_same_name(self, shake: Shake, alpha: Identity, tmp_path: Path, now_s: float) -> None:
        """A root that only calls itself like ours is none."""
        fake = create_cluster(tmp_path, "beta", "127.0.0.1", now_s, "test")
        assert fake.root.subject == alpha.root.subject
        assert not accepted(shake, alpha.server_options(), client_with(alpha.root, fake.key, fake.chain))

    def test_longest_line_shakes_hands(self, shake: Shake, alpha: Identity, now_s: float, let_in: LetIn) -> None:
        """A node at the end of the longest line is a member like any other, as client and as server."""
        last = alpha
        while len(last.issuers) < MAX_LINE:
            last = let_in(last, "next")
        assert accepted(shake, alpha.server_options(), last.client_options(alpha.node))
        assert accepted(shake, last.server_options(), alpha.client_options(last.node))

    def test_line_with_a_link_missing(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """Who does not show who vouched for it is not let in."""
        client = client_with(alpha.root, beta.key, (beta.certificate, *beta.issuers[:1]))
        assert not accepted(shake, alpha.server_options(), client)

    def test_old_tls_is_refused(self, shake: Shake, alpha: Identity, beta: Identity) -> None:
        """Inside there is TLS 1.3 only."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        tls.present(context, beta.key, beta.chain)
        assert not accepted(shake, alpha.server_options(), tls.ClientTLS(context))

    def test_cluster_port_lets_a_newcomer_shake_hands(self, shake: Shake, alpha: Identity) -> None:
        """Who joins has no certificate yet; that it can do nothing else is for the port to see to."""
        server, _, _ = shake(alpha.cluster_port_options(), client_with(alpha.root))
        assert server.shaken
        with pytest.raises(NotAMember):
            alpha.peer_line(server.transport)
