"""Kinds of values that settings of the configuration file take. Each raises ValueError with what it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["flag", "one_line", "one_of", "some_of"]

_MAX_CHARS: Final = 500


def one_of(*words: str) -> Callable[[Any], str]:
    """One of some words."""

    def one(value: Any) -> str:
        if value not in words or not isinstance(value, str):
            raise ValueError(Text("one of " + ", ".join(words), "下列之一：" + "、".join(words)))
        return value

    return one


def some_of(*words: str) -> Callable[[Any], tuple[str, ...]]:
    """A list of some of some words."""

    def some(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one in words for one in value):
            raise ValueError(Text("a list of some of " + ", ".join(words), "列表，可含：" + "、".join(words)))
        return tuple(value)

    return some


def flag(value: Any) -> bool:
    """True or false."""
    if value is True or value is False:
        return bool(value)
    raise ValueError(Text("true or false", "true 或 false"))


def one_line(value: Any) -> str:
    """A text of one line."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_CHARS or not value.isprintable():
        raise ValueError(Text("a text of one line", "单行文本"))
    return value
