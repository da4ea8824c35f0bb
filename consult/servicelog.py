"""The service's log: one line for each thing, as JSON or text, without personal data and without secrets.

What the program says of itself is safe already; this stands behind it. Errors of libraries and of the system carry
paths, addresses and values that nobody chose to log.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consult.settingkinds import flag, one_line, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp import web

__all__ = [
    "ACCESS",
    "LOG_SETTINGS",
    "LogSettings",
    "Redactor",
    "ServiceFormatter",
    "log_request",
    "make_handler",
]

ACCESS: Final = "consult.access"
"""The logger for requests; each line names the route's pattern, never the path."""

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_MAX_CHARS: Final = 4000
_MAX_FRAMES: Final = 12

_VIN: Final = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]{0,16}\d)[A-HJ-NPR-Za-hj-npr-z0-9]{17}(?![A-Za-z0-9])")
_MAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
_PHONE: Final = re.compile(
    r"(?<![\w.])(?:(?:\+|00)86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![\w.])|(?<![\w.])\+\d(?:[ -]?\d){7,14}(?!\d)"
)
_PLATE: Final = re.compile(
    r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼使领][A-HJ-NP-Z]"
    r"[·• ]?[A-HJ-NP-Z0-9]{4,5}[A-HJ-NP-Z0-9挂学警港澳]"
)
_SECRET: Final = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32,}(?![A-Za-z0-9_-])")
_NAMED_SECRET: Final = re.compile(
    r"(?i)\b((?:access_)?token|secret|password|passwd|credential|sign|key|cookie|huizhen_\w+|invite|code)"
    r"(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&)\]}'\"]+)"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")
_QUERY: Final = re.compile(r"((?:https?|wss?)://[^\s?#'\"<>]+)[?#][^\s'\"<>]*")
_USERINFO: Final = re.compile(r"((?:https?|wss?|smtps?)://)[^\s/@'\"<>]+@")
_JOIN: Final = re.compile(r"(/join)#[^\s'\"<>]+")
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:\.\d{1,3}){0,3}(?:%\w+)?(?![\w:])")
_ROOM: Final = re.compile(r"\broom ([0-9a-f]{12})\b")
_SAFE_CODE: Final = re.compile(r"[a-z][a-z0-9.-]{0,63}")
_MIN_NAME_CHARS: Final = 2


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How the log is written.

    Args:
        format: ``json``, ``text``, or None for the few lines that a person in a terminal reads.
        level: ``debug``, ``info``, ``warning``, ``error``.
        file: where to; None for standard error. Moved away by somebody, it is begun anew.
        access: a line for each request, at level ``info``.
    """

    format: str | None = None
    level: str = "info"
    file: Path | None = None
    access: bool = True


LOG_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "format": one_of("json", "text"),
    "level": one_of(*_LEVELS),
    "file": one_line,
    "access": flag,
}


class Redactor:
    """Takes out of a text what leads to a person or opens a door.

    Args:
        names: the names of people as they are now, asked for each line.
    """

    def __init__(self, names: Callable[[], Iterable[str]] = tuple) -> None:
        self._names = names

    def __call__(self, text: str) -> str:
        """The text without it: one line."""
        text = text[: 4 * _MAX_CHARS]
        text = _JOIN.sub(r"\1#[secret]", text)
        text = _QUERY.sub(r"\1?[secret]", text)
        text = _USERINFO.sub(r"\1[secret]@", text)
        text = _BEARER.sub(r"\1 [secret]", text)
        text = _NAMED_SECRET.sub(_hide_value, text)
        text = _MAIL.sub("[e-mail]", text)
        text = _VIN.sub("[vin]", text)
        text = _SECRET.sub("[secret]", text)
        text = _IPV6.sub(_shorten, text)
        text = _IPV4.sub(_shorten, text)
        text = _PHONE.sub("[phone]", text)
        text = _PLATE.sub("[plate]", text)
        text = self._without_names(text)
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:_MAX_CHARS]

    def _without_names(self, text: str) -> str:
        try:
            names = {name for name in self._names() if len(name) >= _MIN_NAME_CHARS}
        except Exception:  # noqa: BLE001 - a log line that cannot be checked for names is not written
            return "[names unknown, line held back]"
        for name in sorted(names, key=lambda one: (-len(one), one)):
            if name in text:
                # A short Latin name may be part of a word; between Chinese characters there are no borders.
                border = r"(?<![A-Za-z0-9]){}(?![A-Za-z0-9])" if name.isascii() else "{}"
                text = re.sub(border.format(re.escape(name)), "[name]", text)
        return text


def _hide_value(found: re.Match[str]) -> str:
    name, joint, value = found.groups()
    # ``code: consult.room-closed`` and ``code=1006`` are no secrets.
    if name.lower() == "code" and (_SAFE_CODE.fullmatch(value.strip("'\"")) or value.isdecimal()):
        return found.group(0)
    return f"{name}{joint}[secret]"


def _shorten(found: re.Match[str]) -> str:
    """An address as its network: /24, /48. This machine stays."""
    try:
        address = ip_address(found.group(0).partition("%")[0])
    except ValueError:
        return found.group(0)
    if address.is_loopback or address.is_unspecified:
        return found.group(0)
    return str(ip_network((address, 24 if address.version == 4 else 48), strict=False))


class ServiceFormatter(logging.Formatter):
    """Formats a record as one JSON object or one line of text, redacted.

    JSON: ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``event`` (the sentence before its values are filled in),
    ``message``; where known ``room``, ``code`` (an error's), ``error`` and ``trace``; for requests ``method``,
    ``route``, ``status``, ``duration_ms``.
    """

    def __init__(self, *, as_json: bool, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._as_json = as_json
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        body = self.body_of(record)
        if self._as_json:
            return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        tail = f" | {body['error']}" if "error" in body else ""
        return f"{body['time']} {body['level']} {body['logger']} {body['message']}{tail}"

    def body_of(self, record: logging.LogRecord) -> dict[str, Any]:
        """A record as JSON."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - whatever the values are, the line itself is told
            message = str(record.msg)
        time = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        redact = _as_it_is if record.name == ACCESS else self._redact
        body: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redact(str(record.msg)) if isinstance(record.msg, str) and record.args else "",
            "message": redact(message),
        }
        body["event"] = body["event"] or body["message"]
        for key in ("method", "route", "status", "duration_ms"):
            if key in vars(record):
                body[key] = vars(record)[key]
        if found := _ROOM.search(message):
            body["room"] = found.group(1)
        args = record.args if isinstance(record.args, tuple) else ()
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        for one in (*args, error):
            code = getattr(type(one), "code", None)
            if isinstance(one, BaseException) and isinstance(code, str) and _SAFE_CODE.fullmatch(code):
                body["code"] = code
        if error is not None:
            body["error"] = self._redact(f"{type(error).__name__}: {error}")
            body["trace"] = _trace(error)
        return body


