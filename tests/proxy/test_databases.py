"""Real database servers behind the front doors, used by their real clients through another node."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from hybrid.model import Port
from tests.proxy.nodes import Nodes, free_port, run, wait_for

ENTRY = "127.0.0.2"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
wants_postgres = pytest.mark.skipif(not POSTGRES, reason="postgresql is not installed")
wants_mariadb = pytest.mark.skipif(shutil.which("mariadbd") is None, reason="mariadb-server is not installed")


@pytest.fixture
def postgres() -> Iterator[int]:
    """A PostgreSQL with a role `app`, password `secret`; its port. Not being root, it needs a place of its own."""
    with tempfile.TemporaryDirectory(prefix="hybrid-postgres-") as place:
        shutil.chown(place, "postgres", "postgres")
        yield from serving_postgres(Path(place))


def serving_postgres(place: Path) -> Iterator[int]:
    """See `postgres`."""
    home, port = place / "data", free_port()
    password = place / "password"
    password.write_text("secret")
    password.chmod(0o644)
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb = [str(POSTGRES[-1] / "initdb"), "-D", str(home), "-U", "app", "-A", "scram-sha-256", "--no-sync"]
    subprocess.run([*as_user, *initdb, f"--pwfile={password}"], check=True, capture_output=True)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}", "-c", "fsync=off"]
    argv = [*as_user, str(POSTGRES[-1] / "postgres"), "-D", str(home), "-p", str(port), *options]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port, server)
            yield port
        finally:
            server.send_signal(signal.SIGQUIT)  # at once


@wants_postgres
@pytest_twisted.ensureDeferred
async def test_psql_through_another_node(postgres: int, tmp_path: Path) -> None:
    """Logged in with a password under TLS and without, told of a wrong one, and a query is cancelled."""
    shared = free_port()
    nodes = Nodes(tmp_path / "state", (Port("db", postgres, "postgres"),), {"postgres_port": shared})
    try:
        for mode in ("require", "disable"):
            where = f"host={ENTRY} port={shared} user=app@shop dbname=postgres sslmode={mode}"
            out, complaint, status = await run("psql", where, "-Atc", "select current_user", PGPASSWORD="secret")
            assert (out, status) == ("app\n", 0), complaint
        where = f"host={ENTRY} port={shared} user=app dbname=postgres hostaddr={ENTRY} sslmode=require".replace(
            f"host={ENTRY} ", "host=shop.test ", 1
        )
        out, complaint, _ = await run("psql", where, "-Atc", "select 2", PGPASSWORD="secret")
        assert out == "2\n", complaint
        _, complaint, _ = await run("psql", where, "-Atc", "select 2", PGPASSWORD="wrong")
        assert "password authentication failed" in complaint
        where = f"host={ENTRY} port={shared} user=app@nowhere dbname=x sslmode=require"
        _, complaint, _ = await run("psql", where, "-Atc", "select 2", PGPASSWORD="secret")
        assert "log in as USER@SITE" in complaint
        where = f"host={ENTRY} port={shared} user=app@shop dbname=postgres"
        _, complaint, _ = await run(
            "timeout", "-s", "INT", "6", "psql", where, "-c", "select pg_sleep(100)", PGPASSWORD="secret"
        )
        assert "canceling statement due to user request" in complaint
    finally:
        await nodes.close()


@pytest.fixture
def mariadb(tmp_path: Path) -> Iterator[int]:
    """A MariaDB with users `app` (native password) and `modern` (ed25519), password `secret`; its port."""
    home, port = tmp_path / "data", free_port()
    home.mkdir()
    (tmp_path / "init.sql").write_text(
        "install soname 'auth_ed25519';\ncreate database app;\n"
        "create user app@'%' identified by 'secret';\ngrant all on *.* to app@'%';\ncreate user open@'%';\n"
        "create user modern@'%' identified via ed25519 using password('secret');\n"
    )
    user = ["--no-defaults", "--user=root", f"--datadir={home}"]
    subprocess.run(
        ["mariadb-install-db", *user, "--auth-root-authentication-method=normal"], check=True, capture_output=True
    )
    argv = [
        "mariadbd",
        *user,
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={home}/sock",
        f"--pid-file={home}/pid",
    ]
    argv += [f"--init-file={tmp_path}/init.sql", "--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0"]
    with subprocess.Popen(argv, stderr=(tmp_path / "log").open("wb")) as server:
        try:
            wait_for(port, server)
            yield port
        finally:
            server.kill()


@wants_mariadb
@pytest_twisted.ensureDeferred
async def test_mariadb_through_another_node(mariadb: int, tmp_path: Path) -> None:
    """Passwords of both kinds, none, and a wrong one; with TLS and without; a large answer comes whole."""
    shared = free_port()
    nodes = Nodes(tmp_path / "state", (Port("db", mariadb, "mysql"),), {"mysql_port": shared})
    base = ["mariadb", "--no-defaults", "-h", ENTRY, "-P", str(shared), "-NB"]
    try:
        for user in ("app", "modern"):
            for tls in ([], ["--ssl"]):
                out, complaint, _ = await run(*base, *tls, "-u", f"{user}@shop", "-psecret", "-e", "select user()")
                assert out.startswith(user + "@"), complaint
        out, complaint, _ = await run(*base, "-u", "open@shop.test", "-e", "select 1")
        assert out == "1\n", complaint
        out, complaint, _ = await run(
            *base, "-u", "app@shop", "-psecret", "app", "-e", "select database(), repeat('x', 300000)"
        )
        assert out == "app\t" + "x" * 300000 + "\n", complaint
        _, complaint, _ = await run(*base, "-u", "app@shop", "-pwrong", "-e", "select 1")
        assert "ERROR 1045 (28000): Access denied for user 'app'" in complaint
        _, complaint, _ = await run(*base, "-u", "app@nowhere", "-psecret", "-e", "select 1")
        assert "ERROR 1049 (42000): no site here goes by that name" in complaint
        nodes.follow("stopped")
        _, complaint, _ = await run(*base, "-u", "app@shop", "-psecret", "-e", "select 1")
        assert "ERROR 1053 (08S01): this site is switched off" in complaint
    finally:
        await nodes.close()
