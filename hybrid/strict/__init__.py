"""Strict sites: at most one writer at any instant, by leases in etcd; a stop where that cannot be known."""
