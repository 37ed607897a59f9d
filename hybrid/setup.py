"""
`hybrid init` and `hybrid join`: a machine becomes a node. Shell; runs a reactor of its own and ends with it.

Order: nothing of the cluster is written before the storage is there, and `cluster.json`, which makes the directory a
member's, comes after the settings. So each step that fails can simply be tried again.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from hybrid.api.tokens import new_token, node_token
from hybrid.cli.exits import CONFLICT, FAILED, USAGE, CliError
from hybrid.cli.settingsfile import render, with_values
from hybrid.cluster.founding import Root, create_cluster, root_file
from hybrid.cluster.identity import Identity, refuse_member
from hybrid.cluster.join import Joined
from hybrid.cluster.join import join as ask_to_join
from hybrid.cluster.keyfiles import write_private
from hybrid.cluster.ledger import Ledger
from hybrid.cluster.store import Store
from hybrid.cluster.token import parse as parse_token
from hybrid.errors import AlreadyExists, BadRequest, HybridError
from hybrid.ports import Pool
from hybrid.process import begin_logging, install_reactor
from hybrid.recovery import LostCluster
from hybrid.settings import Settings, SettingsError, read, settings_file, troubles
from hybrid.storage.daemon import ZfsDaemon
from hybrid.storage.detect import detect
from hybrid.storage.pools import create_pool, import_pool

Say = Callable[[str], None]
T = TypeVar("T")

_ZONE = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_SETTINGS = tuple(name for name in Settings.__struct_fields__ if name not in ("timing", "strict", "replication"))


def init(options: argparse.Namespace, say: Say) -> None:
    """
    Make this machine the first node of a new cluster.

    Args:
        options: What `hybrid.cli.verbs.processes` read from the command line.
        say: Tells a line of progress.

    Raises:
        CliError: It is a node already, or a step failed: says which, why, and what to try.
    """
    settings = settings_of(options)
    zones = zones_of(options)
    root = _root_of(options)
    lost = _lost_cluster(options)

    async def found(reactor: Any) -> Identity:
        await _prepare_storage(reactor, settings, options, say, lost.look_into)
        lost.check(root)
        _write_settings(options)
        state, now_s = Path(settings.state_dir), time.time()
        name = options.cluster or lost.name or "hybrid"
        identity = create_cluster(state, settings.name, settings.address, now_s, name, zones or lost.zones, root)
        lost.begin_again(state, identity, root, now_s, options.wait)
        return identity

    identity = _in_reactor(settings, found)
    _write_credentials(settings, identity, ())
    for line in lost.news(options.wait):
        say(line)
    say(f"cluster {identity.cluster.name} ({identity.cluster.id}) begins with {settings.name} ({identity.node})")
    if root is None:
        say(f"keep {root_file(Path(settings.state_dir))} in a safe place and delete it here: no node needs it;")
        say("should all nodes be lost, the cluster is begun again with it (`hybrid init --root FILE`)")
    _say_next(settings, options, say)


def join(options: argparse.Namespace, say: Say) -> None:
    """
    Make this machine a node of the cluster that `options.token` names.

    The token is used up last of all that can fail, so that a full disk or a missing pool does not cost one.

    Raises:
        CliError: As `init`; or the token is none, expired, or the cluster did not let this node in.
    """
    _take_from_token(options)
    settings = settings_of(options)

    async def enter(reactor: Any) -> Joined:
        await _prepare_storage(reactor, settings, options, say)
        joined = await ask_to_join(
            reactor, options.token, settings.name, settings.dc, settings.address, time.time(), settings.address
        )
        _write_settings(options)
        _remember(settings, joined)
        joined.identity.save(Path(settings.state_dir))
        return joined

    joined = _in_reactor(settings, enter)
    others = tuple(f"https://{node.address}:{node.api_port}" for node in joined.nodes.values())
    _write_credentials(settings, joined.identity, others)
    say(f"{settings.name} ({joined.identity.node}) joined cluster {joined.identity.cluster.name}")
    _say_next(settings, options, say)


def _root_of(options: argparse.Namespace) -> Root | None:
    """The root of an earlier cluster that is begun again. Raises `CliError`."""
    if options.root is None:
        return None
    try:
        return Root.read(options.root)
    except HybridError as error:
        raise CliError(error.what, error.why, error.try_, USAGE) from error


def _lost_cluster(options: argparse.Namespace) -> LostCluster:
    """What is to be begun again, as far as the command line says. Raises `CliError`."""
    try:
        return LostCluster.of(options.recover)
    except HybridError as error:
        raise CliError(error.what, error.why, error.try_, USAGE) from error


def _take_from_token(options: argparse.Namespace) -> None:
    """Name and data centre that the token says and the command line does not. Raises `CliError`."""
    try:
        token = parse_token(options.token)
        if token.expires_at_s < time.time():
            raise BadRequest("this join token has expired", "", "make a new one: `hybrid token create-join` on a node")
    except HybridError as error:
        raise CliError(error.what, error.why, error.try_, USAGE) from error
    options.name = options.name or token.name
    options.dc = options.dc or token.dc or None


def settled(options: argparse.Namespace) -> dict[str, Any]:
    """What the settings file says already; empty where there is none. Raises `CliError`."""
    try:
        file = _file(options)
        return read(file) if file.exists() else {}
    except SettingsError as error:
        raise CliError(error.what, error.why, error.try_, USAGE) from error


def settings_of(options: argparse.Namespace) -> Settings:
    """
    The settings: the command line, and below it what the settings file says already.

    Raises:
        CliError: The file cannot be read, or something in them cannot be; says all of it.
    """
    document = {**settled(options), **_given(options)}
    found = troubles(document)
    if found:
        why = "; ".join(map(str, found))
        raise CliError("these settings cannot be used", why, "`hybrid init --help`", USAGE)
    return msgspec.convert(document, Settings)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says, by the names of the settings."""
    given = {name: value for name in _SETTINGS if (value := getattr(options, name, None)) is not None}
    if "state_dir" in given:
        given["state_dir"] = str(Path(given["state_dir"]).absolute())
    return given


