"""Chinese recall notices as JSON lines: the facts of each with the page it was read on.

One object a line: ``id``, ``make``, ``model``, ``defect``, ``remedy``, and where known ``number``, ``announced``,
``prod_from``, ``prod_to`` (dates), ``vehicles`` (how many), ``kind``, ``url``, ``lang``. A model field may name several
(``Model S/X``, ``EX360/EU400``) and a remark in brackets.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from casebase.imports.files import read_lines
from casebase.notices import Notice, Vehicle
from casebase.vehicles import is_make
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from casebase.imports.nhtsa import Row

__all__ = ["SOURCE", "read_samr"]

SOURCE: Final = "samr"
_REMARK: Final = re.compile(r"[（(][^）)]*[）)]")
_YEAR: Final = re.compile(r"(\d{4})(-\d{2}(-\d{2})?)?")
_BRAND_SIZES: Final = (4, 3, 2)
_MODEL_YEAR: Final = re.compile(r"(20\d{2})\s*款")


def read_samr(file: BinaryIO, path: str) -> Iterator[Row]:
    """The notices of a file."""
    del path
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError:
            yield number, Text("not JSON", "不是 JSON")
            continue
        yield number, _notice(data)


def _notice(data: object) -> Notice | Text:
    if not isinstance(data, dict):
        return Text("not a JSON object", "不是 JSON 对象")
    told = {key: value for key, value in data.items() if isinstance(value, str)}
    if missing := [key for key in ("id", "make", "model", "defect") if not told.get(key, "").strip()]:
        return Text(f"no '{missing[0]}'", f"缺少“{missing[0]}”")
    make = _REMARK.sub("", told["make"]).strip()
    notice = Notice(
        SOURCE, told["id"], "recall", told["defect"], told.get("kind", ""),
        told.get("remedy", ""), make, told.get("announced", ""), told.get("url", ""), "zh",
    )  # fmt: skip
    for key in ("prod_from", "prod_to", "announced"):
        if key in told and not _YEAR.fullmatch(told[key]):
            return Text(f"'{told[key][:20]}' is no date", f"“{told[key][:20]}”不是日期")
    years = _years(told)
    notice.vehicles = {
        Vehicle(name, model, *years) for said in _models(told["model"]) for name, model in _names(make, said)
    }
    notice.texts = {text for text in (told["defect"], told.get("remedy", ""), told.get("number", "")) if text}
    return notice


def _years(told: dict[str, str]) -> tuple[int, int]:
    """Model years: the named one, else those of the building dates and the next, else any."""
    if named := _MODEL_YEAR.search(told["model"]):
        return int(named.group(1)), int(named.group(1))
    if "prod_from" in told and "prod_to" in told:
        return int(told["prod_from"][:4]), int(told["prod_to"][:4]) + 1
    return 0, 9999


def _models(said: str) -> list[str]:
    """``Model S/X`` is Model S and Model X; a remark and a model year are no part of the name."""
    plain = _MODEL_YEAR.sub("", _REMARK.sub("", said)).replace("首发版", "").strip()
    parts = [part.strip() for part in re.split(r"[/、,，]", plain) if part.strip()]
    if not parts:
        return [""]
    words = parts[0].split()
    first = " ".join(words[:-1])
    further = (f"{first} {part}" if first and len(part) <= len(words[-1]) else part for part in parts[1:])
    return [parts[0], *further]


def _names(make: str, model: str) -> set[tuple[str, str]]:
    """Make and model as written, and with the brand in front of the model: a 长城 欧拉黑猫 is an 欧拉 黑猫."""
    out = {(make, model)}
    for size in _BRAND_SIZES:
        brand, rest = model[:size], model[size:].strip()
        if rest and is_make(brand):
            out |= {(brand, model), (brand, rest), (make, rest)}
    return out
