"""
A node's settings: one TOML file, few keys needed. Reads a file, decides nothing.

What stands below a key is its documentation: `hybrid node settings`, the manual hybrid.toml(5) and the file that
`hybrid init` writes are made of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from hybrid.errors import HybridError
from hybrid.structcheck import Trouble, troubles_of

DEFAULT_FILE = Path("/etc/hybrid/hybrid.toml")
DEFAULT_STATE = Path("/var/lib/hybrid")


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
    alone: bool = False
    """Listen for `boot_s` also where no other node is known: set for a while when a lost cluster is begun again."""
    repair_s: float = 30.0
    """A node taken for dead for so long is lost: its copies are made again elsewhere. Longer than a restart takes."""
    fence_s: float = 15.0
    """A loser that cannot stop its container in this time raises an alarm and cuts its network."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """etcd, for sites that had rather stop than be written in two places. The same on all nodes of a cluster."""

    endpoints: tuple[Annotated[str, msgspec.Meta(pattern="^https?://[^/]+/?$")], ...] = ()
    """Of its members, `https://10.0.0.1:2379` …; without any, no site can be strict here."""
    cert: str = ""
    """This node's client certificate for etcd (PEM file), where etcd wants one."""
    key: str = ""
    """The key of that certificate (PEM file)."""
    ca: str = ""
    """Who signed the members' certificates (PEM file); without it those the machine trusts."""
    ttl_s: Annotated[float, msgspec.Meta(ge=5.0, le=600.0)] = 15.0
    """An owner not heard of for this long may be replaced; it has stopped itself at half of it."""
    failsafe: bool = True
    """Go on while etcd cannot be reached, as long as every server that holds the site agrees."""


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How fast this node may replicate."""

    bytes_per_s: Annotated[int, msgspec.Meta(ge=65536)]
    """Bytes a second, on average over some seconds."""
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
    compress_to: tuple[str, ...] = ()
    """
    Data centres, or names of nodes, to which lines are slow: large streams go there compressed (Zstandard), where the
    other node takes that. `"*"`: to all.
    """


class Dns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What this node's name servers do besides. The same on all nodes of a cluster."""

    near: tuple[tuple[str, str], ...] = ()
    """Networks and the data centre nearest to them, `[["192.0.2.0/24", "paris"]]`: who asks from there is given nodes
    there first. Of several that hold an address the smallest counts; answers are slower to give."""


