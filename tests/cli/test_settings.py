"""The settings file: every key documented, every mistake told, what a person wrote kept."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hybrid.cli.run import run
from hybrid.cli.settingsdoc import NEEDED, fresh, keys, reference
from hybrid.cli.settingsfile import with_values
from hybrid.settings import Settings, troubles

GOOD: dict[str, Any] = {"name": "n1", "address": "192.0.2.1"}


def test_every_key_is_documented() -> None:
    """Nobody has to read source to know what a key means, may be, and is when it is left out."""
    assert [key for key in keys() if len(key.text) < 5 or not key.allowed] == []
    assert {key.table for key in keys()} == {
        "",
        "timing",
        "strict",
        "replication",
        "replication.limits",
        "dns",
        "bursting",
        "floating",
    }
    assert [key.name for key in keys() if not key.default and not key.table] == ["name", "address"]


def test_the_reference_is_a_settings_file_at_its_defaults() -> None:
    """Taking the comment signs away and filling in what has no default gives the default settings."""
    lines = [line.removeprefix("# ") for line in reference().splitlines() if " = " in line or line.startswith("# [")]
    text = "\n".join(lines).replace("name = …", 'name = "n1"').replace("address = …", 'address = "192.0.2.1"')
    text = text.replace("interface = …", 'interface = "e0"').replace("nodes = …", 'nodes = ["n1"]')
    found = tomllib.loads(text.replace("bytes_per_s = …", "bytes_per_s = 65536"))
    assert found.pop("floating") == [{"address": "192.0.2.1", "interface": "e0", "nodes": ["n1"]}]
    limits = found["replication"].pop("limits")
    assert limits == [{"bytes_per_s": 65536, "way": "both", "to": "*", "hours": ""}]
    assert msgspec.convert(found, Settings) == msgspec.convert(GOOD, Settings)


def test_a_fresh_file_has_few_keys_and_says_nothing_yet() -> None:
    """What the package installs: at most ten keys, none set before somebody sets it."""
    assert len(NEEDED) <= 10
    assert tomllib.loads(fresh()) == {}


def test_what_a_person_wrote_stays() -> None:
    """`hybrid init` sets its keys where they stand; comments, other keys and tables are as they were."""
    text = '# mine\nproxies = 4  # cores\n# name = …\naddress = "192.0.2.9"\n\n[strict]\nttl_s = 30\n'
    made = with_values(text, {"name": "n1", "address": "192.0.2.1", "pool": "tank"})
    assert tomllib.loads(made) == {
        **GOOD,
        "proxies": 4,
        "pool": "tank",
        "strict": {"ttl_s": 30},
    }
    assert made.startswith('# mine\nproxies = 4  # cores\nname = "n1"\naddress = "192.0.2.1"\n')
    assert made.endswith("[strict]\nttl_s = 30\n")


@pytest.mark.parametrize(
    ("document", "key", "allowed"),
    [
        ({"name": "n1"}, "address", "text"),
        (GOOD | {"nmae": "x"}, "nmae", "did you mean `name`?"),
        (GOOD | {"name": "N 1"}, "name", "text that matches"),
        (GOOD | {"http_port": "80"}, "http_port", "a whole number from 1 to 65535"),
        (GOOD | {"storage": "btrfs"}, "storage", '"auto" or "openzfs" or "zfs-fuse"'),
        (GOOD | {"zfs_daemon": 1}, "zfs_daemon", "true or false"),
        (GOOD | {"timing": 3}, "timing", "a table of far, fail_s"),
        (GOOD | {"timing": {"fail_s": "x"}}, "timing.fail_s", "a number"),
        (GOOD | {"strict": {"ttl_s": 1}}, "strict.ttl_s", "a number from 5.0 to 600.0"),
        (GOOD | {"replication": {"limits": [{"way": "up"}]}}, "replication.limits[0].way", '"both" or'),
        (GOOD | {"ftp_passive": [1]}, "ftp_passive", "[a whole number from 1 to 65535, a whole"),
        (GOOD | {"address": "n1.example"}, "address", "an IP address"),
        (GOOD | {"address": "0.0.0.0"}, "address", "an IP address"),
        (GOOD | {"subnet": "10.0.0.1/8"}, "subnet", "an IPv4 network"),
        (GOOD | {"api_port": 443}, "https_port", "a port of its own"),
        (GOOD | {"strict": {"cert": "a.pem"}}, "strict.cert", "both or none"),
    ],
)
def test_each_mistake_is_told_by_its_key(document: dict[str, Any], key: str, allowed: str) -> None:
    """Which key, what is wrong with it, and what would be allowed."""
    found = troubles(document)
    assert key in [trouble.key for trouble in found]
    assert next(trouble for trouble in found if trouble.key == key).allowed.startswith(allowed)


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`hybrid node check-config` does not let a person find one after the other; a good file passes."""
    path = tmp_path / "hybrid.toml"
    path.write_text('nme = "n1"\nhttp_port = 0\n')
    assert run(["node", "check-config", str(path), "--format", "json"]) == 1
    assert [item["key"] for item in json.loads(capsys.readouterr().out)] == ["nme", "http_port", "name", "address"]
    path.write_text('name = "n1"\naddress = "192.0.2.1"\n')
    assert run(["node", "check-config", str(path)]) == 0
    path.write_text("name =\n")
    assert run(["node", "check-config", str(path)]) == 1
    assert "is not TOML" in capsys.readouterr().err
    assert run(["node", "check-config", str(tmp_path / "none")]) == 1
    assert "cannot read" in capsys.readouterr().err
