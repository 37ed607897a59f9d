"""What is on the guest's disk: its recipe, the Python packages it needs, and the digest by which a change is seen."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import msgspec

from hybrid.errors import ImageError

FORMAT = "1"
"""Of what the builder does: raise it to have the disk built again."""
FOLDER = Path("contrib/lab/guest")
"""In the checkout."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`recipe.toml`."""

    release: str
    """Of Debian."""
    components: tuple[str, ...]
    size_bytes: int
    """Of the file system; what is not written takes no room."""
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    """Of the kernel, that are needed to find the disk."""
    tools: tuple[str, ...]
    """Names from the group `dev` of pyproject.toml."""
    instead: tuple[str, ...]
    """Requirements of pyproject.toml for which `packages` has something better."""
    removed: tuple[str, ...]
    """Patterns, relative to the root, of what is not needed once everything is built."""


def load(folder: Path) -> Recipe:
    """
    The recipe in `folder`.

    Raises:
        ImageError: It cannot be read, or is not valid.
    """
    try:
        recipe = msgspec.toml.decode((folder / "recipe.toml").read_bytes(), type=Recipe)
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(f"the guest's recipe in {folder} cannot be used", str(error)) from error
    for pattern in recipe.removed:
        if not re.fullmatch(r"[A-Za-z0-9._*+-]+(/[A-Za-z0-9._*+-]+)*", pattern) or ".." in pattern:
            raise ImageError(f"`removed` pattern {pattern!r}", "must be relative, of letters, digits and . _ * + - /")
    return recipe


def requirements(pyproject: str, recipe: Recipe) -> list[str]:
    """
    What pip is to install for the guest: the project's own requirements but `instead`, and `tools`. Sorted.

    Raises:
        ImageError: A name of `tools` or `instead` is not in `pyproject`, the text of pyproject.toml.
    """
    project = tomllib.loads(pyproject)
    ours = {_name(line): line for line in project["project"]["dependencies"]}
    tools = {_name(line): line for line in project["dependency-groups"]["dev"]}
    for names, known in ((recipe.instead, ours), (recipe.tools, tools)):
        if unknown := sorted(set(names) - set(known)):
            raise ImageError(f"the guest's recipe names {', '.join(unknown)}", "pyproject.toml does not")
    return sorted(
        [line for name, line in ours.items() if name not in recipe.instead] + [tools[name] for name in recipe.tools]
    )


def _name(requirement: str) -> str:
    """The name before version and extras (PEP 508)."""
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return found[1].lower() if found else requirement


def digest(folder: Path, wanted: list[str], machine: str) -> str:
    """Of all that decides what the disk becomes; `wanted` is of `requirements`."""
    summed = hashlib.sha256("\0".join((FORMAT, machine, *wanted)).encode())
    for name in ("recipe.toml", "init"):
        summed.update((folder / name).read_bytes() + b"\0")
    return summed.hexdigest()[:12]
