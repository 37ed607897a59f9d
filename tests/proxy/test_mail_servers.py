"""Real mail servers behind the front doors, used by curl through another node, in the clear and under TLS."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.mail import smtp
from twisted.mail.imap4 import PLAINCredentials
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from zope.interface import implementer

from hybrid.model import Port
from tests.proxy.nodes import Nodes, free_port, reactor, run, wait_for

ENTRY = "127.0.0.2"
CONFIG = """
base_dir = {place}/run
log_path = {place}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{place}/%u
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={place}/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3}
  }}
}}
service anvil {{
  chroot =
}}
"""
wants_dovecot = pytest.mark.skipif(
    not Path("/usr/lib/dovecot/pop3").exists() or not Path("/usr/lib/dovecot/imap").exists(),
    reason="dovecot-imapd and dovecot-pop3d are not installed",
)


@pytest.fixture
def dovecot() -> Iterator[tuple[int, int]]:
    """A Dovecot where everybody's password is `secret`; its ports for IMAP and POP3."""
    with tempfile.TemporaryDirectory(prefix="hybrid-dovecot-") as place:
        shutil.chown(place, "dovecot", "dovecot")
        imap, pop3 = free_port(), free_port()
        config = Path(place) / "dovecot.conf"
        config.write_text(CONFIG.format(place=place, imap=imap, pop3=pop3))
        with subprocess.Popen(["dovecot", "-F", "-c", str(config)]) as server:
            try:
                wait_for(imap, server)
                wait_for(pop3, server)
                yield imap, pop3
            finally:
                server.send_signal(signal.SIGTERM)


@wants_dovecot
@pytest_twisted.ensureDeferred
async def test_mail_is_read_through_another_node(dovecot: tuple[int, int], tmp_path: Path) -> None:
    """A message that was put into a mailbox by IMAP is read by IMAP and POP3; wrong passwords are refused."""
    imap, pop3, imaps = free_port(), free_port(), free_port()
    ports = (Port("imap", dovecot[0], "imap"), Port("pop3", dovecot[1], "pop3"))
    nodes = Nodes(tmp_path / "state", ports, {"imap_port": imap, "imaps_port": imaps, "pop3_port": pop3})
    letter = tmp_path / "letter"
    letter.write_text("Subject: hello\r\n\r\n" + "line\r\n" * 20000)
    curl = ["curl", "-sSk", "-m", "120", "-u", "ann@shop.test:secret"]
    try:
        _, complaint, status = await run(*curl, "--ssl-reqd", "-T", str(letter), f"imap://{ENTRY}:{imap}/INBOX")
        assert status == 0, complaint
        for url in (
            f"imap://{ENTRY}:{imap}/INBOX;UID=1",
            f"imaps://{ENTRY}:{imaps}/INBOX;UID=1",
            f"pop3://{ENTRY}:{pop3}/1",
        ):
            out, complaint, _ = await run(*curl, *([] if "imaps" in url else ["--ssl-reqd"]), url)
            assert (out.count("line"), "Subject: hello" in out) == (20000, True), complaint
        for url in (f"imap://{ENTRY}:{imap}/INBOX;UID=1", f"pop3://{ENTRY}:{pop3}/1"):
            _, _, status = await run("curl", "-sSk", "-u", "ann@shop.test:wrong", url)
            assert status == 67  # login denied
    finally:
        await nodes.close()


@implementer(IMessageSMTP)
class Letter:
    """A message on its way into a list."""

    def __init__(self, to: str, box: list[tuple[str, str]]) -> None:
        self._to, self._box = to, box
        self._lines: list[str] = []

    def lineReceived(self, line: bytes) -> None:
        """See `IMessageSMTP`."""
        self._lines.append(line.decode())

    def eomReceived(self) -> Deferred[None]:  # noqa: N802  (Twisted's name)
        """See `IMessageSMTP`."""
        self._box.append((self._to, "\n".join(self._lines)))
        return succeed(None)

    def connectionLost(self) -> None:
        """See `IMessageSMTP`."""


