"""Makes the guest's disk from its recipe, once; what a run changes is kept elsewhere. Blocks."""

from __future__ import annotations

import json
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hybrid.errors import ImageError
from hybrid.lab.guest import children
from hybrid.lab.guest.children import Say
from hybrid.lab.guest.recipe import FOLDER, Recipe, digest, load, requirements
from hybrid_containers.apt_sources import of_release, passed_on

APT = Path("/etc/apt")
KEPT = 2
"""Disks in the store: this one, and one of another recipe that somebody may be working on."""
BOOTSTRAP_S, PIP_S, COPY_S = 2700.0, 600.0, 300.0
PACKAGES = "usr/local/lib/python3.13/dist-packages"
"""Where Debian's own Python looks first for what is not Debian's."""
MODULES = "lib/modules/*/updates/dkms/*.ko"
COMPONENTS = ("", "/proxy", "/dns", "/replicator", "/containers")
"""Where the import packages are, below the payload."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What is booted; none of it is ever written to."""

    root: Path
    kernel: Path
    initrd: Path
    built_s: float
    """What building took, whenever that was."""


def build(checkout: Path, store: Path, say: Say) -> tuple[Disk, bool]:
    """
    The guest's disk by the recipe in `checkout`, from `store` if it is there.

    Returns:
        The disk, and whether it was built just now.

    Raises:
        ImageError: It cannot be built, and why.
    """
    recipe = load(checkout / FOLDER)
    wanted = requirements((checkout / "pyproject.toml").read_text(), recipe)
    known = digest(checkout / FOLDER, wanted, platform.machine())
    home = store / known
    if (home / "about.json").exists():
        os.utime(home)
        return _disk(home), False
    if os.geteuid() != 0:
        raise ImageError("the guest's disk can only be built by root", try_="sudo")
    say(f"building the guest's disk {known}: Debian {recipe.release}, and a kernel module for it; some minutes")
    begun_s = time.monotonic()
    store.mkdir(parents=True, exist_ok=True)
    _sweep(store)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=store) as folder:
        work, log = Path(folder), store / "build.log"
        log.unlink(missing_ok=True)
        _bootstrap(work, recipe, log, say)
        _install_python(work / "root", wanted, log, say)
        _unpack_modules(work / "root", log, say)
        _furnish(work / "root", checkout / FOLDER)
        made = work / "made"
        made.mkdir()
        _take_kernel(work / "root", made)
        _pack(work / "root", made / "root.img", recipe, log, say)
        (made / "about.json").write_text(json.dumps({"built_s": round(time.monotonic() - begun_s, 1)}))
        made.rename(home)
    say(f"built in {time.monotonic() - begun_s:.0f} s ({children.processor_s():.0f} s of a processor)")
    return _disk(home), True


def _disk(home: Path) -> Disk:
    about = json.loads((home / "about.json").read_text())
    return Disk(home / "root.img", home / "vmlinuz", home / "initrd.img", float(about["built_s"]))


def _sweep(store: Path) -> None:
    """Remove what builds that were killed left, and the disks not used for longest."""
    for unfinished in store.glob(".building-*"):
        shutil.rmtree(unfinished)
    disks = sorted((path.parent for path in store.glob("*/about.json")), key=lambda path: path.stat().st_mtime)
    for old in disks[: -(KEPT - 1)]:
        shutil.rmtree(old)


def _bootstrap(work: Path, recipe: Recipe, log: Path, say: Say) -> None:
    """A Debian root with the packages, from this machine's own mirrors, by mmdebstrap(1)."""
    sources = _sources(work, recipe)
    settings = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True, timeout=30).stdout
    (work / "apt.conf").write_text(passed_on(settings.splitlines()))
    ramdisk = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d" && '
        'echo MODULES=list > "$1/etc/initramfs-tools/conf.d/guest" && '
        f'printf "%s\\n" {" ".join(recipe.modules)} > "$1/usr/share/initramfs-tools/modules.d/guest"'
    )
    say("Debian packages, and the module from its sources")
    children.run(
        [
            *("unshare", "--mount", "--propagation=private"),  # who is killed leaves no mount for `_sweep` to meet
            *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"),
            *("--include=" + ",".join(recipe.packages), '--aptopt=Apt::Install-Recommends "false"'),
            *(f"--aptopt={work / 'apt.conf'}", f"--setup-hook={ramdisk}"),
            *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
            *(recipe.release, str(work / "root"), *map(str, sources)),
        ],
        log,
        BOOTSTRAP_S,
        say,
        {"TMPDIR": str(work)},
    )
    if not list((work / "root").glob(f"{MODULES}*")):
        raise ImageError("the ZFS module was not built", f"\n{children.tail(log)}\n", f"see {log}")


def _unpack_modules(root: Path, log: Path, say: Say) -> None:
    """What is loaded at each boot is unpacked once, here, where that is not emulated."""
    for packed in root.glob(f"{MODULES}.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    for kernel in root.glob("lib/modules/*"):
        children.run(["chroot", str(root), "depmod", kernel.name], log, COPY_S, say)


def _sources(work: Path, recipe: Recipe) -> list[Path]:
    files = [APT / "sources.list", *(APT / "sources.list.d").glob("*")]
    texts = {path.name: path.read_text() for path in files if path.suffix in (".list", ".sources") and path.is_file()}
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = of_release(texts, codename, recipe.release, recipe.components)
    if not found:
        raise ImageError(f"no apt source of Debian in {APT}", try_="see sources.list(5)")
    for name, text in found.items():
        (work / name).write_text(text)
    return [work / name for name in found]


def _install_python(root: Path, wanted: list[str], log: Path, say: Say) -> None:
    """Wheels for the guest's Python by this machine's pip, and their bytecode by the guest's own interpreter."""
    say("Python packages")
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-compile"]
    wheels = ["--python-version=3.13", "--implementation=cp", "--only-binary=:all:", f"--target={root / PACKAGES}"]
    children.run([*pip, *wheels, *wanted], log, PIP_S, say)
    compiled = ["chroot", str(root), "python3", "-m", "compileall", "-q", "-j2", f"/{PACKAGES}", "/usr/lib/python3"]
    children.run(compiled, log, PIP_S, say)


def _furnish(root: Path, folder: Path) -> None:
    """The first process, and where Python finds what a run brings along."""
    shutil.copy(folder / "init", root / "sbin/guest-init")
    (root / PACKAGES / "payload.pth").write_text("".join(f"/payload{part}\n" for part in COMPONENTS))
    pytest = root / "usr/local/bin/pytest"
    pytest.write_text('#!/bin/sh\nexec python3 -m pytest "$@"\n')
    pytest.chmod(0o755)


def _take_kernel(root: Path, made: Path) -> None:
    for name, pattern in (("vmlinuz", "boot/vmlinuz-*"), ("initrd.img", "boot/initrd.img-*")):
        found = sorted(root.glob(pattern))
        if not found:
            raise ImageError(f"the guest has no {name}", "the kernel's package did not install one")
        shutil.copy(found[-1], made / name)


def _pack(root: Path, image: Path, recipe: Recipe, log: Path, say: Say) -> None:
    say("the disk")
    for pattern in recipe.removed:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    size = f"{recipe.size_bytes >> 10}k"
    argv = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", str(root), str(image), size]
    children.run(argv, log, COPY_S, say)
