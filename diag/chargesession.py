"""A DC charging session as it was heard: its phases, who ended it and why, and whose silence was real.

The first BST or CST names the side that stopped. When a side gave up waiting, the bus itself tells whether the message
was really missing.

Standard: GB/T 27930-2015 (phases and timeouts); clauses unverified. The times are settings of two chargers' firmware.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from diag.facts import Text
from diag.gbt27930 import FLAGS, ChargeMessage, Said

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.facts import Json

__all__ = ["ChargeSession", "sessions_from_messages"]

_NS: Final = 1_000_000_000

_LIMITS_S: Final[Mapping[str, float]] = {"BCL": 1.0, "CCS": 1.0, "BRO": 60.0, "CRO": 60.0, "BSD": 10.0, "CSD": 10.0}
_LIMIT_S: Final = 5.0
"""Unless stated otherwise. Standard: GB/T 27930-2015 §9."""

_PHASES: Final[tuple[tuple[str, Text, frozenset[str]], ...]] = (
    ("handshake", Text("handshake", "握手启动"), frozenset({"CHM", "BHM"})),
    ("recognition", Text("recognition", "握手辨识"), frozenset({"CRM", "BRM"})),
    ("configuration", Text("configuration", "参数配置"), frozenset({"BCP", "CTS", "CML", "BRO", "CRO"})),
    ("charging", Text("charging", "充电"), frozenset({"BCL", "BCS", "CCS", "BSM", "BMV", "BMT", "BSP"})),
    ("end", Text("end", "充电结束"), frozenset({"BST", "CST", "BSD", "CSD"})),
)
_PHASE_OF: Final = {name: at for at, (_, _, names) in enumerate(_PHASES) for name in names}
_ERRORS: Final = frozenset({"BEM", "CEM"})


@dataclass(frozen=True, slots=True)
class ChargeSession:
    """One charging session.

    Args:
        begun_ns, ended_ns: of its first and last message.
        phases: name and beginning of each phase that was reached.
        reached: the last of them.
        stopped_by: ``vehicle``, ``charger``, or None when nobody said that it stops.
        reasons: what the two sides gave, with the message.
        is_normal: it ended as wanted: a target was reached or a condition met, and no fault named. None where its end
            was not heard.
        verdicts: what follows from it, the weightiest first.
        facts: VIN, SOC at both ends, energy and so on: name -> value.
    """

    begun_ns: int
    ended_ns: int
    phases: tuple[tuple[str, int], ...]
    reached: str
    stopped_by: str | None
    reasons: tuple[tuple[str, Text], ...]
    is_normal: bool | None
    verdicts: tuple[Text, ...]
    facts: tuple[Said, ...]
    messages: tuple[ChargeMessage, ...]

    def to_json(self) -> Json:
        """One entry of ``sessions`` in ``huizhen.charge/1``."""
        return {
            "duration_s": (self.ended_ns - self.begun_ns) / _NS,
            "phases": [{"name": name, "at_s": (t_ns - self.begun_ns) / _NS} for name, t_ns in self.phases],
            "reached": self.reached,
            "stopped_by": self.stopped_by,
            "normal": self.is_normal,
            "reasons": [{"message": name, "text": text.to_json()} for name, text in self.reasons],
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "facts": {item.name: {"value": item.value, "unit": item.unit} for item in self.facts},
            "messages": {
                name: sum(message.name == name for message in self.messages)
                for name in sorted({message.name for message in self.messages})
            },
        }


_PHASE_TEXT: Final = {name: text for name, text, _ in _PHASES}
_NORMAL: Final = frozenset(text for names in (FLAGS["BST"][0], FLAGS["CST"][0]) for text in names) - {
    FLAGS["CST"][0][2]
}


def sessions_from_messages(messages: Iterable[ChargeMessage]) -> tuple[ChargeSession, ...]:
    """Cuts the talk into sessions: a new one begins with a handshake or recognition behind a later phase."""
    groups: list[list[ChargeMessage]] = []
    reached = -1
    for message in messages:
        at = _PHASE_OF.get(message.name)
        restart = at is not None and at <= 1 < reached and message.name in ("CHM", "CRM")
        restart = restart and message.value("ready") != "ready"
        if not groups or restart:
            groups.append([])
            reached = -1
        groups[-1].append(message)
        reached = max(reached, -1 if at is None else at)
    return tuple(_session(group) for group in groups if any(message.name in _PHASE_OF for message in group))


def _session(messages: list[ChargeMessage]) -> ChargeSession:
    phases: dict[int, int] = {}
    for message in messages:
        at = _PHASE_OF.get(message.name)
        if at is not None and at > max(phases, default=-1):
            phases[at] = message.t_ns
    reached = _PHASES[max(phases)][0]
    stops = [message for message in messages if message.name in ("BST", "CST")]
    stopped_by = None if not stops else "vehicle" if stops[0].is_vehicle else "charger"
    reasons = tuple(dict.fromkeys((message.name, flag) for message in stops for flag in message.flags))
    faults = [text for _, text in reasons if text not in _NORMAL]
    complaints = [message for message in messages if message.name in _ERRORS and message.missed]
    return ChargeSession(
        begun_ns=messages[0].t_ns,
        ended_ns=messages[-1].t_ns,
        phases=tuple((_PHASES[at][0], t_ns) for at, t_ns in phases.items()),
        reached=reached,
        stopped_by=stopped_by,
        reasons=reasons,
        is_normal=not faults and not complaints if stops or complaints else None,
        verdicts=tuple(_verdicts(messages, reached, stopped_by, reasons, complaints)),
        facts=_facts(messages),
        messages=tuple(messages),
    )


def _verdicts(
    messages: list[ChargeMessage],
    reached: str,
    stopped_by: str | None,
    reasons: tuple[tuple[str, Text], ...],
    complaints: list[ChargeMessage],
) -> Iterable[Text]:
    yield from _judged_timeouts(messages, complaints)
    if stopped_by is not None:
        side = Text("the car", "车辆") if stopped_by == "vehicle" else Text("the charger", "充电机")
        told = [text for name, text in reasons if (name == "BST") == (stopped_by == "vehicle")]
        en = ", ".join(text.en for text in told) or "no reason given"
        zh = "、".join(text.zh for text in told) or "未给出原因"
        yield Text(f"{side.en} stopped first: {en}", f"{side.zh}先中止充电：{zh}")
    elif not complaints:
        phase = _PHASE_TEXT[reached]
        yield Text(
            f"nobody said that it stops; the last phase was {phase.en}", f"双方均未发送中止报文；最后阶段为{phase.zh}"
        )
    yield from _mismatches(messages)


def _judged_timeouts(messages: list[ChargeMessage], complaints: list[ChargeMessage]) -> Iterable[Text]:
    """For each complaint, whether the message was really missing on the wire, and for how long."""
    done: set[tuple[str, str]] = set()
    for complaint in complaints:
        for name in complaint.missed:
            if (complaint.name, name) in done:
                continue
            done.add((complaint.name, name))
            before = [message.t_ns for message in messages if message.name == name and message.t_ns < complaint.t_ns]
            limit_s = _LIMITS_S.get(name, _LIMIT_S)
            who = Text("the car", "车辆") if complaint.is_vehicle else Text("the charger", "充电机")
            if not before:
                yield Text(
                    f"{who.en} gave up: {name} never came ({complaint.name})",
                    f"{who.zh}超时中止：从未收到 {name}（{complaint.name}）",
                )
                continue
            gap_s = (complaint.t_ns - before[-1]) / _NS
            if gap_s >= 0.9 * limit_s:
                yield Text(
                    f"{who.en} gave up: {name} had been silent for {gap_s:.1f} s (limit {limit_s:g} s)",
                    f"{who.zh}超时中止：{name} 已中断 {gap_s:.1f} 秒（时限 {limit_s:g} 秒）",
                )
            else:
                yield Text(
                    f"{who.en} gave up for want of {name}, which was on the bus {gap_s:.2f} s before:"
                    " its own receiving is suspect",
                    f"{who.zh}以未收到 {name} 为由中止，但 {gap_s:.2f} 秒前总线上有该报文：疑为其接收故障",
                )


def _mismatches(messages: list[ChargeMessage]) -> Iterable[Text]:
    def last(name: str, value: str) -> float | None:
        found = [message.value(value) for message in messages if message.name == name]
        numbers = [one for one in found if isinstance(one, float)]
        return numbers[-1] if numbers else None

    def highest(name: str, value: str) -> float | None:
        found = [message.value(value) for message in messages if message.name == name]
        return max((one for one in found if isinstance(one, float)), default=None)

    wanted, most = highest("BCL", "voltage"), last("CML", "max_voltage")
    if wanted is not None and most is not None and wanted > most:
        yield Text(
            f"the car asks for {wanted:g} V, the charger gives {most:g} V at most",
            f"车辆需求电压 {wanted:g} V，充电机最高输出 {most:g} V",
        )
    cell, limit = highest("BCS", "highest_cell_voltage"), last("BCP", "max_cell_voltage")
    if cell is not None and limit is not None and cell > limit:
        yield Text(
            f"a cell reached {cell:g} V, above its limit of {limit:g} V", f"单体电压达 {cell:g} V，超过限值 {limit:g} V"
        )
    for name, text in (
        ("insulation", Text("the BMS reports an insulation fault", "BMS 报告绝缘故障")),
        ("connector", Text("the BMS reports a fault of the connector", "BMS 报告连接器故障")),
    ):
        if any(message.name == "BSM" and message.value(name) == "fault" for message in messages):
            yield text


def _facts(messages: list[ChargeMessage]) -> tuple[Said, ...]:
    def told(name: str, value: str, *, is_last: bool = True) -> Said | None:
        found = [item for message in messages if message.name == name for item in message.values if item.name == value]
        usable = [item for item in found if item.value is not None]
        return usable[-1 if is_last else 0] if usable else None

    rows = (
        ("vin", told("BRM", "vin")),
        ("battery_type", told("BRM", "battery_type")),
        ("capacity", told("BRM", "capacity")),
        ("version", told("CHM", "version")),
        ("max_current", told("CML", "max_current")),
        ("soc_begin", told("BCP", "soc")),
        ("soc_end", told("BSD", "soc") or told("BCS", "soc")),
        ("energy", told("CSD", "energy")),
        ("charging_time", told("CSD", "time") or told("CCS", "time")),
    )
    return tuple(Said(name, item.value, item.unit) for name, item in rows if item is not None)
