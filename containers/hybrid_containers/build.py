"""
`python -m hybrid_containers.build NAME … [--store DIR]`: build images by their recipes. A program of its own, blocks.

Writes `<store>/<name>.tar` and `<store>/<name>.toml` (the manifest), `<name>.packages` (a line `name version` for each
Debian package), and `<name>.built` with the recipe's digest, by which the next run knows that there is nothing to do.
Each file appears whole or not at all.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hybrid.errors import ImageError
from hybrid_containers.debian import Say, common_system, install
from hybrid_containers.recipe import load_recipe, overlay_files, recipe_digest, recipes_in, setup_script
from hybrid_containers.tarball import write_busybox, write_directories, write_overlay

STORE = Path("/var/cache/hybrid/images")
BUSYBOX = Path("/bin/busybox")
AT_ONCE = 2
"""Images built at the same time: much of a build is waiting for disk and network."""


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
            setup = setup_script(recipes, name)
            install(common_system(store, release, say), recipe, release, Path(folder), unfinished, setup, say)
            Path(folder, "packages").rename(store / f"{name}.packages")
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
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return max(threads.map(lambda name: _attempt(name, options), options.names), default=0)


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
