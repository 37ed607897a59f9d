"""`hybrid.toml` as `hybrid init` and `hybrid join` write it: what was asked for, explained. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

_EXPLAINED = {
    "name": "the node's name, unique in the cluster",
    "dc": "its data centre: a place whose nodes may fail together",
    "address": "where the other nodes and the world reach it",
    "pool": "the ZFS pool; Hybrid keeps to <pool>/hybrid",
    "storage": "auto, openzfs or zfs-fuse",
    "state_dir": "keys, database, mount points: survives a reboot",
    "run_dir": "sockets",
    "image_dir": "built images: <name>.tar and <name>.toml",
    "cluster_port": "links between the nodes",
    "interior_port": "requests passed on between the nodes",
    "api_port": "the API, HTTPS",
    "http_port": "the front door",
    "https_port": "the front door with TLS",
    "dns_port": "authoritative DNS",
    "proxies": "proxy processes; one a core is a good number",
    "dns_servers": "DNS processes",
    "bridge": "of the containers",
    "subnet": "of the containers: private to each node, the same everywhere",
    "cgroup": "parent of the containers' control groups",
    "zfs_daemon": "start and supervise zfs-fuse for this node",
}
_HEAD = """\
# Settings of this Hybrid node. What is left out has its default; an unknown key is refused with the nearest known one.
# Everything else about the cluster is kept by the cluster itself and changed with the command `hybrid`.
"""


def render(values: Mapping[str, str | int | bool]) -> str:
    """The file for `values`, in the order above."""
    lines = [_HEAD]
    for key, text in _EXPLAINED.items():
        if key in values:
            lines.append(f"{key} = {_toml(values[key])}  # {text}\n")
    return "".join(lines)


def _toml(value: str | int | bool) -> str:
    """A value as TOML: JSON's strings, numbers and booleans are TOML's."""
    return json.dumps(value)
