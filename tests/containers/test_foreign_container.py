"""An application from an OCI image in a real container: started by our init, as its image says, as its own user."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from hybrid_containers import convert, sandbox
from hybrid_containers.build import BUSYBOX
from tests.containers.application import ADDRESS, application
from tests.containers.test_foreign_images import layout, tar

pytestmark = pytest.mark.lxc


@pytest.fixture
def namespaces() -> Iterator[None]:
    """Apart from the machine's own network."""
    if os.geteuid() != 0 or not shutil.which("lxc-attach"):
        pytest.skip("real containers need root and lxc")
    with sandbox.namespaces():
        yield


@pytest_twisted.ensureDeferred
async def test_an_application_of_oci_runs(namespaces: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a shell or users of its own: in its folder, with its environment, as the number it wants to be."""
    script = b'#!/app/busybox sh\necho "$GREETING from $(/app/busybox id -u) in $(/app/busybox pwd)" > /tmp/said\n'
    script += b"exec /app/busybox httpd -f -p 8080 -h /app\n"
    layer = tar(tmp_path / "layer", ("app/busybox", BUSYBOX.read_bytes()), ("app/start", script), ("app/a", b"hello"))
    config = {
        "Cmd": ["start"],
        "Env": ["PATH=/app", "GREETING=hello"],
        "User": "33:44",
        "WorkingDir": "/app",
        "ExposedPorts": {"8080/tcp": {}},
    }
    folder = layout(tmp_path / "oci", [layer.read_bytes()], config)
    convert.import_image("them", folder, tmp_path / "store", None, None, None, 100 << 20)
    monkeypatch.setenv("HYBRID_IMAGES", str(tmp_path / "store"))
    async with application("them", "theirs") as made:
        asked = await made.outside("curl", "-s", f"http://{ADDRESS}:8080/a")
        assert asked.stdout == b"hello"
        said = await made.run("/app/busybox", "cat", "/tmp/said")
        assert said.stdout == b"hello from 33 in /app\n"
