"""The REST interface that any node answers."""
