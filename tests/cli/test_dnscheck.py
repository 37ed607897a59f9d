"""What `hybrid dns check` says of what was seen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid.cli.dnscheck import Asked, Parent, findings

SERVERS = ("ns1.hybrid.test", "ns2.hybrid.test")
GOOD = [
    Asked("n1", "10.0.0.1", "", "NOERROR", 7, ("10.0.0.1",)),
    Asked("n2", "10.0.0.2", "", "NOERROR", 7, ("10.0.0.1",)),
]
DS = ("1 13 2 ABCD",)


def said(parent: Parent, ds: tuple[str, ...] = (), asked: list[Asked] = GOOD) -> str:
    """All that is found, as one text."""
    return " | ".join(f"{one.what} -> {one.try_}" for one in findings("own.example", SERVERS, ds, parent, asked))


def test_nothing_is_said_of_what_is_right() -> None:
    """Delegated to just our servers, signed or not, all nodes agree."""
    assert said(Parent("", SERVERS)) == ""
    assert said(Parent("", SERVERS, ("1 13 2 ab cd",)), DS) == ""


@pytest.mark.parametrize(
    ("parent", "ds", "expected"),
    [
        (Parent(), (), "is not delegated"),
        (Parent("timed out"), (), "timed out"),
        (Parent("", ("ns.old.example", *SERVERS)), (), "none of ours: ns.old.example"),
        (Parent("", SERVERS[:1]), (), "not told of ns2.hybrid.test"),
        (Parent("", SERVERS, ("1 13 2 FFFF",)), (), "--dnssec on"),
        (Parent("", SERVERS, ("1 13 2 FFFF",)), DS, "points to another key"),
        (Parent("", SERVERS), DS, "give the registrar the DS record 1 13 2 ABCD"),
    ],
)
def test_what_the_parent_says(parent: Parent, ds: tuple[str, ...], expected: str) -> None:
    """What is wrong there, and what to set at the registrar."""
    assert expected in said(parent, ds)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (Asked("n2", "10.0.0.2", "timed out"), "n2 does not answer at 10.0.0.2"),
        (Asked("n2", "10.0.0.2", "", "SERVFAIL"), "n2 answers SERVFAIL"),
        (Asked("n2", "10.0.0.2", "", "NOERROR", 7, ("10.0.0.2",)), "answer differently"),
        (Asked("n2", "10.0.0.2", "", "NOERROR", 6, ("10.0.0.1",)), "different serials"),
    ],
)
def test_what_the_nodes_say(other: Asked, expected: str) -> None:
    """Who is silent, in trouble, or behind."""
    assert expected in said(Parent("", SERVERS), asked=[GOOD[0], other])


def test_the_verb(hybrid: Any) -> None:
    """Programs get all that was seen; nodes that nobody can reach are told of, and the exit code says so."""
    ran = hybrid("dns", "check", "blog.hybrid.test", "--resolver", "127.0.0.1", "--port", "1", "--format", "json")
    found = json.loads(ran.out)
    assert (ran.code, found["zone"], [node["node"] for node in found["nodes"]]) == (
        1,
        "hybrid.test",
        ["n1", "n2", "n3"],
    )
    assert len(found["findings"]) >= 3
    assert hybrid("dns", "check", "elsewhere.org").code == 2
