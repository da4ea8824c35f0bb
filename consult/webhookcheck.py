"""One test notice for one webhook, outside a running service."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final

from consult.mailer import compose_mail
from consult.notices import Notice
from consult.noticesettings import MailServer, Webhook
from consult.webhooksender import make_sender
from consult.webhookshapes import KeptNotice, compose
from diag.facts import Text

if TYPE_CHECKING:
    from consult.noticesettings import Hook
    from consult.webhookshapes import Verdict

__all__ = ["send_once", "show", "trial_notice"]

_TITLE: Final = Text("Test notice", "测试通知")
_TEXT: Final = Text("Notices of the room service arrive here.", "会诊服务的通知会发送到这里。")


def trial_notice(severity: str, t_us: int) -> KeptNotice:
    """A notice that says that it is only a test."""
    return KeptNotice(0, f"msg_{uuid.uuid4().hex}", Notice("service", severity, _TITLE, _TEXT, t_us))


def show(hook: Hook, kept: KeptNotice, base_url: str, now_us: int) -> Any:
    """What would be sent: the JSON body, or the mail as text. No address, no key, no header."""
    if isinstance(hook, Webhook):
        body = json.loads(compose(hook, [kept], base_url, now_us).body)
        body.pop("sign", None)
        return body
    if isinstance(hook, MailServer):
        message = compose_mail(hook, [kept], base_url, now_us)
        return {"subject": str(message["Subject"]), "text": message.get_content()}
    raise TypeError(hook)


async def send_once(hook: Hook, kept: KeptNotice, base_url: str, now_us: int) -> Verdict:
    """Sends it, once."""
    sender = make_sender(hook)
    try:
        return await sender.send([kept], base_url, now_us)
    finally:
        await sender.close()
