"""Cases from files: JSON lines, a workshop's own spreadsheet, saved scans and visits, NHTSA's complaints."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from casebase.errors import BadEvidence, ImportUnreadable
from casebase.imports.files import heading_of, read_csv, read_lines
from casebase.population import week_of
from casebase.record import Case, case_from_json, time_of
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

__all__ = [
    "FIELDS",
    "CaseRow",
    "Sheet",
    "load_sheet",
    "read_complaints",
    "read_exposure",
    "read_scan",
    "read_scan_folder",
    "read_sheet",
]

CaseRow = tuple[int, Case | Text]
"""Number of the row in its file, and the case or why there is none."""

FIELDS: Final = (
    "id", "opened", "closed", "vin", "make", "model", "model_year", "batch", "mileage_km", "symptom", "dtcs",
    "component", "failure_mode", "action", "fix", "outcome", "note",
)  # fmt: skip
"""What a column of a spreadsheet can be."""
_SPLIT: Final = re.compile(r"[;,、，；/\s]+")
_CODE: Final = re.compile(r"[PCBU][0-3][0-9A-F]{3}(?:[-:]?[0-9A-F]{2})?", re.IGNORECASE)
_YEAR: Final = re.compile(r"(19|20)\d{2}")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_MOST_CARS: Final = 1e9
_MARK: Final = ("fixed", "not-fixed", "something-else")


def read_scan(file: BinaryIO, car_key: Callable[[str], str], source: str) -> Iterator[CaseRow]:
    """A saved scan, or several one a line: cases that nobody has closed yet."""
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        try:
            scan = json.loads(line)
            if not isinstance(scan, dict) or not str(scan.get("schema") or "").startswith("huizhen.scan/"):
                yield number, Text("not a saved scan", "不是保存的扫描结果")
                continue
            yield number, case_from_json({**scan, "opened": scan.get("started")}, car_key, source)
        except (ValueError, RecursionError):
            yield number, Text("not JSON", "不是 JSON")
        except BadEvidence as error:
            yield number, error.told


def read_scan_folder(folder: Path, car_key: Callable[[str], str], source: str) -> Iterator[CaseRow]:
    """The saved scans of a folder, with what its ``fleet.jsonl`` knows of the cars (see ``huizhen sim fleet``)."""
    known: dict[str, dict[str, Any]] = {}
    fleet = folder / "fleet.jsonl"
    if fleet.is_file():
        for line in fleet.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            known[str(told.get("report"))] = told
    for number, path in enumerate(sorted(folder.glob("*.json")), start=1):
        try:
            scan = json.loads(path.read_bytes())
            if not isinstance(scan, dict) or not str(scan.get("schema") or "").startswith("huizhen.scan/"):
                yield number, Text(f"{path.name}: not a saved scan", f"{path.name}：不是保存的扫描结果")
                continue
            yield number, case_from_json(_of_fleet(scan, known.get(path.name, {})), car_key, source)
        except (OSError, ValueError, RecursionError):
            yield number, Text(f"{path.name}: cannot be read", f"{path.name}：无法读取")
        except BadEvidence as error:
            reason = error.told
            yield number, Text(f"{path.name}: {reason.en}", f"{path.name}：{reason.zh}")


def _of_fleet(scan: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A scan with batch, mileage, climate and charging where the fleet's list has them, and the programs it read."""
    vehicle = dict(scan.get("vehicle") or {})
    vehicle["model"] = vehicle.get("model") or known.get("vehicle")
    vehicle["batch"] = vehicle.get("batch") or known.get("batch")
    programs = {}
    for ecu in scan.get("ecus") or []:
        told = ecu.get("identification") or {}
        version = told.get("vehicleManufacturerECUSoftwareVersionNumber")
        if version and ecu.get("role"):
            programs[ecu["role"]] = version
    vehicle["software"] = vehicle.get("software") or programs
    context = {name: known[key] for name, key in (("climate", "region"), ("charging", "charging")) if key in known}
    more: dict[str, Any] = {"vehicle": vehicle, "opened": known.get("visited") or scan.get("started")}
    if context:
        more["context"] = context
    if known.get("odometer_km") is not None:
        more["mileage_km"] = known["odometer_km"]
    battery = scan.get("battery")
    if isinstance(battery, dict):
        more["features"] = battery.get("features")
    return {**scan, **more}


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a workshop's spreadsheet is read.

    Args:
        columns: heading -> one of :data:`FIELDS`; several headings may make one field.
        outcomes: what the workshop writes -> an outcome.
        assume: the outcome of a row that says none; None leaves it unverified.
        role: of the ECU that codes without one belong to, None where nobody knows.
    """

    columns: Mapping[str, str]
    outcomes: Mapping[str, str]
    assume: str | None = None
    role: str | None = None


def load_sheet(path: Path) -> Sheet:
    """A column mapping: TOML with ``[columns]`` and, where needed, ``[outcomes]``, ``assume``, ``role``.

    Raises:
        ImportUnreadable: it says something else.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportUnreadable(str(path), error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ImportUnreadable(str(path), str(error)) from error
    if unknown := set(data) - {"columns", "outcomes", "assume", "role"}:
        raise ImportUnreadable(str(path), Text(f"unknown key '{min(unknown)}'", f"未知的键“{min(unknown)}”"))
    columns, outcomes = data.get("columns"), data.get("outcomes", {})
    if not isinstance(columns, dict) or not columns or not isinstance(outcomes, dict):
        raise ImportUnreadable(str(path), Text("needs a table [columns]", "需要 [columns] 表"))
    for heading, name in columns.items():
        if name not in FIELDS:
            listed = ", ".join(FIELDS)
            raise ImportUnreadable(
                str(path),
                Text(f"'{heading}': '{name}' is none of {listed}", f"“{heading}”：“{name}”不在 {listed} 之中"),
            )
    for value in (*outcomes.values(), *([data["assume"]] if "assume" in data else [])):
        if value not in _MARK:
            listed = ", ".join(_MARK)
            raise ImportUnreadable(str(path), Text(f"'{value}' is none of {listed}", f"“{value}”不在 {listed} 之中"))
    return Sheet(
        columns, {str(key).strip(): value for key, value in outcomes.items()}, data.get("assume"), data.get("role")
    )


def read_sheet(
    file: BinaryIO, path: str, car_key: Callable[[str], str], source: str, sheet: Sheet | None
) -> Iterator[CaseRow]:
    """A CSV, tab-separated or Excel file with a heading.

    Raises:
        ImportUnreadable: a column of the mapping is not there.
    """
    records = _excel(file, path) if path.lower().endswith((".xlsx", ".xlsm")) else read_csv(file)
    heading = heading_of(records, path)
    if sheet is None:
        sheet = Sheet({name: name for name in heading if name in FIELDS}, {})
        if not {"symptom", "dtcs"} & set(sheet.columns):
            raise ImportUnreadable(path, Text("a spreadsheet needs a column mapping", "导入表格需要列映射文件"))
    if missing := [name for name in sheet.columns if name not in heading]:
        raise ImportUnreadable(path, Text(f"no column '{missing[0]}'", f"缺少列“{missing[0]}”"))
    where = [(heading.index(name), field) for name, field in sheet.columns.items()]
    for number, record in enumerate(records, start=2):
        if isinstance(record, Text):
            yield number, record
            continue
        told: dict[str, str] = {}
        for at, field in where:
            value = record[at].strip() if at < len(record) else ""
            if value:
                told[field] = f"{told[field]} {value}" if field in told else value
        if not told:
            continue
        try:
            yield number, case_from_json(_line(told, sheet), car_key, source)
        except BadEvidence as error:
            yield number, error.told


def read_exposure(file: BinaryIO, path: str) -> Iterator[tuple[int, tuple[str, str, int, float] | Text]]:
    """Cars on the road: CSV with the columns ``week`` (any day of it), ``make``, ``model``, ``cars``.

    Raises:
        ImportUnreadable: a column is missing.
    """
    records = read_csv(file)
    heading = [name.lower() for name in heading_of(records, path)]
    if missing := [name for name in ("week", "make", "model", "cars") if name not in heading]:
        raise ImportUnreadable(path, Text(f"no column '{missing[0]}'", f"缺少列“{missing[0]}”"))
    where = [heading.index(name) for name in ("week", "make", "model", "cars")]
    for number, record in enumerate(records, start=2):
        if isinstance(record, Text):
            yield number, record
            continue
        if not any(record):
            continue
        week, make, model, cars = (record[at].strip() if at < len(record) else "" for at in where)
        try:
            day, count = time_of(week, "week"), float(cars)
        except (BadEvidence, ValueError):
            day, count = None, -1.0
        if day is None or not 0.0 <= count < _MOST_CARS:
            yield number, Text("no date, or no number of cars", "没有日期或车辆数")
            continue
        yield number, (make, model, week_of(day), count)


def _line(told: Mapping[str, str], sheet: Sheet) -> dict[str, Any]:
    """A row as the JSON of a case.

    Raises:
        BadEvidence: a field says something that it cannot say.
    """
    line: dict[str, Any] = {key: told[key] for key in ("id", "vin", "symptom", "note", "component") if key in told}
    line["vehicle"] = {key: told[key] for key in ("make", "model", "batch") if key in told}
    if "model_year" in told:
        year = _YEAR.search(told["model_year"])
        if year is None:
            said = told["model_year"][:20]
            raise BadEvidence("model_year", Text(f"'{said}' is no year", f"“{said}”不是年款"))
        line["vehicle"]["model_year"] = int(year.group())
    if "mileage_km" in told:
        plain = told["mileage_km"].replace(",", "").replace("，", "")
        found = _NUMBER.search(plain)
        if found is None:
            said = told["mileage_km"][:20]
            raise BadEvidence("mileage_km", Text(f"'{said}' is no number", f"“{said}”不是数字"))
        line["mileage_km"] = float(found.group()) * (10_000.0 if "万" in plain else 1.0)
    if "dtcs" in told:
        codes = [code.upper() for code in _SPLIT.split(told["dtcs"]) if _CODE.fullmatch(code)]
        line["dtcs"] = [f"{code}@{sheet.role}" if sheet.role else code for code in codes]
    for key in ("opened", "closed"):
        if key in told:
            line[key] = told[key]
    line["outcome"] = _outcome(told.get("outcome", ""), sheet)
    if "action" in told or "failure_mode" in told:
        line["fix"] = {key: told.get(key, "") for key in ("component", "failure_mode", "action")}
        line["fix"]["action"] = line["fix"]["action"] or told.get("failure_mode", "")
    elif "fix" in told:
        line["fix"] = told["fix"]
    return line


def _outcome(said: str, sheet: Sheet) -> str | None:
    if not said:
        return sheet.assume
    if said in sheet.outcomes:
        return sheet.outcomes[said]
    if said in _MARK:
        return said
    raise BadEvidence("outcome", Text(f"'{said[:20]}' is not in [outcomes]", f"“{said[:20]}”未在 [outcomes] 中列出"))


def _excel(file: BinaryIO, path: str) -> Iterator[list[str] | Text]:
    """Rows of the first sheet, everything as text."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(file, read_only=True, data_only=True)
    except Exception as error:
        raise ImportUnreadable(path, Text(f"not an Excel file ({error})", f"不是 Excel 文件（{error}）")) from error
    for row in book.worksheets[0].iter_rows(values_only=True):
        yield ["" if cell is None else _cell(cell) for cell in row]


def _cell(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def read_complaints(file: BinaryIO, car_key: Callable[[str], str], source: str) -> Iterator[CaseRow]:
    """NHTSA's complaints: cases whose cause nobody has told. Names of places and owners are not taken."""
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 46:
            yield number, Text(f"only {len(fields)} fields", f"仅 {len(fields)} 个字段")
            continue
        year = fields[5] if fields[5] != "9999" else None
        day = next((d for d in (fields[7], fields[16], fields[15]) if re.fullmatch(r"\d{8}", d)), None)
        told = {
            "id": f"{fields[1]} {fields[11]}",
            "symptom": fields[19],
            "vehicle": {"make": fields[3], "model": fields[4], "model_year": year},
            "component": fields[11],
            "opened": f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else None,
            "mileage_km": float(fields[17]) * 1.609344 if fields[17].isdigit() else None,
        }
        try:
            yield number, case_from_json(told, car_key, source)
        except BadEvidence as error:
            yield number, error.told
