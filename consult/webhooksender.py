"""Carries one message to one webhook: to the address that is configured and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
from yarl import URL

from consult.mailer import Mailer, compose_mail
from consult.noticesettings import MailServer, Webhook
from consult.webhookshapes import Outcome, Verdict, compose, judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.noticesettings import Hook
    from consult.webhookshapes import KeptNotice

__all__ = ["Sender", "make_sender"]

_TIMEOUT_S: Final = 15.0
_MAX_ANSWER_BYTES: Final = 16_384


class Sender(Protocol):
    """One webhook's carrier."""

    async def send(self, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Verdict:
        """Sends some notices as one message."""
        ...

    async def close(self) -> None:
        """Ends it; what is under way is given up."""
        ...


def make_sender(hook: Hook, *, timeout_s: float = _TIMEOUT_S) -> Sender:
    """The carrier that a hook needs."""
    if isinstance(hook, Webhook):
        return _HttpSender(hook, timeout_s)
    if isinstance(hook, MailServer):
        return _MailSender(hook)
    raise TypeError(hook)


class _HttpSender:
    def __init__(self, hook: Webhook, timeout_s: float) -> None:
        self._hook = hook
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def send(self, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Verdict:
        letter = compose(self._hook, kept, base_url, now_us)
        try:
            session = self._session or await self._open()
            async with (
                asyncio.timeout(self._timeout_s),
                session.post(
                    URL(letter.url, encoded=True), data=letter.body, headers=letter.headers, allow_redirects=False
                ) as answer,
            ):
                said = b""
                while len(said) < _MAX_ANSWER_BYTES and (part := await answer.content.read(_MAX_ANSWER_BYTES)):
                    said += part
                if len(said) >= _MAX_ANSWER_BYTES:
                    answer.close()
                return judge(self._hook.speaks, answer.status, said, answer.headers.get("Retry-After", ""))
        # What these say may name the address, and with it the key: only their kind is told.
        except TimeoutError:
            return Verdict(Outcome.LATER, "timeout")
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return Verdict(Outcome.LATER, "tls")
        except (aiohttp.ClientError, OSError, ValueError):
            return Verdict(Outcome.LATER, "unreachable")

    async def _open(self) -> aiohttp.ClientSession:
        ca = str(self._hook.ca) if self._hook.ca else None
        context = await asyncio.to_thread(ssl.create_default_context, cafile=ca)
        # No proxy from the environment, no cookies, nothing unpacked.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=2, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "huizhen", "Accept-Encoding": "identity"},
        )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _MailSender:
    def __init__(self, mail: MailServer) -> None:
        self._mail = mail
        self._mailer = Mailer(mail)

    async def send(self, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> Verdict:
        message = compose_mail(self._mail, kept, base_url, now_us)
        return await asyncio.to_thread(self._mailer.send, message)

    async def close(self) -> None:
        self._mailer.abort()
