"""Images of others: what is hostile in them gets nowhere, what is not comes out whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hybrid.errors import ImageError
from hybrid_containers import convert
from hybrid_containers.archives import Bounded
from hybrid_containers.build import BUSYBOX
from hybrid_containers.foreign import TOOL_NAMES, TOOLS, Running, service
from hybrid_containers.layers import Header, Tree, parts_of, walk
from hybrid_containers.recipe import load_manifest
from hybrid_containers.unpack import check

MEGABYTE = 1 << 20
Item = tuple[str, Any]
"""Name, and bytes of a file, `None` for a folder, a string for a symbolic link, or a ready header."""


def tar(path: Path, *items: Item) -> Path:
    """An archive of these."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in items:
            if isinstance(what, tarfile.TarInfo):
                what.name = name
                archive.addfile(what, io.BytesIO(bytes(what.size)))
                continue
            header = tarfile.TarInfo(name)
            if isinstance(what, bytes):
                header.size, header.mode = len(what), 0o755
            else:
                header.type = tarfile.DIRTYPE if what is None else tarfile.SYMTYPE
                header.linkname, header.mode = what or "", 0o755
            archive.addfile(header, io.BytesIO(what) if isinstance(what, bytes) else None)
    return path


def header(kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """One, its name still to come."""
    made = tarfile.TarInfo()
    made.type = kind
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where images go; nothing of it is to be seen after an import that failed."""
    return tmp_path / "store"


def imported(source: Path, store: Path, **given: Any) -> dict[str, tarfile.TarInfo]:
    """What is in the image's tar, by name, which is one that the unpacking into a pool takes."""
    options = {"about": None, "port": None, "init": None, "limit_bytes": 4 * MEGABYTE, **given}
    convert.import_image("them", source, store, **options)
    check(str(store / "them.tar"))
    with tarfile.open(store / "them.tar") as archive:
        return {member.name.removeprefix("./"): member for member in archive}


def content(store: Path, name: str) -> bytes:
    """Of a file in the image's tar."""
    with tarfile.open(store / "them.tar") as archive:
        found = archive.extractfile(f"./{name}")
        assert found is not None
        return found.read()


# ------------------------------------------------------------------------------------------------------- hostile ones


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([("etc", None), ("../out", b"x")], "leads out"),
        ([("etc", None), ("/etc/cron.d/x", b"x")], "leads out"),
        ([("etc", None), ("a/../../out", b"x")], "leads out"),
        ([("etc", "/outside"), ("etc/passwd", b"x")], "symbolic link"),
        ([("etc", None), ("here", ".."), ("here/out", b"x")], "symbolic link"),
        ([("etc", None), ("hard", header(tarfile.LNKTYPE, linkname="../shadow"))], "leads out"),
        ([("etc", None), ("hard", header(tarfile.LNKTYPE, linkname="/etc/shadow"))], "leads out"),
        (
            [("etc", None), ("hard", header(tarfile.LNKTYPE, linkname="etc/later")), ("etc/later", b"")],
            "no file before",
        ),
        ([("etc", None), ("hard", header(tarfile.LNKTYPE, linkname="etc"))], "no file before"),
        ([("etc", None), ("theirs", header(uid=70_000))], "owner 70000"),
        ([("etc", None), ("large", bytes(5 * MEGABYTE))], "larger than"),
        ([("etc", None), ("x" * 300, b"")], "too long"),
        ([("srv", None)], "no root file system"),
    ],
)
def test_a_hostile_archive_is_refused(tmp_path: Path, store: Path, items: Sequence[Item], why: str) -> None:
    """What reaches out of the image, belongs to nobody in a container, or is too much: said, and nothing is kept."""
    with pytest.raises(ImageError, match=why):
        imported(tar(tmp_path / "bad.tar", *items), store)
    assert not store.exists() or list(store.iterdir()) == []


