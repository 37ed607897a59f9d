"""What a node remembers over a restart."""

from pathlib import Path

import pytest

from hybrid.cluster.store import Store, StoreError
from hybrid.cluster.token import Invitation
from hybrid.model import NodeId, NodeRegister, Shared

INVITATION = Invitation(proof_key=b"hash", expires_at_s=200.0, dc="paris", name="n2")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Known nodes, shared values, tokens and operations survive; the incarnation always grows."""
    node = NodeRegister(id=NodeId("n-b"), name="n2", dc="paris", address="10.0.0.2")
    entry = Shared(stamp=(5, 0, NodeId("n-b")), value='"x"')
    store = Store(tmp_path / "hybrid.db")
    first = store.next_incarnation(100.0)
    store.keep_nodes([node])
    store.keep_shared({"token/a": entry})
    store.keep_invitation("t1", INVITATION)
    for number in (1, 2, 1):
        store.save_operation(f"op-{number}", b"record %d" % number)
    store.close()
    store = Store(tmp_path / "hybrid.db")
    assert store.next_incarnation(50.0) > first >= 100
    assert store.nodes() == {NodeId("n-b"): node}
    assert store.shared() == {"token/a": entry}
    assert store.invitation("t1") == INVITATION
    assert store.load_operations() == [b"record 1", b"record 2"]


def test_a_join_token_is_consumed_once(tmp_path: Path) -> None:
    """The second who brings it gets nothing."""
    store = Store(tmp_path / "hybrid.db")
    store.keep_invitation("t1", INVITATION)
    assert (store.drop_invitation("t1"), store.drop_invitation("t1"), store.invitation("t1")) == (True, False, None)


def test_a_broken_file_is_kept_aside(tmp_path: Path) -> None:
    """A node with a broken database starts, and nothing of the file is lost."""
    path = tmp_path / "hybrid.db"
    path.write_bytes(b"this is not a database, " * 100)
    store = Store(path)
    assert store.nodes() == {}
    assert (tmp_path / "hybrid.db.broken").read_bytes().startswith(b"this is not")


def test_a_newer_release_is_told_apart(tmp_path: Path) -> None:
    """Going back to an older release says so instead of misreading the tables."""
    store = Store(tmp_path / "hybrid.db")
    store._database.execute("pragma user_version=99")
    store.close()
    with pytest.raises(StoreError, match="newer release"):
        Store(tmp_path / "hybrid.db")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The error says which file and what to look at."""
    with pytest.raises(StoreError, match=r"nowhere/hybrid\.db"):
        Store(tmp_path / "nowhere" / "hybrid.db")
