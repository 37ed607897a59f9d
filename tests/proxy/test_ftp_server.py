"""A real FTP server behind the front doors, used by curl through another node, in the clear and under TLS."""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.defer import succeed
from twisted.protocols.ftp import FTPFactory, FTPRealm

from hybrid.model import Port
from tests.proxy.nodes import Nodes, free_port, reactor, run

ENTRY = "127.0.0.2"
LINES = 200_000


@pytest_twisted.ensureDeferred
async def test_files_through_another_node(tmp_path: Path) -> None:
    """Up, down and listed, by PASV and EPSV, with data in the clear and within TLS, and TLS from the first byte on."""
    home = tmp_path / "home"
    (home / "ann").mkdir(parents=True)
    passwords = InMemoryUsernamePasswordDatabaseDontUse()
    passwords.addUser("ann", "secret")  # type: ignore[arg-type]  # FTP's logins are texts
    server = FTPFactory(Portal(FTPRealm(str(tmp_path / "nobody"), str(home)), [passwords]))
    listening = reactor.listenTCP(0, server, interface="127.0.0.1")
    own = listening.getHost().port  # type: ignore[attr-defined]  # IPv4Address
    ftp, ftps = free_port(), free_port()
    nodes = Nodes(tmp_path / "state", (Port("files", own, "ftp"),), {"ftp_port": ftp, "ftps_port": ftps})
    letter = tmp_path / "letter"
    letter.write_text("line\n" * LINES)
    curl = ["curl", "-sSk", "-m", "120", "-u", "ann@shop:secret"]
    try:
        for number, (extra, url) in enumerate(
            [
                (["--disable-epsv"], f"ftp://{ENTRY}:{ftp}"),
                (["--ssl-reqd"], f"ftp://{ENTRY}:{ftp}"),
                (["--ssl-reqd", "--ftp-ssl-control"], f"ftp://{ENTRY}:{ftp}"),
                ([], f"ftps://{ENTRY}:{ftps}"),
            ]
        ):
            _, complaint, status = await run(*curl, *extra, "-T", str(letter), f"{url}/up{number}")
            assert status == 0, complaint
            assert (home / "ann" / f"up{number}").read_text() == "line\n" * LINES
            out, complaint, _ = await run(*curl, *extra, f"{url}/up{number}")
            assert out.count("line\n") == LINES, complaint
        out, complaint, _ = await run(*curl, f"ftp://{ENTRY}:{ftp}/")
        assert sorted(line.split()[-1] for line in out.splitlines()) == ["up0", "up1", "up2", "up3"], complaint
        _, _, status = await run("curl", "-sSk", "-u", "ann@shop:wrong", f"ftp://{ENTRY}:{ftp}/")
        assert status == 67
    finally:
        await nodes.close()
        await (listening.stopListening() or succeed(None))
