"""Names of makes and models as keys that all writers share: Mercedes-Benz, MERCEDES BENZ and 奔驰 are the same."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casebase.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["best_model", "is_make", "make_key", "model_key", "sisters_of"]

_ALIASES: Final = Path(__file__).parent / "content" / "makes.toml"
_PUNCTUATION: Final = re.compile(r"[\W_]+")
_REMARK: Final = re.compile(r"[（(][^（）()]*[)）]")
_LEAST_PREFIX: Final = 3


@cache
def _aliases() -> Mapping[str, str]:
    data = tomllib.loads(_ALIASES.read_text(encoding="utf-8"))
    return {_plain(name): _plain(key) for key, names in data["makes"].items() for name in (key, *names)}


@cache
def _platforms() -> Mapping[tuple[str, str], frozenset[tuple[str, str]]]:
    data = tomllib.loads(_ALIASES.read_text(encoding="utf-8"))
    groups = [frozenset((make_key(make), model_key(model)) for make, model in g) for g in data["platforms"].values()]
    return {member: group for group in groups for member in group}


def sisters_of(make: str | None, model: str | None) -> frozenset[tuple[str, str]]:
    """Keys of make and model of the cars that share a platform with this one, itself too; empty where none is known."""
    key = make_key(make)
    known = [name for brand, name in _platforms() if brand == key]
    name = best_model(model_key(model), known) if model else None
    return _platforms()[key, name] if name else frozenset()


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", fold(name))


@lru_cache(maxsize=1 << 12)
def make_key(name: str | None) -> str:
    """The make without case, punctuation and language; empty when there is none."""
    key = _plain(name or "")
    if key not in _aliases() and name:
        key = _plain(_REMARK.sub("", name)) or key  # 极星(浙江豪情), Ford (US)
    return _aliases().get(key, key)


def is_make(name: str) -> bool:
    """Whether a name is that of a make that ``makes.toml`` lists."""
    return _plain(name) in _aliases()


@lru_cache(maxsize=1 << 14)
def model_key(name: str | None) -> str:
    """The model without case and punctuation; empty when there is none."""
    return _plain(name or "")


def best_model(wanted: str, known: Iterable[str]) -> str | None:
    """Which of the known models a name means: itself, else the longest that one of the two begins with.

    ``model3longrange`` means ``model3``, and ``id4`` means ``id4crozz`` when there is no ``id4``.
    """
    names = set(known)
    if wanted in names:
        return wanted
    near = [
        name
        for name in names
        if min(len(name), len(wanted)) >= _LEAST_PREFIX and (wanted.startswith(name) or name.startswith(wanted))
    ]
    return max(near, key=lambda name: (len(name), name), default=None)