def _file(options: argparse.Namespace) -> Path:
    """Where the settings are and will be."""
    return settings_file(Path(options.state_dir).absolute() if options.state_dir else None)


def zones_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The DNS zones in the command line, in lower case without the final dot. Raises `CliError`."""
    zones = tuple(zone.lower().rstrip(".") for zone in options.zones or ())
    for zone in zones:
        if not _ZONE.fullmatch(zone):
            raise CliError(f"{zone!r} is not a DNS zone", "labels of a-z 0-9 and -, joined by dots", "", USAGE)
    return zones


def _in_reactor(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """Run `work(reactor)` in a reactor of its own. Raises `CliError`."""
    state = Path(settings.state_dir)
    try:
        refuse_member(state)
    except HybridError as error:
        hint = f"`hybrid run --state-dir {state}` starts it; {error.try_}"
        raise CliError(error.what, error.why, hint, CONFLICT) from error
    begin_logging(level="error")
    reactor = install_reactor()
    outcome: list[T | Failure] = []

    def begin() -> None:
        done = Deferred.fromCoroutine(_awaited(work(reactor)))
        done.addBoth(outcome.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not outcome:
        raise CliError("interrupted", "", "run it again: what was done already is found and used", FAILED)
    result = outcome[0]
    if not isinstance(result, Failure):
        return result
    try:
        result.raiseException()
    except HybridError as error:
        raise CliError(error.what, error.why, error.try_) from error


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def _nothing_more(pool: Pool) -> None:
    """Nothing else to do with a prepared pool."""


async def _prepare_storage(
    reactor: Any,
    settings: Settings,
    options: argparse.Namespace,
    say: Say,
    more: Callable[[Pool], Awaitable[None]] = _nothing_more,
) -> None:
    """Directories, the daemon for the duration, the pool, Hybrid's datasets in it, and `more`."""
    Path(settings.state_dir).mkdir(mode=0o711, parents=True, exist_ok=True)
    async with _daemon(reactor, settings, say):
        if options.create_pool:
            await _make_pool(reactor, settings, options, say)
        else:
            await import_pool(reactor, settings.pool, (settings.state_dir,))
        pool = await detect(reactor, settings)
        await pool.prepare()
        await more(pool)
    say(f"storage: {pool.capabilities.driver}, pool {settings.pool}")


async def _make_pool(reactor: Any, settings: Settings, options: argparse.Namespace, say: Say) -> None:
    """A new pool; one that an earlier try made is taken as it is."""
    device = str(Path(options.create_pool).absolute())
    try:
        await create_pool(reactor, settings.pool, device, options.pool_size)
        say(f"pool {settings.pool} made on {device}")
    except AlreadyExists:
        await import_pool(reactor, settings.pool, (str(Path(device).parent),))
        say(f"pool {settings.pool} is there already and is used as it is")


@asynccontextmanager
async def _daemon(reactor: Any, settings: Settings, say: Say) -> AsyncIterator[None]:
    """zfs-fuse for the duration, where this node runs its own."""
    async with AsyncExitStack() as stack:
        if settings.zfs_daemon:
            daemon = ZfsDaemon(reactor, settings)
            daemon.startService()
            stack.push_async_callback(_stopped, daemon)
            await daemon.ready()
            say("zfs-fuse runs")
        yield


async def _stopped(daemon: ZfsDaemon) -> None:
    await daemon.stopService()


def _write_settings(options: argparse.Namespace) -> None:
    """The file, with what was given in its place; as it was, it is kept beside it."""
    path, values = _file(options), _given(options)
    text = render(values)
    if path.exists():
        text = with_values(path.read_text(), values)
        path.with_suffix(".toml.before").write_bytes(path.read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _remember(settings: Settings, joined: Joined) -> None:
    """What the cluster told: its nodes, to be found at the first start, and its shared values."""
    store = Store(Path(settings.state_dir) / "hybrid.db")
    try:
        store.keep_nodes(joined.nodes.values())
        store.keep_shared(joined.shared)
    finally:
        store.close()


def _write_credentials(settings: Settings, identity: Identity, more_urls: tuple[str, ...]) -> None:
    """`admin.json` with a fresh token, whose hash goes into the cluster's shared map."""
    state = Path(settings.state_dir)
    token_id, token, record = new_token(node_token(settings.name), "admin", time.time(), os.urandom)
    store = Store(state / "hybrid.db")
    try:
        ledger = Ledger(identity.node, 0)
        key = f"token/{token_id}"
        store.keep_shared({key: ledger.share(key, record, int(time.time() * 1000))})
    finally:
        store.close()
    document = {
        "urls": [f"https://{settings.address}:{settings.api_port}", *more_urls],
        "token": token,
        "ca": identity.root.public_bytes(Encoding.PEM).decode("ascii"),
    }
    write_private(state / "admin.json", msgspec.json.format(msgspec.json.encode(document), indent=2))


def _say_next(settings: Settings, options: argparse.Namespace, say: Say) -> None:
    if options.state_dir:
        say(f"next: `hybrid run --state-dir {settings.state_dir}`")
    else:
        say("next: `systemctl enable --now hybrid.target` (or `hybrid run`)")
    say(f"then: `hybrid --help`; the credentials are in {settings.state_dir}/admin.json")
