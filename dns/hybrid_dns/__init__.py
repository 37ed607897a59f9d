"""Authoritative DNS of the cluster's zones, answered from the view. See `dns/README.md`."""
