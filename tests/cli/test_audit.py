"""`hybrid audit`."""

from __future__ import annotations

import json
from typing import Any


def test_who_did_what_and_that_the_logs_are_whole(hybrid: Any) -> None:
    """A change is in the log of the node that was asked; a node that cannot be asked is not said to be fine."""
    assert hybrid("site", "stop", "blog").code == 0
    (entry,) = json.loads(hybrid("audit", "list", "--actor", "admin", "--format", "json").out)
    assert (entry["what"], entry["outcome"]) == ("POST /v1/sites/blog/stop", "200")
    assert "POST /v1/sites/blog/stop" in hybrid("audit", "list").out
    assert hybrid("audit", "list", "--actor", "nobody", "-q").out == ""
    checked = hybrid("audit", "check", "--format", "json")
    assert (checked.code, [one["ok"] for one in json.loads(checked.out)]) == (0, [True, True, True])
    hybrid.steer("die n3")
    checked = hybrid("audit", "check", "--format", "json")
    assert (checked.code, [one["ok"] for one in json.loads(checked.out)]) == (1, [True, True, False])
