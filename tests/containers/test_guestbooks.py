"""The example applications in real containers: what was acknowledged outlives a power cut."""

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

ASK = """
import sys, urllib.error, urllib.parse, urllib.request
address, *form = sys.argv[1:]
try:
    data = urllib.parse.urlencode(dict(pair.split("=", 1) for pair in form)).encode() or None
    print(urllib.request.urlopen(address, data, timeout=30).read().decode(), end="")
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(), end="")
"""


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.async_yield_fixture(params=["php", "django", "ruby", "node"])
async def guestbook(request: pytest.FixtureRequest, namespaces: None) -> AsyncIterator[Application]:
    """A fresh one, which keeps its entries in a file of its own."""
    async with application(request.param, "book") as made:
        yield made


async def ask(guestbook: Application, path: str, *form: str) -> str:
    """The answer; with its status in front where it is an error."""
    port = guestbook.manifest.ports[0].port
    done = await guestbook.outside(sys.executable, "-c", ASK, f"http://{ADDRESS}:{port}{path}", *form)
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest_twisted.ensureDeferred
async def test_a_guestbook_keeps_its_word(guestbook: Application) -> None:
    """`ok` means on disk; asking twice makes one entry; bad input is refused, and text of strangers shown as text."""
    assert (await ask(guestbook, "/append", "id=one", "text=<b>first</b>")).startswith("ok one 1")
    assert (await ask(guestbook, "/append", "id=one", "text=again")).startswith("ok one 1")
    assert (await ask(guestbook, "/append", "id=two words", "text=x")).startswith("400 ")
    await guestbook.restart()
    assert await ask(guestbook, "/list") == "one\n"
    assert (await ask(guestbook, "/health")).startswith("ok 1")
    page = await ask(guestbook, "/")
    assert "first" in page
    assert "<b>" not in page


@pytest_twisted.ensureDeferred
async def test_redis_keeps_what_it_acknowledged(namespaces: None) -> None:
    """Only who has the password gets in, and a power cut takes nothing."""
    async with application("redis", "store") as redis:
        line = "REDISCLI_AUTH=$(sed -n 's/^password=//p' /etc/hybrid/credentials) redis-cli"
        assert (await redis.run("sh", "-c", f"{line} set a 1")).stdout == b"OK\n"
        assert b"NOAUTH" in (await redis.run("redis-cli", "get", "a")).stdout
        await redis.restart()
        assert (await redis.run("sh", "-c", f"{line} get a")).stdout == b"1\n"


@pytest_twisted.ensureDeferred
async def test_a_plain_debian_stays(namespaces: None) -> None:
    """Packages can be managed in it, cron runs, and what is put into the folder of services runs from then on."""
    async with application("debian", "box") as box:
        assert (await box.run("sh", "-c", "dpkg --audit && apt-get check -qq && pgrep -x cron")).status == 0
        service = b"#!/bin/sh\ndate > /srv/started\nexec sleep infinity\n"
        script = "cat > /etc/hybrid/services/mine && chmod 755 /etc/hybrid/services/mine"
        assert (await box.run("sh", "-c", script, stdin=service)).status == 0
        await box.restart()
        wait = "for try in $(seq 100); do [ -s /srv/started ] && exit; sleep 0.1; done; exit 1"
        assert (await box.run("sh", "-c", wait)).status == 0
