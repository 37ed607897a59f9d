"""The command line's pure parts: tables, columns, units, settings."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cli import columns, table, units
from hybrid.cli.exits import CliError
from hybrid.cli.settingsfile import render
from hybrid.settings import Settings


def test_tables_are_aligned() -> None:
    """Also with wide and combining characters; nothing can command the terminal."""
    lines = table.render(["A", "B"], [["x", "10"], ["日本", "5"], ["e\u0301", "1"]], ["left", "right"])
    assert lines == ["A      B", "x     10", "日本   5", "e\u0301      1"]
    assert table.render(["A"], [["\x1b[2J\n"]], ["left"])[1] == "\\x1b[2J\\n"
    assert table.render(["A"], [["abcdef"]], ["left"], width=4)[1] == "abc…"


def test_csv_can_be_read_back() -> None:
    """Commas, quotes and line ends survive."""
    import csv

    text = table.to_csv(["a", "b"], [['x,"y"', "line\nend"]])
    assert list(csv.reader(text.splitlines(keepends=True))) == [["a", "b"], ['x,"y"', "line\nend"]]


def test_columns() -> None:
    """Chosen by name; a wrong one is told with those there are."""
    default = (columns.Column("name"), columns.Column("lag_s", show=columns.seconds))
    items = [{"name": "blog", "lag_s": None, "copies": 2}]
    assert [c.key for c in columns.chosen("copies,name", default, items)] == ["copies", "name"]
    assert default[1].cell(items[0]) == "-"
    assert default[1].raw(items[0]) == ""
    with pytest.raises(CliError, match="no column 'nam'"):
        columns.chosen("nam", default, items)


def test_ports_are_read_at_a_glance() -> None:
    """Inside and, where nodes lead to them, outside."""
    ports = [{"name": "http", "port": 80, "public_port": None}, {"name": "echo", "port": 7, "public_port": 7007}]
    assert columns.ports(ports) == "http 80, echo 7 on 7007"
    assert columns.ports([]) == columns.text({}) == "-"


@pytest.mark.parametrize(("text", "count"), [("20G", 20 * 2**30), ("512m", 2**29), ("1.5 GiB", 3 * 2**29), ("7", 7)])
def test_sizes(text: str, count: int) -> None:
    """As people write them."""
    assert units.size(text) == count


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400), ("0.5", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    """As people write them."""
    assert units.duration(text) == seconds


@given(st.text())
def test_any_text_is_a_unit_or_refused(text: str) -> None:
    """Nothing a person types crashes them."""
    for read in (units.size, units.duration):
        try:
            read(text)
        except ValueError:
            pass


@given(st.floats(0, 1e15))
def test_shown_sizes_are_short(count: float) -> None:
    """A column never grows wide."""
    assert len(units.shown_size(count)) <= 5


def test_settings_file_is_what_the_node_reads() -> None:
    """Everything written is known to the node, also odd texts; a key left out has its default."""
    values: dict[str, str | int | bool] = {
        "name": "n1",
        "address": "192.0.2.1",
        "state_dir": '/x "y"\\z',
        "api_port": 1,
    }
    found = msgspec.convert(tomllib.loads(render(values)), Settings)
    assert (found.name, found.state_dir, found.api_port, found.http_port) == ("n1", '/x "y"\\z', 1, 80)
    every = {
        name: getattr(found, name)
        for name in Settings.__struct_fields__
        if name not in ("timing", "strict", "replication", "dns", "bursting", "floating")
    }
    assert msgspec.convert(tomllib.loads(render(every)), Settings) == found
