"""Opens a signal set, whichever of the two formats it is in; recognised by content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dbc.errors import FileMissing, NotASignalSet, Phrase
from dbc.signalset.obdb import parse_obdb
from dbc.signalset.torque import is_torque, parse_torque

if TYPE_CHECKING:
    from dbc.signalset.model import SignalSet

__all__ = ["load_signal_set", "parse_signal_set"]

_LIMIT: Final = 32 * 1024 * 1024


def load_signal_set(path: str | Path) -> SignalSet:
    """Reads an OBDb set (JSON, version 3) or Torque's CSV.

    A file that is called ``default.json``, as OBDb's are, is named after its folder.

    Raises:
        FileMissing: it cannot be read.
        NotASignalSet: it is neither.
    """
    place = Path(path)
    try:
        with place.open("rb") as file:
            content = file.read(_LIMIT + 1)
    except OSError as error:
        raise FileMissing(str(path), error.strerror or str(error)) from error
    if len(content) > _LIMIT:
        raise NotASignalSet(str(path), Phrase(f"more than {_LIMIT} bytes", f"超过 {_LIMIT} 字节"))
    name = place.resolve().parent.name if place.stem == "default" else place.stem
    return parse_signal_set(content, name=name, path=str(path))


def parse_signal_set(content: bytes, *, name: str, path: str) -> SignalSet:
    """The set in the content of a file.

    Raises:
        NotASignalSet: it is neither format.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    if is_torque(text):
        return parse_torque(text, name=name, path=path)
    if not text.lstrip().startswith("{"):
        raise NotASignalSet(path, Phrase("neither JSON nor Torque's columns", "既不是 JSON，也没有 Torque 的列名"))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotASignalSet(path, Phrase(f"broken JSON: {error}", f"JSON 损坏：{error}")) from error
    return parse_obdb(document, name=name, path=path)
