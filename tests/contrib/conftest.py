"""Plugins of billing panels, run by PHP against a served cluster of fakes; of a panel only what they call is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Served

HERE = Path(__file__).parent
CONTRIB = HERE.parents[1] / "contrib"


class Panel:
    """A cluster, and calls of a plugin as its panel makes them."""

    def __init__(self, directory: Path) -> None:
        self.cluster = Served(directory)
        told = json.loads((directory / "admin.json").read_text())
        self.token, self.port = told["token"], int(told["urls"][-1].rpartition(":")[2])
        self.ca = directory / "ca-of-panel.pem"
        self.ca.write_text(told["ca"])

    def whmcs(self, function: str, **params: Any) -> Any:
        """What the WHMCS module's `function` returns, logs and writes."""
        given = {
            "serviceid": 77,
            "serverid": 1,
            "username": "Acme",
            "domain": "Acme.test",
            "configoption1": "small",
            "configoption2": "php",
            "clientsdetails": {"email": "a@acme.test", "firstname": "Alice", "lastname": "A."},
            "serverhostname": "127.0.0.1",
            "serverip": "",
            "serverport": str(self.port),
            "serveraccesshash": self.token,
            "serverpassword": "",
            **params,
        }
        module = CONTRIB / "whmcs/modules/servers/hybrid/hybrid.php"
        return self._php("whmcs.php", str(module), function, given)

    def fossbilling(self, method: str, **more: Any) -> Any:
        """What the FOSSBilling server manager's `method` returns, or its error."""
        config = {"host": "127.0.0.1", "ip": "", "port": str(self.port), "accesshash": self.token, "ca": str(self.ca)}
        manager = CONTRIB / "fossbilling/library/Server/Manager/Hybrid.php"
        return self._php(
            "fossbilling.php", str(manager), method, {"config": {**config, **more.pop("config", {})}, **more}
        )

    def hybrid(self, *words: str) -> Any:
        """The command line's answer, as JSON."""
        done = self.cluster(*words, "--format", "json")
        assert done.code == 0, done.err
        return json.loads(done.out) if done.out else None

    def _php(self, harness: str, *words: Any) -> Any:
        *arguments, given = words
        done = subprocess.run(
            ["php", str(HERE / harness), *arguments],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "HYBRID_CA": str(self.ca)},
        )
        assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    """A panel whose cluster has a package called small and one called large."""
    if shutil.which("php") is None:
        pytest.skip("needs php (Debian: php-cli and php-curl)")
    made = Panel(tmp_path / "state")
    made.hybrid("package", "set", "small", "--sites", "1", "--quota", "1G")
    made.hybrid("package", "set", "large", "--sites", "5", "--quota", "5G")
    yield made
    made.cluster.close()
