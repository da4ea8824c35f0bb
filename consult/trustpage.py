"""The page by which a phone or computer learns to trust the service's local authority, in both languages. No script."""

from __future__ import annotations

from html import escape
from typing import Final

import segno

from diag.facts import Text

__all__ = ["TRUST_STYLE", "trust_page"]

TRUST_STYLE: Final = """:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 0 auto; padding: 1rem; }
code { overflow-wrap: anywhere; }
.get { display: inline-block; padding: .6rem 1rem; border: 1px solid; border-radius: .4rem; font-weight: 600; }
.qr { background: #fff; padding: .5rem; width: 12rem; height: 12rem; }
.qr .qrline { stroke: #000; }
li { margin: .3rem 0; }
"""

_TITLE: Final = Text("Trust this workshop's room service", "信任本店的会诊服务")
_WHY: Final = Text(
    "The room service encrypts with a certificate of its own authority. Install the authority's certificate once on "
    "each phone and computer; the browser then opens the rooms without a warning. The authority can vouch only for "
    "private addresses and for this computer's names, for nothing on the internet.",
    "会诊服务使用自有 CA 签发的证书加密。请在每部手机和电脑上安装一次该 CA 证书，之后浏览器打开会诊室时不再警告。"
    "该 CA 只能为内网地址和本机名称担保，不能为互联网上的任何网站担保。",
)
_GET: Final = Text("Download the certificate", "下载证书")
_COMPARE: Final = Text(
    "Compare before you install: the terminal of the service shows the same SHA-256 fingerprint. If they differ, stop.",
    "安装前请核对：服务端的终端显示相同的 SHA-256 指纹。如不一致，请勿安装。",
)
_QR: Final = Text("This page on a phone", "用手机打开本页")
_GO: Final = Text("When it is installed, open the service:", "安装完成后打开会诊服务：")
_OTHER: Final = Text("中文", "English")
_STEPS: Final = (
    (
        Text("Android", "安卓"),
        (
            Text("Download the certificate.", "下载证书。"),
            Text(
                "Settings → Security → More security settings → Encryption and credentials → Install a certificate → "
                "CA certificate (names differ by maker; search the settings for “certificate”).",
                "设置 → 安全 → 更多安全设置 → 加密与凭据 → 安装证书 → CA 证书（名称因品牌而异，可搜索“证书”）。",
            ),
            Text("Choose huizhen-ca.crt and confirm with the screen lock.", "选择 huizhen-ca.crt，并用锁屏密码确认。"),
        ),
    ),
    (
        Text("iPhone and iPad", "iPhone 和 iPad"),
        (
            Text("Download with Safari and allow the profile.", "用 Safari 下载，并允许下载描述文件。"),
            Text("Settings → Profile Downloaded → Install.", "设置 → 已下载描述文件 → 安装。"),
            Text(
                "Settings → General → About → Certificate Trust Settings: switch this authority on.",
                "设置 → 通用 → 关于本机 → 证书信任设置：打开此 CA。",
            ),
        ),
    ),
    (
        Text("Windows", "Windows"),
        (
            Text(
                "Open huizhen-ca.crt → Install Certificate → Current User.",
                "打开 huizhen-ca.crt → 安装证书 → 当前用户。",
            ),
            Text(
                "Place all certificates in: Trusted Root Certification Authorities. Finish and confirm.",
                "将所有证书放入：受信任的根证书颁发机构。完成并确认。",
            ),
        ),
    ),
    (
        Text("macOS", "macOS"),
        (
            Text(
                "Open huizhen-ca.crt: Keychain Access adds it to “login”.",
                "打开 huizhen-ca.crt：“钥匙串访问”将其加入“登录”。",
            ),
            Text("Open it there → Trust → Always Trust.", "在其中打开该证书 → 信任 → 始终信任。"),
        ),
    ),
    (
        Text("Linux and Firefox", "Linux 和 Firefox"),
        (
            Text(
                "Firefox: Settings → Privacy & Security → Certificates → View Certificates → Authorities → Import, for "
                "websites.",
                "Firefox：设置 → 隐私与安全 → 证书 → 查看证书 → 证书颁发机构 → 导入，用于标识网站。",
            ),
            Text(
                "Debian and Ubuntu: copy it to /usr/local/share/ca-certificates/ and run sudo update-ca-certificates. "
                "Chromium: Settings → Privacy and security → Security → Manage certificates.",
                "Debian 和 Ubuntu：复制到 /usr/local/share/ca-certificates/ 并运行 sudo update-ca-certificates。"
                "Chromium：设置 → 隐私和安全 → 安全 → 管理证书。",
            ),
        ),
    ),
)


def trust_page(lang: str, *, fingerprint: str, trust_url: str, service_url: str) -> str:
    """The whole page in one language; everything that is filled in is escaped."""

    def say(text: Text) -> str:
        return escape(text.in_language(lang))

    other = "en" if lang == "zh" else "zh"
    code = segno.make(trust_url, error="m").svg_inline(omitsize=True, svgclass="qr", border=2)
    steps = "".join(
        f"<h2>{say(name)}</h2><ol>{''.join(f'<li>{say(step)}</li>' for step in parts)}</ol>" for name, parts in _STEPS
    )
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{say(_TITLE)}</title><link rel="stylesheet" href="/trust/style.css"></head><body>'
        f'<p><a href="/trust?lang={other}" hreflang="{other}">{say(_OTHER)}</a></p>'
        f"<h1>{say(_TITLE)}</h1><p>{say(_WHY)}</p>"
        f'<p><a class="get" href="/trust/ca.crt">{say(_GET)}</a></p>'
        f'<p>{say(_COMPARE)}</p><p><code id="fingerprint">{escape(fingerprint)}</code></p>'
        f"{steps}"
        f'<p>{say(_GO)} <a href="{escape(service_url)}">{escape(service_url)}</a></p>'
        f"<h2>{say(_QR)}</h2>{code}<p><code>{escape(trust_url)}</code></p>"
        "</body></html>"
    )
