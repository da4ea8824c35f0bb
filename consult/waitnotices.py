"""What is said of a step of the queue: to people (notices), to the audit, and in the car's room. Pure.

Nothing here tells a VIN, a plate, a name or a place: skills, make, a room's number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consult.notices import Notice
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consult.accounts import Account
    from consult.needs import Need
    from consult.waitingline import Step

__all__ = ["SKILL_NAMES", "audit_detail", "event_body", "notice_of", "place_text"]

SKILL_NAMES: Final = {
    "battery": Text("battery", "动力电池"),
    "isolation": Text("isolation", "绝缘"),
    "charging": Text("charging", "充电"),
    "drive": Text("drive", "电驱"),
    "thermal": Text("thermal", "热管理"),
    "12v": Text("12 V", "低压"),
    "network": Text("network", "网络"),
    "adas": Text("driver assistance", "辅助驾驶"),
    "body": Text("body", "车身"),
    "chassis": Text("chassis", "底盘"),
    "engine": Text("engine", "发动机"),
    "software": Text("software", "软件"),
}

_CLOCK_NAMES: Final = {
    "accept": Text("nobody has taken it", "尚无人接单"),
    "finding": Text("no finding yet", "尚无结论"),
    "resolve": Text("not resolved yet", "尚未解决"),
}
_STAGE_NAMES: Final = {
    "leads": Text("no expert took it: the leads are asked", "专家未接单，转至首席专家"),
    "everybody": Text("open to everybody on duty", "向全部在岗人员开放"),
}
_IN_ROOM: Final = frozenset({"queued", "accepted", "handed-back", "escalated", "first-finding"})
"""Steps that the people of the room read of."""


def _subject(need: Need) -> Text:
    names = [SKILL_NAMES.get(one, Text(one, one)) for one in need.skills]
    parts_en = [part for part in (need.make, ", ".join(name.en for name in names)) if part]
    parts_zh = [part for part in (need.make, "、".join(name.zh for name in names)) if part]
    return Text(" · ".join(parts_en) or "unknown fault", " · ".join(parts_zh) or "未知故障")


def _heading(step: Step, kind: str) -> Text:
    """The notice's line without what it is about."""
    if kind == "queued":
        return Text("A car waits for an expert", "有车辆等待专家")
    if kind == "accepted":
        return Text("Taken by an expert", "专家已接单")
    if kind == "first-finding":
        return Text("The expert has found something", "专家已有结论")
    if kind == "resolved":
        return Text("Finished", "已结案") if step.kind == "resolved" else Text("The room is closed", "会诊室已关闭")
    if kind == "warning":
        clock = _CLOCK_NAMES[step.detail.rstrip("0123456789")]
        return Text(f"Soon overdue: {clock.en}", f"即将超时：{clock.zh}")
    if step.kind == "handed-back":
        return Text("Handed back: it waits again", "已退回，重新等待")
    if step.kind == "offered":
        return Text("It is your turn: a car waits", "轮到您：有车辆等待")
    if step.detail in _STAGE_NAMES:
        stage = _STAGE_NAMES[step.detail]
        return Text(f"Gone on: {stage.en}", f"已升级：{stage.zh}")
    clock = _CLOCK_NAMES[step.detail.rstrip("0123456789")]
    return Text(f"Overdue: {clock.en}", f"已超时：{clock.zh}")


def notice_of(step: Step, leads: Iterable[str], asked_with_queueing: Iterable[str] = ()) -> Notice | None:
    """The notice for a step, or none where nobody has to learn of it.

    Args:
        step: what happened.
        leads: the leads on duty, who learn of what is overdue.
        asked_with_queueing: whom the car was offered to as it came.
    """
    kinds = {
        "queued": "queued",
        "accepted": "accepted",
        "first-finding": "first-finding",
        "resolved": "resolved",
        "closed": "resolved",
        "warning": "warning",
        "escalated": "escalated",
        "handed-back": "escalated",
        "offered": "escalated",
    }
    kind = kinds.get(step.kind)
    if kind is None or (kind == "resolved" and not step.entry.holder):
        return None
    entry = step.entry
    offered = tuple(offer.name for offer in entry.offers)
    to = {
        "queued": tuple(asked_with_queueing),
        "offered": (step.who,),
        "warning": (entry.holder,) if entry.holder else offered,
    }.get(step.kind, (entry.holder,) if entry.holder else ())
    if step.kind == "escalated":
        to = tuple(dict.fromkeys((*to, *leads))) if step.detail == "leads" or entry.holder else ()
    heading, subject = _heading(step, kind), _subject(entry.need)
    danger = Text("Danger: ", "危险：") if entry.need.severity == "danger" else Text("", "")
    return Notice(
        kind,
        entry.need.severity,
        Text(f"{danger.en}{heading.en} ({subject.en})", f"{danger.zh}{heading.zh}（{subject.zh}）"),
        Text("", ""),
        step.t_us,
        entry.room,
        f"/r/{entry.room}" if entry.holder else "/rooms",
        to,
    )


def audit_detail(step: Step) -> str:
    """A step in the audit: why this expert, which stage, which clock."""
    need = step.entry.need
    if step.kind in ("queued", "changed"):
        words = (need.severity, *(f"danger:{one}" for one in need.dangers), *(f"skill:{one}" for one in need.skills))
        return " ".join((*words, *(f"make:{one}" for one in (need.make,) if one), f"verdict:{need.verdict or 'none'}"))
    if step.kind == "escalated" and step.detail not in _STAGE_NAMES:
        return f"overdue {step.detail}"
    return " ".join((step.detail, *step.because)).strip()


def event_body(step: Step, account: Account | None) -> dict[str, Any] | None:
    """What the room reads of a step; None for what is the experts' own business."""
    if step.kind not in _IN_ROOM:
        return None
    return {
        "step": step.kind,
        "severity": step.entry.need.severity,
        "skills": list(step.entry.need.skills),
        "detail": step.detail,
        "expert": account.shown_name if account is not None else "",
    }


def place_text(place: int, estimate_s: float | None) -> Text:
    """A place in the line and how long that will take about, as the technician reads it."""
    ordinals = {1: "first", 2: "second", 3: "third"}
    en = f"{ordinals.get(place, f'number {place}')} in line"
    zh = f"排在第 {place} 位"
    if estimate_s is None:
        return Text(en, zh)
    minutes = max(1, round(estimate_s / 60))
    return Text(f"{en}, about {minutes} min", f"{zh}，约 {minutes} 分钟")
