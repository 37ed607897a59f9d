"""`--filter` and `--watch`, on every list."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from hybrid.cli.columns import Column
from hybrid.cli.exits import CliError
from hybrid.cli.filters import filtered

ITEMS: list[dict[str, Any]] = [
    {"name": "blog", "state": "serving", "holders": ["n1", "n2"], "data_bytes": 2 * 2**30, "lag_s": 3.0, "safe": True},
    {"name": "Shop", "state": "stopped", "holders": ["n2"], "data_bytes": 5, "lag_s": None, "safe": False},
    {"name": "10", "state": "serving", "holders": [], "data_bytes": 0, "lag_s": 700.0, "safe": True},
]


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (["state=serving"], ["blog", "10"]),
        (["state!=serving"], ["Shop"]),
        (["name~SHO"], ["Shop"]),
        (["name=10"], ["10"]),
        (["holders=n2"], ["blog", "Shop"]),
        (["holders!=n1"], ["Shop", "10"]),
        (["holders>1"], ["blog"]),
        (["data_bytes>1G"], ["blog"]),
        (["data_bytes < 10"], ["Shop", "10"]),
        (["data_bytes=5"], ["Shop"]),
        (["lag_s>10m"], ["10"]),
        (["safe=yes", "state=serving", "lag_s<1h"], ["blog", "10"]),
        (["state="], []),
    ],
)
def test_rules(rules: list[str], names: list[str]) -> None:
    """What holds for each of them."""
    assert [item["name"] for item in filtered(rules, ITEMS, [])] == names


@pytest.mark.parametrize("rule", ["", "state", "=x", "nme=x", "data_bytes>much", "name ? x"])
def test_rules_that_make_no_sense(rule: str) -> None:
    """Each is told, with what there is."""
    with pytest.raises(CliError):
        filtered([rule], ITEMS, [])


def test_a_field_of_an_empty_list_is_known_by_its_column() -> None:
    """Nothing is there, which is no mistake of who asks."""
    assert filtered(["state=serving"], [], [Column("state")]) == []


def test_lists_are_filtered_in_every_format(hybrid: Any) -> None:
    """Before anything is shown or counted."""
    assert hybrid("site", "list", "--filter", "owner=n2", "-q").out == "shop\n"
    assert [
        site["name"] for site in json.loads(hybrid("site", "list", "--filter", "name~bl", "--format", "json").out)
    ] == ["blog"]
    wrong = hybrid("site", "list", "--filter", "ownr=n2")
    assert wrong.code == 2 and "owner" in wrong.err


def test_what_only_reads_is_shown_again(hybrid: Any) -> None:
    """Until it is interrupted, which is no failure; what changes something is not done again and again."""
    terminal = hybrid.terminal("site", "list", "--watch", "0.1s")
    for _ in range(3):
        terminal.read_until("NAME")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_to_end()
    assert terminal.process.returncode == 0
    refused = hybrid("site", "stop", "blog", "--watch")
    assert refused.code == 2 and "--watch" in refused.err
    assert json.loads(hybrid("site", "show", "blog", "--format", "json").out)["wanted"] == "running"
