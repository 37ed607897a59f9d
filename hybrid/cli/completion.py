"""`hybrid completion bash`: the grammar as a completion script; names of sites and nodes come from the API."""

from __future__ import annotations

import argparse
from typing import Any

from hybrid.cli.parser import add_command
from hybrid.cli.session import Session

_SCRIPT = """\
# bash completion for hybrid; load it with: source <(hybrid completion bash)
_hybrid() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local noun=${{COMP_WORDS[1]}} verb=${{COMP_WORDS[2]}}
    local words=""
    case "$before" in
        --format) words="{formats}" ;;
        --node|--to) words=$(timeout 0.5 hybrid node list -q 2>/dev/null) ;;
        *)
            if [ "$COMP_CWORD" -eq 1 ]; then
                words="{nouns}"
            elif [[ "$word" == -* ]]; then
                case "$noun $verb" in
{options}
                esac
            elif [ "$COMP_CWORD" -eq 2 ]; then
                case "$noun" in
{verbs}
                esac
            elif [ "$COMP_CWORD" -eq 3 ]; then
                case "$noun $verb" in
                    site\\ list|site\\ create|site\\ deleted|site\\ undelete) ;;
                    site\\ *|snap\\ *|stash\\ *) words=$(timeout 0.5 hybrid site list -q 2>/dev/null) ;;
                    node\\ show) words=$(timeout 0.5 hybrid node list -q 2>/dev/null) ;;
                    op\\ show|op\\ wait) words=$(timeout 0.5 hybrid op list -q 2>/dev/null) ;;
                esac
            fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -F _hybrid hybrid
"""


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The verb."""
    text = "a completion script for a shell"
    shell = add_command(nouns, common, "completion", text, _print, "source <(hybrid completion bash)")
    shell.add_argument("shell", choices=("bash",))
    shell.set_defaults(grammar=nouns)


def script(nouns: argparse._SubParsersAction[Any]) -> str:
    """The script for the grammar below `nouns`."""
    from hybrid.cli.output import FORMATS

    verbs, options = [], []
    for noun, parser in nouns.choices.items():
        below = _verbs(parser)
        if below:
            verbs.append(f'                    {noun}) words="{" ".join(below)}" ;;')
        for verb, found in below.items() or {"": parser}.items():
            pattern = f"{noun}\\ {verb}" if verb else f"{noun}\\ *"
            options.append(f'                    {pattern}) words="{" ".join(_options(found))}" ;;')
    return _SCRIPT.format(
        formats=" ".join(FORMATS),
        nouns=" ".join(nouns.choices),
        verbs="\n".join(verbs),
        options="\n".join(options),
    )


def _print(session: Session) -> int:
    session.out.data(script(session.options.grammar))
    return 0


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The verbs of a noun; empty for a command without."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [option for option in parser._option_string_actions if option.startswith("--")]
