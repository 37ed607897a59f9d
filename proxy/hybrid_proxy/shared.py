"""Which services have shared ports, and who greets there. Composition."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid.settings import Settings
from hybrid_proxy.guest import New
from hybrid_proxy.mysql import MySQL
from hybrid_proxy.postgres import Postgres

DIALOGUES: Mapping[str, New] = {"postgres": Postgres, "mysql": MySQL}
"""By service."""


def shared_ports(settings: Settings) -> dict[int, tuple[str, bool]]:
    """Ports to services, and whether TLS is from the first byte on there."""
    wanted = {settings.postgres_port: ("postgres", False), settings.mysql_port: ("mysql", False)}
    return {port: service for port, service in wanted.items() if port}
