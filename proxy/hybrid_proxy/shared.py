"""Which services have shared ports, and who greets there. Composition."""

from __future__ import annotations

from collections.abc import Mapping

from hybrid.settings import Settings
from hybrid_proxy.ftp import Ftp
from hybrid_proxy.guest import New
from hybrid_proxy.imap import Imap
from hybrid_proxy.mysql import MySQL
from hybrid_proxy.pop3 import Pop3
from hybrid_proxy.postgres import Postgres
from hybrid_proxy.services import SSH
from hybrid_proxy.smtp import Smtp
from hybrid_proxy.submission import Submission

DIALOGUES: Mapping[str, New] = {
    "postgres": Postgres,
    "mysql": MySQL,
    "smtp": Smtp,
    "submission": Submission,
    "imap": Imap,
    "pop3": Pop3,
    "ftp": Ftp,
}
"""By service."""


def shared_ports(settings: Settings) -> dict[int, tuple[str, bool]]:
    """Ports to services, and whether TLS is from the first byte on there."""
    wanted = {
        settings.postgres_port: ("postgres", False),
        settings.mysql_port: ("mysql", False),
        settings.smtp_port: ("smtp", False),
        settings.submission_port: ("submission", False),
        settings.submissions_port: ("submission", True),
        settings.imap_port: ("imap", False),
        settings.imaps_port: ("imap", True),
        settings.pop3_port: ("pop3", False),
        settings.pop3s_port: ("pop3", True),
        settings.ftp_port: ("ftp", False),
        settings.ftps_port: ("ftp", True),
        settings.ssh_port: (SSH, False),
    }
    return {port: service for port, service in wanted.items() if port}
