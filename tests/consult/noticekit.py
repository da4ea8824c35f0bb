"""Receivers of notices on this machine that hold to the real protocols, and notices to send.

What they check is written from the vendors' documents and shares no code with what sends.
"""

import asyncio
import base64
import contextlib
import dataclasses
import email
import email.policy
import hashlib
import hmac
import json
import ssl
import time
import urllib.parse
from typing import ClassVar

from aiohttp import web

from consult.notices import Notice
from consult.noticesettings import MailServer, Webhook
from consult.reviewdesk import draft_notice, research_notice
from diag.facts import Text

KEY = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa"
ACCESS_TOKEN = "566cc69da782ec33e42541b09b08551f09fbe864eb8008112e994b43887"
DING_SECRET = "SEC0a1b2c3d4e5f60718293a4b5c6d7e8f9"
FEISHU_SECRET = "feishu-shared-secret"
JSON_SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SECRETS = (KEY, ACCESS_TOKEN, DING_SECRET, FEISHU_SECRET, JSON_SECRET)

PATHS = (
    draft_notice(3, 1).path,
    research_notice(30, Text("a", "a"), 1).path,
    Notice("service", "high", Text("", ""), Text("", ""), 1).path,
    "/r/0123456789ab",
)
"""Of every maker of notices; those of the queue lead to the lobby or into the room."""


class Clock:
    """Real time, moved."""

    def __init__(self):
        self.moved_s = 0.0

    def now_us(self):
        return time.time_ns() // 1000 + int(self.moved_s * 1e6)


def make_notice(n=0, *, kind="queued", severity="normal", t_us=None, **more):
    return Notice(
        kind,
        severity,
        Text(f"A car waits {n}", f"车辆等待会诊 {n}"),
        Text("battery", "电池"),
        time.time_ns() // 1000 if t_us is None else t_us,
        **more,
    )


class Robot:
    """A receiver of one kind. ``taken``: the bodies that it took; ``answers``: what it does instead, one by one."""

    def __init__(self, clock=None):
        self.taken = []
        self.seen = 0
        self.answers = []
        self.limit = 20
        self.times_s = []
        self.clock = clock or Clock()
        self.faults = []
        self.url = ""
        self.port = 0
        self._runner = None
        self.hung = asyncio.Event()

    path = "/"
    good: ClassVar = {}
    too_fast: ClassVar = {}

    async def start(self, port=0, context=None):
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}{self.path}"
        return self

    async def stop(self):
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, *_):
        await self.stop()

    async def handle(self, request):
        self.seen += 1
        data = await request.read()
        if self.answers:
            answer = self.answers.pop(0)
            if answer == "hang":
                self.hung.set()
                await asyncio.sleep(3600)
            if answer == "flood":
                return web.Response(body=b"x" * 5_000_000)
            if isinstance(answer, web.HTTPException):
                raise answer
            if answer is not None:
                return answer
        try:
            body = json.loads(data)
            fault = self.fault_of(request, body, data)
        except (KeyError, TypeError, ValueError) as error:
            fault = self.refusal(f"broken: {error!r}")
        if fault is not None:
            self.faults.append(fault)
            return self.answer(fault)
        now_s = self.clock.now_us() / 1e6
        self.times_s = [one for one in self.times_s if one > now_s - 60]
        if len(self.times_s) >= self.limit:
            self.faults.append("too fast")
            return self.answer(self.too_fast)
        self.times_s.append(now_s)
        self.taken.append(body)
        return self.answer(self.good)

    def answer(self, body):
        return web.json_response(body)

    @property
    def text(self):
        """Everything that it took, as one text."""
        return json.dumps(self.taken, ensure_ascii=False)


