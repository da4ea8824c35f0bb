"""NHTSA's public files: the index of recall documents, and the four flat files as anyone downloads them.

Rows are yielded one by one as what they say, or as the reason why a row says nothing. Column layouts: the registers'
own "README" texts (CMPL, RCL, TSBS, INV).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from casebase.errors import ImportUnreadable
from casebase.imports.files import cells, heading_of, opened, read_csv, read_lines
from casebase.notices import Notice, Vehicle
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["SOURCE", "Row", "is_complaints", "read_flat", "read_recall_index"]

SOURCE: Final = "nhtsa"
Row = tuple[int, Notice | Text]
"""Number of the row in its file, and what it says or why it says nothing."""

_CAMPAIGN: Final = re.compile(r"(\d{2}[A-Z]\d{3})(?:\d{3})?")
_INDEX_COLUMNS: Final = ("NHTSA ID", "DOCUMENT NAME", "MAKE", "MODEL", "MODEL YEAR", "SUMMARY")
_UNKNOWN_YEAR: Final = 9999
_RECALL_FIELDS: Final = 23
_COMPLAINT_FIELDS: Final = 46
_NO_SUMMARY: Final = "there is no summary"


def campaign_of(number: str) -> str | None:
    """``20V001`` of ``20V001000`` and of its part ``20V001002``; None when it is no campaign's number."""
    found = _CAMPAIGN.fullmatch(number.strip().upper())
    return found.group(1) if found else None


def _vehicle(make: str, model: str, year: str) -> Vehicle | Text:
    if not make:
        return Text("no make", "缺少品牌")
    if year in ("", str(_UNKNOWN_YEAR)):
        return Vehicle(make, model)
    if not year.isdigit() or not 1900 <= int(year) <= 2100:
        return Text(f"'{year[:20]}' is no model year", f"“{year[:20]}”不是年款")
    return Vehicle(make, model, int(year), int(year))


def read_recall_index(file: BinaryIO, path: str) -> Iterator[Row]:
    """The index of recall documents: one row for each document and vehicle.

    Raises:
        ImportUnreadable: the columns are not those of the index.
    """
    records = read_csv(file)
    heading = [name.upper() for name in heading_of(records, path)]
    if missing := [name for name in _INDEX_COLUMNS if name not in heading]:
        raise ImportUnreadable(path, Text(f"no column '{missing[0]}'", f"缺少列“{missing[0]}”"))
    where = [heading.index(name) for name in _INDEX_COLUMNS]
    for number, record in enumerate(records, start=2):
        if isinstance(record, Text):
            yield number, record
            continue
        if not any(record):
            continue
        fields = cells(record, len(heading))
        campaign, _, make, model, year, summary = (fields[i] for i in where)
        if not campaign or len(campaign) > 40:
            yield number, Text("no NHTSA ID", "缺少 NHTSA ID")
            continue
        vehicle = _vehicle(make, model, year)
        if isinstance(vehicle, Text):
            yield number, vehicle
            continue
        notice = Notice(SOURCE, campaign.upper(), "recall", vehicles={vehicle})
        if summary:
            notice.texts.add(summary)
        yield number, notice


def read_flat(file: BinaryIO, path: str) -> Iterator[Row]:
    """One of the flat files (tab-separated, no heading); which one is told by its fields.

    Raises:
        ImportUnreadable: it is none of them.
    """
    kind = None
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if kind is None:
            kind = _kind_of(fields)
            if kind is None:
                raise ImportUnreadable(
                    path, Text("not one of NHTSA's flat files (tab-separated)", "不是 NHTSA 的制表符分隔文件")
                )
        if _kind_of(fields) != kind:
            yield (
                number,
                Text(f"{len(fields)} fields, not those of a {kind}", f"共 {len(fields)} 个字段，与该文件类型不符"),
            )
            continue
        if kind == "complaint":
            raise ImportUnreadable(path, Text("complaints are cases", "投诉属于案例"))
        yield number, _READERS[kind](fields)


def _kind_of(fields: list[str]) -> str | None:
    count = len(fields)
    if count >= _COMPLAINT_FIELDS and fields[0].isdigit() and fields[1].isdigit():
        return "complaint"
    if _RECALL_FIELDS <= count < _COMPLAINT_FIELDS and campaign_of(fields[1]):
        return "recall"
    if count == 11 and re.fullmatch(r"[A-Z]{1,4}\d{4,8}", fields[0]):
        return "investigation"
    if 10 <= count <= 14 and fields[2].isdigit() and fields[3].isdigit():
        return "bulletin"
    return None


def is_complaints(path: Path) -> bool:
    """Whether a flat file is the one of the complaints, whose rows are cases and no notices."""
    with opened(path) as file:
        first = next((line for line in read_lines(file) if line.strip()), "")
    return _kind_of([field.strip() for field in first.split("\t")]) == "complaint"


def _recall(fields: list[str]) -> Notice | Text:
    vehicle = _vehicle(fields[2], fields[3], fields[4])
    campaign = campaign_of(fields[1])
    if isinstance(vehicle, Text) or campaign is None:
        return vehicle if isinstance(vehicle, Text) else Text("no campaign number", "缺少召回编号")
    defect, consequence, remedy, more = fields[19], fields[20], fields[21], fields[22]
    notice = Notice(
        SOURCE, campaign, "recall", defect, fields[6], remedy, fields[7], _date(fields[15]), vehicles={vehicle}
    )
    notice.texts |= {text for text in (defect, consequence, remedy, more) if text}
    return notice


def _bulletin(fields: list[str]) -> Notice | Text:
    vehicle = _vehicle(fields[5], fields[6], fields[7])
    if isinstance(vehicle, Text):
        return vehicle
    component = re.sub(r"^\d{6}\s+", "", fields[4])
    notice = Notice(
        SOURCE, f"TSB-{fields[2]}", "bulletin", fields[9], component, published=_date(fields[3]), vehicles={vehicle}
    )
    notice.texts |= {text for text in (fields[9], component) if text}
    return notice


def _investigation(fields: list[str]) -> Notice | Text:
    vehicle = _vehicle(fields[1], fields[2], fields[3])
    if isinstance(vehicle, Text):
        return vehicle
    notice = Notice(
        SOURCE, fields[0], "investigation", fields[9], fields[4], maker=fields[5], published=_date(fields[6]),
        vehicles={vehicle},
    )  # fmt: skip
    said = "" if fields[10].lower().startswith(_NO_SUMMARY) else fields[10]
    campaign = campaign_of(fields[8])
    if campaign:
        notice.remedy = f"Recall {campaign}"
    notice.texts |= {text for text in (fields[9], said, fields[4]) if text}
    return notice


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if re.fullmatch(r"\d{8}", value) else ""


_READERS: Final = {
    "recall": _recall,
    "bulletin": _bulletin,
    "investigation": _investigation,
}
