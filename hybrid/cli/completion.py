"""`hybrid completion bash|zsh|fish`: the grammar as a completion script; names of sites and nodes come from the API."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hybrid.cli.parser import add_command
from hybrid.cli.session import Session

_NAMES = {
    "SITE": "site list",
    "NODE": "node list",
    "GROUP": "group list",
    "ACCOUNT": "account list",
    "PACKAGE": "package list",
    "STORE": "away list",
}
"""What an argument is called to the command that lists what it may be."""


class Place(NamedTuple):
    """
    A place in the grammar.

    Attributes:
        path: The words that lead here, joined by spaces.
        words: What may come next, with what it does.
        options: `--option`, with what it does.
        names: The command that lists what the first argument may be, or empty.
    """

    path: str
    words: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    names: str


def add(nouns: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """The verb."""
    text = "a completion script for a shell"
    shell = add_command(nouns, common, "completion", text, _print, "source <(hybrid completion bash)")
    shell.add_argument("shell", choices=tuple(_SHELLS))
    shell.set_defaults(grammar=nouns)


def script(nouns: argparse._SubParsersAction[Any], shell: str = "bash") -> str:
    """The script for the grammar below `nouns`."""
    from hybrid.cli.output import FORMATS

    below = {name: (parser, _help(nouns, name)) for name, parser in nouns.choices.items()}
    root = Place("", tuple((name, text) for name, (_, text) in below.items()), (), "")
    places = [root, *(place for name, (parser, _) in below.items() for place in _places(parser, name))]
    known = [place.path for place in places if place.path]
    template, quoted, row = _SHELLS[shell]
    rows = "\n".join(row(place) for place in places)
    return template % {"known": quoted(known), "rows": rows, "formats": " ".join(FORMATS)}


def _print(session: Session) -> int:
    session.out.data(script(session.options.grammar, session.options.shell))
    return 0


def _places(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    """This place, and those below it."""
    words: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    arguments: list[str] = []
    deeper: list[tuple[argparse.ArgumentParser, str]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words += [(name, _help(action, name)) for name in action.choices]
            deeper += [(below, f"{path} {name}") for name, below in action.choices.items()]
        elif action.option_strings:
            text = _plain((action.help or "") % {"default": action.default})
            options += [(option, text) for option in action.option_strings if option.startswith("--")]
        elif action.choices:
            words += [(str(choice), "") for choice in action.choices]
        else:
            arguments.append(str(action.metavar))
    yield Place(path, tuple(words), tuple(options), _NAMES.get(arguments[0], "") if arguments else "")
    for below, name in deeper:
        yield from _places(below, name)


def _help(action: argparse._SubParsersAction[Any], name: str) -> str:
    texts = {choice.dest: choice.help or "" for choice in action._get_subactions()}
    return _plain(texts.get(name, ""))


def _plain(text: str) -> str:
    """Without what some shell would understand inside quotes."""
    return "".join(letter for letter in text if letter not in "'\"`$\\").replace("\n", " ")


_BASH = """\
# bash completion for hybrid; load it with: source <(hybrid completion bash)
_hybrid() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local path="" next given=0 words="" options="" names=""
    for next in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path $next" in
            *\\ -*) ;;
            %(known)s) path="$path $next" ;;
            *) given=1; break ;;
        esac
    done
    case "$path" in
%(rows)s
    esac
    case "$before" in
        --format) words="%(formats)s" ;;
        --node|--to) words=$(timeout 0.5 hybrid node list -q 2>/dev/null) ;;
        *)
            if [[ "$word" == -* ]]; then
                words=$options
            elif [ "$given" -eq 1 ]; then
                words=""
            elif [ -n "$names" ]; then
                words=$(timeout 0.5 hybrid $names -q 2>/dev/null)
            fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _hybrid hybrid
"""


def _in_bash(place: Place) -> str:
    words, options = (" ".join(word for word, _ in some) for some in (place.words, place.options))
    return f'        "{_led(place.path)}") words="{words}"; options="{options}"; names="{place.names}" ;;'


_ZSH = """\
#compdef hybrid
# zsh completion for hybrid: a file _hybrid in a folder of $fpath, or source <(hybrid completion zsh)
_hybrid() {
    local place="" next names="" before=${words[CURRENT-1]}
    local -i given=0
    local -a below options
    for next in "${(@)words[2,CURRENT-1]}"; do
        case "$place $next" in
            (*\\ -*) ;;
            (%(known)s) place="$place $next" ;;
            (*) given=1; break ;;
        esac
    done
    case "$place" in
%(rows)s
    esac
    case "$before" in
        (--format) compadd -- %(formats)s; return ;;
        (--node|--to) compadd -- ${(f)"$(timeout 0.5 hybrid node list -q 2>/dev/null)"}; return ;;
    esac
    if [[ "${words[CURRENT]}" == -* ]]; then
        _describe -o option options
    elif (( given == 0 )); then
        (( $#below )) && _describe command below
        [[ -n "$names" ]] && compadd -- ${(f)"$(timeout 0.5 hybrid ${=names} -q 2>/dev/null)"}
    fi
}
if [[ "${funcstack[1]}" == _hybrid ]]; then _hybrid "$@"; else compdef _hybrid hybrid; fi
"""


def _in_zsh(place: Place) -> str:
    words, options = (_described(some) for some in (place.words, place.options))
    return f"        ('{_led(place.path)}') below=({words}); options=({options}); names='{place.names}' ;;"


def _described(some: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"'{word}:{text}'" if text else f"'{word}'" for word, text in some)


_FISH = """\
# fish completion for hybrid; load it with: hybrid completion fish | source
function __hybrid_next
    set -l place ""
    set -l given 0
    set -l names ""
    set -l words (commandline -opc)
    for next in $words[2..-1]
        if string match -q -- '-*' $next
            continue
        else if contains -- "$place $next" %(known)s
            set place "$place $next"
        else
            set given 1
            break
        end
    end
    switch $words[-1]
        case --format
            string split ' ' -- '%(formats)s'
            return
        case --node --to
            timeout 0.5 hybrid node list -q 2>/dev/null
            return
    end
    set -l options
    set -l below
    switch "$place"
%(rows)s
    end
    if string match -q -- '-*' (commandline -ct)
        set -q options[1]; and printf '%%s\\n' $options
    else if test $given -eq 0
        set -q below[1]; and printf '%%s\\n' $below
        test -n "$names"; and timeout 0.5 hybrid (string split ' ' -- $names) -q 2>/dev/null
    end
end
complete -c hybrid -f -a '(__hybrid_next)'
"""


def _in_fish(place: Place) -> str:
    words, options = (" ".join(f"'{word}'\\t'{text}'" for word, text in some) for some in (place.words, place.options))
    return (
        f"        case '{_led(place.path)}'\n            set below {words}\n            set options {options}\n"
        f"            set names '{place.names}'"
    )


def _led(path: str) -> str:
    """A path as the scripts collect it: a space before each word."""
    return f" {path}" if path else ""


def _patterns(known: list[str]) -> str:
    return "|".join(f'"{_led(path)}"' for path in known)


def _listed(known: list[str]) -> str:
    return " ".join(f"'{_led(path)}'" for path in known)


_SHELLS: dict[str, tuple[str, Callable[[list[str]], str], Callable[[Place], str]]] = {
    "bash": (_BASH, _patterns, _in_bash),
    "zsh": (_ZSH, _patterns, _in_zsh),
    "fish": (_FISH, _listed, _in_fish),
}
