"""Snapshots, replication, retention, and the way back in time."""