class WeCom(Robot):
    """企业微信群机器人, https://developer.work.weixin.qq.com/document/path/91770"""

    path = f"/cgi-bin/webhook/send?key={KEY}"
    good: ClassVar = {"errcode": 0, "errmsg": "ok"}
    too_fast: ClassVar = {"errcode": 45009, "errmsg": "api freq out of limit"}

    def refusal(self, why):
        return {"errcode": 40058, "errmsg": why}

    def fault_of(self, request, body, data):
        if request.method != "POST" or request.path != "/cgi-bin/webhook/send" or request.query["key"] != KEY:
            return {"errcode": 93000, "errmsg": "invalid webhook url"}
        kind = body["msgtype"]
        if kind == "markdown":
            good = set(body) == {"msgtype", "markdown"} and 0 < len(body["markdown"]["content"].encode()) <= 4096
        elif kind == "text":
            good = 0 < len(body["text"]["content"].encode()) <= 2048 and body["text"]["mentioned_list"] == ["@all"]
        else:
            good = False
        return None if good else self.refusal(f"invalid {kind}")


class DingTalk(Robot):
    """钉钉自定义机器人, https://open.dingtalk.com/document/robots/custom-robot-access"""

    path = f"/robot/send?access_token={ACCESS_TOKEN}"
    good: ClassVar = {"errcode": 0, "errmsg": "ok"}
    too_fast: ClassVar = {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"}
    keyword = "会诊"

    def refusal(self, why):
        return {"errcode": 40035, "errmsg": why}

    def fault_of(self, request, body, data):
        query = dict(urllib.parse.parse_qsl(request.rel_url.raw_query_string.replace("+", "%2B"), strict_parsing=True))
        if request.method != "POST" or request.path != "/robot/send" or query["access_token"] != ACCESS_TOKEN:
            return {"errcode": 300005, "errmsg": "token is not exist"}
        message = (query["timestamp"] + "\n" + DING_SECRET).encode("utf-8")
        mac = hmac.new(DING_SECRET.encode("utf-8"), message, digestmod=hashlib.sha256).digest()
        if query["sign"] != base64.b64encode(mac).decode() or abs(int(query["timestamp"]) - self.now_ms()) > 3_600_000:
            return {"errcode": 310000, "errmsg": "sign not match"}
        kind = body["msgtype"]
        if kind == "markdown":
            good = body["markdown"]["title"] and body["markdown"]["text"]
        elif kind == "actionCard":
            card = body["actionCard"]
            good = set(card) == {"title", "text", "singleTitle", "singleURL"} and all(card.values())
        else:
            good = False
        if self.keyword not in json.dumps(body[kind], ensure_ascii=False):
            return {"errcode": 310000, "errmsg": "keywords not in content"}
        return None if good and len(data) <= 20_000 else self.refusal(f"invalid {kind}")

    def now_ms(self):
        return self.clock.now_us() // 1000


class Feishu(Robot):
    """飞书自定义机器人, https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot"""

    path = "/open-apis/bot/v2/hook/5d1d6d31-0000"
    good: ClassVar = {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}
    too_fast: ClassVar = {"code": 11232, "msg": "frequency limited psm"}

    def refusal(self, why):
        return {"code": 9499, "msg": why}

    def fault_of(self, request, body, data):
        key = f"{body['timestamp']}\n{FEISHU_SECRET}".encode()
        sign = base64.b64encode(hmac.new(key, b"", digestmod=hashlib.sha256).digest()).decode()
        if body["sign"] != sign or abs(int(body["timestamp"]) - self.clock.now_us() // 1_000_000) > 3600:
            return {"code": 19021, "msg": "sign match fail or timestamp is not within one hour from current time"}
        post = body["content"]["post"]["zh_cn"]
        tags = {"text": {"tag", "text"}, "a": {"tag", "text", "href"}}
        good = body["msg_type"] == "post" and isinstance(post["title"], str)
        good = good and all(set(part) == tags[part["tag"]] for row in post["content"] for part in row)
        return None if good and len(data) <= 20_000 else self.refusal("params error")


class JsonReceiver(Robot):
    """A receiver that follows https://www.standardwebhooks.com, and knows what it took by its id."""

    path = "/huizhen"
    good: ClassVar = {}

    def __init__(self, clock=None):
        super().__init__(clock)
        self.limit = 10**9
        self.ids = []

    def refusal(self, why):
        return {"error": why}

    def answer(self, body):
        return web.json_response(body, status=400 if body else 200)

    def fault_of(self, request, body, data):
        ident, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
        if abs(int(stamp) - self.clock.now_us() // 1_000_000) > 300:
            return self.refusal("old")
        key = base64.b64decode(JSON_SECRET.removeprefix("whsec_"))
        signed = ident.encode() + b"." + stamp.encode() + b"." + data
        sign = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if sign not in request.headers["webhook-signature"].split(" "):
            return self.refusal("signature")
        if body["schema"] != "huizhen.notice/1" or body["id"] != ident or set(body["title"]) != {"en", "zh"}:
            return self.refusal("shape")
        self.ids.append(ident)
        return None


def hook_for(robot, name="hook", **more):
    """The setting for a receiver."""
    speaks = {WeCom: "wecom", DingTalk: "dingtalk", Feishu: "feishu", JsonReceiver: "json"}[type(robot)]
    secret = {"wecom": "", "dingtalk": DING_SECRET, "feishu": FEISHU_SECRET, "json": JSON_SECRET}[speaks]
    return Webhook(**{"name": name, "speaks": speaks, "url": robot.url, "secret": secret, **more})


@dataclasses.dataclass
class Mail:
    sender: str
    to: list
    message: email.message.EmailMessage
    was_encrypted: bool
    login: str


class SmtpServer:
    """A mail server of few words (RFC 5321, 3207, 4954) that keeps what it gets."""

    def __init__(self, *, context=None, implicit=False, login=None):
        self.mails = []
        self.said = []
        self.answers = {}
        self.context = context
        self.implicit = implicit
        self.login = login
        self.hung = asyncio.Event()
        self._server = None
        self.port = 0

    async def __aenter__(self):
        ssl_ = self.context if self.implicit else None
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=ssl_)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    def hook(self, **more):
        base = {"name": "mail", "host": "127.0.0.1", "port": self.port, "security": "plain"}
        return MailServer(**{**base, "sender": "room@example.com", "to": ("duty@example.com",), **more})

    async def _talk(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._session(reader, writer)
        writer.close()

    async def _session(self, reader, writer):
        encrypted, who, sender, to = self.implicit, "", "", []

        def say(line):
            writer.write(line.encode() + b"\r\n")

        say("220 mail.test ESMTP")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.said.append(line)
            verb = line.partition(" ")[0].upper()
            if self.answers.get(verb):
                answer = self.answers[verb].pop(0)
                if answer == "hang":
                    self.hung.set()
                    await reader.read()
                    return
                say(answer)
            elif verb == "EHLO":
                ends = ["8BITMIME"]
                ends += ["STARTTLS"] if self.context and not encrypted else []
                ends += ["AUTH PLAIN"] if self.login and (encrypted or not self.context) else []
                for n, end in enumerate(["mail.test", *ends]):
                    say(f"250{' ' if n == len(ends) else '-'}{end}")
            elif verb == "STARTTLS":
                say("220 go ahead")
                await writer.drain()
                await writer.start_tls(self.context)
                encrypted = True
            elif verb == "AUTH":
                plain = base64.b64decode(line.split()[2]).decode().split("\0")
                who = plain[1] if tuple(plain[1:]) == self.login else ""
                say("235 ok" if who else "535 no")
            elif verb == "MAIL":
                sender, to = line, []
                say("250 ok" if who or not self.login else "530 first sign in")
            elif verb == "RCPT":
                to.append(line.partition(":")[2].strip("<>"))
                say("250 ok")
            elif verb == "DATA":
                say("354 go")
                data = b""
                while not data.endswith(b"\r\n.\r\n"):
                    data += await reader.readuntil(b"\n")
                message = email.message_from_bytes(data[:-3].replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
                self.mails.append(Mail(sender, to, message, encrypted, who))
                say("250 kept")
            elif verb == "QUIT":
                say("221 bye")
                await writer.drain()
                return
            else:
                say("250 ok")
            await writer.drain()


def certificate(folder):
    """A certificate for this machine and a context that serves it."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail.test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "receiver.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    ca = folder / "ca.pem"
    ca.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return ca, context
