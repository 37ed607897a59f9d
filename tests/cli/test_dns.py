"""`hybrid dns`: zones and records from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_zones_and_records(hybrid: Any, tmp_path: Path) -> None:
    """Made, listed, changed, exported, imported, removed; refusals say why."""
    assert hybrid("dns", "zone", "add", "own.example").code == 0
    assert "own.example" in hybrid("dns", "zone", "list", "-q").out.split()
    assert hybrid("dns", "record", "add", "own.example", "@", "mx", "10 mail.own.example.", "--ttl", "1h").code == 0
    assert hybrid("dns", "record", "add", "own.example", "@", "MX", "20 mail2.own.example.").code == 0
    (mx,) = [
        one
        for one in json.loads(hybrid("dns", "record", "list", "own.example", "--format", "json").out)
        if one["type"] == "MX"
    ]
    assert (mx["ttl_s"], mx["records"]) == (3600, ["10 mail.own.example.", "20 mail2.own.example."])
    exported = hybrid("dns", "zone", "export", "own.example").out
    assert hybrid("dns", "record", "remove", "own.example", "@", "MX", "20 mail2.own.example.").code == 0
    assert hybrid("dns", "record", "remove", "own.example", "@", "MX").code == 0
    assert "MX" not in hybrid("dns", "record", "list", "own.example").out
    (tmp_path / "zone").write_text(exported)
    assert hybrid("dns", "zone", "import", "own.example", str(tmp_path / "zone")).code == 0
    assert "mail2" in hybrid("dns", "record", "list", "own.example").out
    refused = hybrid("dns", "record", "set", "hybrid.test", "blog", "A", "192.0.2.1")
    assert refused.code != 0 and "domain of a site" in refused.err
    assert hybrid("dns", "zone", "remove", "own.example", "--yes").code == 0


def test_zones_of_others_and_catalogs(hybrid: Any) -> None:
    """A zone is copied from somebody's primary, or lists the others; and is one's own again."""
    assert hybrid("dns", "zone", "add", "theirs.example").code == 0
    primary = ("--primary", "192.0.2.53", "--transfer-key", "key.example")
    assert hybrid("dns", "zone", "set", "theirs.example", *primary).code == 0
    zones = {zone["name"]: zone for zone in json.loads(hybrid("dns", "zone", "list", "--format", "json").out)}
    shown = zones["theirs.example"]
    assert (shown["kind"], shown["primaries"], shown["key"]) == ("copy", ["192.0.2.53"], "key.example")
    refused = hybrid("dns", "record", "set", "theirs.example", "www", "A", "192.0.2.1")
    assert refused.code != 0 and "copy of its primary" in refused.err
    assert hybrid("dns", "zone", "set", "theirs.example", "--primary", "", "--catalog", "on").code == 0
    assert "PTR" in hybrid("dns", "record", "list", "theirs.example").out
    assert hybrid("dns", "zone", "remove", "theirs.example", "--yes").code == 0
