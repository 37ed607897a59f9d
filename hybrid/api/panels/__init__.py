"""Interfaces of other systems at which billing panels order, each translated to calls of the API."""
