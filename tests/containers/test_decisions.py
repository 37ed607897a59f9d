"""Addresses, configuration, messages: what is decided about containers without touching any."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.errors import ContainerError
from hybrid.model import SiteId
from hybrid.ports import ContainerSpec
from hybrid_containers.addresses import gateway_of, is_site, mac_of, prefix_of, secluded_of, veth_of
from hybrid_containers.calls import MAX_FRAME, Call, Frames, Reply, frame
from hybrid_containers.config import Machine, Place, config_lines, limits
from hybrid_containers.network import rules

SPEC = ContainerSpec(
    site=SiteId("s-one"),
    hostname="shop.example",
    root="/var/lib/hybrid/mounts/s-one",
    id_base=1_065_536,
    address="10.88.0.2",
    prefix=16,
    gateway="10.88.0.1",
    init=("/sbin/hybrid-init",),
    environment={"MODE": "a b = c"},
    memory_bytes=64 << 20,
    cpus=0.5,
    pids=50,
)
PLACE = Place(directory="/d", cgroup="hybrid/s-one", pivot="hybrid/pivot", bridge="hyb0")
V1 = Machine(v1=frozenset({"memory", "cpu", "pids", "devices", "freezer"}), v2=frozenset())
V2 = Machine(v1=frozenset(), v2=frozenset({"memory", "cpu", "pids", "io"}))


def test_names_on_the_network_never_meet() -> None:
    """Two sites never share a MAC or a device name, and a device name fits the kernel's 15 characters."""
    addresses = [f"10.88.{third}.{fourth}" for third in range(8) for fourth in range(256)]
    assert len({mac_of(address) for address in addresses}) == len(addresses)
    names = {veth_of(SiteId(f"s-{number:026d}")) for number in range(2000)}
    assert len(names) == 2000
    assert {len(name) for name in names} == {14}
    assert (gateway_of("10.88.0.0/16"), prefix_of("10.88.0.0/16")) == ("10.88.0.1", 16)


@pytest.mark.parametrize("subnet", ["", "10.88.0.0/33", "10.88.0.1/16", "fd00::/64", "10.88.0.0/31"])
def test_a_subnet_that_cannot_be_used_is_said(subnet: str) -> None:
    """A wrong `subnet` in the settings gives an example of a right one."""
    with pytest.raises(ContainerError, match=r"10\.88\.0\.0/16"):
        gateway_of(subnet)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "pivot", "S-UP", "s one", "s-1\n", "-s", "x" * 64])
def test_what_is_no_id_is_no_path(name: str) -> None:
    """Only an id becomes a folder, a control group and a container's name."""
    assert not is_site(name)
    assert is_site("s-" + "a2" * 13)


def test_containers_are_confined() -> None:
    """Own ids, no capability over the machine, no new privileges, system calls filtered, limits set, on v1."""
    lines = config_lines(SPEC, Machine(V1.v1, V1.v2, seccomp="/p"), PLACE)
    assert "lxc.idmap = u 0 1065536 65536" in lines
    assert "lxc.idmap = g 0 1065536 65536" in lines
    dropped = next(line for line in lines if line.startswith("lxc.cap.drop")).split()
    assert {"sys_admin", "sys_module", "sys_rawio", "sys_time", "net_admin", "net_raw", "mknod"} <= set(dropped)
    for line in (
        "lxc.no_new_privs = 1",
        "lxc.seccomp.profile = /p",
        "lxc.mount.auto = proc:mixed sys:ro",
        "lxc.cgroup.devices.deny = a",
        "lxc.cgroup.memory.limit_in_bytes = 67108864",
        "lxc.cgroup.cpu.cfs_quota_us = 50000",
        "lxc.cgroup.pids.max = 50",
        "lxc.cgroup.dir.container = hybrid/s-one/payload",
        "lxc.environment = MODE=a b = c",
        "lxc.net.0.ipv4.address = 10.88.0.2/16",
    ):
        assert line in lines


