"""`[strict]` in a node's settings: what is wrong is refused with what is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid.settings import SettingsError, Strict, load
from hybrid.strict.gateway import EtcdGateway
from hybrid.strict.leasefile import LeaseFile
from hybrid.supervise import children

PLAIN = 'name = "n1"\naddress = "10.0.0.1"\n'


def settings(tmp_path: Path, more: str) -> Path:
    """A settings file."""
    path = tmp_path / "hybrid.toml"
    path.write_text(PLAIN + more)
    return path


def test_without_it_there_is_no_guardian_and_no_etcd(tmp_path: Path) -> None:
    """Who wants no strict sites runs nothing for them."""
    found = load(settings(tmp_path, ""))
    assert found.strict == Strict()
    assert "guardian" not in children(found, tmp_path)


def test_with_endpoints_there_is_a_guardian(tmp_path: Path) -> None:
    """One more process of the node, supervised with the others."""
    found = load(settings(tmp_path, '[strict]\nendpoints = ["https://10.0.0.7:2379", "http://etcd:2379/"]\n'))
    assert (found.strict.ttl_s, found.strict.failsafe) == (15.0, True)
    assert children(found, tmp_path)["guardian"][-2:] == ["guardian", "/run/hybrid/guardian.sock"]


@pytest.mark.parametrize(
    "wrong",
    [
        'endpoints = ["10.0.0.7:2379"]',
        'endpoints = ["https://10.0.0.7:2379/v3"]',
        'endpoints = "https://10.0.0.7:2379"',
        'endpoints = [""]',
        "ttl_s = 1",
        "ttl_s = 86400",
        'failsafe = "yes"',
        "endpoint = []",
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, wrong: str) -> None:
    """A node does not start with settings under which a strict site could not keep its word."""
    with pytest.raises(SettingsError, match=r"strict|did you mean `endpoints`"):
        load(settings(tmp_path, f"[strict]\n{wrong}\n"))


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Not found out at the first renewal."""
    from twisted.internet.testing import MemoryReactorClock

    missing = str(tmp_path / "missing.pem")
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        EtcdGateway(MemoryReactorClock(), Strict(endpoints=("https://10.0.0.7:2379",), ca=missing))


def test_the_lease_is_found_again_after_a_restart(tmp_path: Path) -> None:
    """Or nothing, where the file is missing or spoilt: then the sites are claimed anew."""
    file = LeaseFile(tmp_path / "etcd-lease")
    assert file.read() is None
    file.write(7587861540711709185)
    assert LeaseFile(tmp_path / "etcd-lease").read() == 7587861540711709185
    (tmp_path / "etcd-lease").write_bytes(b"\xff\n")
    assert file.read() is None
    LeaseFile(tmp_path / "nowhere" / "etcd-lease").write(1)