def _as_it_is(text: str) -> str:
    """A line that is made of a route's pattern and figures alone: there is nothing to take out."""
    return text


def _trace(error: BaseException) -> list[str]:
    """Where it happened, innermost last: file, line, function. No values, no source."""
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


class _LogFile(logging.handlers.WatchedFileHandler):
    """A file that its owner alone reads, begun anew when somebody has moved it away."""

    def _open(self) -> Any:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()


def make_handler(settings: LogSettings, names: Callable[[], Iterable[str]] = tuple) -> logging.Handler:
    """A handler for the loggers of this package.

    Raises:
        OSError: the file cannot be written.
    """
    handler: logging.Handler
    handler = logging.StreamHandler() if settings.file is None else _LogFile(settings.file, encoding="utf-8")
    handler.setLevel(_LEVELS[settings.level])
    handler.setFormatter(ServiceFormatter(as_json=settings.format != "text", redact=Redactor(names)))
    if not settings.access:
        handler.addFilter(lambda record: record.name != ACCESS)
    return handler


_access = logging.getLogger(ACCESS)


def log_request(request: web.Request, status: int, duration_s: float) -> None:
    """A request was answered."""
    if not _access.isEnabledFor(logging.INFO):
        return
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "-"
    told = {"method": request.method[:16], "route": route, "status": status, "duration_ms": round(duration_s * 1000, 1)}
    _access.info("%s %s %d %.1f ms", told["method"], route, status, told["duration_ms"], extra=told)
