"""The API as a service: it listens as soon as it can, and leaves nothing when it stops."""

from typing import Any

import pytest
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs


def test_a_port_in_use_is_waited_for(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose old process has not let go of the port yet serves its API a moment later."""
    refusals = [CannotListenError("", 8443, OSError("in use"))] * 2
    listen = cluster.reactor.listenTCP

    def reluctant(*args: Any, **kwargs: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return listen(*args, **kwargs)

    monkeypatch.setattr(cluster.reactor, "listenTCP", reluctant)
    with capturedLogs() as logs:
        cluster.n1.api.startService()
        cluster.reactor.pump([2, 2])
    assert len(cluster.reactor.tcpServers) == 1
    assert ["cannot listen" in event["log_format"] for event in logs] == [True, True]
    cluster.n1.api.stopService()


def test_stop_closes_connections(cluster: Any) -> None:
    """Clients notice at once and go to another node."""
    transport, _ = cluster.n1.connect(b"")
    cluster.n1.api.startService()
    cluster.n1.api.stopService()
    assert transport.disconnecting


def test_status_stays_readable_in_an_outage(cluster: Any) -> None:
    """Fifty findings, then how many more."""
    import msgspec

    seen = cluster.world.sites[cluster.shop]
    for number in range(100):
        spec = msgspec.structs.replace(seen.spec, name=f"s{number:03}")
        cluster.world.sites[f"s-{number}"] = msgspec.structs.replace(seen, spec=spec, state="unavailable")
    status = cluster.n1("GET", "/v1/status").json
    assert status["health"] == "critical"
    assert len(status["findings"]) == 51
    assert status["findings"][0] == "site s000 is unavailable"
    assert status["findings"][-1].startswith("and ")
