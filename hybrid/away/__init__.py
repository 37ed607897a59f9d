"""Histories in an object store far away: encrypted, kept apart from the cluster, restorable into an empty one."""
