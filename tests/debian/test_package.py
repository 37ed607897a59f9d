"""The Debian package, on a clean Debian: installed without any network, upgraded, serving a site, purged."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybrid.release import __version__
from tests.debian.system import ADDRESS, System, prepared, unpacked

pytestmark = [
    pytest.mark.zfs,
    pytest.mark.lxc,
    pytest.mark.cluster,
    pytest.mark.skipif("HYBRID_DEBIAN" not in os.environ, reason="`make test-deb` runs it: it needs the built package"),
]
BUILD = Path(__file__).parents[2] / "build"
UNITS = (
    "hybrid-node.service",
    "hybrid-proxy@1.service",
    "hybrid-dns@1.service",
    "hybrid-guardian.service",
    "hybrid.target",
)
EXPOSED = {"hybrid-proxy@1.service": 3.0, "hybrid-dns@1.service": 3.0, "hybrid-guardian.service": 4.0}
"""The most that `systemd-analyze security` may say, of 10."""


@pytest.fixture(scope="module")
def deb() -> Path:
    """The built package."""
    (found,) = BUILD.glob(f"hybrid_{__version__}_*.deb")
    return found


@pytest.fixture(scope="module")
def clean(deb: Path) -> Path:
    """The tar of a Debian that has what the package depends on."""
    return prepared(Path(os.environ["HYBRID_DEBIAN"]), Path(os.environ["HYBRID_IMAGES"]), deb)


@pytest.fixture
def system(clean: Path) -> Iterator[System]:
    """A machine with it, on disk: a pool of it lies there too."""
    folder = Path(os.environ["HYBRID_DEBIAN"]) / f"run-{os.getpid()}"
    made = unpacked(clean, folder)
    yield made
    made.halt()
    shutil.rmtree(folder)
    Path(f"{folder}.log").unlink(missing_ok=True)


def install(system: System, deb: Path) -> str:
    """Put the package on the machine; what dpkg said."""
    shutil.copy(deb, system.root / "root/hybrid.deb")
    return system.run("dpkg", "-i", "/root/hybrid.deb")


def newer(deb: Path, folder: Path) -> Path:
    """The same package as a later version."""
    work, made = folder / "newer", folder / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(work)], check=True)
    control = work / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}", "Version: 99"))
    subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(work), str(made)], check=True)
    return made


def test_installed_upgraded_and_purged(system: System, deb: Path, tmp_path: Path) -> None:
    """On plain Debian; units are sound; what a person wrote into the settings stays; at the end nothing is left."""
    before = system.files()
    assert "hybrid init" in install(system, deb)
    assert system.run("hybrid", "--version").strip() == f"hybrid {__version__}"
    found = json.loads(system.run("hybrid", "node", "check-config", "--format", "json", code=1))
    assert [trouble["key"] for trouble in found] == ["name", "address"]
    system.run("dpkg", "--verify", "hybrid")
    assert "etcd" not in system.run("dpkg-query", "-W", "-f", "${Package}\n")

    paths = [f"/usr/lib/systemd/system/{unit}" for unit in UNITS]
    assert [
        line for line in system.run("systemd-analyze", "verify", "--man=no", *paths).splitlines() if "hybrid" in line
    ] == []
    for unit, most in EXPOSED.items():
        said = system.run(
            "systemd-analyze", "security", "--offline=true", "--no-pager", f"/usr/lib/systemd/system/{unit}"
        )
        level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert level is not None, said
        print(unit, level[1])
        assert float(level[1]) <= most, said
    assert "_heads.abi3.so" in " ".join(system.files())
    system.run("bash", "-c", "source /usr/share/bash-completion/completions/hybrid && complete -p hybrid")
    assert {f"usr/share/man/man1/hybrid{page}.1.gz" for page in ("", "-site", "-snap", "-node")} <= system.files()

    settings = system.root / "etc/hybrid/hybrid.toml"
    mine = settings.read_text() + '\nname = "n1"\naddress = "192.0.2.1"\n'
    settings.write_text(mine)
    assert install(system, newer(deb, tmp_path))
    assert system.run("dpkg-query", "-W", "-f", "${Version}", "hybrid") == "99"
    assert settings.read_text() == mine
    system.run("hybrid", "node", "check-config")

    system.run("dpkg", "-r", "hybrid")
    assert settings.read_text() == mine
    system.run("dpkg", "-P", "hybrid")
    assert system.files() - before == set()
    assert "hybrid-front" not in (system.root / "etc/passwd").read_text()


def test_a_site_is_served_with_nothing_but_the_package(system: System, deb: Path, tmp_path: Path) -> None:
    """
    Install, `hybrid init`, start the target, `hybrid site create`: served, by a real systemd. Restarts of front doors
    and an upgrade are a pause for visitors, and the site's processes go on. Purged, the pool is still there.
    """
    before = system.files()
    install(system, deb)
    images = system.root / "var/cache/hybrid/images"
    images.mkdir(parents=True)
    for kind in ("tar", "toml"):
        shutil.copy(Path(os.environ["HYBRID_IMAGES"]) / f"static.{kind}", images)
    system.boot()
    until(lambda: attempt(system, "zpool", "list"), "zfs-fuse answers")
    pool = ("--pool", "tank", "--create-pool", "/var/lib/hybrid/tank.img", "--pool-size", "1G")
    names = ("--name", "n1", "--address", ADDRESS, "--zone", "hybrid.test")
    assert "systemctl enable --now hybrid.target" in system.run("hybrid", "init", *names, *pool)
    system.run("systemctl", "start", "hybrid.target")
    until(lambda: attempt(system, "hybrid", "node", "show", "n1"), "the node answers")
    system.run("hybrid", "site", "create", "shop", "--image", "static", "--timeout", "120")
    until(lambda: attempt(system, *VISIT, "1"), "the site is served")
    running = inits(system)
    assert len(running) == 1
    for unit in UNITS[:4]:
        assert state(system, unit) == "active", unit

    system.run("systemctl", "restart", "--no-block", "hybrid-proxy@1.service")
    assert system.run(*VISIT, "20").splitlines()[-1] == "20"
    system.run("systemctl", "restart", "hybrid-node.service")
    assert system.run(*VISIT, "5").splitlines()[-1] == "5"
    assert inits(system) == running
    shutil.copy(newer(deb, tmp_path), system.root / "root/newer.deb")
    assert "did not start again" not in system.run("dpkg", "-i", "/root/newer.deb")
    assert system.run(*VISIT, "5").splitlines()[-1] == "5"
    until(lambda: attempt(system, "hybrid", "site", "show", "shop"), "the node answers again")
    assert inits(system) == running
    for unit in UNITS[:4]:
        assert state(system, unit) == "active", unit

    system.halt()
    system.run("dpkg", "-P", "hybrid")
    left = {name for name in system.files() - before if "hybrid" in name and "systemd-private" not in name}
    assert left == {"var/lib/hybrid", "var/lib/hybrid/tank.img"}


VISIT = (
    "/opt/hybrid/bin/python",
    "-c",
    "import sys, urllib.request as u\n"
    f"r = u.Request('http://{ADDRESS}/', headers={{'Host': 'shop.hybrid.test'}})\n"
    "for n in range(int(sys.argv[1])):\n"
    "    assert b'<html' in u.urlopen(r, timeout=30).read().lower()\n"
    "    print(n + 1)",
)
"""Visits the site so many times, one after the other; a refused connection, or an error, is a failure."""


def inits(system: System) -> list[str]:
    """The pid of the first process of the site's container."""
    return system.run("pgrep", "-o", "-f", "hybrid-init").split()


def state(system: System, unit: str) -> str:
    """What systemd says of a unit."""
    return system.run("systemctl", "show", "-P", "ActiveState", unit).strip()


def attempt(system: System, *argv: str) -> str:
    """What a command said, empty where it failed."""
    try:
        return system.run(*argv, deadline_s=30)
    except AssertionError:
        return ""


def until(look: Callable[[], str], what: str, deadline_s: float = 120.0) -> str:
    """Look again and again until there is something."""
    end_s = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < end_s, f"not after {deadline_s:.0f} s: {what}"
        time.sleep(0.5)
    return found
