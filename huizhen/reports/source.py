"""What a report is made of: a saved scan, a session bundle, a battery report; read, checked, and named by its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from diag.facts import Text
from huizhen.files import json_text
from huizhen.reporterrors import ReportInput
from huizhen.reports.form import BATTERY, EVENT, SCAN, NotOfThisForm, check_form

if TYPE_CHECKING:
    from diag.facts import Json
    from huizhen.sessionbundle import Session

__all__ = ["ReportSource", "load_event", "load_source", "loaded_json", "source_of"]

_MOST_BYTES: Final = 200_000_000
_MOST_EVENT: Final = 4_000_000
_LONGEST_S: Final = 3600.0
_FORMS: Final = {"huizhen.scan": SCAN, "huizhen.battery": BATTERY}
_VERSION: Final = "/1"


@dataclass(frozen=True, slots=True)
class ReportSource:
    """What was saved.

    Args:
        path: as given.
        value: ``huizhen.scan/1`` or ``huizhen.battery/1``, checked.
        sha256: of the file; of a bundle that of its manifest.
        session: the whole visit, where it is a bundle.
    """

    path: str
    value: Json
    sha256: str
    session: Session | None = None

    @property
    def is_scan(self) -> bool:
        """A scan of the whole car, not its battery alone."""
        return str(self.value["schema"]).startswith("huizhen.scan/")

    @property
    def battery(self) -> Json | None:
        """The battery's part, of either."""
        found: Json | None = self.value["battery"] if self.is_scan else self.value
        return found


def loaded_json(path: str, most: int) -> tuple[Any, bytes]:
    """A JSON file with its bytes; figures that JSON does not know (NaN) are refused.

    Raises:
        ReportInput: it cannot be read, is too large, or is none.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ReportInput(path, error.strerror or str(error)) from error
    if len(content) > most:
        raise ReportInput(path, Text("it is too large", "文件过大"))
    return _parsed(content, path), content


def _parsed(content: bytes, path: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ReportInput(path, Text("it is no JSON", "不是 JSON")) from error


def load_source(path: str) -> ReportSource:
    """Reads what a report is to be made of.

    Raises:
        ReportInput: it cannot be read, is none of the three, is of another version, or is damaged; says where.
        BundleBroken: it is a bundle that is not as it was made.
    """
    from diag.bundle import is_bundle
    from huizhen.sessionbundle import load_session

    session = None
    if is_bundle(path):
        session = load_session(path)
        value, digest = _parsed(session.bundle.members.get("report.json", b""), path), session.bundle.digest
    else:
        value, content = loaded_json(path, _MOST_BYTES)
        digest = hashlib.sha256(content).hexdigest()
    schema = value.get("schema") if isinstance(value, dict) else None
    name, _, version = str(schema).partition("/")
    if name not in _FORMS:
        raise ReportInput(
            path,
            Text(
                "it is no saved scan (scan -o), session bundle or battery report (battery -o FILE.json)",
                "不是保存的扫描结果（scan -o）、会话包或电池报告（battery -o 文件.json）",
            ),
        )
    if f"/{version}" != _VERSION:
        known = f"{name}{_VERSION}"
        shown = str(schema)[:60]
        raise ReportInput(
            path, Text(f"its version is {shown}, this program reads {known}", f"版本为 {shown}，本程序可读 {known}")
        )
    checked(value, _FORMS[name], path)
    return ReportSource(path, value, digest, session)


def source_of(value: Json, path: str) -> ReportSource:
    """What was just made, as it would be after saving and loading it: with the hash of the file that ``-o`` writes.

    Args:
        value: ``huizhen.scan/1`` or ``huizhen.battery/1``.
        path: how to call it.
    """
    return ReportSource(path, value, hashlib.sha256(json_text(value).encode()).hexdigest())


def checked(value: Any, form: Any, path: str) -> None:
    """Holds a file's value against its form.

    Raises:
        ReportInput: says where it does not fit.
    """
    try:
        check_form(value, form)
    except NotOfThisForm as error:
        where = error.place[:120]
        reason = Text(f"{where} is missing", f"缺少 {where}")
        if error.what is not None:
            reason = Text(f"{where} has to be {error.what.en}", f"{where} 须为{error.what.zh}")
        raise ReportInput(path, reason) from error


def load_event(path: str) -> tuple[Json, Path]:
    """What the flight recorder kept: the event's JSON and the file of its frames.

    Raises:
        ReportInput: it is none, or its frames are not beside it.
    """
    value, _ = loaded_json(path, _MOST_EVENT)
    if not isinstance(value, dict) or value.get("schema") != "huizhen.event/1":
        raise ReportInput(
            path, Text("it is no event of the flight recorder (event-….json)", "不是故障记录事件（event-….json）")
        )
    checked(value, EVENT, path)
    if not -_LONGEST_S <= value["from_s"] <= 0 <= value["to_s"] <= _LONGEST_S:
        raise ReportInput(path, Text("it is longer than an hour", "时长超过一小时"))
    name = value["frames_file"]
    frames = Path(path).parent / name
    if Path(name).name != name or not frames.is_file():
        shown = name[:80]
        raise ReportInput(path, Text(f"its frames ({shown}) are not beside it", f"旁边没有其报文文件（{shown}）"))
    return value, frames
