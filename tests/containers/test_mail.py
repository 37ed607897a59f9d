"""The image for mail in a real container: what is sent to its mailboxes is read from them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from hybrid_containers import sandbox
from tests.containers.application import ADDRESS, Application, application

pytestmark = pytest.mark.lxc

SEND = """
import smtplib, sys
address, port, login, password, sender, to, subject = sys.argv[1:]
with smtplib.SMTP(address, int(port), timeout=20) as smtp:
    if login:
        smtp.login(login, password)
    smtp.sendmail(sender, [to], f"From: {sender}\\r\\nTo: {to}\\r\\nSubject: {subject}\\r\\n\\r\\nHello.\\r\\n")
"""
READ = """
import imaplib, sys, time
address, login, password, wanted = sys.argv[1:]
imap = imaplib.IMAP4(address, timeout=20)
imap.login(login, password)
for _ in range(100):
    imap.select("INBOX")
    found = [imap.fetch(n, "(BODY[HEADER.FIELDS (SUBJECT)])")[1][0][1].decode().strip()
             for n in imap.search(None, "ALL")[1][0].split()]
    if len(found) >= int(wanted):
        break
    time.sleep(0.1)
print("\\n".join(found))
"""
POP = """
import poplib, sys
pop = poplib.POP3(sys.argv[1], timeout=20)
pop.user(sys.argv[2]); pop.pass_(sys.argv[3])
print(pop.stat()[0])
"""


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.async_yield_fixture
async def post(namespaces: None) -> AsyncIterator[Application]:
    """A fresh mail server of which nothing is left afterwards."""
    async with application("mail", "post") as made:
        yield made


async def send(post: Application, subject: str, to: str, port: str = "25", login: str = "", password: str = "") -> str:
    """Have a client send a message; what it said when it could not, else nothing."""
    sender = login or "anna@elsewhere.test"
    done = await post.outside(sys.executable, "-c", SEND, ADDRESS, port, login, password, sender, to, subject)
    return done.stderr.decode() if done.status else ""


async def read(post: Application, wanted: int, login: str, password: str) -> list[str]:
    """The subjects in an inbox, once there are so many."""
    done = await post.outside(sys.executable, "-c", READ, ADDRESS, login, password, str(wanted))
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode().split("\n")[:-1]


@pytest_twisted.ensureDeferred
async def test_mail_goes_in_and_out(post: Application) -> None:
    """By SMTP, by submission with a password, IMAP and POP3; it relays for nobody, and a power cut loses no message."""
    joe, password = "joe@example.test", "secret"
    assert (await post.run("mailbox", "add", joe, stdin=b"secret\n")).status == 0
    eve_password = (await post.run("mailbox", "add", "eve@example.test")).stdout.decode().strip()
    assert (await post.run("mailbox", "list")).stdout == b"joe@example.test\neve@example.test\n"
    assert (await post.run("mailbox", "add", joe)).status == 2
    assert (await post.run("mailbox", "add", "../x")).status == 2

    assert await send(post, "one", joe) == ""
    assert await send(post, "two", "eve@example.test", "587", joe, password) == ""
    assert await read(post, 1, joe, password) == ["Subject: one"]
    assert await read(post, 1, "eve@example.test", eve_password) == ["Subject: two"]
    assert (await post.outside(sys.executable, "-c", POP, ADDRESS, joe, password)).stdout == b"1\n"

    assert "550" in await send(post, "nobody", "nobody@example.test")
    assert "554" in await send(post, "relay", "x@elsewhere.test")
    assert "535" in await send(post, "thief", joe, "587", joe, "wrong")
    assert (
        "Authentication failed"
        in (await post.outside(sys.executable, "-c", READ, ADDRESS, joe, "x", "1")).stderr.decode()
    )

    await post.restart()
    assert await read(post, 1, joe, password) == ["Subject: one"]
    assert (await post.run("mailbox", "remove", joe)).status == 0
    assert "554" in await send(post, "late", joe) or "550" in await send(post, "late", joe)
    assert await send(post, "three", "eve@example.test") == ""
    assert await read(post, 2, "eve@example.test", eve_password) == ["Subject: two", "Subject: three"]
