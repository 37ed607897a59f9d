"""A node's settings: one TOML file, ten keys needed, every one documented here. Reads a file, decides nothing."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from hybrid.errors import HybridError


class SettingsError(HybridError):
    """The settings file cannot be used."""


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When silence means death. Monotonic seconds; the default suits a LAN and close data centres."""

    far: tuple[tuple[str, str], ...] = ()
    """Pairs of data centres with a slow or lossy way between them, `[["paris", "tokyo"]]`; `"*"` is any. Nodes there
    are probed and accused more patiently (memberlist's WAN profile): a death is known after a minute."""
    fail_s: float = 8.0
    """A silent node of a small cluster is taken for dead before this; the next candidate stands so much later."""
    settle_s: float = 2.0
    """A site without a live owner for this much longer: the best replica stands."""
    boot_s: float = 10.0
    """After start, listen this long before claiming anything: `fail_s` and a little."""
    repair_s: float = 30.0
    """A node taken for dead for so long is lost: its copies are made again elsewhere. Longer than a restart takes."""
    fence_s: float = 15.0
    """A loser that cannot stop its container in this time raises an alarm and cuts its network."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """etcd, for sites that had rather stop than be written in two places. The same on all nodes of a cluster."""

    endpoints: tuple[Annotated[str, msgspec.Meta(pattern="^https?://[^/]+/?$")], ...] = ()
    """Of its members, `https://10.0.0.1:2379` …; without any, no site can be strict here."""
    cert: str = ""
    """This node's client certificate and key for etcd (PEM files), where etcd wants one."""
    key: str = ""
    ca: str = ""
    """Who signed the members' certificates (PEM file); without it those the machine trusts."""
    ttl_s: Annotated[float, msgspec.Meta(ge=5.0, le=600.0)] = 15.0
    """An owner not heard of for this long may be replaced; it has stopped itself at half of it."""
    failsafe: bool = True
    """Go on while etcd cannot be reached, as long as every server that holds the site agrees."""


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How fast this node may replicate."""

    bytes_per_s: Annotated[int, msgspec.Meta(ge=65536)]
    way: Literal["send", "receive", "both"] = "both"
    """`both`: so much out and so much in."""
    to: str = "*"
    """A node's name, or a data centre: all that goes there (or comes from there) together; `"*"`: all there is."""
    hours: Annotated[str, msgspec.Meta(pattern="^(([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9])?$")] = ""
    """When it counts, `"08:00-18:00"` by this machine's local time; always where it is empty."""


class Replication(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How gently this node replicates."""

    limits: tuple[RateLimit, ...] = ()
    """All that apply count, so the smallest wins: `[[replication.limits]]`."""
    gentle: bool = True
    """Receive large streams only so fast that small synchronous writes of sites here take at most twice as long."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `/etc/hybrid/hybrid.toml` may say."""

    name: str
    """The node's name, unique in the cluster, `[a-z0-9-]`, at most 32."""
    dc: str = "main"
    """Its data centre: a place whose nodes may fail together."""
    address: str
    """Where other nodes and the world reach it (IPv4)."""
    pool: str = "hybrid"
    """The ZFS pool; Hybrid keeps to `<pool>/hybrid`."""
    storage: Literal["auto", "openzfs", "zfs-fuse"] = "auto"
    state_dir: str = "/var/lib/hybrid"
    """Keys, database, logs, mount points: survives a reboot."""
    run_dir: str = "/run/hybrid"
    """Sockets and pid files."""
    image_dir: str = "/var/cache/hybrid/images"
    """Built images: `<name>.tar` and `<name>.toml`."""
    cluster_port: int = 7946
    interior_port: int = 7947
    api_port: int = 8443
    http_port: int = 80
    mysql_port: int = 3306
    """This and the ports of other services are listened on while some site speaks them; 0: never."""
    postgres_port: int = 5432
    smtp_port: int = 0
    submission_port: int = 0
    submissions_port: int = 0
    """Submission, TLS from the first byte on."""
    imap_port: int = 0
    imaps_port: int = 0
    pop3_port: int = 0
    pop3s_port: int = 0
    ftp_port: int = 0
    ftps_port: int = 0
    ftp_passive: tuple[int, int] = (49152, 65535)
    """The first and the last port for data connections of FTP, for firewalls."""
    https_port: int = 443
    dns_port: int = 53
    proxies: int = 1
    """Proxy processes; one a core is a good number on a real server."""
    dns_servers: int = 1
    bridge: str = "hyb0"
    subnet: str = "10.88.0.0/16"
    """Of containers; private to each node, the same everywhere."""
    cgroup: str = "hybrid"
    """Parent of the containers' control groups."""
    id_base: int = 1_000_000
    """First uid of the containers' ranges; site number n has `id_base + 65536 * n` onwards."""
    zfs_daemon: bool = False
    """Start and supervise zfs-fuse for this node (else the system does)."""
    timing: Timing = Timing()
    strict: Strict = Strict()
    replication: Replication = Replication()


def guardian_socket(settings: Settings) -> str:
    """Where the guardian of strict sites listens."""
    return f"{settings.run_dir}/guardian.sock"


def load(path: Path) -> Settings:
    """
    Read the file.

    Raises:
        SettingsError: Missing, not TOML, an unknown key (with the nearest known one), or a wrong type.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Settings)
    except OSError as error:
        raise SettingsError(f"cannot read {path}", str(error.strerror), "run `hybrid init` or `hybrid join`") from error
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path} is not valid", str(error), _suggestion(str(error))) from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} is not TOML", str(error)) from error


_PARTS = Settings, Timing, Strict, Replication, RateLimit


def _suggestion(message: str) -> str:
    """`did you mean …` for an unknown key."""
    if "unknown field" not in message:
        return ""
    wrong = message.split("`")[1]
    near = difflib.get_close_matches(wrong, [field for part in _PARTS for field in part.__struct_fields__], n=1)
    return f"did you mean `{near[0]}`?" if near else "see hybrid/settings.py for the known keys"