def test_devices_and_rights_do_not_come_along(tmp_path: Path, store: Path) -> None:
    """Device nodes and pipes are left out and counted; setuid bits and attributes of files are gone."""
    privileged = header(
        mode=0o6755, pax_headers={"SCHILY.xattr.security.capability": "cap", "SCHILY.xattr.user.x": "y"}
    )
    source = tar(
        tmp_path / "odd.tar",
        ("etc", None),
        ("dev/sda", header(tarfile.BLKTYPE, devmajor=8)),
        ("dev/mem", header(tarfile.CHRTYPE, devmajor=1)),
        ("pipe", header(tarfile.FIFOTYPE)),
        ("bin/su", privileged),
        ("tmp", header(tarfile.DIRTYPE, mode=0o1777)),
    )
    found = imported(source, store)
    assert set(found) == {"bin", "bin/su", "etc", "tmp"}
    assert (found["bin/su"].mode, found["bin/su"].pax_headers, found["tmp"].mode) == (0o755, {}, 0o1777)
    said = convert.import_image("them", source, store, None, None, None, MEGABYTE)
    assert said == "3 devices and pipes were left out"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_a_bomb_goes_off_in_vain(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch, pack: Any) -> None:
    """What unpacks to more than is allowed is stopped there, also when it hides where no file is."""
    monkeypatch.setattr("hybrid_containers.archives.OVERHEAD_BYTES", MEGABYTE)
    whole = tar(tmp_path / "good.tar", ("etc", None)).read_bytes()
    for name, data in (
        ("inside", whole[:-10240] + tar(tmp_path / "b", ("x", bytes(9 * MEGABYTE))).read_bytes()),
        ("after", whole + bytes(9 * MEGABYTE)),
    ):
        (tmp_path / name).write_bytes(pack(data))
        with pytest.raises(ImageError, match="larger than"):
            imported(tmp_path / name, store)


