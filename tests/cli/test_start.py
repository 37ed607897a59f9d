"""The command line starts at once, and says what it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid.cli.processes import process_of

Run = Callable[..., Any]


def imported(*words: str) -> set[str]:
    """Top-level modules that a command line imports."""
    program = (
        "import sys\nfrom hybrid.main import main\n"
        f"try:\n    main({list(words)!r})\nexcept SystemExit:\n    pass\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.__stderr__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.strip().splitlines()[-1].split())


def test_client_verbs_import_nothing_slow() -> None:
    """Twisted costs half a second, msgspec and dataclasses tens of milliseconds: a client verb uses none of them."""
    for words in (("--version",), ("site", "list"), ("--help",), ("site", "create", "--help")):
        assert imported(*words) & {"twisted", "msgspec", "dataclasses", "asyncio", "zope"} == set(), words


def test_version_does_not_even_build_the_grammar() -> None:
    """`hybrid --version` is what scripts call first."""
    assert imported("--version") & {"argparse", "ssl", "http", "json"} == set()


def test_help_shows_every_noun_and_the_exit_codes(in_process: Run) -> None:
    """One page tells what there is."""
    ran = in_process("--help")
    assert ran.code == 0
    for word in "status node image token site snap stash op events api init run proxy dns demo completion".split():
        assert f"\n    {word}" in ran.out, word
    assert "7 no node could be reached" in ran.out


def test_verbs_have_examples(in_process: Run) -> None:
    """Help of a verb shows how it is used."""
    assert "hybrid site move blog --to n2" in in_process("site", "move", "--help").out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("stie", "list"), "did you mean `hybrid site`?"),
        (("site", "lst"), "did you mean `hybrid site list`?"),
        (("site", "list", "--formt", "json"), "did you mean --format?"),
        (("site", "list", "--format", "yaml"), "known: table, json, jsonl, csv, compact"),
        (("site", "create", "x"), "--help"),
        (("site", "create", "x", "--image", "y", "--quota", "much"), "--help"),
        ((), "--help"),
        (("completion", "tcsh"), "known: bash, zsh, fish"),
    ],
)
def test_usage_errors_say_what_would_have_been_right(in_process: Run, words: tuple[str, ...], hint: str) -> None:
    """Exit code 2, one line what is wrong, one what to try."""
    ran = in_process(*words)
    assert (ran.code, ran.out) == (2, "")
    assert hint in ran.err


def test_words_that_start_a_process() -> None:
    """`hybrid node` alone is the node's process; `hybrid node list` asks the API."""
    assert process_of(["node"]) == ("hybrid.node", [])
    assert process_of(["node", "run", "--config", "x"]) == ("hybrid.node", ["--config", "x"])
    assert process_of(["node", "--config", "x"]) == ("hybrid.node", ["--config", "x"])
    assert process_of(["proxy", "--config", "x"]) == ("hybrid_proxy.main", ["--config", "x"])
    for words in (["node", "list"], ["node", "--help"], ["site", "list"], []):
        assert process_of(words) is None


def test_no_credentials(in_process: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without, with unreadable, and with broken credentials: exit code 4 and what to do."""
    monkeypatch.setenv("HYBRID_CREDENTIALS", str(tmp_path / "missing.json"))
    missing = in_process("site", "list")
    assert missing.code == 4 and "missing.json" in missing.err and "try:" in missing.err
    for text in ("", "[]", "{}", '{"urls": [], "token": "x"}', '{"urls": "x", "token": "x"}', "{"):
        (tmp_path / "bad.json").write_text(text)
        assert in_process("site", "list", "--credentials", str(tmp_path / "bad.json")).code == 4, text


def test_a_token_is_never_sent_in_the_clear(in_process: Run, tmp_path: Path) -> None:
    """A URL without TLS that leaves this machine is refused."""
    (tmp_path / "c.json").write_text('{"urls": ["http://192.0.2.1:8443"], "token": "x"}')
    ran = in_process("status", "--credentials", str(tmp_path / "c.json"))
    assert ran.code == 4 and "https://" in ran.err


def test_nobody_there(in_process: Run, tmp_path: Path) -> None:
    """Exit code 7, with every URL and why."""
    (tmp_path / "c.json").write_text('{"urls": ["https://127.0.0.1:1", "http://127.0.0.1:2"], "token": "x"}')
    ran = in_process("status", "--credentials", str(tmp_path / "c.json"))
    assert ran.code == 7
    assert "https://127.0.0.1:1: Connection refused; http://127.0.0.1:2: Connection refused" in ran.err


def test_completion_in_bash(in_process: Run) -> None:
    """The script is valid, and completes nouns, verbs and options."""
    script = in_process("completion", "bash").out
    asked = 'COMP_WORDS=(hybrid {}); COMP_CWORD={}; _hybrid; echo "${{COMPREPLY[@]}}"'

    def complete(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        command = script + asked.format(quoted, len(words))
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("sn") == ["snap"]
    assert complete("site", "sto") == ["stop"]
    assert "--image" in complete("site", "create", "--i")
    assert complete("site", "list", "--format", "js") == ["json", "jsonl"]
    assert complete("dns", "zone", "ex") == ["export"]
    assert complete("snap", "-q", "rollb") == ["rollback"]
    assert complete("site", "move", "shop", "t") == []


COMPLETED = [
    (("sn",), "snap", "a site"),
    (("site", "sto"), "stop", ""),
    (("dns", "zone", "ex"), "export", "a zone as a zone file"),
    (("site", "create", "--i"), "--image", ""),
    (("site", "list", "--format", "json"), "jsonl", ""),
]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(("words", "one", "text"), COMPLETED)
def test_completion_in_zsh(in_process: Run, words: tuple[str, ...], one: str, text: str) -> None:
    """The same there, with what each word does; the functions of zsh's own system are given it."""
    asked = (
        "compdef() { }; compadd() { print -rl -- $@ }; _describe() { print -rl -- ${(P)@[-1]} }\n"
        f"{in_process('completion', 'zsh').out}\nwords=(hybrid {' '.join(words)}); CURRENT=$#words; _hybrid"
    )
    done = subprocess.run(["zsh", "-fc", asked], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    found = dict(line.partition(":")[::2] for line in done.stdout.splitlines())
    assert one in found
    assert text in found[one]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(("words", "one", "text"), COMPLETED)
def test_completion_in_fish(in_process: Run, tmp_path: Path, words: tuple[str, ...], one: str, text: str) -> None:
    """The same there, asked of fish itself."""
    (tmp_path / "hybrid.fish").write_text(in_process("completion", "fish").out)
    asked = f"source {tmp_path}/hybrid.fish; complete -C 'hybrid {' '.join(words)}'"
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "-c", asked],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env=home,
        stdin=subprocess.DEVNULL,
    )
    assert done.stderr == ""
    found = dict(line.partition("\t")[::2] for line in done.stdout.splitlines())
    assert one in found
    assert text in found[one]
