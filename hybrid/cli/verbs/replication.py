"""`hybrid replication …`: what goes from node to node at this moment."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli.columns import Column, bytes_, seconds
from hybrid.cli.parser import add_noun
from hybrid.cli.session import Session

TRANSFERS = (
    Column("way"),
    Column("node"),
    Column("site_name", "SITE"),
    Column("dataset"),
    Column("bytes", "DONE", bytes_, "right"),
    Column("size_bytes", "OF", bytes_, "right"),
    Column("saved_bytes", "SAVED", bytes_, "right"),
    Column("bytes_per_s", "PER S", bytes_, "right"),
    Column("seconds", "TOOK", seconds, "right"),
    Column("left_s", "LEFT", seconds, "right"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The noun."""
    verbs = add_noun(nouns, common, "replication", "bytes on their way")
    listing = verbs.add(
        "list",
        "what a node moves to and from others, stores and the past; what takes longest first",
        list_transfers,
        "hybrid replication list",
    )
    listing.add_argument("--node", help="default: the one that answers")


def list_transfers(session: Session) -> int:
    """`hybrid replication list`."""
    session.out.items(session.api.get("/v1/transfers", node=session.options.node)["items"], TRANSFERS, "dataset")
    return 0
