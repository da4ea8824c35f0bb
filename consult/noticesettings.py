"""Where notices go: the settings of webhooks and of mail, and the rules by which the configuration file is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from consult.notices import KINDS, SEVERITIES
from consult.settingkinds import flag, one_line, one_of, some_of
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consult.notices import Notice

__all__ = [
    "DINGTALK",
    "FEISHU",
    "JSON",
    "MAIL",
    "MAIL_SETTINGS",
    "WEBHOOK_SETTINGS",
    "WECOM",
    "Hook",
    "MailServer",
    "Webhook",
    "is_loopback",
    "mail_fault",
    "webhook_fault",
]

WECOM: Final = "wecom"
DINGTALK: Final = "dingtalk"
FEISHU: Final = "feishu"
JSON: Final = "json"
MAIL: Final = "mail"
_LANGUAGES: Final = ("zh", "en", "both")
_MAX_URL_CHARS: Final = 500
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Somewhere notices go.

    Args:
        name: by which it is shown, and by which what waits for it is kept over a restart.
        language: ``zh``, ``en`` or ``both``.
        kinds: kinds of notices that it takes; empty for all of them.
        severity: the least severity that it takes.
        ca: a file of certificates to trust instead of the system's.
    """

    name: str
    language: str = "both"
    kinds: tuple[str, ...] = ()
    severity: str = "normal"
    ca: Path | None = None

    @property
    def kind(self) -> str:
        """What it speaks."""
        raise NotImplementedError

    def takes(self, notice: Notice) -> bool:
        """Whether a notice goes there."""
        is_grave = SEVERITIES.index(notice.severity) <= SEVERITIES.index(self.severity)
        return is_grave and (not self.kinds or notice.kind in self.kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Hook):
    """An address that takes notices by HTTP. The address of a robot is a secret itself.

    Args:
        speaks: ``wecom``, ``dingtalk``, ``feishu`` or ``json``.
        secret: signs what is sent; WeCom knows none.
        at_all: a notice of danger calls everybody in the group (WeCom, DingTalk).
    """

    speaks: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    at_all: bool = False

    @property
    def kind(self) -> str:
        """What it speaks."""
        return self.speaks


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer(Hook):
    """A mail server that takes notices for some addresses.

    Args:
        security: ``starttls``, ``tls``, or ``plain`` for a server on this machine.
        sender: the address they come from. to: the addresses they go to.
    """

    host: str
    port: int
    security: str = "starttls"
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sender: str = field(repr=False)
    to: tuple[str, ...] = field(repr=False)

    @property
    def kind(self) -> str:
        """What it speaks."""
        return MAIL


def is_loopback(host: str) -> bool:
    """Whether a host can only be this machine."""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(?:\.\d{1,3}){3}", host) is not None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(Text("1–40 of A-Z a-z 0-9 . _ -", "1–40 个 A-Z a-z 0-9 . _ - 字符"))
    return value


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_535:
        raise ValueError(Text("a whole number from 1 to 65535", "1 到 65535 的整数"))
    return value


def _hook_url(value: Any) -> str:
    wrong = ValueError(Text("https://… (http:// only on this machine)", "https://…（http:// 仅限本机）"))
    if not isinstance(value, str) or len(value) > _MAX_URL_CHARS or not value.isascii() or not value.isprintable():
        raise wrong
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    if not host or "@" in parts.netloc or " " in value or parts.fragment:
        raise wrong
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise wrong
    return value


def _address(value: Any) -> str:
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise ValueError(Text("an address such as a@example.com", "邮箱地址，例如 a@example.com"))
    return value


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= 50:
        raise ValueError(Text('a list such as ["a@example.com"]', '列表，例如 ["a@example.com"]'))
    return tuple(_address(one) for one in value)


_HOOK_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "language": one_of(*_LANGUAGES),
    "kinds": some_of(*KINDS),
    "severity": one_of(*SEVERITIES),
    "ca": one_line,
}
WEBHOOK_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _name,
    "kind": one_of(WECOM, DINGTALK, FEISHU, JSON),
    "url": _hook_url,
    "secret": one_line,
    "at_all": flag,
    **_HOOK_SETTINGS,
}
MAIL_SETTINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "host": one_line,
    "port": _port,
    "security": one_of("starttls", "tls", "plain"),
    "username": one_line,
    "password": one_line,
    "from": _address,
    "to": _addresses,
    **_HOOK_SETTINGS,
}


def webhook_fault(settings: dict[str, Any]) -> Text | None:
    """What a ``[[webhook]]`` lacks, or holds that does not go together."""
    if not {"name", "kind", "url"} <= set(settings):
        return Text("a webhook has name, kind and url", "webhook 需要 name、kind 和 url")
    kind, secret = settings["kind"], settings.get("secret", "")
    if settings["name"] == MAIL:
        return Text("the name mail is that of [mail]", "名称 mail 专用于 [mail]")
    if kind == WECOM and secret:
        return Text("WeCom has no secret but its address", "企业微信没有独立密钥，地址即凭据")
    if kind == JSON and len(secret) < 16:
        return Text("a json webhook has a secret of 16 characters and more", "json 类型需要至少 16 个字符的 secret")
    if kind in (FEISHU, JSON) and settings.get("at_all"):
        return Text("at_all is for wecom and dingtalk", "at_all 仅用于 wecom 和 dingtalk")
    return None


def mail_fault(settings: dict[str, Any]) -> Text | None:
    """The same for ``[mail]``."""
    if not {"host", "from", "to"} <= set(settings):
        return Text("mail has host, from and to", "mail 需要 host、from 和 to")
    if ("username" in settings) != ("password" in settings):
        return Text("username and password go together", "username 与 password 须同时给出")
    if settings.get("security") == "plain" and not is_loopback(settings["host"]):
        return Text("plain only to a server on this machine", "plain 仅限本机的邮件服务器")
    return None
