"""Applications whose database is another site's, in real containers: told how to log in, whole after a power cut."""

from __future__ import annotations

import os
import shutil
import sys
import xmlrpc.client
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.protocols.portforward import ProxyFactory

from hybrid.api.applications import environment
from hybrid_containers import sandbox
from tests.containers.application import ADDRESS, GATEWAY, SECOND, Application, application
from tests.containers.test_guestbooks import ASK

pytestmark = pytest.mark.lxc
HOST = "Host: blog.example.org"


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@asynccontextmanager
async def both(image: str, name: str, database: str) -> AsyncIterator[tuple[Application, Application]]:
    """The application and its database, which it reaches at its gateway, as through the front doors of a node."""
    async with application(database, f"{name}-{database}") as beside:
        text = (await beside.run("cat", "/etc/hybrid/credentials")).stdout.decode()
        login = dict(line.split("=", 1) for line in text.splitlines())
        port = beside.manifest.ports[0].port
        door = cast(Any, reactor).listenTCP(port, ProxyFactory(ADDRESS, port), interface=GATEWAY)
        try:
            async with application(image, name, SECOND, environment(beside.manifest, login)) as made:
                yield made, beside
        finally:
            await door.stopListening()


@pytest_twisted.ensureDeferred
async def test_wordpress_is_installed_when_it_is_first_seen(namespaces: None, tmp_path: Path) -> None:
    """There is no set-up page for strangers; its administrator logs in, and what he publishes outlives a power cut."""
    async with both("wordpress", "blog", "mariadb") as (blog, database):
        page = await blog.outside("curl", "-s", "-H", HOST, f"http://{SECOND}/")
        assert b"<title>blog</title>" in page.stdout
        assert b"//blog.example.org/" in page.stdout
        assert (
            b"already installed" in (await blog.outside("curl", "-s", f"http://{SECOND}/wp-admin/install.php")).stdout
        )
        text = (await blog.run("cat", "/etc/hybrid/credentials")).stdout.decode()
        login = dict(line.split("=", 1) for line in text.splitlines())
        content = {"post_title": "Kept", "post_status": "publish", "post_content": "Hello."}
        post = tmp_path / "post"
        post.write_text(xmlrpc.client.dumps((1, login["user"], login["password"], content), "wp.newPost"))
        posted = await blog.outside(
            "curl", "-s", "-H", HOST, "--data-binary", f"@{post}", f"http://{SECOND}/xmlrpc.php"
        )
        xmlrpc.client.loads(posted.stdout)  # raises what it complains of
        await database.restart()
        await blog.restart()
        assert b"Kept" in (await blog.outside("curl", "-s", "-H", HOST, f"http://{SECOND}/")).stdout


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("image", ["django", "ruby"])
async def test_a_guestbook_in_postgres(namespaces: None, image: str) -> None:
    """Its entries are in the database beside, whichever of both starts again."""
    async with both(image, "book", "postgres") as (book, database):
        address = f"http://{SECOND}:{book.manifest.ports[0].port}"
        done = await book.outside(sys.executable, "-c", ASK, f"{address}/append", "id=one", "text=first")
        assert done.stdout == b"ok one 1\n", done.stdout
        await database.restart()
        await book.restart()
        assert (await book.outside(sys.executable, "-c", ASK, f"{address}/list")).stdout == b"one\n"
        entries = "exec psql -qtA -c 'select text from entry' book-postgres"
        if image == "django":
            entries = entries.replace("from entry", "from guestbook_entry")
        assert (await database.run("su", "postgres", "-s", "/bin/sh", "-c", entries)).stdout == b"first\n"