def test_limits_follow_the_machine() -> None:
    """Version 1, version 2 or a mix: each limit is set where its controller is, and nowhere else."""
    assert ("lxc.cgroup2.cpu.max", "50000 100000") in limits(SPEC, V2)
    assert ("lxc.cgroup2.memory.max", str(64 << 20)) in limits(SPEC, V2)
    assert not [key for key, _ in limits(SPEC, V2) if key.startswith("lxc.cgroup.")]
    assert not [key for key, _ in limits(SPEC, V1) if key.startswith("lxc.cgroup2.")]
    mixed = dict(limits(SPEC, Machine(v1=frozenset({"memory", "devices"}), v2=frozenset({"pids"}))))
    assert "lxc.cgroup.memory.limit_in_bytes" in mixed
    assert "lxc.cgroup2.pids.max" in mixed
    assert not [key for key in mixed if "cpu" in key]


def test_apparmor_is_left_out_only_where_there_is_none() -> None:
    """A machine with AppArmor uses it."""
    assert "lxc.apparmor.profile = unconfined" in config_lines(SPEC, V1, PLACE)
    assert "lxc.apparmor.profile = generated" in config_lines(SPEC, Machine(V1.v1, V1.v2, apparmor=True), PLACE)


@pytest.mark.parametrize(
    "changes",
    [
        {"environment": {"A": "x\nlxc.idmap = u 0 0 65536"}},
        {"environment": {"A\nB": "x"}},
        {"environment": {"A=B": "x"}},
        {"environment": {"A": "x\0"}},
        {"hostname": "a\nlxc.hook.pre-start = /bin/evil"},
        {"hostname": ""},
        {"root": "relative"},
        {"root": "/a/../b"},
        {"root": "/a b"},
        {"address": "10.88.0.2\nx"},
        {"id_base": 0},
    ],
)
def test_no_value_becomes_configuration(changes: dict[str, object]) -> None:
    """What a tenant or a wrong setting says can neither add a line to the configuration nor widen its ids."""
    with pytest.raises((ContainerError, ValueError)):
        config_lines(msgspec.structs.replace(SPEC, **changes), V1, PLACE)


@given(st.lists(st.integers(0, 2**31), max_size=8), st.integers(1, 40))
def test_frames_come_whole_however_the_bytes_are_cut(ids: list[int], size: int) -> None:
    """The worker's replies are understood wherever the pipe cuts them."""
    data = b"".join(frame(Reply(number, "e" * (number % 50))) for number in ids)
    frames, found = Frames(), []
    for start in range(0, len(data), size):
        found += [msgspec.msgpack.decode(one, type=Reply).id for one in frames.feed(data[start : start + size])]
    assert found == ids


def test_a_frame_too_large_is_refused() -> None:
    """Whatever speaks another protocol is noticed at once, not when memory is full."""
    with pytest.raises(ValueError, match="frame of"):
        list(Frames().feed((MAX_FRAME + 1).to_bytes(4, "big")))


def test_a_call_survives_the_wire() -> None:
    """What is asked for arrives."""
    call = Call(id=1, verb="start", home="/h", name="s-one", deadline_s=2.5, init=("/bin/sh", "-c", "a b"))
    assert msgspec.msgpack.decode(next(iter(Frames().feed(frame(call)))), type=Call) == call


def test_rules_touch_our_own_table_only() -> None:
    """The firewall of the machine's owner is left alone, and containers cannot reach each other."""
    text = rules("hyb0", "10.88.0.0/16")
    assert 'iifname "hyb0" oifname "hyb0" drop' in text
    assert "flush" not in text
    tables = [line.split() for line in text.splitlines() if "table" in line]
    assert {words[2 + (words[0] != "table")] for words in tables} == {"hybrid"}


def test_the_nodes_own_containers_answer_and_begin_nothing() -> None:
    """A past moment that runs for a look cannot reach a site through the node's front doors, nor anybody beyond."""
    assert secluded_of("10.88.0.0/16") == "10.88.0.2-10.88.0.254"
    assert secluded_of("10.88.0.0/28") == "10.88.0.2-10.88.0.14"
    text = rules("hybr0", "10.88.0.0/16")
    assert 'iifname "hybr0" ip saddr 10.88.0.2-10.88.0.254 ct state != { established, related } drop' in text
    assert 'iifname "hybr0" ip saddr 10.88.0.2-10.88.0.254 drop' in text
