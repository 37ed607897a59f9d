"""Recipes of images: what `contrib/images/<name>` says, and the digest that tells whether it changed. Reads files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from hybrid.errors import ImageError
from hybrid.model import Manifest

FORMAT = "2"
"""Of what the builders do: raise it to have every image built again."""


class Directory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A directory to make."""

    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o755


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`recipe.toml`."""

    base: Literal["busybox", "debian"]
    overlays: tuple[str, ...] = ("files",)
    """Folders, relative to the recipe, copied over the base one after the other; owned by root."""
    packages: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    """Patterns of paths that dpkg leaves out (`path-exclude` of dpkg(1))."""
    removed: tuple[str, ...] = ()
    """Patterns, relative to the root, of what is removed after all packages are set up."""
    slim: bool = True
    """Without what packages needed to be set up and a site does not to run: systemd, perl but for its core."""
    directories: tuple[Directory, ...] = ()


def recipes_in(folder: Path) -> list[str]:
    """Names of the recipes in `folder`."""
    return sorted(path.parent.name for path in folder.glob("*/recipe.toml"))


def load_recipe(folder: Path, name: str) -> tuple[Recipe, Manifest]:
    """
    Read the recipe `name` and the manifest beside it.

    Raises:
        ImageError: There is none of that name (`try_` lists those there are), or it is not valid.
    """
    if name not in recipes_in(folder):
        raise ImageError(
            f"no recipe {name!r} in {folder}", try_=f"there are: {', '.join(recipes_in(folder)) or 'none'}"
        )
    try:
        recipe = msgspec.toml.decode((folder / name / "recipe.toml").read_bytes(), type=Recipe)
        manifest = load_manifest(folder / name / "manifest.toml")
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(f"recipe {name} cannot be read", str(error)) from error
    if manifest.name != name:
        raise ImageError(f"recipe {name}", f"its manifest says it is {manifest.name!r}")
    return recipe, manifest


def load_manifest(path: Path) -> Manifest:
    """Read a `manifest.toml`. Raises `ImageError` when it is missing or not valid."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(f"{path} cannot be used", str(error)) from error


def manifest_text(manifest: Manifest) -> str:
    """A `manifest.toml` that says the same: a line for each field that is not as it would be anyway."""
    fields = msgspec.to_builtins(manifest)
    return "".join(f"{name} = {_toml(value)}\n" for name, value in fields.items() if value is not None)


def _toml(value: object) -> str:
    """A value as in TOML, tables inline; strings are written as in JSON, of which TOML takes every escape."""
    if isinstance(value, dict):
        pairs = [f"{_toml(name)} = {_toml(inner)}" for name, inner in value.items() if inner is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(inner) for inner in value)}]"
    return msgspec.json.encode(value).decode()


def setup_script(folder: Path, name: str) -> str:
    """What is run in a Debian image when all its packages are set up, before the overlays; mostly empty."""
    script = folder / name / "setup"
    return script.read_text() if script.exists() else ""


def overlay_files(folder: Path, name: str, recipe: Recipe) -> dict[str, Path]:
    """Path in the image to file on this machine, of all overlays; where two have the same, the later wins."""
    found: dict[str, Path] = {}
    for overlay in recipe.overlays:
        top = (folder / name / overlay).resolve()
        if not top.is_dir():
            raise ImageError(f"recipe {name}", f"its overlay {overlay} is not a folder")
        found |= {str(path.relative_to(top)): path for path in sorted(top.rglob("*")) if not path.is_dir()}
    return found


def recipe_digest(folder: Path, name: str, recipe: Recipe, *more: str) -> str:
    """A digest of all that goes into the image, and of `more` (the release it is built from)."""
    digest = hashlib.sha256("\0".join((FORMAT, *more)).encode())
    digest.update((folder / name / "recipe.toml").read_bytes() + (folder / name / "manifest.toml").read_bytes())
    digest.update(setup_script(folder, name).encode())
    for inside, path in sorted(overlay_files(folder, name, recipe).items()):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{inside}\0{path.lstat().st_mode & 0o111}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]
