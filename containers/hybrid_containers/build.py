"""
`python -m hybrid_containers.build NAME … [--store DIR]`: build images by their recipes. A program of its own, blocks.

Writes `<store>/<name>.tar` and `<store>/<name>.toml` (the manifest), and `<name>.built` with the recipe's digest, by
which the next run knows that there is nothing to do. Each file appears whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hybrid.errors import ImageError
from hybrid_containers.apt_sources import passed_on, usable_sources
from hybrid_containers.recipe import Recipe, load_recipe, overlay_files, recipe_digest, recipes_in
from hybrid_containers.tarball import EPOCH_S, write_busybox, write_directories, write_overlay

STORE = Path("/var/cache/hybrid/images")
BUSYBOX = Path("/bin/busybox")
APT = Path("/etc/apt")
KEPT_LINES = 12

Say = Callable[[str], None]


def build(name: str, recipes: Path, store: Path, say: Say, force: bool = False) -> bool:
    """
    Build the image `name` unless the store has it from the same recipe.

    Returns:
        Whether anything was built.

    Raises:
        ImageError: It cannot be built, and why.
    """
    recipe, _ = load_recipe(recipes, name)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "") if recipe.base == "debian" else ""
    digest = recipe_digest(recipes, name, recipe, release, platform.machine())
    built, tar, manifest = store / f"{name}.built", store / f"{name}.tar", store / f"{name}.toml"
    if not force and tar.exists() and manifest.exists() and built.exists() and built.read_text().strip() == digest:
        say(f"up to date (recipe {digest}, {tar.stat().st_size >> 20} MB)")
        return False
    started_s = time.monotonic()
    store.mkdir(parents=True, exist_ok=True)
    built.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=store) as folder:
        unfinished = Path(folder, "image.tar")
        if recipe.base == "debian":
            bootstrap(unfinished, recipe, release, Path(folder), say)
        with tarfile.open(unfinished, "a", format=tarfile.GNU_FORMAT) as archive:
            if recipe.base == "busybox":
                write_busybox(archive, BUSYBOX)
            write_directories(archive, recipe.directories)
            write_overlay(archive, overlay_files(recipes, name, recipe))
        shutil.copyfile(recipes / name / "manifest.toml", Path(folder, "manifest.toml"))
        Path(folder, "manifest.toml").rename(manifest)
        unfinished.rename(tar)
    built.write_text(digest + "\n")
    say(f"built in {time.monotonic() - started_s:.1f} s: {tar} ({tar.stat().st_size >> 20} MB)")
    return True


def bootstrap(tar: Path, recipe: Recipe, release: str, folder: Path, say: Say) -> None:
    """
    A Debian root with the recipe's packages, by mmdebstrap(1) from this machine's own apt sources.

    Raises:
        ImageError: mmdebstrap is missing, there are no sources, or it failed (with its last lines).
    """
    if not shutil.which("mmdebstrap"):
        raise ImageError("mmdebstrap is not installed", try_="apt-get install mmdebstrap")
    if os.geteuid() != 0:
        raise ImageError("a Debian image can only be built by root", try_="sudo, or build the image `static`")
    sources = _write_sources(folder, release)
    (folder / "apt.conf").write_text(
        passed_on(
            subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout.splitlines()
        )
    )
    command = [
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", "--skip=output/dev"),
        *("--include=" + ",".join(recipe.packages), '--aptopt=Apt::Install-Recommends "false"'),
        f"--aptopt={folder / 'apt.conf'}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.without),
        f"--customize-hook={tidy(recipe)}",
        *(release, str(tar), *map(str, sources)),
    ]
    say(f"packages from {', '.join(source.name for source in sources)}; about two minutes")
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH_S), "TMPDIR": str(folder)}
    _watched(command, environment, say)


def tidy(recipe: Recipe) -> str:
    """The shell command that removes what is not to be in the image; `$1` is its root. Pure."""
    always = ("var/cache/*", "var/log/*", "var/lib/apt/lists/*", "etc/machine-id", "etc/resolv.conf", "usr/share/doc/*")
    for pattern in recipe.removed:
        if not re.fullmatch(r"[A-Za-z0-9._*+-]+(/[A-Za-z0-9._*+-]+)*", pattern) or ".." in pattern:
            raise ImageError(f"`removed` pattern {pattern!r}", "must be relative, of letters, digits and . _ * + - /")
    return f'cd "$1" && rm -rf -- {" ".join((*always, *recipe.removed))} && mkdir -p var/log/nginx'


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
            if line.startswith("I: "):
                say(line[3:].strip())
    except BaseException:
        child.terminate()
        child.wait()
        raise
    if child.wait() != 0:
        fetching = any(word in " ".join(last) for word in ("Failed to fetch", "Could not resolve", "Unable to connect"))
        hint = "no package registry can be reached: check with `apt-get update`" if fetching else "see the lines above"
        raise ImageError(f"mmdebstrap ended with status {child.returncode}", "\n  " + "\n  ".join(last) + "\n", hint)


def default_recipes() -> Path:
    """The recipes in this checkout, else those of the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "contrib" / "images"
    return checkout if checkout.is_dir() else Path("/usr/share/hybrid/images")


def main(argv: Sequence[str] | None = None) -> int:
    """Build the named images; status 0 when all of them are in the store."""
    parser = argparse.ArgumentParser(
        prog="python -m hybrid_containers.build", description="Build images by their recipes."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes; without any, they are listed")
    parser.add_argument("--store", type=Path, default=STORE, help=f"where the images go ({STORE})")
    parser.add_argument("--recipes", type=Path, default=default_recipes(), help="folder of the recipes (%(default)s)")
    parser.add_argument("--force", action="store_true", help="build even what is up to date")
    options = parser.parse_args(argv)
    if not options.names:
        print("\n".join(recipes_in(options.recipes)))
    return max((_attempt(name, options) for name in options.names), default=0)


def _attempt(name: str, options: argparse.Namespace) -> int:
    def say(text: str) -> None:
        print(f"{name}: {text}", flush=True)

    try:
        build(name, options.recipes, options.store, say, options.force)
    except (ImageError, OSError, subprocess.CalledProcessError) as error:
        print(f"{name}: cannot be built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