class Floating(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An address that moves between nodes of one network, `[[floating]]`. The same on all of these nodes."""

    address: str
    """With the length of its network's prefix, `192.0.2.10/24`."""
    interface: Annotated[str, msgspec.Meta(pattern="^[^/\\s]{1,15}$")]
    """That it is given to."""
    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Names; the first that lives has it."""


Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PortOrNever = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_LABEL = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"


class Bursting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When this node moves the neighbours of a busy site away, to where their copies are already."""

    enabled: bool = True
    """Whether it does."""
    cores: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """Processors this node may use, where it has only a part of its machine: then only its sites are measured, not
    the machine. 0: all there are."""
    window_s: Annotated[float, msgspec.Meta(ge=1.0)] = 60.0
    """Over which loads are averaged: a shorter spike moves nothing."""
    hot: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.85
    """With this part of its processors, memory or disk time in use, a node is hot."""
    cool: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.6
    """No site goes to a node that would be busier than this with it. Well below `hot`."""
    pause_s: Annotated[float, msgspec.Meta(ge=1.0)] = 20.0
    """Between two moves."""
    cooldown_s: Annotated[float, msgspec.Meta(ge=0.0)] = 1800.0
    """A site stays so long where it came to."""
    per_hour: Annotated[int, msgspec.Meta(ge=0)] = 20
    """As many sites leave for this in an hour at most."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `/etc/hybrid/hybrid.toml` may say."""

    name: Annotated[str, msgspec.Meta(pattern=_LABEL)]
    """The node's name, unique in the cluster: `[a-z0-9-]`, at most 32."""
    dc: str = "main"
    """Its data centre: a place whose nodes may fail together."""
    address: str
    """Where other nodes and the world reach it."""
    pool: str = "hybrid"
    """The ZFS pool; Hybrid keeps to `<pool>/hybrid`."""
    storage: Literal["auto", "openzfs", "zfs-fuse"] = "auto"
    """How the pool is spoken to; `auto` finds out."""
    state_dir: str = str(DEFAULT_STATE)
    """Keys, database, logs, mount points: survives a reboot."""
    run_dir: str = "/run/hybrid"
    """Sockets and pid files."""
    image_dir: str = "/var/cache/hybrid/images"
    """Built images: `<name>.tar` and `<name>.toml`."""
    cluster_port: Port = 7946
    """TCP: links between the nodes, mutual TLS. UDP: who is alive, sealed."""
    interior_port: Port = 7947
    """Requests passed on to the node that owns the site, mutual TLS."""
    api_port: Port = 8443
    """The API and its pages, HTTPS."""
    http_port: Port = 80
    """The front door."""
    https_port: Port = 443
    """The front door with TLS."""
    dns_port: Port = 53
    """Authoritative DNS, UDP and TCP."""
    mysql_port: PortOrNever = 3306
    """This and the ports of other services are listened on while some site speaks them; 0: never."""
    postgres_port: PortOrNever = 5432
    """PostgreSQL of sites."""
    smtp_port: PortOrNever = 0
    """Mail from other servers; 25 where sites have mail."""
    submission_port: PortOrNever = 0
    """Mail from people's own programs; 587."""
    submissions_port: PortOrNever = 0
    """Submission, TLS from the first byte on; 465."""
    imap_port: PortOrNever = 0
    """IMAP; 143."""
    imaps_port: PortOrNever = 0
    """IMAP, TLS from the first byte on; 993."""
    pop3_port: PortOrNever = 0
    """POP3; 110."""
    pop3s_port: PortOrNever = 0
    """POP3, TLS from the first byte on; 995."""
    ftp_port: PortOrNever = 0
    """FTP; 21."""
    ftps_port: PortOrNever = 0
    """FTP, TLS from the first byte on; 990."""
    ftp_passive: tuple[Port, Port] = (49152, 65535)
    """The first and the last port for data connections of FTP, for firewalls."""
    ssh_port: PortOrNever = 2222
    """Sessions and files by SSH, listened on while some site has a key; 22 is mostly the machine's own."""
    proxies: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    """Proxy processes that `hybrid run` starts; one a core is a good number on a real server."""
    dns_servers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    """DNS processes that `hybrid run` starts."""
    bridge: Annotated[str, msgspec.Meta(pattern="^[a-z0-9._-]{1,15}$")] = "hyb0"
    """The network interface that the containers are plugged into."""
    subnet: str = "10.88.0.0/16"
    """Of containers; private to each node, the same everywhere."""
    cgroup: Annotated[str, msgspec.Meta(pattern="^[^/\\s]+(/[^/\\s]+)*$")] = "hybrid"
    """Parent of the containers' control groups."""
    id_base: Annotated[int, msgspec.Meta(ge=65536, le=2**31)] = 1_000_000
    """First uid of the containers' ranges; site number n has `id_base + 65536 * n` onwards."""
    zfs_daemon: bool = False
    """Start and supervise zfs-fuse for this node (else the system does)."""
    timing: Timing = Timing()
    """When silence means death."""
    strict: Strict = Strict()
    """etcd, for sites that had rather stop than be written in two places."""
    replication: Replication = Replication()
    """How gently this node replicates."""
    dns: Dns = Dns()
    """What its name servers do besides."""
    bursting: Bursting = Bursting()
    floating: tuple[Floating, ...] = ()
    """Addresses that move to another node when theirs fails."""


def guardian_socket(settings: Settings) -> str:
    """Where the guardian of strict sites listens."""
    return f"{settings.run_dir}/guardian.sock"


def settings_file(state_dir: Path | None) -> Path:
    """Of the node whose state lies in a folder of its own; `None`: of this machine's node."""
    return DEFAULT_FILE if state_dir is None else state_dir / "hybrid.toml"


def sessions_socket(settings: Settings) -> str:
    """Where the node process listens for sessions of people who logged in."""
    return f"{settings.run_dir}/sessions.sock"


def load(path: Path) -> Settings:
    """
    Read the file.

    Raises:
        SettingsError: Missing, not TOML; or an unknown key, a missing one, a value that cannot be: all of them, each
            with what is allowed.
    """
    document = read(path)
    found = troubles(document)
    if found:
        raise SettingsError(f"{path} is not valid", "; ".join(map(str, found)), "`hybrid node check-config`")
    return msgspec.convert(document, Settings)


def read(path: Path) -> dict[str, Any]:
    """What the file says, unchecked. Raises `SettingsError` where it is missing or not TOML."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise SettingsError(f"cannot read {path}", str(error.strerror), "run `hybrid init` or `hybrid join`") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML", str(error), "https://toml.io says what is") from error


def troubles(document: dict[str, Any]) -> list[Trouble]:
    """All that is wrong with settings, also with values that only do not fit each other; empty for good ones."""
    found = list(troubles_of(document, Settings))
    return found or list(_together(msgspec.convert(document, Settings)))


_PARTS = Settings, Timing, Strict, Replication, RateLimit, Bursting


def _together(settings: Settings) -> Iterator[Trouble]:
    """What no type says."""
    if not _is_address(settings.address):
        yield Trouble("address", f'is "{settings.address}"', "an IP address at which the other nodes reach this one")
    try:
        ipaddress.IPv4Network(settings.subnet)
    except ValueError as error:
        yield Trouble("subnet", f"{error}", "an IPv4 network, for example 10.88.0.0/16")
    for one in settings.floating:
        try:
            ipaddress.ip_interface(one.address)
        except ValueError as error:
            yield Trouble("floating.address", f"{error}", "an address and the length of its prefix, 192.0.2.10/24")
    for text, _ in settings.dns.near:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            yield Trouble("dns.near", f"{error}", 'pairs of a network and a data centre, [["192.0.2.0/24", "paris"]]')
    if settings.ftp_passive[0] > settings.ftp_passive[1]:
        yield Trouble("ftp_passive", f"is {list(settings.ftp_passive)}", "the first port, then the last one")
    if bool(settings.strict.cert) != bool(settings.strict.key):
        yield Trouble("strict.cert", "is there without `key`, or `key` without it", "both or none")
    taken: dict[int, str] = {}
    for key in (name for name in settings.__struct_fields__ if name.endswith("_port") and name != "dns_port"):
        port = getattr(settings, key)
        if port and taken.setdefault(port, key) != key:
            yield Trouble(key, f"is {port}, which is `{taken[port]}` too", "a port of its own")


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False
