"""A cluster's configuration, kept in every pool and given away as a file: nothing of it is lost on the way."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from twisted.internet.defer import Deferred

from hybrid.cluster.keyring import KEYRING
from hybrid.configuration import DATASET, Configuration, differences, kept_values, of_file, of_properties, properties
from hybrid.errors import BadRequest, StorageError
from hybrid.safekeeping import AT_ONCE, Safekeeping, kept_in
from hybrid.storage.memory import MemoryPool

T = TypeVar("T")
ODD = {"dns/example.org./@": '{"a": "ü \\n \\t ~ %"}', "token/x": "", "away/s3": "x" * 5000}
KEPT = Configuration(cluster="c-1", name="mine", zones=("hybrid.test",), nodes=("n1", "n2"), values=ODD)


def done(step: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that waits for nothing returns."""
    found: list[T] = []
    failed: list[Any] = []
    Deferred.fromCoroutine(step).addCallbacks(found.append, failed.append)
    if failed:
        failed[0].raiseException()
    return found[0]


def test_what_is_kept_comes_back() -> None:
    """From properties and from a file, whatever is in the values; keys that nodes replace themselves are not kept."""
    assert of_properties(properties(KEPT)) == KEPT
    assert of_file(msgspec.json.encode(KEPT)) == KEPT
    assert kept_values({**ODD, KEYRING: "secret"}) == ODD


def test_only_what_changed_is_written() -> None:
    """One value more, one changed, one gone: as many properties, and the rest is left."""
    changed = msgspec.structs.replace(KEPT, values={**ODD, "token/x": "1", "token/y": "2"})
    assert len(differences(properties(KEPT), properties(changed))) == 2
    gone = msgspec.structs.replace(KEPT, values={"token/x": ""})
    assert list(differences(properties(KEPT), properties(gone)).values()) == [None, None]
    assert differences({**properties(KEPT), "spec": "x"}, properties(KEPT)) == {}


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"cluster": "c", "name": "n", "format": 2}', b"\xff"])
def test_what_is_no_configuration_is_refused(text: bytes) -> None:
    """With what to do, and nothing is begun with it."""
    with pytest.raises(BadRequest):
        of_file(text)


def test_a_pool_without_a_configuration_says_so() -> None:
    """Whoever asks to recover from it learns that it must go on without."""
    for found in ({}, {"about": "?"}, {"spec": "{}"}):
        with pytest.raises(BadRequest, match="keeps no configuration"):
            of_properties(found)


def test_a_value_that_cannot_be_read_takes_no_other_with_it() -> None:
    """Somebody's hand was at one property; the others come back."""
    found = properties(KEPT)
    spoilt = next(name for name, text in found.items() if "token/x" in text)
    left = of_properties({**found, spoilt: "?"}).values
    assert left == {key: value for key, value in ODD.items() if key != "token/x"}


class Kept:
    """A pool, and a configuration that changes."""

    def __init__(self) -> None:
        self.pool = MemoryPool()
        done(self.pool.prepare())
        self.now = KEPT
        self.safekeeping = Safekeeping(self.pool, lambda: self.now)


def test_the_pool_follows() -> None:
    """What the cluster knows is in the pool after a look, and after a restart only what is new is written."""
    kept = Kept()
    with pytest.raises(BadRequest, match="leave --recover out"):
        done(kept_in(kept.pool))
    done(kept.safekeeping.look())
    assert done(kept_in(kept.pool)) == KEPT
    kept.now = msgspec.structs.replace(KEPT, nodes=("n1",), values={"group/a": "1"})
    done(Safekeeping(kept.pool, lambda: kept.now).look())
    assert done(kept_in(kept.pool)) == kept.now
    assert done(kept.pool.dataset(DATASET)).mountpoint is None


def test_a_large_change_takes_several_looks() -> None:
    """No call writes more than a few properties, and in the end all are there."""
    kept = Kept()
    kept.now = msgspec.structs.replace(KEPT, values={f"token/{number}": "x" for number in range(AT_ONCE + 20)})
    done(kept.safekeeping.look())
    assert len(done(kept_in(kept.pool)).values) < AT_ONCE + 20
    done(kept.safekeeping.look())
    assert done(kept_in(kept.pool)) == kept.now


def test_storage_that_fails_is_tried_again() -> None:
    """A call that failed may have written a part: what is there is read again, and the rest follows."""
    kept = Kept()

    async def fail() -> None:
        raise StorageError("the pool is full")

    kept.pool.before("set_properties", fail)
    with pytest.raises(StorageError):
        done(kept.safekeeping.look())
    done(kept.safekeeping.look())
    assert done(kept_in(kept.pool)) == KEPT
