"""Whole nodes, and replicators alone, on pools in memory that can be made sick."""

from tests.node.conftest import cluster, found
from tests.replicator.conftest import clock, run
from tests.replicator.test_replication import tell

__all__ = ["clock", "cluster", "found", "run", "tell"]
