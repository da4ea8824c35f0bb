"""``huizhen completion``: the script that makes a shell complete our command lines, and the answers it asks for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from huizhen.exits import Exit

if TYPE_CHECKING:
    from huizhen.cli import Commands
    from huizhen.completion import Answer
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["SHELLS", "add_parser", "run"]

SHELLS: Final = ("bash", "zsh", "fish")

_BASH: Final = r"""# bash completion of huizhen
_huizhen() {
    local current="${COMP_WORDS[COMP_CWORD]}" line="${COMP_LINE:0:COMP_POINT}" whole places item answer=()
    COMPREPLY=()
    while IFS= read -r item; do answer+=("$item"); done \
        < <("${COMP_WORDS[0]}" completion bash --answer "$line" 2>/dev/null)
    ((${#answer[@]} > 1)) || return
    whole="${answer[0]#:}" places="${answer[1]#:}"
    local IFS=$'\n'
    COMPREPLY=("${answer[@]:2}")
    if [[ $places == files ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY+=($(compgen -f -- "$whole"))
    elif [[ $places == folders ]]; then
        compopt -o filenames 2>/dev/null
        COMPREPLY+=($(compgen -d -- "$whole"))
    fi
    # Bash takes a word apart at : and =, and puts in only what follows them.
    local cut=$((${#whole} - ${#current})) i
    [[ $current == [:=] ]] && cut=${#whole}
    if ((cut > 0)); then
        for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]="${COMPREPLY[i]:cut}"; done
    fi
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace 2>/dev/null
}
complete -F _huizhen huizhen
"""

_ZSH: Final = r"""#compdef huizhen
_huizhen() {
    local -a answer choices
    local line value about
    answer=("${(@f)$("${words[1]}" completion zsh --answer "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${(@)answer[3,-1]}"; do
        value="${line%%$'\t'*}" about="${line#*$'\t'}"
        [[ "$line" == *$'\t'* && -n "$about" ]] && choices+=("${value//:/\\:}:$about") || choices+=("${value//:/\\:}")
    done
    (( ${#choices} )) && _describe -V huizhen choices
    [[ "${answer[2]}" == :files ]] && _files
    [[ "${answer[2]}" == :folders ]] && _files -/
    return 0
}
if [[ "${funcstack[1]}" == _huizhen ]]; then _huizhen "$@"; else compdef _huizhen huizhen; fi
"""

_FISH: Final = r"""# fish completion of huizhen
function __huizhen_answer
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    test (count $typed) -eq 0; and set typed ""
    set -l answer ($words[1] completion fish --answer $words[2..-1] $typed 2>/dev/null)
    test (count $answer) -gt 2; and printf '%s\n' $answer[3..-1]
    test "$answer[2]" = :files; and __fish_complete_path $typed
    test "$answer[2]" = :folders; and __fish_complete_directories $typed
end
complete -c huizhen -f -k -a '(__huizhen_answer)'
"""

_SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_parser(commands: Commands, common: argparse.ArgumentParser, tr: Translator) -> None:
    """Names the options of ``completion``."""
    parser = commands.add_parser(
        "completion",
        parents=[common],
        help=tr("completion.help"),
        description=tr("completion.description"),
        epilog=tr("completion.epilog"),
    )
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS), help=tr("completion.shell"))
    parser.add_argument("--answer", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(args: argparse.Namespace, console: Console) -> int:
    """Prints the script, or what may come next; returns the exit code."""
    if args.answer is None:
        console.out.write(_SCRIPTS[args.shell])
        return Exit.DONE
    from huizhen.cli import build_parser
    from huizhen.completion import complete, words_of_line

    words = words_of_line(args.answer[0] if args.answer else "")[1:] if args.shell == "bash" else args.answer
    words = words or [""]
    answer = complete(build_parser(console.tr, words), words, console.tr)
    _print(answer, words[-1], args.shell, console)
    return Exit.DONE


def _print(answer: Answer, typed: str, shell: str, console: Console) -> None:
    """What the scripts read: the word being typed, what kinds of files may follow, then a choice per line."""
    console.out.write(f":{typed}\n:{answer.places}\n")
    for choice in answer.choices:
        about = " ".join(choice.about.split())
        console.out.write(f"{choice.value}\t{about}\n" if about and shell != "bash" else f"{choice.value}\n")
