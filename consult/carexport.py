"""What is held about a car or a person, as a folder that people can read: JSON, CSV, an index and a README."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, Final

from consult.errors import ConsultError, DataUnusable
from consult.export import export_recording
from consult.recording import Recording
from consult.roomfiles import RoomFiles
from diag.facts import Text, iso_from_ns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from consult.cardata import Held
    from consult.roomkeys import KeySource

__all__ = ["ExportFolder", "export_car"]

_PIECE: Final = 1 << 20
_README: Final = Text(
    """# What is held about {what}

Made {made}. `index.json` lists every file with its SHA-256.

- `rooms/ROOM/room.json`: when the room was open, how long its record is kept.
- `rooms/ROOM/report.json`, `events.json`, `samples.csv`, `files/`: what the scan said, what people said and did, what
  was measured, what was brought.
- `rooms/ROOM/consents.json`: who was told what, and agreed to what; the wordings are in `consent-texts.json`.
- `rooms/ROOM/deletion.json`: the certificate of a room that was deleted.
- `audit.json`: what the service noted about these rooms.
- `service/`: what other parts of the service keep.

Times ending in `_us` are microseconds since 1970 (UTC). A `.csv` holds the same rows as the `.json` beside it. Names of
other people stand in it: whoever hands this on has to weigh their rights too.
""",
    """# 与{what}有关的全部数据

生成时间：{made}。`index.json` 列出所有文件及其 SHA-256。

- `rooms/会诊室/room.json`：会诊时间和记录保存期限。
- `rooms/会诊室/report.json`、`events.json`、`samples.csv`、`files/`：扫描报告、聊天和操作、测量数据、上传的文件。
- `rooms/会诊室/consents.json`：告知和同意记录；原文见 `consent-texts.json`。
- `rooms/会诊室/deletion.json`：已删除会诊室的删除证明。
- `audit.json`：服务端关于这些会诊室的审计记录。
- `service/`：服务端其他部分保存的数据。

以 `_us` 结尾的时间为自 1970 年起的微秒数（UTC）。`.csv` 与同名 `.json` 内容相同。
其中含有他人姓名，转交前请一并考虑他人的权利。
""",
)


class ExportFolder:
    """A folder being filled.

    Args:
        folder: new or empty.

    Raises:
        DataUnusable: by every method, where it cannot be written; also where something is in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[dict[str, Any]] = []
        self.missing: list[dict[str, str]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_empty = not any(folder.iterdir())
        except OSError as error:
            raise DataUnusable(str(folder), error.strerror or str(error)) from error
        if not is_empty:
            raise DataUnusable(str(folder), "not empty")

    def path(self, name: str) -> Path:
        """Where a file of this name goes; its folder is there."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataUnusable(str(path.parent), error.strerror or str(error)) from error
        return path

    def note(self, name: str) -> None:
        """A file has been written: it stands in the index."""
        path = self.folder / name
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.files.append({"path": name, "bytes": path.stat().st_size, "sha256": digest})

    def write(self, name: str, text: str) -> None:
        """One text file."""
        path = self.path(name)
        try:
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise DataUnusable(str(path), error.strerror or str(error)) from error
        self.note(name)

    def document(self, name: str, body: dict[str, Any]) -> None:
        """A document as JSON; its rows, where it has some, as CSV too."""
        self.write(f"{name}.json", json.dumps(body, ensure_ascii=False, indent=1) + "\n")
        rows = body.get("rows")
        if isinstance(rows, list) and rows:
            self.write(f"{name}.csv", _csv(rows))

    def finish(self, what: Text, facts: dict[str, Any], now_us: int) -> dict[str, Any]:
        """Writes README and index; returns the index."""
        made = iso_from_ns(now_us * 1000)
        self.write("README.md", _README.en.format(what=what.en, made=made))
        self.write("README.zh.md", _README.zh.format(what=what.zh, made=made))
        index = {**facts, "made": made, "files": self.files, "missing": self.missing}
        path = self.folder / "index.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return index


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a byte order mark, by which spreadsheets know that it is UTF-8."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return out.getvalue()


def _cell(value: Any) -> str:
    """A value as a spreadsheet takes it: nothing that people wrote begins a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and text[:1] else text


def export_car(
    folder: Path,
    vin: str,
    held: Held,
    keys: KeySource,
    now_us: int,
) -> dict[str, Any]:
    """Writes everything that is held about a car; returns the index, ``huizhen.car-data/1``, with what is missing.

    Raises:
        DataUnusable: the folder cannot be written, or is not empty.
    """
    out = ExportFolder(folder)
    for name, body in held.documents:
        out.document(name, body)
    unread = {one.what for one in held.unreadable if not one.is_part}
    out.missing += [one.to_json() for one in held.unreadable]
    for room in held.rooms:
        if room.path is None:
            continue
        base = f"rooms/{room.ident}"
        try:
            samples = f"{base}/samples.csv"
            export_recording(room.path, out.path(samples), keys)
            out.note(samples)
            _copy_files(out, base, room.path, keys)
        except ConsultError as error:
            if f"{base}/samples.csv" not in {one["path"] for one in out.files}:
                (folder / base / "samples.csv").unlink(missing_ok=True)
            if room.ident not in unread:
                out.missing.append({"room": room.ident, "error": error.code, "text": str(error)})
    facts = {
        "schema": "huizhen.car-data/1",
        "vin": vin,
        "rooms": [
            {"room": room.ident, "deleted": room.path is None, "readable": room.is_readable} for room in held.rooms
        ],
        "unknown": held.unknown,
    }
    return out.finish(Text(f"the car {vin}", f"车辆 {vin} "), facts, now_us)


def _copy_files(out: ExportFolder, base: str, record: Path, keys: KeySource) -> None:
    with Recording(record, keys) as recording:
        brought = {e["body"]["sha256"]: e["body"]["name"] for e in recording.events() if e["kind"] == "file"}
        if not brought:
            return
        files = RoomFiles(record.with_suffix(".files"), recording.content.files)
        for sha256, told in brought.items():
            safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in str(told))[-80:]
            name = f"{base}/files/{sha256[:12]}-{safe}"
            source = files.open(sha256)
            if source is None:
                out.missing.append({"file": sha256, "text": str(told)})
                continue
            path = out.path(name)
            path.touch(mode=0o600)
            with source, path.open("wb") as target:
                while piece := source.read(_PIECE):
                    target.write(piece)
            out.note(name)
