"""A cluster of which only pools and its root are left is begun again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hybrid.certs.vault import KEY, ROOT, Vault
from hybrid.cluster.certificates import cluster_id, new_key
from hybrid.cluster.founding import Root, create_cluster
from hybrid.cluster.store import Store
from hybrid.configuration import Configuration
from hybrid.errors import BadRequest
from hybrid.model import NodeId
from hybrid.recovery import LostCluster, listen_until, patient, restored
from hybrid.settings import Settings, Timing

NOW_S = 1_700_000_000.0


def entropy(seed: str) -> Callable[[int], bytes]:
    """Bytes that differ from call to call and from seed to seed."""
    counter = itertools.count()
    return lambda count: hashlib.shake_128(f"{seed} {next(counter)}".encode()).digest(count)


def der(key: EllipticCurvePublicKey) -> bytes:
    """A public key as registers have it."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_sealed_keys_outlive_all_nodes_with_the_root(tmp_path: Path) -> None:
    """Private keys of certificates are opened by the new first node, if the root is there, and by nobody otherwise."""
    root, lost_key = Root.new("mine", NOW_S), new_key()
    lost = Vault(NodeId("n-lost"), lost_key, entropy("lost"))
    lost.make()
    nodes = {ROOT: der(root.certificate.public_key()), NodeId("n-lost"): der(lost_key.public_key())}  # type: ignore[arg-type]
    sealed = lost.seal(b"private key", "example.org")
    kept = Configuration(cluster=cluster_id(root.certificate), name="mine", values=lost.missing({}, nodes))
    identity = create_cluster(tmp_path, "n1", "192.0.2.1", NOW_S, root=root)

    values = restored(kept, identity, root)
    new = Vault(identity.node, identity.key, entropy("new"))
    assert new.learn({key: value for key, value in values.items() if key.startswith(KEY)})
    assert new.open(sealed, "example.org") == b"private key"

    without = Vault(identity.node, identity.key, entropy("new"))
    assert not without.learn(restored(kept, identity, None))
    assert without.open(sealed, "example.org") is None


def test_what_was_known_is_in_the_new_nodes_database(tmp_path: Path) -> None:
    """Values, and who waits for whom: nothing is started before others had time to come."""
    root = Root.new("mine", NOW_S)
    kept = Configuration(cluster=cluster_id(root.certificate), name="mine", zones=("a.test",), values={"token/a": "1"})
    lost = LostCluster(kept)
    lost.check(root)
    identity = create_cluster(tmp_path, "n1", "192.0.2.1", NOW_S, root=root)
    lost.begin_again(tmp_path, identity, root, NOW_S, 300.0)
    store = Store(tmp_path / "hybrid.db")
    assert {key: entry.value for key, entry in store.shared().items()} == {"token/a": "1"}
    store.close()
    settings = Settings(name="n1", address="192.0.2.1", state_dir=str(tmp_path))
    assert patient(settings, NOW_S + 100).timing == Timing(boot_s=200.0, alone=True)
    assert patient(settings, NOW_S + 295) == settings
    assert "sites start in 300 s" in list(lost.news(300.0))[-1]


@pytest.mark.parametrize("text", ["", "soon", "1e400", "nan", "9999999999999"])
def test_a_note_that_says_nothing_sensible_is_passed_over(tmp_path: Path, text: str) -> None:
    """A node never listens for ever."""
    settings = Settings(name="n1", address="192.0.2.1", state_dir=str(tmp_path))
    listen_until(tmp_path, NOW_S)
    (tmp_path / "listen-until").write_text(text)
    assert patient(settings, NOW_S) == settings


def test_another_clusters_root_is_refused() -> None:
    """Nodes that come later would not know the cluster."""
    kept = Configuration(cluster="c-other", name="mine")
    with pytest.raises(BadRequest, match="not that of the lost cluster"):
        LostCluster(kept).check(Root.new("mine", NOW_S))
    LostCluster(kept).check(None)


def test_nothing_is_begun_again_unless_asked_for(tmp_path: Path) -> None:
    """`hybrid init` without `--recover` begins an empty cluster; a file that is none is refused before anything."""
    empty = LostCluster.of(None)
    empty.check(Root.new("mine", NOW_S))
    assert (empty.name, empty.zones, list(empty.news(1.0))) == ("", (), [])
    with pytest.raises(BadRequest, match="cannot read"):
        LostCluster.of(str(tmp_path / "none"))
    (tmp_path / "file").write_text("?")
    with pytest.raises(BadRequest, match="no exported configuration"):
        LostCluster.of(str(tmp_path / "file"))
