"""`hybrid image …`: what sites are made from. Nodes are asked for lists; building works on this machine."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from hybrid.cli.columns import Column, Item, bytes_, ports, text
from hybrid.cli.exits import CliError
from hybrid.cli.follow import finish
from hybrid.cli.parser import add_noun, count_of_bytes, long_options
from hybrid.cli.session import Session

STORE = "/var/cache/hybrid/images"
UP = "up"


def _count(value: object) -> str:
    return str(len(value)) if isinstance(value, list) and value else "-"


IMAGES = (
    Column("name"),
    Column("kind"),
    Column("size_bytes", "SIZE", bytes_, "right"),
    Column("packages", show=_count, align="right"),
    Column("ports", show=ports),
    Column("memory_bytes", "MEMORY", bytes_, "right"),
    Column("nodes", "ON", text),
    Column("description"),
)


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """All of them."""
    image = add_noun(nouns, common, "image", "what sites are made from")
    listing = image.add("list", "images: how large, of how many packages, on which nodes", list_images)
    listing.add_argument("--node", help="only those of one; default: of all")
    build = image.add("build", "build images by their recipes, here", build_images, "hybrid image build django")
    build.add_argument("images", nargs="*", metavar="NAME", help="without any, the recipes are listed")
    build.add_argument("--force", action="store_true", help="build even what is up to date")
    _store(build)
    imports = image.add(
        "import",
        "have a node take an image that is built or comes from elsewhere",
        import_image,
        "hybrid image import shop --from shop.tar.xz --port 8080",
    )
    imports.add_argument("image", metavar="NAME")
    imports.add_argument("--node", help="default: the one that answers")
    far = imports.add_argument_group("an image from elsewhere, on this machine, which is a node")
    far.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="archive of LXC, Incus or `hybrid image export`, or a folder in the OCI image layout",
    )
    far.add_argument("--metadata", type=Path, metavar="FILE", help="the other archive, where an image comes in two")
    far.add_argument("--port", type=int, metavar="N", help="where it speaks HTTP (as it says, else 80)")
    far.add_argument("--init", metavar="COMMAND", help="what starts it (as it says, else /sbin/init)")
    far.add_argument("--limit", type=count_of_bytes, metavar="SIZE", help="it may be so large unpacked (8G)")
    _store(far)
    long_options(imports)
    export = image.add("export", "a built image of this machine as one archive, which `import` takes", export_image)
    export.add_argument("image", metavar="NAME")
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=".tar, or .tar.gz")
    _store(export)


def _store(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--store", default=STORE, metavar="DIR", help="of built images (default: %(default)s)")


def list_images(session: Session) -> int:
    """`hybrid image list`."""
    if session.options.node is not None:
        found = _of(session, session.options.node)
    else:
        found = {}
        for node in session.api.get("/v1/nodes")["items"]:
            if node["state"] != UP:
                continue
            try:
                for key, one in _of(session, node["name"]).items():
                    found.setdefault(key, {**one, "nodes": []})["nodes"] += one["nodes"]
            except CliError as error:
                session.out.say(f"not asked: {node['name']}: {error}")
    session.out.items([found[key] for key in sorted(found)], IMAGES)
    return 0


def _of(session: Session, node: str) -> dict[tuple[str, str], Item]:
    """The images of one node, by name and digest."""
    items = session.api.get("/v1/images", node=node)["items"]
    return {
        (item["name"], item["reference"] or ""): {**item, "nodes": [node if item["reference"] else f"{node} (built)"]}
        for item in items
    }


def build_images(session: Session) -> int:
    """`hybrid image build`."""
    options = session.options
    return _program("build", *options.images, "--store", options.store, *(["--force"] if options.force else []))


def import_image(session: Session) -> int:
    """`hybrid image import`."""
    options = session.options
    if options.source is not None:
        given = {"metadata": options.metadata, "port": options.port, "init": options.init, "limit": options.limit}
        more = [f"--{name}={value}" for name, value in given.items() if value is not None]
        status = _program("convert", "--store", options.store, "import", options.image, str(options.source), *more)
        if status:
            return status
    return finish(session, session.api.post("/v1/images", {"name": options.image}, node=options.node))


def export_image(session: Session) -> int:
    """`hybrid image export`."""
    options = session.options
    return _program("convert", "--store", options.store, "export", options.image, str(options.output))


def _program(name: str, *arguments: str) -> int:
    """One of the programs that work on the store; it says itself what went wrong."""
    return subprocess.run([sys.executable, "-m", f"hybrid_containers.{name}", *arguments], check=False).returncode
