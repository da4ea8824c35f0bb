"""What people agree to, in both languages, and the name of each wording: a hash, so that none changes unseen."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from diag.facts import Text

if TYPE_CHECKING:
    from consult.privacyconfig import PrivacyConfig

__all__ = ["KINDS", "TEXTS", "consent_texts", "notice_text", "sharing_text", "text_of", "version_of"]

NOTICE: Final = "notice"
TEXTS: Final = {
    "media": Text(
        "Sound and pictures of this call are recorded and kept with the room for as long as its record.",
        "本次通话的声音和图像将被录制，并与会诊室记录保存相同期限。",
    ),
    "position": Text(
        "The car's position goes into the room and its record; without this it stays in the car.",
        "车辆位置将进入会诊室及其记录；未同意时位置数据不离开车辆。",
    ),
    "export-abroad": Text(
        "People outside the allowed regions may watch this room for a few hours. Data of this car leave the country.",
        "允许范围以外地区的人员可在数小时内查看此会诊室，本车数据将出境。",
    ),
}
"""Kind -> what it means, where that does not depend on the service's settings."""

SHARING: Final = "sharing"
KINDS: Final = (NOTICE, *TEXTS, SHARING)


def sharing_text(visit_days: int) -> Text:
    """What is remembered of a car for the workshops' network. ``visit_days``: how long; 0 where there is no network."""
    if not visit_days:
        return Text(
            "This service keeps nothing for a network of workshops.",
            "本服务不为门店网络保存任何数据。",
        )
    return Text(
        f"A visit of this car is remembered for the network's workshops for {visit_days} days: codes, findings, what"
        " was done and whether it helped, the day, thousands of kilometres. It is found again by a keyed hash of the"
        " VIN. An expert may pass the reviewed fix on to the workshops. No VIN, plate, name or word said here is told.",
        f"为门店网络保存本车的到店记录 {visit_days} 天：故障码、诊断结论、处理措施及结果、日期、里程（千公里），"
        "通过车架号的带密钥哈希查找。经专家审核的解决办法可提供给各门店。不提供车架号、车牌、姓名和室内言论。",
    )


def notice_text(privacy: PrivacyConfig, visit_days: int = 0) -> Text:
    """The short notice at a room's door, as this service is configured: what is kept, who sees it, how long."""
    days = privacy.retention_days
    who = privacy.operator
    return Text(
        "The car's data, chat, files, frozen pictures, marks, requests and your name are recorded with their times;"
        " calls only if all in them agree. Everybody in the room sees them; the full VIN only technician and lead."
        + (f" All this is deleted {days} days after the room ends." if days else " The technician's side keeps it.")
        + (
            " A draft of the case, without names, stays with the service until somebody deletes it; a visit of the car"
            f" is remembered for other workshops, for {visit_days} days, only if the technician agrees."
            if visit_days
            else ""
        )
        + (f" Run by {who}." if who else ""),
        "车辆数据、聊天、文件、冻结画面、标记、请求以及您的姓名和时间会被记录；通话仅在所有参与者同意后录制。"
        "室内人员均可看到；完整车架号仅技师和首席专家可见。"
        + (f"以上内容在会诊结束 {days} 天后删除。" if days else "记录由技师一方保存。")
        + (
            f"不含姓名的案例草稿保存在服务端，直至有人删除；仅在技师同意时，才为其他门店保存到店记录 {visit_days} 天。"
            if visit_days
            else ""
        )
        + (f"运营者：{who}。" if who else ""),
    )


def consent_texts(visit_days: int) -> dict[str, Text]:
    """What is asked for beside the notice, by kind."""
    return {**TEXTS, SHARING: sharing_text(visit_days)}


def text_of(kind: str, privacy: PrivacyConfig, visit_days: int) -> Text:
    """The wording of a kind.

    Raises:
        KeyError: no such kind.
    """
    return notice_text(privacy, visit_days) if kind == NOTICE else consent_texts(visit_days)[kind]


def version_of(kind: str, text: Text) -> str:
    """The name of a wording: the first 16 hexadecimal digits of its SHA-256, in both languages."""
    return hashlib.sha256(f"{kind}\0{text.en}\0{text.zh}".encode()).hexdigest()[:16]
