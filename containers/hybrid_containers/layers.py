"""
What a root file system of several layers comes to: headers of archives in, a tree out. Pure.

A later layer replaces, removes (whiteouts of the OCI image specification, `layer.md`) and adds. Nothing of an archive
ever leads out of the tree: names are taken apart here, and what would be written through a symbolic link is written
where that leads within the tree, or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from hybrid.errors import ImageError

MAX_FILES = 1_000_000
MAX_PATH = 4096
MAX_LINKS = 40
OWNERS = 65536
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"

Kind = Literal["file", "directory", "symlink", "link"]


@dataclass(frozen=True, slots=True)
class Header:
    """One member of an archive; of a hard link (`link`) and a symbolic one `target` says where to."""

    name: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""


@dataclass(slots=True, eq=False)
class Node:
    """A place in the tree."""

    header: Header
    newest: int
    """The last layer that anything here or below is of."""
    source: tuple[int, int] = (0, 0)
    """Which content a file has: layer, and number of its member there."""
    children: dict[str, Node] = field(default_factory=dict)
    pruned: int = -1
    """The layer that took away what lower ones have below here."""


class Tree:
    """
    Layers, put on each other from the lowest on.

    Args:
        merging: Layers of an OCI image: whiteouts count, and what lies behind a symbolic link goes where that leads.
            Otherwise archives of a whole system, which have no such things: they are refused.
        limit_bytes: Of all contents together.
    """

    def __init__(self, merging: bool, limit_bytes: int) -> None:
        self._merging, self._limit_bytes = merging, limit_bytes
        self.root = Node(Header("", "directory", 0o755), 0)
        self._files = self._bytes = 0

    def add(self, header: Header, layer: int, number: int) -> None:
        """
        Member `number` of `layer`.

        Raises:
            ImageError: It leads out of the image, belongs to nobody in a container, or is too much.
        """
        self._count(header)
        parts = parts_of(header.name)
        if not parts:
            if header.kind == "directory":
                self.root.header = header
            return
        *above, name = parts
        if self._merging and name.startswith(WHITEOUT):
            self._white_out(self._folder(above, layer, touching=False), name, layer)
            return
        folder = self._folder(above, layer)
        node = Node(header, layer, (layer, number))
        if header.kind == "link":
            node = self._linked(header, layer)
        elif header.kind == "directory":
            before = folder.children.get(name)
            if before is not None and before.header.kind == "directory":
                node.children, node.pruned = before.children, before.pruned
        folder.children[name] = node

    def find(self, *parts: str) -> Node | None:
        """The node at a path, if there is one."""
        node: Node | None = self.root
        for part in parts:
            node = None if node is None else node.children.get(part)
        return node

    def _count(self, header: Header) -> None:
        self._files += 1
        self._bytes += header.size
        if self._files > MAX_FILES:
            raise ImageError("the image cannot be used", f"it has more than {MAX_FILES} files")
        if self._bytes > self._limit_bytes:
            raise ImageError("the image cannot be used", f"it is larger than {self._limit_bytes} bytes", "--limit 20G")
        if not (0 <= header.uid < OWNERS and 0 <= header.gid < OWNERS):
            why = f"the owner {header.uid}:{header.gid} of {header.name!r} is outside of a container's range"
            raise ImageError("the image cannot be used", why)

    def _folder(self, parts: list[str], layer: int, touching: bool = True) -> Node:
        """
        The directory at `parts`, made where nobody mentioned it; in a merge symbolic links are followed.

        Not `touching`: something lower layers have is taken away there, nothing put.
        """
        left, node, path, links = list(reversed(parts)), self.root, [self.root], 0
        while left:
            part = left.pop()
            if part == "..":
                path = path[:-1] or [self.root]
                node = path[-1]
                continue
            below = node.children.get(part)
            if below is None or below.header.kind == "file":
                below = node.children[part] = Node(Header(part, "directory", 0o755), layer)
            elif below.header.kind == "symlink":
                links += 1
                if not self._merging or links > MAX_LINKS:
                    why = f"{'/'.join(parts)!r} leads through a symbolic link to {below.header.target!r}"
                    raise ImageError("the image cannot be used", why)
                if below.header.target.startswith("/"):
                    node, path = self.root, [self.root]
                left += reversed([part for part in below.header.target.split("/") if part not in ("", ".")])
                continue
            node = below
            path.append(node)
            if touching:
                node.newest = layer
        return node

    def _linked(self, header: Header, layer: int) -> Node:
        """What a hard link is another name of."""
        *above, name = parts_of(header.target) or [""]
        found = self._folder(above, layer).children.get(name)
        if found is None or found.header.kind == "directory":
            why = f"{header.name!r} is a link to {header.target!r}, which is no file before it"
            raise ImageError("the image cannot be used", why)
        return Node(found.header, layer, found.source)

    def _white_out(self, folder: Node, name: str, layer: int) -> None:
        """Take away what lower layers have, nothing of this one: the order within a layer does not count."""
        if name == OPAQUE:
            if folder.pruned == layer:
                return
            folder.pruned = layer
            for below in list(folder.children):
                _prune(folder, below, layer)
        else:
            _prune(folder, name.removeprefix(WHITEOUT), layer)


def parts_of(name: str) -> list[str]:
    """
    A path taken apart; empty for the root.

    Raises:
        ImageError: It leads out of the image, or nobody could open it.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise ImageError("the image cannot be used", f"{name[:200]!r} leads out of it")
    if len(name) > MAX_PATH or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        raise ImageError("the image cannot be used", f"the name {name[:200]!r}… is too long")
    return parts


def _prune(folder: Node, name: str, layer: int) -> None:
    """Remove what lies at `name` and below it but what is of `layer` itself."""
    pending = [(folder, name)]
    while pending:
        above, name = pending.pop()
        node = above.children.get(name)
        if node is None or node.pruned == layer:
            continue
        if node.newest != layer:
            del above.children[name]
            continue
        node.pruned = layer
        pending += [(node, below) for below in list(node.children)]


def walk(root: Node) -> Iterator[tuple[str, Node]]:
    """Everything below `root` by path, a folder before what is in it, alike for equal trees."""
    pending = [("", root)]
    while pending:
        path, node = pending.pop()
        if path:
            yield path, node
        inside = sorted(node.children.items(), reverse=True)
        pending += [(f"{path}/{name}" if path else name, child) for name, child in inside]
