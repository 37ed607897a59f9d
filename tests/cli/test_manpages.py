"""The manual: made of the grammar and the settings, so nothing of either is missing in it."""

from __future__ import annotations

import re

from hybrid.cli.manpages import pages
from hybrid.cli.run import MODULES
from hybrid.cli.settingsdoc import keys

REQUESTS = {"TH", "SH", "SS", "TP", "B", "BR", "I", "PP", "nf", "fi"}


def test_there_is_a_page_for_everything() -> None:
    """`man hybrid-site` is there like `hybrid site --help`; `man hybrid.toml` tells every key with its default."""
    made = pages()
    assert {noun for nouns in MODULES.values() for noun in nouns} <= {name[7:-2] for name in made}
    for key in keys():
        assert f"\n.B {key.name}\n" in made["hybrid.toml.5"], key
    for words in ("\n.SS site move\n", "\n.B \\-\\-to NODE\n", "hybrid site move blog \\-\\-to n2"):
        assert words in made["hybrid-site.1"]
    assert "\n.SS dns zone import\n" in made["hybrid-dns.1"]
    assert "\n.B \\-\\-format {table,json,jsonl,csv,compact}\n" in made["hybrid.1"]


def test_no_text_is_taken_for_a_request() -> None:
    """A line of help that begins with a dot, or holds a backslash, is shown as it is."""
    for name, page in pages().items():
        requests = re.findall(r"^\.(\S*)", page, re.MULTILINE)
        assert set(requests) <= REQUESTS, name
        assert re.search(r"\\[^&e\-fR]", page) is None, name
        assert page.startswith(".TH "), name
