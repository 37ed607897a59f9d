"""A second of the fuzz target; more by `python -m tests.dns.fuzz SECONDS`."""

from tests.dns.fuzz import run


def test_odd_messages_stop_nothing() -> None:
    """Whatever comes over the network, each message costs at most its own answer."""
    assert run(2.0, 1) >= 100
