"""The release: the one place besides `pyproject.toml` that names it (a test compares them). Pure."""

__version__ = "0.1.0"
