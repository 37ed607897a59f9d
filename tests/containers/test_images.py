"""Images: built once, unpacked safely, imported whole or not at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor

from hybrid.errors import ImageError, NoSuchDataset, StorageError
from hybrid.model import Manifest, Snapshot, image_dataset
from hybrid.storage.memory import MemoryPool
from hybrid_containers import build as builder
from hybrid_containers import debian
from hybrid_containers.child import Reactor
from hybrid_containers.image import ImageStore, is_complete
from hybrid_containers.recipe import Recipe, load_manifest, load_recipe, manifest_text, recipes_in
from hybrid_containers.unpack import check, refuse

RECIPES = builder.default_recipes()
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may unpack owners")


class FolderPool(MemoryPool):
    """A pool in memory whose datasets are real folders while they are mounted."""

    broken = ""

    async def mount(self, name: str, path: str) -> None:
        """See `hybrid.ports.Pool`."""
        Path(path).mkdir(parents=True, exist_ok=True)
        await super().mount(name, path)

    async def snapshot(self, name: str, snapshot_name: str) -> Snapshot:
        """See `hybrid.ports.Pool`."""
        if self.broken:
            raise StorageError(self.broken)
        return await super().snapshot(name, snapshot_name)


@pytest.fixture
def said() -> list[str]:
    """What the builder told its user."""
    return []


@pytest.fixture
def static(tmp_path: Path, said: list[str]) -> Path:
    """A store with the image `static`."""
    builder.build("static", RECIPES, tmp_path / "store", said.append)
    return tmp_path / "store"


@pytest.fixture
def images(static: Path) -> ImageStore:
    """The store as a node sees it."""
    return ImageStore(cast(Reactor, reactor), static)


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    """A tar of empty members."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b""))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", uid: int = 0) -> tarfile.TarInfo:
    """One header."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.uid = kind, link, uid
    return made


def test_every_recipe_is_valid() -> None:
    """The recipes that come with the platform load, and each manifest says how to start and reach the image."""
    known = {"debian", "django", "mail", "mariadb", "node", "php", "postgres", "redis", "ruby", "static", "wordpress"}
    assert known <= set(recipes_in(RECIPES))
    for name in recipes_in(RECIPES):
        recipe, manifest = load_recipe(RECIPES, name)
        assert manifest.init == ("/sbin/hybrid-init",)
        assert manifest.ports or name == "debian"
        assert recipe.overlays


def test_building_twice_does_nothing(static: Path, said: list[str]) -> None:
    """The second run sees that the recipe did not change, and a forced one makes the very same tar."""
    first = (static / "static.tar").read_bytes()
    assert not builder.build("static", RECIPES, static, said.append)
    assert "up to date" in said[-1]
    assert builder.build("static", RECIPES, static, said.append, force=True)
    assert (static / "static.tar").read_bytes() == first
    assert sorted(path.name for path in static.iterdir()) == ["static.built", "static.tar", "static.toml"]


def test_an_unknown_recipe_names_the_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is answered with what there is, and with a status that scripts see."""
    assert builder.main(["stattic", "--store", str(tmp_path)]) == 1
    assert "static" in capsys.readouterr().err


@pytest.mark.parametrize("pattern", ["/etc", "a b", "$(id)", "../x", "a;b", ""])
def test_a_recipe_cannot_remove_what_is_outside(pattern: str) -> None:
    """`removed` becomes a shell command of root: nothing but a relative pattern gets into it."""
    with pytest.raises(ImageError):
        debian.tidy(Recipe(base="debian", removed=(pattern,)))


def test_a_system_is_set_up_in_memory_where_there_is_room(tmp_path: Path) -> None:
    """A small or missing memory file system costs time only."""
    assert debian.scratch(Path("/proc"), tmp_path) == tmp_path
    assert debian.scratch(tmp_path / "missing", tmp_path) == tmp_path


