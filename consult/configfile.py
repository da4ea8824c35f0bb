"""The configuration file of a room service: TOML, checked strictly; docs/room-service.md lists every setting."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from consult.errors import ConfigBroken, ConfigUnreadable
from consult.mediaconfig import MediaConfig
from consult.networkconfig import SHOWN, NetworkConfig
from consult.noticesettings import MAIL, MAIL_SETTINGS, WEBHOOK_SETTINGS, MailServer, Webhook, mail_fault, webhook_fault
from consult.privacyconfig import PrivacyConfig
from consult.regions import Region, RegionRules, is_region
from consult.serviceconfig import IceServer, Limits
from consult.servicelog import LOG_SETTINGS, LogSettings
from consult.sharding import Shards
from consult.waitclocks import QueueConfig
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SETTINGS", "load_config"]


class _Wrong(Exception):
    """A value that the setting cannot take; ``args[0]`` says what it can."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 500:
        raise _Wrong(Text("a text that is not empty", "非空文本"))
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(Text("true or false", "true 或 false"))
    return value


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _Wrong(Text(f"a whole number from {low} to {high}", f"{low} 到 {high} 的整数"))
        return value

    return whole


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 600:
        raise _Wrong(Text("seconds from 1 to 600", "1 到 600 的秒数"))
    return float(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.01 <= value <= 0.99:
        raise _Wrong(Text("a share from 0.01 to 0.99", "0.01 到 0.99 的比例"))
    return float(value)


def _url(value: Any) -> str:
    parts = urlsplit(_text(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise _Wrong(Text("https://NAME[:PORT] without a path", "https://域名[:端口]，不带路径"))
    return str(value)


def _token(value: Any) -> str:
    if len(_text(value)) < 16 or not str(value).isascii():
        raise _Wrong(Text("at least 16 letters and digits", "至少 16 个字母数字"))
    return str(value)


def _networks(value: Any) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    wrong = _Wrong(Text('a list of networks, such as ["127.0.0.1", "10.0.0.0/8"]', '网络列表，例如 ["10.0.0.0/8"]'))
    if not isinstance(value, list):
        raise wrong
    try:
        return tuple(ipaddress.ip_network(_text(one)) for one in value)
    except (ValueError, _Wrong):
        raise wrong from None


def _region(value: Any) -> str:
    if not is_region(value):
        raise _Wrong(Text('a code such as "CN"', '代码，例如 "CN"'))
    return str(value)


def _regions(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not value or not all(map(is_region, value)):
        raise _Wrong(Text('a list of codes such as ["CN", "HK"]', '代码列表，例如 ["CN", "HK"]'))
    return frozenset(value)


def _ice_urls(value: Any) -> tuple[str, ...]:
    form = re.compile(r"(?:stun|stuns|turn|turns):[A-Za-z0-9.\-\[\]:]+(?:\?transport=(?:udp|tcp))?")
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(one, str) and form.fullmatch(one) for one in value)
    ):
        raise _Wrong(Text('a list such as ["turn:HOST:3478?transport=udp"]', '列表，例如 ["turn:HOST:3478"]'))
    return tuple(value)


def _tls(value: Any) -> bool:
    if value not in ("auto", "off"):
        raise _Wrong(Text('"auto" or "off"', '"auto" 或 "off"'))
    return bool(value == "auto")


def _engine(value: Any) -> str:
    if value not in ("janus", "none"):
        raise _Wrong(Text('"janus" or "none"', '"janus" 或 "none"'))
    return "" if value == "none" else str(value)


def _media_url(value: Any) -> str:
    parts = urlsplit(_text(value))
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise _Wrong(Text("ws://HOST:PORT", "ws://主机:端口"))
    return str(value)


def _address(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(_text(value)))
    except ValueError:
        raise _Wrong(Text("an address such as 203.0.113.7", "IP 地址，例如 203.0.113.7")) from None


def _addresses(value: Any) -> str:
    if re.fullmatch(r"[A-Za-z0-9.:_,@-]{1,200}", _text(value)) is None:
        raise _Wrong(Text('addresses or interfaces, such as "10.0.0.5" or "eth0"', "地址或网络接口，例如 eth0"))
    return str(value)


def _ports(value: Any) -> tuple[int, int]:
    least = 20
    found = re.fullmatch(r"([0-9]{4,5})-([0-9]{4,5})", value) if isinstance(value, str) else None
    low, high = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if not 1024 <= low <= high - least or high > 65_535:
        raise _Wrong(Text('a range of ports, such as "20000-21000"', '端口范围，例如 "20000-21000"'))
    return low, high


def _shards(value: Any) -> dict[str, str]:
    name = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
    if not isinstance(value, dict) or not value or not all(name.fullmatch(one) for one in value):
        raise _Wrong(
            Text('a table such as {a = "https://a.room.example.com"}', '表，例如 {a = "https://a.example.com"}')
        )
    return {one: _url(address).rstrip("/") for one, address in value.items()}


def _shows(value: Any) -> str:
    if value not in SHOWN:
        raise _Wrong(Text(f"one of {', '.join(SHOWN)}", f"{'、'.join(SHOWN)} 之一"))
    return str(value)


SETTINGS: Final[dict[str, dict[str, Callable[[Any], Any]]]] = {
    "": {
        "host": _text,
        "port": _whole(0, 65_535),
        "data": _text,
        "public_url": _url,
        "tls": _tls,
        "tls_cert": _text,
        "tls_key": _text,
        "trust_port": _whole(0, 65_535),
        "trusted_proxies": _networks,
        "webrtc": _flag,
        "relay_only": _flag,
        "metrics_token": _token,
    },
    "limits": {
        "rooms": _whole(1, 10_000),
        "sockets": _whole(1, 10_000),
        "requests": _whole(10, 1_000_000),
        "joins": _whole(1, 10_000),
        "logins": _whole(2, 10_000),
        "body_bytes": _whole(1024, 1 << 20),
        "request_s": _seconds,
    },
    "network": {
        "on": _flag,
        "library": _text,
        "shows": _shows,
        "visit_days": _whole(1, 36_500),
        "ticket_days": _whole(1, 3_650),
        "lookups_hour": _whole(1, 100_000),
        "lookups_day": _whole(1, 1_000_000),
        "counts_mb": _whole(1, 64),
    },
    "queue": {
        "accept_s": _whole(5, 86_400),
        "danger_accept_s": _whole(5, 86_400),
        "finding_s": _whole(5, 86_400),
        "resolve_s": _whole(5, 864_000),
        "offer_s": _whole(1, 3_600),
        "asked": _whole(1, 100),
        "danger_asked": _whole(1, 100),
        "share": _share,
        "days": _whole(1, 3_650),
    },
    "retention": {"audit_days": _whole(1, 36_500)},
    "media": {
        "engine": _engine,
        "janus": _text,
        "url": _media_url,
        "secret": _token,
        "interface": _addresses,
        "public_ip": _address,
        "ports": _ports,
        "bitrate_kbps": _whole(100, 20_000),
        "record_mb": _whole(1, 1_000_000),
    },
    "privacy": {
        "encrypt": _flag,
        "master_key_file": _text,
        "operator": _text,
        "contact": _text,
        "retention_days": _whole(0, 36_500),
        "retention_min_days": _whole(1, 36_500),
        "retention_max_days": _whole(1, 36_500),
        "notice_required": _flag,
        "region": _region,
        "allow_regions": _regions,
        "accounts_only": _flag,
    },
    "privacy.network": {"region": _region, "networks": _networks},
    "cluster": {"own": _text, "shards": _shards},
    "turn": {"urls": _ice_urls, "secret": _text, "username": _text, "credential": _text},
    "webhook": WEBHOOK_SETTINGS,
    "mail": MAIL_SETTINGS,
    "log": LOG_SETTINGS,
}
"""Table -> setting -> what makes a value of it. The settings outside all tables stand under the empty name."""

_SECRETS: Final = frozenset({"metrics_token", "secret", "credential", "url", "password"})
"""Settings whose values no error shows."""


_VALID: Final = Text("a valid value", "有效的值")
_PLACE: Final = Text("it has region and networks", "需要 region 和 networks")


class _Reader:
    """One file; knows the line of every setting, for errors."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def wrong(self, table: str, key: str | None, reason: Text, index: int = 0) -> ConfigBroken:
        """The error for a setting, or for a table as a whole."""
        return ConfigBroken(str(self._path), self._line_of(table, key, index), reason)

    def _line_of(self, table: str, key: str | None, index: int) -> int:
        here, seen, start = "", -1, 0
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[\[?\s*[\"']?([^\]\"'\s]+)[\"']?\s*\]", line):
                here = header.group(1)
                seen += here == table
                if here == table and seen == index:
                    start = number
            elif here == table and (not table or seen == index) and key is not None:
                name = re.match(r"\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*=", line)
                if name and name.group(1).partition(".")[0] == key:
                    return number
            elif here == "" and re.match(rf"\s*{re.escape(table)}\s*[.=]", line) and table:
                start = start or number
        return start or 1

    def table(self, name: str, found: Any, index: int = 0) -> dict[str, Any]:
        """The checked settings of one table."""
        rules = SETTINGS[name]
        if not isinstance(found, dict):
            raise self.wrong(name, None, Text(f"{name} is a table: [{name}]", f"{name} 应为表：[{name}]"))
        checked = {}
        for key, value in found.items():
            if key not in rules:
                known = ", ".join(rules)
                raise self.wrong(
                    name,
                    key,
                    Text(f"no setting '{key}'; there are {known}", f"没有设置项“{key}”，可用：{known}"),
                    index,
                )
            try:
                checked[key] = rules[key](value)
            except (_Wrong, ValueError) as error:
                can = error.args[0] if error.args and isinstance(error.args[0], Text) else _VALID
                shown = "…" if key in _SECRETS else repr(value)
                reason = Text(f"{key} = {shown}: should be {can.en}", f"{key} = {shown}：应为 {can.zh}")
                raise self.wrong(name, key, reason, index) from None
        return checked


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text and what TOML makes of it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigUnreadable(str(path), error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise ConfigBroken(str(path), number, Text("this is no text in UTF-8", "不是 UTF-8 文本")) from error
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        reason = Text(f"this is no TOML: {error}", f"不是有效的 TOML：{error}")
        raise ConfigBroken(str(path), int(line.group(1)) if line else 1, reason) from error
    return text, found


def load_config(path: Path) -> dict[str, Any]:
    """The settings of a file as arguments of :class:`consult.serviceconfig.ServiceConfig`.

    Paths in the file count from the file's own folder.

    Raises:
        ConfigUnreadable: it cannot be read.
        ConfigBroken: it is no TOML, or a setting is unknown or makes no sense.
    """
    text, found = _read(path)
    reader = _Reader(path, text)
    tables = {name: found.pop(name) for name in SETTINGS if name in found}
    for name, value in found.items():
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value)):
            known = ", ".join(name for name in SETTINGS if name)
            raise reader.wrong(
                name, None, Text(f"no table '{name}'; there are {known}", f"没有表“{name}”，可用：{known}")
            )
    settings = reader.table("", found)
    for key in ("data", "tls_cert", "tls_key"):
        if key in settings:
            settings[key] = path.parent / Path(settings[key]).expanduser()
    if "tls" in settings:
        settings["tls_auto"] = settings.pop("tls")
    settings = {**_parts(reader, tables, path.parent), **settings}
    settings |= _told_outside(reader, tables, path.parent)
    if settings.get("tls_auto") and "tls_cert" in settings:
        raise reader.wrong("", "tls_cert", Text('tls = "auto" makes its own', 'tls = "auto" 会自行生成证书'))
    return settings


def _media(reader: _Reader, tables: dict[str, Any], folder: Path) -> dict[str, MediaConfig]:
    if "media" not in tables:
        return {}
    settings = reader.table("media", tables["media"])
    if ("url" in settings) != ("secret" in settings) or {"url", "janus"} <= set(settings):
        reason = Text(
            "an engine that runs already has url and secret; one of our own may have janus, its program",
            "已在运行的媒体服务需要 url 和 secret；自行启动的可用 janus 指定程序",
        )
        raise reader.wrong("media", None, reason)
    if "janus" in settings:
        settings["janus"] = folder / Path(settings["janus"]).expanduser()
    return {"media": MediaConfig(**settings)}


def _parts(reader: _Reader, tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What stands in tables of its own."""
    parts: dict[str, Any] = {}
    if "limits" in tables:
        parts["limits"] = Limits(**reader.table("limits", tables["limits"]))
    if "network" in tables:
        parts["network"] = NetworkConfig(**reader.table("network", tables["network"]))
    if "queue" in tables:
        parts["queue"] = QueueConfig(**reader.table("queue", tables["queue"]))
    parts |= reader.table("retention", tables.get("retention", {}))
    parts |= _media(reader, tables, folder)
    if "privacy" in tables:
        parts["privacy"] = _privacy(reader, tables["privacy"], folder)
    if "cluster" in tables:
        shards = _cluster(reader, reader.table("cluster", tables["cluster"]))
        parts |= {"shards": shards, "public_url": shards.urls[shards.own]}
    if "turn" in tables:
        parts["ice"] = _turn(reader, tables["turn"])
    return parts


def _privacy(reader: _Reader, found: Any, folder: Path) -> PrivacyConfig:
    listed = found.get("network", []) if isinstance(found, dict) else []
    if not isinstance(listed, list):
        raise reader.wrong(
            "privacy.network", None, Text("a list of tables: [[privacy.network]]", "应为表数组：[[privacy.network]]")
        )
    places = []
    for index, entry in enumerate(listed):
        place = reader.table("privacy.network", entry, index)
        if set(place) != {"region", "networks"}:
            raise reader.wrong("privacy.network", None, _PLACE, index)
        places.append(Region(**place))
    own = {key: value for key, value in found.items() if key != "network"} if isinstance(found, dict) else found
    privacy = reader.table("privacy", own)
    if "master_key_file" in privacy:
        privacy["master_key_file"] = folder / Path(privacy["master_key_file"]).expanduser()
    rules = RegionRules(privacy.pop("allow_regions", frozenset()), tuple(places), privacy.pop("accounts_only", False))
    if missing := rules.missing_networks():
        names = ", ".join(missing)
        reason = Text(
            f"nobody could come from {names}: list their networks in [[privacy.network]]",
            f"{names} 没有网络，无人可从该地区进入：请在 [[privacy.network]] 中列出",
        )
        raise reader.wrong("privacy", "allow_regions", reason)
    made = PrivacyConfig(**privacy, regions=rules)
    days = made.retention_days or made.retention_min_days
    if not made.retention_min_days <= days <= made.retention_max_days:
        reason = Text("the days do not fit each other: min, default, max", "保留天数不一致：应为最小、默认、最大")
        raise reader.wrong("privacy", "retention_days", reason)
    return made


def _cluster(reader: _Reader, found: dict[str, Any]) -> Shards:
    if set(found) != {"own", "shards"} or found["own"] not in found["shards"]:
        raise reader.wrong(
            "cluster", None, Text("own is the name of one of the shards", "own 应为 shards 中的一个名称")
        )
    return Shards(found["own"], found["shards"])


def _turn(reader: _Reader, found: Any) -> tuple[IceServer, ...]:
    if not isinstance(found, list):
        raise reader.wrong("turn", None, Text("turn is a list of tables: [[turn]]", "turn 应为表数组：[[turn]]"))
    servers = []
    for index, entry in enumerate(found):
        settings = reader.table("turn", entry, index)
        fixed = {"username", "credential"} & set(settings)
        needs_key = any(url.startswith("turn") for url in settings.get("urls", ()))
        has_key = "secret" in settings or len(fixed) == 2
        if "urls" not in settings or len(fixed) == 1 or ("secret" in settings and fixed) or needs_key != has_key:
            reason = Text(
                "a relay has urls and either secret or username with credential; a stun server only urls",
                "中继需要 urls，以及 secret 或 username 加 credential；stun 服务器只需 urls",
            )
            raise reader.wrong("turn", None, reason, index)
        servers.append(IceServer(**settings))
    return tuple(servers)


def _with_path(settings: dict[str, Any], key: str, folder: Path) -> dict[str, Any]:
    """The same, with a path that counts from the file's folder."""
    return settings | ({key: folder / Path(settings[key]).expanduser()} if key in settings else {})


def _told_outside(reader: _Reader, tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Where notices and the log go."""
    found: dict[str, Any] = {}
    if "webhook" in tables:
        found["webhooks"] = _webhooks(reader, tables["webhook"], folder)
    if "mail" in tables:
        found["mail"] = _mail(reader, tables["mail"], folder)
    if "log" in tables:
        found["log"] = LogSettings(**_with_path(reader.table("log", tables["log"]), "file", folder))
    return found


def _webhooks(reader: _Reader, found: Any, folder: Path) -> tuple[Webhook, ...]:
    if not isinstance(found, list):
        raise reader.wrong(
            "webhook", None, Text("webhook is a list of tables: [[webhook]]", "webhook 应为表数组：[[webhook]]")
        )
    hooks: list[Webhook] = []
    for index, entry in enumerate(found):
        settings = _with_path(reader.table("webhook", entry, index), "ca", folder)
        fault = webhook_fault(settings)
        if fault is None and any(hook.name == settings["name"] for hook in hooks):
            fault = Text("another webhook has this name", "已有同名 webhook")
        if fault is not None:
            raise reader.wrong("webhook", None, fault, index)
        hooks.append(Webhook(speaks=settings.pop("kind"), **settings))
    return tuple(hooks)


_MAIL_PORTS: Final = {"starttls": 587, "tls": 465, "plain": 25}


def _mail(reader: _Reader, found: Any, folder: Path) -> MailServer:
    settings = _with_path(reader.table("mail", found), "ca", folder)
    fault = mail_fault(settings)
    if fault is not None:
        raise reader.wrong("mail", None, fault)
    settings.setdefault("port", _MAIL_PORTS[settings.get("security", "starttls")])
    return MailServer(name=MAIL, sender=settings.pop("from"), **settings)
