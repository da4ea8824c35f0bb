"""The language catalogue: every sentence a person reads, in Chinese and English.

One TOML file per area (``scan.toml``, ``log.toml``, …). A leaf is ``{ en = "…", zh = "…" }`` with the same
``{placeholders}`` in both. A key is the area and the path in the file: ``scan.stage.listening``. Errors stand in
``errors_<package>.toml`` by their ``code``; their English sentence is the error class's own ``template``, so only the
Chinese one is written there. Texts that belong to data (codes, findings, fixes) travel with the data as
:class:`diag.facts.Text`. A test fails when any of them lacks a language.
"""

from __future__ import annotations

import os
import re
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huizhen.language.system import chinese_from_system_words

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AREAS", "LANGUAGES", "MissingSentence", "Translator", "pick_language", "sentences"]

LANGUAGES: Final = ("en", "zh")
_FOLDER = Path(__file__).parent
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\(.)")
_TEXT: Final = r'(en|zh) = "((?:[^"\\]|\\[nt"\\])*)"'
_LEAF: Final = re.compile(rf'("?)([\w.-]+)\1 = \{{ {_TEXT}(?:, {_TEXT})? \}}')
_HEAD: Final = re.compile(r"\[([\w.-]+)\]")


class MissingSentence(KeyError):
    """A key that the catalogue does not have: a bug, found by the catalogue's test."""


def AREAS() -> tuple[str, ...]:  # noqa: N802 - reads as the constant it is
    """All areas that the catalogue has files for."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


@cache
def sentences(area: str) -> dict[str, dict[str, str]]:
    """All sentences of one area: key (without the area) -> language -> sentence."""
    path = _FOLDER / f"{area}.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return _leaves(text)


def _leaves(text: str) -> dict[str, dict[str, str]]:
    told = _from_lines(text)
    return _from_toml(text) if told is None else told


def _from_lines(text: str) -> dict[str, dict[str, str]] | None:
    """The sentences of a file that is written as ours are, a leaf per line; None where it is not.

    Every start reads some of these files, and reading TOML takes fifteen times as long.
    """
    flat: dict[str, dict[str, str]] = {}
    prefix = ""
    for line in text.splitlines():
        if found := _LEAF.fullmatch(line):
            _, key, *said = found.groups()
            texts = {lang: _plain(text) for lang, text in zip(said[::2], said[1::2], strict=True) if lang}
            flat[f"{prefix}{key}"] = texts
        elif head := _HEAD.fullmatch(line):
            prefix = f"{head[1]}."
        elif line.strip() and not line.startswith("#"):
            return None
    return flat


def _plain(text: str) -> str:
    """What a basic string of TOML means."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda found: _ESCAPES[found[1]], text)


def _from_toml(text: str) -> dict[str, dict[str, str]]:
    import tomllib

    flat: dict[str, dict[str, str]] = {}

    def walk(node: dict[str, Any], prefix: str) -> None:
        for name, child in node.items():
            key = f"{prefix}{name}"
            if all(isinstance(value, str) for value in child.values()):
                flat[key] = child
            else:
                walk(child, f"{key}.")

    walk(tomllib.loads(text), "")
    return flat


def pick_language(asked: str | None) -> str:
    """The language to speak: asked for, else ``HUIZHEN_LANG``, else the locale; English when unsure."""
    for candidate in (
        asked,
        os.environ.get("HUIZHEN_LANG"),
        os.environ.get("LC_ALL"),
        os.environ.get("LC_MESSAGES"),
        os.environ.get("LANG"),
    ):
        if candidate:
            return _language_of(candidate)
    import locale  # Windows has no such variables

    return _language_of(locale.getlocale()[0] or "en")


def _language_of(name: str) -> str:
    """``zh_CN.UTF-8``, ``Chinese (Simplified)_China``."""
    return "zh" if name.lower().startswith(("zh", "chinese")) else "en"


class Translator:
    """Says sentences of the catalogue in one language."""

    def __init__(self, lang: str) -> None:
        self.lang = lang if lang in LANGUAGES else "en"

    def __call__(self, key: str, **fields: object) -> str:
        """The sentence of ``key`` with its placeholders filled.

        Raises:
            MissingSentence: the catalogue lacks it.
        """
        area, _, rest = key.partition(".")
        entry = sentences(area).get(rest)
        if entry is None or self.lang not in entry:
            raise MissingSentence(key)
        if fields and self.lang == "zh":
            fields = {
                name: chinese_from_system_words(value) if isinstance(value, str) else value
                for name, value in fields.items()
            }
        return entry[self.lang].format(**fields) if fields else entry[self.lang]

    def purpose(self, area: str) -> str:
        """What a command is for, in a line: the first ``help`` of its area, read without the rest of the file.

        Raises:
            MissingSentence: the area has none at its beginning.
        """
        with (_FOLDER / f"{area}.toml").open(encoding="utf-8") as file:
            for line in takewhile(lambda line: not line.startswith("["), file):
                if line.startswith("help = "):
                    return _leaves(line)["help"][self.lang]
        raise MissingSentence(f"{area}.help")

    def listed(self, items: Iterable[str]) -> str:
        """Several things of one kind, as the language strings them together."""
        return ("、" if self.lang == "zh" else ", ").join(items)

    def error(self, error: BaseException) -> str:
        """An error's one-line sentence; the English one where the catalogue has no other."""
        code = getattr(type(error), "code", None)
        if self.lang == "en" or not isinstance(code, str):
            return str(error)
        entry = sentences(f"errors_{code.partition('.')[0]}").get(code)
        if entry is None or self.lang not in entry:
            return str(error)
        return entry[self.lang].format(**{name: self._field(value) for name, value in vars(error).items()})

    def _field(self, value: object) -> object:
        """A field of an error in this language: nested errors and bilingual texts are said, the rest stays."""
        if isinstance(value, BaseException):
            return self.error(value)
        if hasattr(value, "en") and hasattr(value, "zh"):
            return getattr(value, self.lang)
        return chinese_from_system_words(value) if isinstance(value, str) else value