def test_a_giant_header_is_not_kept_in_memory(tmp_path: Path, store: Path) -> None:
    """A name or an extended header of gigabytes is refused before it is read."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        (tmp_path / "giant.tar").write_bytes(
            header(kind, name="x", size=6 << 30).tobuf(tarfile.GNU_FORMAT) + bytes(1024)
        )
        with pytest.raises(ImageError, match="header of"):
            imported(tmp_path / "giant.tar", store)


def test_broken_ones_say_so(tmp_path: Path, store: Path) -> None:
    """Cut short, not an archive, packed data damaged, not there: an error with its reason, never a traceback."""
    good = tar(tmp_path / "good.tar", ("etc", None), ("etc/large", bytes(range(256)) * 4096)).read_bytes()
    damaged = bytearray(gzip.compress(good))
    damaged[len(damaged) // 2] ^= 0xFF
    cases = {
        "cut": good[:100_000],
        "text": b"hello\n" * 1000,
        "empty": b"",
        "packed": gzip.compress(good)[:500],
        "damaged": bytes(damaged),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError):
            imported(tmp_path / name, store)
    with pytest.raises(ImageError, match="No such file"):
        imported(tmp_path / "missing", store)


def test_a_header_never_sends_us_back() -> None:
    """Sizes that were tampered with make a reader seek: backwards is refused, so nothing is read for ever."""
    source = Bounded(io.BytesIO(bytes(100)), 100)
    assert source.seek(50) == 50
    with pytest.raises(ImageError):
        source.seek(10)
    with pytest.raises(ImageError):
        source.read(-1)
    assert source.seek(1000) == 100


# ------------------------------------------------------------------------------------------------------ whole systems


def system(path: Path, top: str = "") -> Path:
    """A small root file system."""
    about: list[Item] = [("metadata.yaml", b"architecture: x86_64\n"), ("templates/x", b"")] if top else []
    return tar(
        path,
        *about,
        (f"{top}./etc" if not top else f"{top}etc", None),
        (f"{top}etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        (f"{top}usr/bin/sh", b"shell"),
        (f"{top}bin", "usr/bin"),
        (f"{top}usr/bin/ash", header(tarfile.LNKTYPE, linkname=f"{top}usr/bin/sh")),
    )


def test_a_root_file_system_of_lxc(tmp_path: Path, store: Path) -> None:
    """Files, folders, links of both kinds, times that are always the same; its manifest starts its own init."""
    tar(tmp_path / "meta.tar", ("config", b"lxc.arch = x86_64\n"), ("create-message", b""))
    packed = tmp_path / "rootfs.tar.xz"
    packed.write_bytes(lzma.compress(system(tmp_path / "rootfs.tar").read_bytes()))
    found = imported(packed, store, about=tmp_path / "meta.tar", port=8080)
    assert sorted(found) == ["bin", "etc", "etc/passwd", "usr", "usr/bin", "usr/bin/ash", "usr/bin/sh"]
    links = {found["usr/bin/ash"].linkname, found["usr/bin/sh"].linkname}
    assert links in ({"", "./usr/bin/sh"}, {"", "./usr/bin/ash"})
    assert content(store, "usr/bin/sh") == content(store, "usr/bin/ash") == b"shell"
    manifest = load_manifest(store / "them.toml")
    assert (manifest.name, manifest.init, manifest.ports[0].port) == ("them", ("/sbin/init",), 8080)
    with pytest.raises(ImageError, match="says nothing"):
        imported(packed, store, about=packed)


def test_an_image_of_incus(tmp_path: Path, store: Path) -> None:
    """Both in one archive, or in two; what is beside the root file system does not get into the image."""
    found = imported(system(tmp_path / "unified.tar", "rootfs/"), store)
    assert sorted(found) == ["bin", "etc", "etc/passwd", "usr", "usr/bin", "usr/bin/ash", "usr/bin/sh"]
    tar(tmp_path / "incus.tar", ("metadata.yaml", b"architecture: x86_64\n"))
    assert imported(system(tmp_path / "rootfs.tar"), store, about=tmp_path / "incus.tar").keys() == found.keys()


def test_what_is_exported_comes_back_the_same(tmp_path: Path, store: Path) -> None:
    """Tar and manifest of an image that went out and came in again are as before; under another name too."""
    imported(system(tmp_path / "rootfs.tar"), store, port=99)
    before = (store / "them.tar").read_bytes(), (store / "them.toml").read_bytes()
    target = tmp_path / "them.tar.gz"
    assert convert.main(["--store", str(store), "export", "them", str(target)]) == 0
    with tarfile.open(target) as archive:
        assert archive.getnames()[:2] == ["./metadata.yaml", "./hybrid.toml"]
    assert convert.main(["--store", str(store), "import", "them", str(target)]) == 0
    assert ((store / "them.tar").read_bytes(), (store / "them.toml").read_bytes()) == before
    assert convert.main(["--store", str(store), "import", "other", str(target)]) == 0
    assert load_manifest(store / "other.toml").name == "other"
    assert convert.main(["--store", str(store), "export", "nothing", str(target)]) == 1
    for name in ("../x", "X", "", "a" * 64):
        assert convert.main(["--store", str(store), "import", name, str(target)]) == 1


# ---------------------------------------------------------------------------------------------------------------- OCI


def layout(folder: Path, layers: Sequence[bytes], config: dict[str, Any], **more: Any) -> Path:
    """A folder in the OCI image layout."""
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps({"architecture": "amd64", "config": config}).encode(), "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar+gzip") for layer in layers],
    }
    listed = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [{**listed, **more}]}))
    return folder


def test_an_image_of_oci(tmp_path: Path, store: Path) -> None:
    """Layers on each other: replaced, removed, opaque, behind a link of a lower one; started as it says."""
    lower = tar(
        tmp_path / "1",
        ("usr/bin/app", b"old"),
        ("bin", "usr/bin"),
        ("etc/passwd", b"root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n"),
        ("gone/deep/file", b""),
        ("hidden/old", b""),
        ("one", b"same"),
        ("two", header(tarfile.LNKTYPE, linkname="one")),
    )
    upper = tar(
        tmp_path / "2",
        ("hidden/new", b""),
        (".wh.gone", b""),
        ("hidden/.wh..wh..opq", b""),
        ("bin/app", b"new"),
        (".wh.one", b""),
        ("run/x", b""),
    )
    config = {
        "Entrypoint": ["app"],
        "Cmd": ["--say", "it's on"],
        "Env": ["PATH=/usr/bin", "A=1", "bad name=2"],
        "ExposedPorts": {"9000/tcp": {}, "53/udp": {}, "8080": {}},
        "User": "web",
        "WorkingDir": "/srv",
    }
    folder = layout(tmp_path / "oci", [gzip.compress(lower.read_bytes()), upper.read_bytes()], config)
    found = imported(folder, store)
    ours = {name for name in found if name.startswith(("usr/lib/hybrid", "sbin/", "etc/hybrid/"))}
    assert "etc/hybrid/services/application" in ours
    assert sorted(found.keys() - ours) == [
        *("bin", "etc", "etc/passwd", "hidden", "hidden/new", "run", "run/x", "two", "usr", "usr/bin", "usr/bin/app")
    ]
    assert content(store, "usr/bin/app") == b"new"
    assert content(store, "two") == b"same"
    manifest = load_manifest(store / "them.toml")
    assert (manifest.init, manifest.ports[0].port) == (("/usr/lib/hybrid/bin/sh", "/sbin/hybrid-init"), 8080)
    assert manifest.environment == {"A": "1", "PATH": "/usr/bin:/usr/lib/hybrid/bin"}
    script = content(store, "etc/hybrid/services/application").decode()
    assert "cd /srv && exec start-stop-daemon" in script
    assert "-c 33:44" in script
    assert script.endswith("application app --say 'it'\"'\"'s on'\n")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "what to start"),
        ({"Cmd": ["x"], "User": "nobody-here"}, "whom it does not know"),
        ({"Cmd": ["x"], "User": "70000"}, "outside of a container's range"),
    ],
)
def test_an_image_that_cannot_be_started(tmp_path: Path, store: Path, config: dict[str, Any], why: str) -> None:
    """It is said at the import, not when a site of it does not come up."""
    layer = tar(tmp_path / "1", ("etc/passwd", b"root:x:0:0::/:/bin/sh\n")).read_bytes()
    with pytest.raises(ImageError, match=why):
        imported(layout(tmp_path / "oci", [layer], config), store)


def test_a_layout_that_lies(tmp_path: Path, store: Path) -> None:
    """A blob that is not what its name says, a digest that is a path, other machines' images only: refused."""
    layer = tar(tmp_path / "1", ("etc", None)).read_bytes()
    folder = layout(tmp_path / "lies", [layer], {"Cmd": ["x"]})
    blob = folder / "blobs/sha256" / hashlib.sha256(layer).hexdigest()
    blob.write_bytes(layer + b"more")
    with pytest.raises(ImageError, match="not what its name says"):
        imported(folder, store)
    for changed, why in (
        ({"digest": "sha256:../../../etc/shadow"}, "no SHA-256 digest"),
        ({"platform": {"architecture": "s390x", "os": "linux"}}, "has 0 images"),
    ):
        shutil.rmtree(folder)
        with pytest.raises(ImageError, match=why):
            imported(layout(folder, [layer], {"Cmd": ["x"]}, **changed), store)
    with pytest.raises(ImageError, match="oci-layout"):
        imported(tmp_path, store)


