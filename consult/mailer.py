"""Notices by mail.

Standard: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 5322 and 2047 (the message).
"""

from __future__ import annotations

import base64
import contextlib
import smtplib
import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from consult.webhookshapes import Outcome, Verdict, lines_of, link_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consult.noticesettings import MailServer
    from consult.webhookshapes import KeptNotice

__all__ = ["Mailer", "compose_mail"]

_TIMEOUT_S: Final = 15.0
_SEVERITY: Final = {"danger": "危险 DANGER", "high": "高 high", "normal": ""}


def compose_mail(mail: MailServer, kept: Sequence[KeptNotice], base_url: str, now_us: int) -> EmailMessage:
    """The message for some notices; its Message-ID is that of the first one, the same each time it is sent."""
    first = kept[0]
    titles, _ = lines_of(first, mail.language)
    grade = _SEVERITY[first.notice.severity]
    subject = " ".join(part for part in ("[会诊]", grade, " / ".join(titles)) if part)
    if len(kept) > 1:
        subject += f" (+{len(kept) - 1})"
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.fromtimestamp(now_us / 1e6, tz=UTC))
    message["Message-ID"] = f"<{first.ident}@{mail.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    if first.notice.severity == "danger":
        message["Importance"] = "high"
    parts = []
    for one in kept:
        head, texts = lines_of(one, mail.language)
        parts.append("\n".join([*head, *texts, link_of(base_url, one.notice), one.ident]))
    message.set_content("\n\n----\n\n".join(parts) + "\n")
    return message


class Mailer:
    """Sends to one server; in a thread, one message at a time. :meth:`abort` ends one that is under way."""

    def __init__(self, mail: MailServer) -> None:
        self._mail = mail
        self._open: smtplib.SMTP | None = None

    def send(self, message: EmailMessage) -> Verdict:
        """Hands a message to the server and waits for its word."""
        try:
            server = self._connected()
            try:
                refused = server.send_message(message, self._mail.sender, list(self._mail.to))
                # It is taken: whatever becomes of the goodbye, it must not go out again.
                with contextlib.suppress(OSError, smtplib.SMTPException):
                    server.quit()
            finally:
                server.close()
        except smtplib.SMTPRecipientsRefused as error:
            codes = {code for code, _ in error.recipients.values()}
            return _verdict(max(codes, default=0))
        except smtplib.SMTPResponseException as error:  # with the server's code; never its text, which may hold names
            return _verdict(error.smtp_code)
        except smtplib.SMTPNotSupportedError:
            return Verdict(Outcome.REFUSED, "smtp-unsupported")
        except ssl.SSLError:
            return Verdict(Outcome.LATER, "tls")
        except (OSError, smtplib.SMTPException, ValueError) as error:
            return Verdict(Outcome.LATER, "timeout" if isinstance(error, TimeoutError) else "unreachable")
        finally:
            self._open = None
        # Some took it: it is sent, and not again to those who have it.
        return Verdict(Outcome.SENT, "some-refused" if refused else "")

    def _connected(self) -> smtplib.SMTP:
        mail = self._mail
        context = ssl.create_default_context(cafile=str(mail.ca) if mail.ca else None)
        if mail.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(mail.host, mail.port, timeout=_TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=_TIMEOUT_S)
        self._open = server
        try:
            server.ehlo()
            if mail.security == "starttls":
                # Refused by the server, this raises: nothing goes over a line that somebody else can read.
                server.starttls(context=context)
                server.ehlo()
            if mail.username:
                _sign_in(server, mail.username, mail.password)
        except BaseException:
            server.close()
            raise
        return server

    def abort(self) -> None:
        """From another thread: whatever is under way ends with an error."""
        server = self._open
        sock = server.sock if server is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _sign_in(server: smtplib.SMTP, username: str, password: str) -> None:
    """By whatever the server offers; letters beyond ASCII need PLAIN, which smtplib sends as ASCII only (RFC 4616)."""
    if (username + password).isascii():
        server.login(username, password)
        return
    told = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
    code, said = server.docmd("AUTH", f"PLAIN {told}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, said)


def _verdict(code: int) -> Verdict:
    """4xx passes, 5xx does not; 535 and 530 (the login) may be mended by the operator: the same for later."""
    is_lasting = code >= 500 and code not in (530, 534, 535, 538)
    return Verdict(Outcome.REFUSED if is_lasting else Outcome.LATER, f"smtp-{code}")
