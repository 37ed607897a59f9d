"""The images of databases in real containers: credentials, hooks around a snapshot, what is got out of a past."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_twisted

from hybrid_containers import sandbox
from tests.containers.application import Application, application

pytestmark = pytest.mark.lxc


@pytest.fixture(scope="module")
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.async_yield_fixture(params=["mariadb", "postgres"])
async def database(request: pytest.FixtureRequest, namespaces: None) -> AsyncIterator[Application]:
    """A fresh one of which nothing is left afterwards."""
    async with application(request.param, "shop-db") as made:
        yield made


async def sql(database: Application, text: str) -> str:
    """As the site's own user, by password, over TCP."""
    script = {
        "mariadb": 'exec mariadb -h 127.0.0.1 -u "$user" -p"$password" -N -B "$database"',
        "postgres": 'PGPASSWORD=$password exec psql -h 127.0.0.1 -U "$user" -qtAX -v ON_ERROR_STOP=1 "$database"',
    }[database.manifest.name]
    done = await database.run("sh", "-c", ". /etc/hybrid/credentials; " + script, stdin=text.encode())
    assert done.status == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest_twisted.ensureDeferred
async def test_a_database_keeps_its_word(database: Application) -> None:
    """Its user may use it by password alone, what was committed outlives a power cut, and hooks let writers go on."""
    credentials = (await database.run("cat", "/etc/hybrid/credentials")).stdout
    assert b"database=shop-db\nuser=shop-db\npassword=" in credentials
    mode = await database.run("stat", "-c", "%U %a", "/etc/hybrid/credentials")
    assert mode.stdout == b"root 600\n"
    await sql(database, "CREATE TABLE basket (item varchar(20)); INSERT INTO basket VALUES ('apple');")
    await database.restart()
    assert (await database.run("cat", "/etc/hybrid/credentials")).stdout == credentials
    assert await sql(database, "SELECT item FROM basket;") == "apple"

    hooks = database.manifest.hooks
    for _ in range(2):
        before = await database.run(*hooks.before)
        assert before.status == 0, before.stderr
        if hooks.after:
            locked = await database.run(
                *("mariadb", "--user=root", "--execute"),
                "SET lock_wait_timeout = 1; INSERT INTO `shop-db`.basket VALUES ('never')",
            )
            assert b"Lock wait timeout" in locked.stderr
            after = await database.run(*hooks.after)
            assert after.status == 0, after.stderr
        await sql(database, "INSERT INTO basket VALUES ('pear');")

    for name, values in (("dump", ()), ("table", ("basket",))):
        done = await database.run(*database.manifest.extracts[name].command, "/.hybrid-extract", *values)
        assert done.status == 0, done.stderr
        text = (await database.run("cat", "/.hybrid-extract")).stdout.decode()
        assert "basket" in text
        assert text.count("pear") == 2
        assert "never" not in text
    missing = await database.run(*database.manifest.extracts["table"].command, "/.hybrid-extract", "no such table")
    assert missing.status != 0
    assert missing.stderr
