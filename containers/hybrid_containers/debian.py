"""
Debian root file systems, by mmdebstrap(1) from this machine's own apt sources. Does I/O, blocks.

What all recipes have in common is made once and kept beside the images for a week; a recipe adds its packages to that.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from hybrid.errors import ImageError
from hybrid_containers.apt_sources import passed_on, usable_sources
from hybrid_containers.recipe import FORMAT, Recipe
from hybrid_containers.tarball import EPOCH_S

APT = Path("/etc/apt")
BASE_DAYS = 7
"""After so long the common part is built again: it gets updates."""
KEPT_LINES = 12
WITHOUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
    "/usr/share/i18n/*",
)
"""What no image has: documentation, translations."""
_ALWAYS = (
    *("var/cache/*", "var/log/*", "var/lib/apt/lists/*", "etc/machine-id", "etc/resolv.conf", "etc/hostname"),
    *("usr/share/doc/*", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "var/lib/dpkg/*-old"),
)
_SLIM = (
    *("usr/lib/systemd", "usr/lib/*/systemd", "lib/systemd", "lib/udev", "usr/lib/*/gconv", "usr/bin/systemctl"),
    *("usr/share/perl", "usr/lib/*/perl", "usr/lib/*/libperl.so.*", "usr/share/perl5"),
    *("usr/share/zoneinfo/posix", "usr/share/zoneinfo/right", "usr/share/bash-completion", "usr/share/zsh"),
)
MEMORY = Path("/dev/shm")
SCRATCH_BYTES = 4 << 30
_PATTERN = r"[A-Za-z0-9._*+-]+(/[A-Za-z0-9._*+-]+)*"

_UNSAID = ("-hook", "tempdir", "skipping", "chroot architecture", "signed-by")
"""Milestones that say nothing to people."""

Say = Callable[[str], None]

_one_at_a_time = Lock()


def common_system(store: Path, release: str, say: Say) -> Path:
    """
    The tar that every recipe begins from, built unless a young one is there.

    Raises:
        ImageError: mmdebstrap is missing, there are no sources, or it failed (with its last lines).
    """
    tar = store / f".debian-{release}-{FORMAT}.tar"
    with _one_at_a_time:
        if not tar.exists() or time.time() - tar.stat().st_mtime > BASE_DAYS * 86400:
            with tempfile.TemporaryDirectory(prefix=".debian-", dir=store) as folder:
                _build_common(release, Path(folder), tar, say)
    return tar


def _build_common(release: str, work: Path, tar: Path, say: Say) -> None:
    options = [
        *("--variant=minbase", "--skip=cleanup/apt/lists", '--aptopt=Apt::Install-Recommends "false"'),
        *(f"--aptopt={_apt_conf(work)}", "--dpkgopt=force-unsafe-io"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT),
    ]
    say(f"the part that all Debian images share, from {release}; about a minute")
    _mmdebstrap(options, release, work, work / "base.tar", say)
    (work / "base.tar").rename(tar)


def install(base: Path, recipe: Recipe, release: str, folder: Path, tar: Path, setup: str, say: Say) -> None:
    """
    Add the recipe's packages to `base`, run `setup` in it, take away what is not to be in an image.

    Args:
        folder: For temporary files; gets `packages`, a line `name version` for each package there is.
        setup: A shell script, run as root in the new system; empty: none.

    Raises:
        ImageError: As `common_system`.
    """
    steps = [f"--aptopt={_apt_conf(folder)}", f'--setup-hook=tar -C "$1" -xf {shlex.quote(str(base))}']
    if recipe.without:
        lines = "".join(f"path-exclude={pattern}\n" for pattern in recipe.without)
        steps += [f'--customize-hook=printf %s {shlex.quote(lines)} >> "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"']
    if recipe.packages:
        wanted = shlex.join(recipe.packages)
        steps += [f'--customize-hook=DEBIAN_FRONTEND=noninteractive chroot "$1" apt-get install -y -q {wanted}']
    if setup:
        (folder / "setup").write_text(setup)
        steps += [f'--customize-hook=chroot "$1" /bin/sh -eu < {shlex.quote(str(folder / "setup"))}']
    listing = shlex.quote(str(folder / "packages"))
    steps += [
        "--customize-hook=dpkg-query --admindir=\"$1/var/lib/dpkg\" -W -f '${Package} ${Version}\\n' > " + listing,
        f"--customize-hook={tidy(recipe)}",
    ]
    _mmdebstrap(["--variant=custom", *steps], release, folder, tar, say)


def tidy(recipe: Recipe) -> str:
    """The shell command that removes what is not to be in the image; `$1` is its root. Pure."""
    for pattern in recipe.removed:
        if not re.fullmatch(_PATTERN, pattern) or ".." in pattern:
            raise ImageError(f"`removed` pattern {pattern!r}", "must be relative, of letters, digits and . _ * + - /")
    return f'cd "$1" && rm -rf -- {" ".join((*_ALWAYS, *(_SLIM if recipe.slim else ()), *recipe.removed))}'


def _mmdebstrap(options: Sequence[str], release: str, folder: Path, tar: Path, say: Say) -> None:
    if not shutil.which("mmdebstrap"):
        raise ImageError("mmdebstrap is not installed", try_="apt-get install mmdebstrap")
    if os.geteuid() != 0:
        raise ImageError("a Debian image can only be built by root", try_="sudo, or build the image `static`")
    sources = _write_sources(folder, release)
    command = ["mmdebstrap", "--mode=root", "--format=tar", "--skip=output/dev", *options, release, str(tar)]
    with tempfile.TemporaryDirectory(prefix="hybrid-image-", dir=scratch(MEMORY, folder)) as temporary:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH_S), "TMPDIR": temporary}
        _watched([*command, *map(str, sources)], environment, say)


def scratch(memory: Path, otherwise: Path) -> Path:
    """Where a system is put together: thousands of small files, so in memory where there is room for programs."""
    try:
        place = os.statvfs(memory)
    except OSError:
        return otherwise
    fits = place.f_bavail * place.f_frsize >= SCRATCH_BYTES and not place.f_flag & (os.ST_NOEXEC | os.ST_NODEV)
    return memory if fits else otherwise


def _apt_conf(folder: Path) -> Path:
    """This machine's proxies and the like, for the apt in the new system."""
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    (folder / "apt.conf").write_text(passed_on(dumped.splitlines()))
    return folder / "apt.conf"


def _write_sources(folder: Path, release: str) -> list[Path]:
    files = [APT / "sources.list", *(APT / "sources.list.d").glob("*")]
    texts = {path.name: path.read_text() for path in files if path.suffix in (".list", ".sources") and path.is_file()}
    found = usable_sources(texts, release)
    if not found:
        raise ImageError(f"no apt source of {release or 'this release'} in {APT}", try_="see sources.list(5)")
    written = [folder / name for name in found]
    for path in written:
        path.write_text(found[path.name])
    return written


def _watched(command: Sequence[str], environment: dict[str, str], say: Say) -> None:
    """Run it, pass its milestones on; its last lines are the reason when it fails."""
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    last: list[str] = []
    try:
        for line in child.stderr:
            last = [*last, line.strip()][-KEPT_LINES:]
            if line.startswith("I: ") and not any(word in line for word in _UNSAID):
                say(line[3:].strip())
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.wait() != 0:
        fetching = any(word in " ".join(last) for word in ("Failed to fetch", "Could not resolve", "Unable to connect"))
        hint = "no package registry can be reached: check with `apt-get update`" if fetching else "see the lines above"
        raise ImageError(f"mmdebstrap ended with status {child.returncode}", "\n  " + "\n  ".join(last) + "\n", hint)
