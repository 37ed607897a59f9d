"""
`python -m hybrid_containers.convert import NAME SOURCE …` and `… export NAME FILE`: images of others into the store of
built images, and out of it. A program of its own, blocks.

Import takes what is hostile for granted: nothing of an archive is unpacked here. Headers are read first, of all layers,
and come to one tree (`layers`); then each layer is read again, and the contents that are left in the tree go straight
into a tar of our own, which says nothing but names, owners, modes and contents.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import msgspec

from hybrid.errors import ImageError
from hybrid.model import Manifest
from hybrid_containers import foreign
from hybrid_containers.archives import Source, members, unpacked
from hybrid_containers.build import BUSYBOX, STORE, default_recipes
from hybrid_containers.layers import Header, Node, Tree, walk
from hybrid_containers.oci import open_layout
from hybrid_containers.recipe import load_manifest, manifest_text
from hybrid_containers.tarball import EPOCH_S, add_file, add_link

LIMIT_BYTES = 8 << 30
MAX_TEXT = 1 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
ACCOUNTS = ("etc/passwd", "etc/group")


@dataclass(slots=True)
class Layers:
    """Archives, what they come to, and the few small files of them that say something about it."""

    paths: list[Path]
    tree: Tree
    texts: dict[tuple[int, int], bytes] = field(default_factory=dict)
    skipped: int = 0
    """Devices, pipes and the like."""

    def text(self, *parts: str) -> str:
        """A small file's; empty where there is none."""
        node = self.tree.find(*parts)
        return "" if node is None else self.texts.get(node.source, b"").decode("utf-8", "replace")


def read(paths: list[Path], merging: bool, limit_bytes: int) -> Layers:
    """The headers of all layers. Raises `ImageError`."""
    layers = Layers(paths, Tree(merging, limit_bytes))
    for layer, path in enumerate(paths):
        with unpacked(path, limit_bytes) as archive:
            for number, header, content in members(archive):
                if header is None:
                    layers.skipped += 1
                    continue
                layers.tree.add(header, layer, number)
                if header.size <= MAX_TEXT and _plain(header.name) in (*ACCOUNTS, foreign.OURS):
                    layers.texts[layer, number] = content.read(MAX_TEXT)
    return layers


def import_image(
    name: str, source: Path, store: Path, about: Path | None, port: int | None, init: str | None, limit_bytes: int
) -> str:
    """
    Put what is at `source` into `store` as the image `name`: an archive, or a folder in the OCI image layout.

    Args:
        about: The other archive, where there are two.
        port: Where it speaks HTTP; `None`: as it says, else 80.
        init: The command that starts it; `None`: as it says, else `/sbin/init`.

    Returns:
        What was left out, for people; empty where nothing was.

    Raises:
        ImageError: It cannot be used, and why. The store is as before.
    """
    if not NAME.fullmatch(name):
        raise ImageError(f"an image cannot be called {name!r}", "a-z, 0-9 and -, at most 63")
    if source.is_dir():
        running, paths = open_layout(source)
        layers = read(paths, True, limit_bytes)
        manifest = foreign.manifest_of_oci(name, running, port)
        accounts = [layers.text(*path.split("/")) for path in ACCOUNTS]
        extra = _tools() | {foreign.SERVICE: foreign.service(running, *accounts)}
        extra[ACCOUNTS[0]] = foreign.users_with(running, *accounts).encode()
        _keep(store, manifest, layers, layers.tree.root, extra)
    else:
        layers = read([source], False, limit_bytes)
        root = _root(layers, about, limit_bytes)
        manifest = foreign.manifest_of_system(name, port, init)
        if ours := layers.text(foreign.OURS):
            manifest = msgspec.structs.replace(_ours(ours), name=name)
        _keep(store, manifest, layers, root, {})
    return f"{layers.skipped} devices and pipes were left out" if layers.skipped else ""


def _ours(text: str) -> Manifest:
    try:
        return msgspec.toml.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ImageError(f"{foreign.OURS} of the image cannot be used", str(error)) from error


def _root(layers: Layers, about: Path | None, limit_bytes: int) -> Node:
    """Where in the archive the root file system is."""
    tree = layers.tree
    if about is not None:
        beside = read([about], False, limit_bytes).tree
        if all(beside.find(name) is None for name in (foreign.METADATA, "config", "create-message")):
            raise ImageError(f"{about} says nothing about an image", f"neither {foreign.METADATA} nor config is in it")
    inner = tree.find(foreign.ROOTFS)
    if inner is not None and tree.find(foreign.METADATA) is not None:
        return inner
    if tree.find("etc") is None:
        raise ImageError("the image cannot be used", "there is no /etc in it: it is no root file system")
    return tree.root


def _tools() -> dict[str, bytes]:
    init = default_recipes() / "common" / "sbin" / "hybrid-init"
    try:
        return {f"{foreign.TOOLS[1:]}/busybox": BUSYBOX.read_bytes(), "sbin/hybrid-init": init.read_bytes()}
    except OSError as error:
        raise ImageError("the image cannot be given an init", str(error), "apt-get install busybox-static") from error


