"""Where the control groups of containers are, on the layouts that machines have."""

from __future__ import annotations

from pathlib import Path

from hybrid_containers.cgroups import parse_hierarchies

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
OF_INIT = "9:name=systemd:/init.scope\n4:memory:/lab/n1\n1:cpu,cpuacct:/\n0::/init.scope\n"


def test_both_versions_at_once() -> None:
    """Version 1 with version 2 beside it: each hierarchy is found, below the group of process 1, as LXC does it."""
    found = {str(one.base): (one.controllers, one.version) for one, _ in parse_hierarchies(HYBRID, OF_INIT)}
    assert found == {
        "/sys/fs/cgroup/cpu,cpuacct": (frozenset({"cpu", "cpuacct"}), 1),
        "/sys/fs/cgroup/memory/lab/n1": (frozenset({"memory"}), 1),
        "/sys/fs/cgroup/systemd": (frozenset({"name=systemd"}), 1),
        "/sys/fs/cgroup/unified": (frozenset(), 2),
    }


def test_version_two_alone() -> None:
    """A current Debian: one hierarchy, and systemd's own group of process 1 does not count."""
    info = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
    ((one, mounted),) = parse_hierarchies(info, "0::/init.scope\n")
    assert (one.base, one.version, mounted) == (Path("/sys/fs/cgroup"), 2, Path("/sys/fs/cgroup"))


def test_inside_a_container() -> None:
    """Where only a part of the hierarchy is mounted, paths are relative to that part."""
    info = "30 23 0:26 /lxc/host /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
    ((one, _),) = parse_hierarchies(info, "0::/lxc/host/in.slice\n")
    assert one.base == Path("/sys/fs/cgroup/in.slice")


def test_other_mounts_do_not_disturb() -> None:
    """Hierarchies bound elsewhere, and other file systems, are not ours."""
    info = HYBRID + "50 1 0:38 / /var/elsewhere rw - cgroup2 cgroup2 rw\n51 1 8:1 / / rw - ext4 /dev/sda rw,x=name\n"
    assert len(parse_hierarchies(info, OF_INIT)) == 4