def test_links_in_layers_stay_within_the_image() -> None:
    """Links up and out of the root lead to the root, loops are refused, as when a process is confined to it."""
    tree = Tree(True, MEGABYTE)
    for number, (name, target) in enumerate({"up": "../../..", "abs": "/up/etc", "loop": "loop"}.items()):
        tree.add(Header(name, "symlink", target=target), 0, number)
    tree.add(Header("abs/x", "file"), 1, 0)
    assert tree.find("etc", "x") is not None
    with pytest.raises(ImageError, match="symbolic link"):
        tree.add(Header("loop/x", "file"), 1, 1)
    assert [path for path, _ in walk(tree.root)] == ["abs", "etc", "etc/x", "loop", "up"]
    assert parts_of("./a//b/.") == ["a", "b"]


def test_many_whiteouts_cost_little() -> None:
    """Each place is looked at once per layer, however often a layer says that it is gone."""
    tree = Tree(True, MEGABYTE)
    tree.add(Header("dir/old", "file"), 0, 0)
    for number in range(2000):
        tree.add(Header(f"dir/{number}", "file"), 1, number)
    folder = tree.find("dir")
    assert folder is not None
    tree.add(Header("dir/.wh..wh..opq", "file"), 1, 5000)
    assert (folder.pruned, "old" in folder.children, len(folder.children)) == (1, False, 2000)
    for number in range(20_000):
        tree.add(Header(".wh.dir" if number % 2 else "dir/.wh..wh..opq", "file"), 1, 6000 + number)
    assert len(folder.children) == 2000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_the_start_of_an_application_is_what_its_image_says(tmp_path: Path) -> None:
    """The script runs the command in its folder as its user, found in PATH, arguments whole."""
    (tmp_path / "bin").mkdir()
    for name in TOOL_NAMES:
        (tmp_path / "bin" / name).symlink_to(BUSYBOX)
    command = ("sh", "-c", 'id -u; id -g; pwd; echo "$1"', "x", "a  b")
    text = service(Running(cmd=command, user="33:34", working_dir="/usr/bin"), "", "").decode()
    text = text.replace(f"-x {TOOLS}/sh", "-x /bin/sh")
    environment = {"PATH": f"/usr/bin:/bin:{tmp_path}/bin"}
    done = subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["33", "34", "/usr/bin", "a  b"], done.stderr
