"""What is a site's own in its files: written where it belongs, whatever a tenant left in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_containers import imprint

BASE = 1_065_536
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def run(root: Path, environment: str = "") -> None:
    """As the platform runs it."""
    script = [sys.executable, "-I", "-S", imprint.__file__, str(root), str(BASE)]
    subprocess.run(script, input=environment.encode(), check=True)


def test_each_site_is_a_machine_of_its_own(tmp_path: Path) -> None:
    """A clone gets another id than the site it begins as, and keeps its environment unless it is given one."""
    run(tmp_path, "A=1\n")
    machine, environment = tmp_path / "etc/machine-id", tmp_path / "etc/hybrid/environment"
    first = machine.read_text()
    assert len(first) == 33
    assert (environment.stat().st_uid, environment.stat().st_gid) == (BASE, BASE)
    assert environment.stat().st_mode & 0o777 == 0o600
    run(tmp_path)
    assert machine.read_text() != first
    assert environment.read_text() == "A=1\n"
    run(tmp_path, "A=2\n")
    assert environment.read_text() == "A=2\n"


def test_each_site_has_a_secret_of_its_own(tmp_path: Path) -> None:
    """Two sites of one image sign with different secrets, which only root of each can read; a clone keeps its own."""
    secrets = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / name)
        secret = tmp_path / name / "etc/hybrid/secret"
        assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (BASE, 0o600)
        secrets.append(secret.read_text())
        run(tmp_path / name)
        assert secret.read_text() == secrets[-1]
    assert [len(text) for text in secrets] == [len("HYBRID_SECRET=\n") + 64] * 2
    assert secrets[0] != secrets[1]


def test_what_is_in_the_way_leads_nowhere(tmp_path: Path) -> None:
    """Links of a tenant, relative or not, lead to nothing of the node; a pipe keeps nobody waiting."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (outside / "hybrid").mkdir(parents=True)
    root.mkdir()
    (root / "etc").symlink_to("../../../.." + str(outside))
    assert subprocess.run(
        [sys.executable, "-I", "-S", imprint.__file__, str(root), str(BASE)], input=b"A=1", capture_output=True
    ).returncode
    (root / "etc").unlink()
    (root / "etc").mkdir()
    os.mkfifo(root / "etc/machine-id")
    (root / "etc/hybrid").symlink_to(outside)
    assert subprocess.run(
        [sys.executable, "-I", "-S", imprint.__file__, str(root), str(BASE)], input=b"A=1", capture_output=True
    ).returncode
    assert (root / "etc/machine-id").is_file()
    assert list(outside.rglob("*")) == [outside / "hybrid"]
