"""The processes of a node, `init` and `join`: everything that runs here and not through the API."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hybrid.cli.asking import ask_missing
from hybrid.cli.parser import Parser, count_of_bytes, seconds
from hybrid.cli.processes import PROCESSES
from hybrid.cli.session import Session

_NAME = "the node's name: a-z 0-9 and -, at most 32"


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """Their part of the grammar; of the processes only the name, for `--help`."""
    init = nouns.add_parser(
        "init",
        help="make this machine the first node of a new cluster",
        description="Make this machine the first node of a new cluster.",
        epilog="example:\n  hybrid init --name n1 --dc paris --address 203.0.113.1 --pool tank --zone hosting.example",
    )
    _node_options(init)
    init.add_argument("--name", help=_NAME)
    init.add_argument("--root", type=Path, metavar="FILE", help="begin a lost cluster again: its `root.pem`")
    init.add_argument("--zone", action="append", dest="zones", metavar="NAME", help="DNS zone; the main one first")
    init.add_argument("--cluster", help="a name for people (default: hybrid)")
    lost = init.add_argument_group("a cluster of which nothing but pools is left")
    lost.add_argument(
        "--recover",
        nargs="?",
        const="",
        metavar="FILE",
        help="begin it again with the configuration that the pool keeps, or with FILE, of `hybrid cluster export`",
    )
    lost.add_argument(
        "--wait",
        type=seconds,
        default=120.0,
        metavar="TIME",
        help="start sites after so long, when the other servers have joined with their pools (2m)",
    )
    init.set_defaults(run=_init)
    join = nouns.add_parser(
        "join",
        help="make this machine a node of an existing cluster",
        description="Make this machine a node of an existing cluster. `hybrid token create-join` makes a token.",
        epilog="example:\n  hybrid join hyb1.… --name n2 --dc paris --address 203.0.113.2 --pool tank",
    )
    join.add_argument("token", metavar="TOKEN")
    _node_options(join)
    join.add_argument("--name", help=f"{_NAME} (default: the one in the token)")
    join.set_defaults(run=_join)
    for name, (_, text) in PROCESSES.items():
        if name == "dns":
            continue
        nouns.add_parser(name, help=text, add_help=False)


def _node_options(parser: Parser) -> None:
    parser.add_argument("--address", metavar="IP", help="where the other nodes and the world reach it")
    parser.add_argument("--dc", help="its data centre (default: the one in the token, else main)")
    parser.add_argument("--pool", help="the ZFS pool (default: hybrid)")
    parser.add_argument("--create-pool", metavar="DEVICE", help="make the pool on this device or file")
    parser.add_argument("--pool-size", type=count_of_bytes, metavar="SIZE", help="of a file to be made for it (20G)")
    parser.add_argument(
        "--state-dir", metavar="DIR", help="default: /var/lib/hybrid; with this, settings are there too"
    )
    parser.add_argument(
        "--zfs-daemon", action="store_true", default=None, help="start and supervise zfs-fuse for this node"
    )
    more = parser.add_argument_group("settings that are written as they are (see hybrid.toml)")
    for name in ("cgroup", "bridge", "subnet", "storage"):
        more.add_argument(f"--{name}")
    for name in ("image-dir", "run-dir"):
        more.add_argument(f"--{name}", metavar="DIR")
    for name in ("cluster-port", "interior-port", "api-port", "http-port", "dns-port", "proxies", "dns-servers"):
        more.add_argument(f"--{name}", type=int, metavar="N")


def _init(session: Session) -> int:
    from hybrid.setup import init, settled

    ask_missing(session, settled(session.options))
    init(session.options, session.out.say)
    return 0


def _join(session: Session) -> int:
    from hybrid.setup import join, settled

    ask_missing(session, settled(session.options))
    join(session.options, session.out.say)
    return 0
