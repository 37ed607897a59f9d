# What `_heads.c` offers, where it was built (`make native`). `None`: ask the parser in Python.

def parse_request(
    data: bytes,
) -> tuple[bytes, bytes, int, int, bytes, int, bytes, list[tuple[bytes, bytes]] | None, int] | None:
    """Method, target, minor version, end, authority, length or -1, field lines, forwarding fields, connection."""

def parse_reply(data: bytes) -> tuple[int, bytes, int, int, int, bytes, int, int] | None:
    """Status, reason, minor version, end, length or -1, field lines, whether it is chunked, connection."""
