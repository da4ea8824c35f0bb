"""What may come next on a command line, for shells that ask while somebody types.

The answer is read off the parser itself, so that no command, option or choice can be missing; values that only this
machine knows (scenarios, adapters, fixes, settings) are looked up when they are asked for.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from huizhen.language import Translator

__all__ = ["Answer", "Choice", "complete", "words_of_line"]

_MANY: Final = ("*", "+", argparse.REMAINDER)
_FILES: Final = ("FILE", "MAP", "SET", "LOG", "SCAN", "BEFORE", "AFTER", "IN", "OUT", "CERTIFICATE")
_FOLDERS: Final = ("DIR", "FOLDER")


@dataclass(frozen=True, slots=True)
class Choice:
    """One word that may stand there.

    Args:
        value: as it is typed.
        about: a line about it; empty where it needs none.
    """

    value: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that may stand there.

    Args:
        choices: the words that fit what was typed of it.
        places: ``files`` or ``folders`` where one of those may stand there; empty else.
    """

    choices: tuple[Choice, ...] = ()
    places: str = ""


def words_of_line(line: str) -> list[str]:
    """A command line up to the cursor in words as a shell would take it apart; the last is the one being typed."""
    words, word, quote, is_begun, is_escaped = [], "", "", False, False
    for char in line:
        if is_escaped:
            word, is_escaped = word + char, False
        elif char == "\\" and quote != "'":
            is_begun = is_escaped = True
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "'\"":
            quote, is_begun = char, True
        elif char.isspace():
            if is_begun:
                words.append(word)
            word, is_begun = "", False
        else:
            word, is_begun = word + char, True
    return [*words, word]


def complete(parser: argparse.ArgumentParser, words: Sequence[str], tr: Translator) -> Answer:
    """What may stand in place of the last of ``words``.

    Args:
        parser: the whole program's; of the commands at least the typed one has to be filled in.
        words: after the program's name; the last one is being typed and may be empty.
        tr: says what the choices are.
    """
    *before, typed = words or [""]
    state = _State(parser)
    for word in before:
        state.take(word)
    return _fitting(state.answer(typed, tr), typed)


def _fitting(answer: Answer, typed: str) -> Answer:
    return Answer(tuple(choice for choice in answer.choices if choice.value.startswith(typed)), answer.places)


class _State:
    """How far a command line has come."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._path: list[str] = []
        self._enter(parser)
        self._waiting: argparse.Action | None = None
        self._only_positional = False
        self._given: set[str] = set()

    def _enter(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._options: dict[str, argparse.Action] = {
            name: action
            for action in parser._actions  # noqa: SLF001 - argparse has no other list of its options
            for name in action.option_strings
        }
        self._positionals = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001
        self._taken: list[str] = []

    def take(self, word: str) -> None:
        """Goes on by a whole word."""
        if self._waiting is not None and not (self._waiting.nargs in _MANY and word.startswith("-")):
            if self._waiting.nargs not in _MANY:
                self._waiting = None
            return
        self._waiting = None
        if word == "--" and not self._only_positional:
            self._only_positional = True
        elif word.startswith("-") and word != "-" and not self._only_positional:
            name, equals, _ = word.partition("=")
            action = self._options.get(name)
            self._given.add(name)
            if action is not None and action.nargs != 0 and not equals:
                self._waiting = action
        else:
            self._take_positional(word)

    def _take_positional(self, word: str) -> None:
        action = self._next_positional()
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            child = action.choices.get(word)
            if child is not None:
                self._path.append(word)
                self._enter(child)
                return
        self._taken.append(word)

    def _next_positional(self) -> argparse.Action | None:
        left = len(self._taken)
        for action in self._positionals:
            if action.nargs in _MANY:
                return action
            if left == 0:
                return action
            left -= action.nargs if isinstance(action.nargs, int) else 1
        return None

    def answer(self, typed: str, tr: Translator) -> Answer:
        """What may come now."""
        if self._waiting is not None:
            return self._values(self._waiting, tr)
        if typed.startswith("--") and "=" in typed and not self._only_positional:
            name = typed.partition("=")[0]
            action = self._options.get(name)
            if action is None or action.nargs == 0:
                return Answer()
            values = self._values(action, tr)
            return Answer(tuple(Choice(f"{name}={one.value}", one.about) for one in values.choices), values.places)
        if typed.startswith("-") and not self._only_positional:
            return Answer(tuple(self._option_choices()))
        action = self._next_positional()
        if action is None:
            return Answer()
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            told = {item.dest: item.help or "" for item in action._choices_actions}  # noqa: SLF001
            return Answer(tuple(Choice(name, told.get(name, "")) for name in action.choices))
        return self._values(action, tr)

    def _option_choices(self) -> Iterable[Choice]:
        """One name of each option, the long one where it has one; those that were given already come no more."""
        for action in dict.fromkeys(self._options.values()):
            is_repeatable = isinstance(action, argparse._AppendAction)  # noqa: SLF001
            if action.help == argparse.SUPPRESS or (not is_repeatable and self._given & set(action.option_strings)):
                continue
            yield Choice(max(action.option_strings, key=len), (action.help or "").replace("%%", "%"))

    def _values(self, action: argparse.Action, tr: Translator) -> Answer:
        if action.choices is not None:
            return Answer(tuple(Choice(str(value)) for value in action.choices))
        from huizhen.completionvalues import known_values

        command = " ".join(self._path)
        choices = tuple(Choice(*pair) for pair in known_values(command, action.dest, self._taken, tr))
        told = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        words = told.replace("…", "").replace("|", " ").replace(".", " ").split()
        if any(word in _FOLDERS for word in words):
            return Answer(choices, "folders")
        return Answer(choices, "files" if any(word in _FILES for word in words) else "")