@implementer(IMessageDelivery, IRealm)
class Box:
    """Takes mail for everybody, from whoever may speak to its server."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:  # noqa: N802  (Twisted's name)
        """See `IMessageDelivery`."""
        return b"Received: here"

    def validateFrom(self, helo: Any, origin: Any) -> Any:  # noqa: N802  (Twisted's name)
        """See `IMessageDelivery`."""
        return origin

    def validateTo(self, user: Any) -> Any:  # noqa: N802  (Twisted's name)
        """See `IMessageDelivery`."""
        return lambda: Letter(str(user), self.letters)

    def requestAvatar(self, avatar: Any, mind: Any, *interfaces: Any) -> Any:  # noqa: N802  (Twisted's name)
        """See `IRealm`."""
        return IMessageDelivery, self, lambda: None


class MailServer(smtp.SMTPFactory):
    """Twisted's: with logins, or for whoever comes."""

    def __init__(self, box: Box, logins: bool) -> None:
        super().__init__()
        self._box, self._logins = box, logins

    def buildProtocol(self, addr: Any) -> smtp.ESMTP:
        """See `IProtocolFactory`."""
        server = smtp.ESMTP(chal={b"PLAIN": PLAINCredentials} if self._logins else {})
        server.factory, server.noisy = self, False
        if self._logins:
            checker = InMemoryUsernamePasswordDatabaseDontUse()
            checker.addUser(b"ann@shop.test", b"secret")
            server.portal = Portal(self._box, [checker])  # type: ignore[assignment]  # untyped there
        else:
            server.delivery = self._box
        return server


@pytest_twisted.ensureDeferred
async def test_mail_is_sent_through_another_node(tmp_path: Path) -> None:
    """From strangers to a mailbox of the site, and by its users after a login."""
    box = Box()
    listening = [reactor.listenTCP(0, MailServer(box, logins), interface="127.0.0.1") for logins in (False, True)]
    smtp_port, submission, submissions = free_port(), free_port(), free_port()
    own = [port.getHost().port for port in listening]  # type: ignore[attr-defined]  # IPv4Address
    nodes = Nodes(
        tmp_path / "state",
        (Port("smtp", own[0], "smtp"), Port("submission", own[1], "submission")),
        {"smtp_port": smtp_port, "submission_port": submission, "submissions_port": submissions},
    )
    letter = tmp_path / "letter"
    letter.write_text("Subject: hello\r\n\r\n.dot\r\n" + "line\r\n" * 20000)
    curl = ["curl", "-sSk", "--mail-from", "bob@example.org", "-T", str(letter)]
    login = ["-u", "ann@shop.test:secret", "--mail-rcpt", "eve@elsewhere.test"]
    try:
        for extra in ([], ["--ssl-reqd"]):
            _, complaint, status = await run(
                *curl, *extra, "--mail-rcpt", "ann@shop.test", f"smtp://{ENTRY}:{smtp_port}"
            )
            assert status == 0, complaint
        _, complaint, status = await run(*curl, "--ssl-reqd", *login, f"smtp://{ENTRY}:{submission}")
        assert status == 0, complaint
        _, complaint, status = await run(*curl, *login, f"smtps://{ENTRY}:{submissions}")
        assert status == 0, complaint
        assert [to for to, _ in box.letters] == ["ann@shop.test"] * 2 + ["eve@elsewhere.test"] * 2
        assert all(text.count("\nline") == 20000 and "\n.dot\n" in text for _, text in box.letters)
        _, complaint, status = await run(
            *curl, "-u", "ann@shop.test:wrong", "--mail-rcpt", "x@y", f"smtps://{ENTRY}:{submissions}"
        )
        assert status == 67, complaint
        _, complaint, _ = await run(*curl, "--mail-rcpt", "a@elsewhere.test", f"smtp://{ENTRY}:{smtp_port}")
        assert "451" in complaint
    finally:
        await nodes.close()
        for port in listening:
            await (port.stopListening() or succeed(None))
