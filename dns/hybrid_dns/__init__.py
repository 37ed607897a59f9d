"""Authoritative DNS, answered from the view."""
