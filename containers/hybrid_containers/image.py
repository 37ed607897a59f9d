"""
Images: from a built tar and its manifest in the store to a read-only dataset that sites are cloned from. Does I/O.

An image's full name is `<name>@<digest>`, so a changed image is another image and sites keep the one they were made
from. Equal tars have equal names on every node.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.errors import Busy, ContainerError, HybridError, ImageError, NoSuchDataset
from hybrid.model import Manifest, image_dataset
from hybrid.ports import Executed, Pool
from hybrid_containers import child
from hybrid_containers.recipe import load_manifest

SNAPSHOT = "image"
UNPACK_S = 600.0
DIGEST_S = 120.0
SHIFT_S = 600.0
IMPRINT_S = 60.0
BUSY_S = 10.0
BUSY_PAUSE_S = 0.2

_HERE = Path(__file__).parent


class ImageStore:
    """The images in a node's folder of built images, and their way into its pool."""

    log = Logger()

    def __init__(self, reactor: child.Reactor, folder: Path) -> None:
        self._reactor = reactor
        self._folder = folder

    def names(self) -> list[str]:
        """Names of the built images, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.tar") if path.with_suffix(".toml").exists())

    def manifest(self, name: str) -> Manifest:
        """The manifest of `name`. Raises `ImageError` when there is no such image, or it is not valid."""
        return load_manifest(self._file(name, ".toml"))

    def packages(self, name: str) -> tuple[str, ...]:
        """`<name> <version>` of each Debian package that `name` was built from; empty where that is not known."""
        try:
            return tuple(self._file(name, ".packages").read_text().splitlines())
        except FileNotFoundError:
            return ()

    def size_bytes(self, name: str) -> int:
        """How large its tar is. Raises `ImageError`."""
        return self._file(name, ".tar").stat().st_size

    async def full_name(self, name: str) -> str:
        """
        `<name>@<digest>`: 12 hexadecimal digits over the digests of tar and manifest.

        Raises:
            ImageError: There is no such image; `try_` lists those there are.
        """
        files = [str(self._file(name, suffix)) for suffix in (".tar", ".toml")]
        done = await self._child(["sha256sum", "--", *files], DIGEST_S)
        return f"{name}@{digest_of(done.stdout.decode())}"

    async def import_image(self, pool: Pool, name: str, mount_dir: Path) -> str:
        """
        Make the dataset of image `name` if the pool does not have it; what a crash left half done is done again.

        Its one snapshot is called `image`. Its user properties, set when all is done: `image` (the full name),
        `manifest` (JSON), `packages` (a line each, where they are known) and `complete`.

        Args:
            mount_dir: Where it may be mounted meanwhile, below a path of its own.

        Returns:
            The full name.

        Raises:
            ImageError: No such image, or it cannot be unpacked. `OutOfSpace` and other storage errors as they come.
        """
        manifest = self.manifest(name)
        image = await self.full_name(name)
        dataset = image_dataset(image)
        if await is_complete(pool, dataset):
            return image
        await _discard(pool, dataset)
        self.log.info("importing image {image}", image=image)
        await pool.create(dataset)
        try:
            await self._fill(pool, dataset, name, mount_dir / dataset.replace("/", "-"))
            properties = {"image": image, "manifest": msgspec.json.encode(manifest).decode()}
            if packages := self.packages(name):
                properties["packages"] = "\n".join(packages)
            properties["complete"] = "yes"  # the last
            await pool.set_properties(dataset, properties)
        except BaseException:
            await self._give_up(pool, dataset)
            raise
        return image

    async def _fill(self, pool: Pool, dataset: str, name: str, target: Path) -> None:
        await pool.mount(dataset, str(target))
        await self._child(
            [sys.executable, "-I", str(_HERE / "unpack.py"), str(self._file(name, ".tar")), str(target)], UNPACK_S
        )
        await self._unmount(pool, dataset)
        await pool.snapshot(dataset, SNAPSHOT)
        await pool.set_readonly(dataset, True)

    async def _unmount(self, pool: Pool, dataset: str) -> None:
        """Unmount; zfs-fuse calls a file system busy for a moment after its last user left. Raises `Busy`."""
        for _ in range(round(BUSY_S / BUSY_PAUSE_S)):
            try:
                await pool.unmount(dataset)
                return
            except Busy:
                await deferLater(self._reactor, BUSY_PAUSE_S, lambda: None)
        await pool.unmount(dataset)

    async def _give_up(self, pool: Pool, dataset: str) -> None:
        try:
            await self._unmount(pool, dataset)
            await _discard(pool, dataset)
        except HybridError as error:
            self.log.warn("{dataset} stays half done until the next import: {why}", dataset=dataset, why=str(error))

    def _file(self, name: str, suffix: str) -> Path:
        if name not in self.names():
            known = ", ".join(self.names())
            raise ImageError(
                f"no image {name!r} in {self._folder}",
                f"there are: {known}" if known else "there are none",
                "build one on that node: hybrid image build NAME",
            )
        return self._folder / f"{name}{suffix}"

    async def _child(self, argv: Sequence[str], timeout_s: float) -> Executed:
        try:
            done = await child.run(self._reactor, argv, timeout_s=timeout_s)
        except child.TooLate:
            raise ImageError(f"{Path(argv[-1]).name}", f"{argv[0]} did not end in {timeout_s:g} s") from None
        if done.status:
            raise ImageError("the image cannot be used", done.stderr.decode("utf-8", "replace").strip()[-500:])
        return done


def digest_of(sums: str) -> str:
    """The digest of an image, given what `sha256sum TAR MANIFEST` printed. Pure."""
    return hashlib.sha256(" ".join(line.split()[0] for line in sums.splitlines()).encode()).hexdigest()[:12]


async def is_complete(pool: Pool, dataset: str) -> bool:
    """Whether `dataset` is a whole image here."""
    try:
        return (await pool.dataset(dataset)).properties.get("complete") == "yes"
    except NoSuchDataset:
        return False


async def _discard(pool: Pool, dataset: str) -> None:
    """Remove a half-made image, which no site can be a clone of."""
    try:
        await pool.unmount(dataset)
        await pool.destroy(dataset, with_history=True)
    except NoSuchDataset:
        return


async def shift_owners(reactor: child.Reactor, path: Path, id_base: int, timeout_s: float = SHIFT_S) -> int:
    """
    Give the files of a mounted clone to the site whose uids start at `id_base`; done already: fine, and quick.

    Returns:
        How many were changed.

    Raises:
        ContainerError: It cannot be done, or not in time; what was done stays done, repeat it.
    """
    what = f"cannot give {path} to uid {id_base}"
    try:
        script = [sys.executable, "-I", "-S", str(_HERE / "id_shift.py"), str(path), str(id_base)]
        done = await child.run(reactor, script, timeout_s=timeout_s)
    except child.TooLate:
        raise ContainerError(what, f"not done in {timeout_s:g} s", "does the storage answer?") from None
    if done.status:
        raise ContainerError(what, done.stderr.decode("utf-8", "replace").strip()[-500:])
    return int(done.stdout)


async def imprint(reactor: child.Reactor, path: Path, id_base: int, private: str) -> None:
    """
    Write into a mounted clone what is the new site's own: a machine id, `private` (see `hybrid_containers.imprint`).

    Raises:
        ContainerError: It cannot be done, or not in time.
    """
    what = f"cannot write into {path}"
    script = [sys.executable, "-I", "-S", str(_HERE / "imprint.py"), str(path), str(id_base)]
    try:
        done = await child.run(reactor, script, stdin=private.encode(), timeout_s=IMPRINT_S)
    except child.TooLate:
        raise ContainerError(what, f"not done in {IMPRINT_S:g} s", "does the storage answer?") from None
    if done.status:
        raise ContainerError(what, done.stderr.decode("utf-8", "replace").strip()[-500:])
