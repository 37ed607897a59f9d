"""The API's pure parts, one by one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.api import moments, problems
from hybrid.api.idempotency import Again, Fresh, Keys, Reused, UnderWay
from hybrid.api.jsonbody import MAX_DEPTH, parse
from hybrid.api.pieces import KEEP_S, PIECE, Pieces
from hybrid.api.router import Found, NotAllowed, NotFound, Router
from hybrid.errors import BadRequest, Busy, ContainerError, HybridError, NoSuchSnapshot, QuotaReached, StorageError
from hybrid.model import Guid, Snapshot
from hybrid.release import __version__


def test_release_is_the_package_s() -> None:
    """`hybrid --version` and the installed package never disagree."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    """Nothing a person types crashes the parser."""
    try:
        moments.parse(text)
    except BadRequest:
        pass


@given(st.lists(st.integers(0, 1000), min_size=1), st.integers(0, 1000))
def test_a_time_means_the_newest_before(times: list[int], at_s: int) -> None:
    """A moment never leads to a snapshot younger than asked for."""
    history = tuple(Snapshot(Guid(index), f"s{index}", time) for index, time in enumerate(sorted(times)))
    try:
        found = moments.find(history, moments.At(at_s), 2000)
    except NoSuchSnapshot:
        assert min(times) > at_s
    else:
        assert found.created_at_s == max(time for time in times if time <= at_s)


def test_clocks_that_jumped() -> None:
    """History is in its own order: among equals and after a jump back the later one counts."""
    history = (Snapshot(Guid(1), "a", 100), Snapshot(Guid(2), "b", 300), Snapshot(Guid(3), "c", 200))
    assert moments.find(history, moments.At(250), 400).name == "c"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x, max_size=3)))
def test_any_json_reads_back(value: object) -> None:
    """The strict parser agrees with everybody else's on harmless JSON."""
    import json

    depth = str(value).count("[")
    if depth <= MAX_DEPTH:
        assert parse(json.dumps(value).encode()) == value


@given(st.binary())
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    """Nothing a client sends crashes the parser."""
    try:
        parse(data)
    except BadRequest:
        pass


def test_router() -> None:
    """Fixed words win over parameters; an empty segment is never a parameter."""
    router: Router[str] = Router()
    router.add("GET", "/v1/sites/{site}", "site")
    router.add("GET", "/v1/sites/count", "count")
    router.add("POST", "/v1/sites/{site}/move", "move")
    assert router.match("GET", "/v1/sites/a%2Fb") == Found("site", {"site": "a/b"})
    assert router.match("HEAD", "/v1/sites/count") == Found("count", {})
    assert router.match("GET", "/v1/sites/a/move") == NotAllowed(("POST",))
    for path in ("/v1/sites/", "/v1", "/v1/sites/a/", "//v1/sites/a", "", "v1/sites/a/move/x"):
        assert router.match("GET", path) == NotFound(), path
    with pytest.raises(ValueError, match="already"):
        router.add("GET", "/v1/sites/{site}", "again")


def test_keys_are_bounded_and_expire() -> None:
    """Ten thousand keys, for a day."""
    keys: Keys[str] = Keys(max_keys=2)
    assert isinstance(keys.seen("a", b"1", 0), Fresh)
    assert isinstance(keys.seen("a", b"1", 0), UnderWay)
    assert isinstance(keys.seen("a", b"2", 0), Reused)
    keys.remember("a", "answer")
    assert keys.seen("a", b"1", 1) == Again("answer")
    assert isinstance(keys.seen("a", b"1", 25 * 3600), Fresh)
    assert isinstance(keys.seen("b", b"", 25 * 3600), Fresh)
    assert isinstance(keys.seen("c", b"", 25 * 3600), Fresh)
    assert isinstance(keys.seen("a", b"1", 25 * 3600), Fresh)


def test_pieces() -> None:
    """Whole bodies come out of pieces; what nobody fetches is forgotten."""
    pieces = Pieces(iter("abcdef").__next__)
    body = b"x" * (PIECE + 5)
    key = pieces.keep(body, 0)
    assert len(pieces.piece(key, 0, 1) or b"") == PIECE
    assert pieces.piece(key, PIECE, 1) == b"xxxxx"
    assert pieces.piece(key, 0, 1) is None
    key = pieces.keep(body, 0)
    assert pieces.piece(key, 0, KEEP_S + 1) is None
    large = b"x" * (100 * 1024 * 1024)
    first, second = pieces.keep(large, 300), pieces.keep(large, 300)
    assert pieces.piece(first, 0, 300) is None
    assert pieces.piece(second, 0, 300) is not None


def test_every_error_has_a_status() -> None:
    """The nearest class that is known decides; temporary ones can be tried again."""

    class Odd(StorageError):
        """Not known to the API."""

    class OddAndTemporary(ContainerError):
        """Not known either, but worth another try."""

        temporary = True

    assert problems.of_error(Odd("x")).code == "storage"
    assert problems.of_error(OddAndTemporary("x")).status == 503
    assert problems.of_error(QuotaReached("x")).status == 507
    assert problems.of_error(Busy("x")).retry_after_s == 2
    assert problems.of_error(HybridError("what", "why", "try")) == problems.problem(500, "failed", "what", "why", "try")