@pytest.mark.parametrize(
    "bad",
    [
        member("/etc/passwd"),
        member("../escape"),
        member("a/../../escape"),
        member("dev/sda", tarfile.BLKTYPE),
        member("dev/mem", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("hard", tarfile.LNKTYPE, "/etc/shadow"),
        member("hard", tarfile.LNKTYPE, "../shadow"),
        member("giant", uid=70_000),
    ],
)
def test_a_hostile_tar_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """Nothing is written of a tar that reaches out of the image, brings devices, or owners beyond the range."""
    assert refuse(bad)
    with pytest.raises(ValueError, match="it"):
        check(str(tar_of(tmp_path / "bad.tar", member("fine"), bad)))
    check(str(tar_of(tmp_path / "good.tar", member("fine"), member("link", tarfile.SYMTYPE, "/anywhere"))))


@root_only
@pytest_twisted.ensureDeferred
async def test_an_image_is_imported_once(images: ImageStore, tmp_path: Path) -> None:
    """It becomes a read-only dataset with one snapshot and its manifest; importing again changes nothing."""
    pool = FolderPool()
    await pool.prepare()
    name = await images.import_image(pool, "static", tmp_path / "mnt")
    dataset = await pool.dataset(image_dataset(name))
    assert name == await images.full_name("static")
    assert (dataset.readonly, dataset.mountpoint) == (True, None)
    assert dataset.properties["image"] == name
    assert msgspec.json.decode(dataset.properties["manifest"], type=Manifest) == images.manifest("static")
    history = await pool.history(dataset.name)
    assert [snapshot.name for snapshot in history] == ["image"]
    unpacked = next((tmp_path / "mnt").iterdir())
    assert (unpacked / "sbin/hybrid-init").stat().st_mode & 0o111
    assert (unpacked / "bin/sh").is_symlink()
    assert await images.import_image(pool, "static", tmp_path / "mnt") == name
    assert await pool.history(dataset.name) == history


@root_only
@pytest_twisted.ensureDeferred
async def test_an_import_that_fails_leaves_nothing_half_done(images: ImageStore, tmp_path: Path) -> None:
    """No site can be made from half an image: it is not there until it is whole, and the next import makes it so."""
    pool = FolderPool()
    await pool.prepare()
    pool.broken = "full"
    with pytest.raises(StorageError, match="full"):
        await images.import_image(pool, "static", tmp_path / "mnt")
    dataset = image_dataset(await images.full_name("static"))
    with pytest.raises(NoSuchDataset):
        await pool.dataset(dataset)
    await pool.create(dataset)  # as a crash would have left it
    await pool.mount(dataset, str(tmp_path / "elsewhere"))
    assert not await is_complete(pool, dataset)
    pool.broken = ""
    await images.import_image(pool, "static", tmp_path / "mnt")
    assert await is_complete(pool, dataset)


@pytest_twisted.ensureDeferred
async def test_a_broken_tar_says_so(images: ImageStore, static: Path, tmp_path: Path) -> None:
    """A tar cut short is an error with its reason, and leaves no dataset."""
    (static / "static.tar").write_bytes((static / "static.tar").read_bytes()[:100_000])
    pool = FolderPool()
    await pool.prepare()
    with pytest.raises(ImageError, match="cannot be used"):
        await images.import_image(pool, "static", tmp_path / "mnt")
    assert await pool.datasets() == []


@pytest_twisted.ensureDeferred
async def test_an_unknown_image_names_the_known(images: ImageStore) -> None:
    """A wrong name is answered with the right ones and how to build one; a path is no name."""
    for name in ("wordpress", "../static", ""):
        with pytest.raises(ImageError, match="static"):
            await images.full_name(name)


def test_another_content_is_another_image(static: Path) -> None:
    """Changing the manifest alone gives a new name, so sites keep the image they were made from."""
    from hybrid_containers.image import digest_of

    sums: Callable[[str, str], str] = lambda tar, toml: f"{tar}  a.tar\n{toml}  a.toml\n"  # noqa: E731 - two words
    assert digest_of(sums("1", "2")) != digest_of(sums("1", "3"))
    assert len(digest_of(sums("1", "2"))) == 12


@pytest.mark.parametrize("name", recipes_in(RECIPES))
def test_a_manifest_written_down_is_the_same(tmp_path: Path, name: str) -> None:
    """Hooks, extracts with quotes in their commands, limits: what an exported image says of itself is what it was."""
    _, manifest = load_recipe(RECIPES, name)
    (tmp_path / "manifest.toml").write_text(manifest_text(manifest))
    assert load_manifest(tmp_path / "manifest.toml") == manifest
