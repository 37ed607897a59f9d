"""Certificates of sites: what is uploaded or issued once is sealed, replicated, and shown by every node."""
