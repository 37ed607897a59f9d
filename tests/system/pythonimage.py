"""A small image for tests: the static one, with this machine's Python in it and services written in that."""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Mapping
from pathlib import Path

HOME = "srv/python"
LEFT_OUT = {"test", "idlelib", "tkinter", "ensurepip", "lib2to3", "pydoc_data", "__pycache__", "dist-packages"}


def build(static: Path, folder: Path, name: str, manifest: str, services: Mapping[str, str], modules: Path) -> None:
    """
    Write `<name>.tar` and `<name>.toml`.

    Args:
        static: The tar file of the image `static`.
        folder: For the image.
        name: Its name.
        manifest: See `hybrid.model.Manifest`.
        services: Programs in Python by name; each is kept running.
        modules: A package that they import.
    """
    (folder / f"{name}.toml").write_text(manifest)
    with tarfile.open(static) as old, tarfile.open(folder / f"{name}.tar", "w") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        python = Path(sys.executable).resolve()
        new.add(python, f"{HOME}/bin/python")
        for library in _libraries(python):
            new.add(library.resolve(), str(library).lstrip("/"))
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        new.add(sysconfig.get_path("stdlib"), f"{HOME}/lib/{version}", filter=_wanted)
        new.add(modules, f"{HOME}/lib/{version}/{modules.name}", filter=_wanted)
        for service, program in services.items():
            _write(new, f"srv/{service}.py", program, 0o644)
            start = f"#!/bin/sh\nPYTHONHOME=/{HOME} exec /{HOME}/bin/python -S -B /srv/{service}.py\n"
            _write(new, f"etc/hybrid/services/{service}", start, 0o755)


def _libraries(program: Path) -> list[Path]:
    """The shared objects that it is linked to, as the linker in the container looks for them."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(word) for line in said.splitlines() for word in line.split() if word.startswith("/")]


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = member.name.split("/")
    return None if LEFT_OUT.intersection(parts) or any(part.startswith("config-") for part in parts) else member


def _write(into: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text.encode()), mode
    into.addfile(member, io.BytesIO(text.encode()))
