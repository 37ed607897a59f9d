"""A folder in the OCI image layout: what is in it, each file checked against the digest it is named by. Does I/O."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import TypeVar

import msgspec

from hybrid.errors import ImageError
from hybrid_containers.foreign import Config, Descriptor, Index, OciManifest, Running, blob, chosen

MAX_JSON = 4 << 20
MAX_LAYERS = 200
NESTED = 4
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
T = TypeVar("T")


def open_layout(folder: Path) -> tuple[Running, list[Path]]:
    """
    How an image is started, and its layers, lowest first; their digests are right.

    Raises:
        ImageError: It is no such folder, or what is in it is not what its names say.
    """
    if not (folder / "oci-layout").is_file():
        raise ImageError(f"{folder} is no image", "it has no file `oci-layout`", "skopeo copy docker://… oci:FOLDER")
    index = _decoded((folder / "index.json"), Index)
    for _ in range(NESTED):
        found = chosen(index.manifests, ARCHITECTURES.get(platform.machine(), platform.machine()))
        if "index" not in found.media_type and "manifest.list" not in found.media_type:
            break
        index = _decoded(_checked(folder, found), Index)
    manifest = _decoded(_checked(folder, found), OciManifest)
    if len(manifest.layers) > MAX_LAYERS:
        raise ImageError("the image cannot be used", f"it has {len(manifest.layers)} layers")
    config = _decoded(_checked(folder, manifest.config), Config)
    return config.config, [_checked(folder, layer) for layer in manifest.layers]


def _checked(folder: Path, wanted: Descriptor) -> Path:
    path = folder / blob(wanted.digest)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path} cannot be read", error.strerror or str(error)) from error
    if digest != path.name:
        raise ImageError("the image cannot be used", f"{path} is not what its name says")
    return path


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ImageError("the image cannot be used", f"{path} is too large for what it says it is")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise ImageError(f"{path} cannot be used", str(error)) from error
