"""Hybrid: the vocabulary, the cluster's decisions, storage, the API, and the composition of a node."""
