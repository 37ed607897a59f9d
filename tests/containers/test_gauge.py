"""What the kernel counts is read as it is, on both versions of control groups, and nothing is made up."""

from __future__ import annotations

from pathlib import Path

from hybrid.cluster.loads import Counted
from hybrid.model import SiteId
from hybrid_containers.gauge import AT_ONCE, ProcGauge, busy_s, fields, moved, stalled_s

SHOP = SiteId("s-shop")


class Groups:
    """Control groups that are folders."""

    def __init__(self, *folders: Path, sites: int = 1) -> None:
        self._folders = folders
        self.names = [SHOP] if sites == 1 else [SiteId(f"s-{number:04}") for number in range(sites)]

    def sites(self) -> list[SiteId]:
        """See `ControlGroups`."""
        return self.names

    def payloads(self, site: SiteId) -> list[Path]:
        """See `ControlGroups`."""
        return list(self._folders)


def gauge(groups: Groups) -> ProcGauge:
    """On this machine's own /proc."""
    return ProcGauge(groups)  # type: ignore[arg-type]  # stands in for ControlGroups


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    """Processor time, memory without caches, and all that was read and written."""
    for name, text in {
        "cpuacct/cpuacct.usage": "2500000000\n",
        "cpu/cpu.stat": "nr_periods 4\nnr_throttled 0\nthrottled_time 0\n",
        "memory/memory.stat": "cache 999\nrss 1\ntotal_cache 99999\ntotal_rss 4096\n",
        "blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 100\n8:0 Write 50\n8:0 Total 150\nTotal 150\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    _, counted = gauge(Groups(*sorted(tmp_path.iterdir()))).read()
    assert counted == {SHOP: Counted(2.5, 4096, 150)}


def test_version_2_has_one_folder(tmp_path: Path) -> None:
    """The same figures, by other names."""
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n")
    (tmp_path / "memory.stat").write_text("anon 8192\nfile 99999\n")
    (tmp_path / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=0\n")
    _, counted = gauge(Groups(tmp_path)).read()
    assert counted == {SHOP: Counted(1.5, 8192, 35)}


def test_what_is_gone_or_odd_is_not_counted(tmp_path: Path) -> None:
    """A container that ends while it is read has no figures, rather than none used."""
    _, counted = gauge(Groups(tmp_path / "gone")).read()
    assert counted == {}
    assert fields("a\nb x\nc 1 kB\n\n") == {"c": 1}
    assert moved("garbage rbytes=x wbytes=") == 0
    assert busy_s("cpu 1 2\n") is None
    assert busy_s("") is None
    assert stalled_s("") is None
    assert stalled_s("some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\nfull total=1\n") == 2.0


def test_the_machine_counts_itself() -> None:
    """There are processors and memory, and the processors were busy before now."""
    machine, _ = gauge(Groups()).read()
    assert machine.cores >= 1
    assert machine.memory_bytes > 2**28
    assert machine.busy_s is not None
    assert machine.busy_s > 0


def test_of_very_many_containers_some_are_read_each_time(tmp_path: Path) -> None:
    """So that looking costs milliseconds; all have their turn."""
    (tmp_path / "cpuacct.usage").write_text("1\n")
    one = gauge(Groups(tmp_path, sites=2 * AT_ONCE + 7))
    reads = [set(one.read()[1]) for _ in range(4)]
    assert [len(read) for read in reads] == [AT_ONCE, AT_ONCE, 7, AT_ONCE]
    assert len(set.union(*reads)) == 2 * AT_ONCE + 7