def _keep(store: Path, manifest: Manifest, layers: Layers, root: Node, extra: Mapping[str, bytes]) -> None:
    """Write tar and manifest into the store; each appears whole or not at all."""
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{manifest.name}-", dir=store) as folder:
        unfinished, toml = Path(folder, "image.tar"), Path(folder, "manifest.toml")
        with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
            _write(archive, layers, root, extra)
        toml.write_text(manifest_text(manifest))
        for old in (".built", ".packages"):
            (store / (manifest.name + old)).unlink(missing_ok=True)
        toml.rename(store / f"{manifest.name}.toml")
        unfinished.rename(store / f"{manifest.name}.tar")


def _write(archive: tarfile.TarFile, layers: Layers, root: Node, extra: Mapping[str, bytes]) -> None:
    wanted: dict[tuple[int, int], list[tuple[str, Header]]] = {}
    for path, node in walk(root):
        if path in extra:
            continue
        if node.header.kind == "file":
            wanted.setdefault(node.source, []).append((path, node.header))
        else:
            archive.addfile(_member(path, node.header))
    for path, data in sorted(extra.items()):
        add_file(archive, path, data, 0o644 if path in ACCOUNTS else 0o755)
        if path.endswith("/busybox"):
            for tool in foreign.TOOL_NAMES:
                add_link(archive, f"{path.removesuffix('busybox')}{tool}", "busybox")
    for layer, source in enumerate(layers.paths):
        with unpacked(source, sys.maxsize) as opened:
            for number, header, content in members(opened):
                if names := wanted.pop((layer, number), []):
                    _write_content(archive, names, header, content)
    if wanted:
        raise ImageError("the image cannot be used", "it changed while it was read")


def _write_content(
    archive: tarfile.TarFile, names: list[tuple[str, Header]], header: Header | None, content: Source
) -> None:
    first, known = names[0]
    if header is None or header.size != known.size:
        raise ImageError("the image cannot be used", "it changed while it was read")
    archive.addfile(_member(first, known), cast(IO[bytes], content))
    for other, _ in names[1:]:
        link = _member(other, known)
        link.type, link.size, link.linkname = tarfile.LNKTYPE, 0, f"./{first}"
        archive.addfile(link)


def _member(path: str, header: Header) -> tarfile.TarInfo:
    made = tarfile.TarInfo(f"./{path}")
    made.type = {"directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE}.get(header.kind, tarfile.REGTYPE)
    made.mode, made.uid, made.gid, made.size, made.mtime = header.mode, header.uid, header.gid, header.size, EPOCH_S
    made.linkname = header.target if header.kind == "symlink" else ""
    return made


def _plain(name: str) -> str:
    return name.removeprefix("./")


# ------------------------------------------------------------------------------------------------------------- export


def export_image(name: str, store: Path, target: Path) -> None:
    """
    Write the image `name` as one archive that `import_image` takes, and others that take Incus's: `metadata.yaml`, its
    manifest as `hybrid.toml`, and the root file system below `rootfs/`. Packed by gzip where `target` ends in `gz`.

    Raises:
        ImageError: There is no such image, or it cannot be written.
    """
    tar = store / f"{name}.tar"
    manifest = load_manifest(store / f"{name}.toml")
    about = (
        f"architecture: {os.uname().machine}\ncreation_date: {EPOCH_S}\nproperties:\n  description: {name}, by Hybrid\n"
    )
    temporary = target.with_name(f".{target.name}.new")
    try:
        with tarfile.open(tar, "r:") as inside, _opened(temporary, target.name.endswith("gz")) as archive:
            add_file(archive, foreign.METADATA, about.encode(), 0o644)
            add_file(archive, foreign.OURS, manifest_text(manifest).encode(), 0o644)
            for member in _moved(inside):
                archive.addfile(member, inside.extractfile(member) if member.isreg() else None)
        temporary.rename(target)
    except (OSError, tarfile.TarError) as error:
        raise ImageError(f"{name} cannot be exported", str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _opened(path: Path, packed: bool) -> tarfile.TarFile:
    return tarfile.open(path, "w:gz" if packed else "w:", format=tarfile.GNU_FORMAT)


def _moved(inside: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in inside:
        member.name = f"{foreign.ROOTFS}/{_plain(member.name)}"
        if member.islnk():
            member.linkname = f"{foreign.ROOTFS}/{_plain(member.linkname)}"
        yield member


def main(argv: Sequence[str] | None = None) -> int:
    """Import or export one image; status 0 when that is done."""
    parser = argparse.ArgumentParser(
        prog="python -m hybrid_containers.convert", description="Images of others, in and out."
    )
    parser.add_argument("--store", type=Path, default=STORE, help=f"where built images are ({STORE})")
    verbs = parser.add_subparsers(dest="verb", required=True)
    imports = verbs.add_parser("import")
    imports.add_argument("name")
    imports.add_argument("source", type=Path)
    imports.add_argument("--metadata", type=Path)
    imports.add_argument("--port", type=int)
    imports.add_argument("--init")
    imports.add_argument("--limit", type=int, default=LIMIT_BYTES)
    exports = verbs.add_parser("export")
    exports.add_argument("name")
    exports.add_argument("target", type=Path)
    given = parser.parse_args(argv)
    try:
        if given.verb == "export":
            export_image(given.name, given.store, given.target)
        else:
            said = import_image(
                given.name, given.source, given.store, given.metadata, given.port, given.init, given.limit
            )
            print(said, end="\n" if said else "")
    except (ImageError, OSError) as error:
        print(f"{given.name}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
