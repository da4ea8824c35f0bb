"""Proof of repair: two visits compared, code by code and figure by figure.

An empty fault memory proves nothing after clearing. A code counts as *fixed* only when its own test has run since and
passed, as *cleared* when it has not run yet, as *intermittent* when it failed since but does not fail now. Battery
figures are compared as they were measured.

Standard: ISO 14229-1:2020 Annex D.2 (status bits), SAE J1979 (01 01, 01 31, 0A).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from diag.facts import DtcStatus, Severity, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diag.facts import Json

__all__ = ["CodeState", "Item", "Outcome", "Proof", "RepairVisit", "prove_repair"]

_NOT_COMPLETED_SINCE_CLEAR: Final = 0x10
_FAILED_SINCE_CLEAR: Final = 0x20
_NOT_COMPLETED_THIS_CYCLE: Final = 0x40
_FAILED_THIS_CYCLE: Final = 0x02
_FIGURE_FINDINGS: Final = ("battery.", "thermal.", "insulation.")
_MUCH: Final = 1.2
_UNDER_LOAD: Final = {
    "battery.module-joint": "cell_resistance_excess",
    "battery.cell-resistive": "cell_resistance_excess",
    "battery.cell-worn": "cell_resistance_excess",
    "battery.cell-capacity": "cell_capacity_deficit",
    "battery.cell-charge-low": "cell_charge_deficit",
    "battery.cell-charge-high": "cell_charge_deficit",
    "battery.cell-short": "cell_charge_deficit",
}
"""Findings of a study -> the figure without which they cannot be seen."""


class Outcome(StrEnum):
    """What became of a fault; the first is the worst."""

    WORSE = "worse"
    NOT_FIXED = "not-fixed"
    INTERMITTENT = "intermittent"
    CLEARED = "cleared"
    FIXED = "fixed"


_ORDER: Final = tuple(Outcome)


@dataclass(frozen=True, slots=True)
class CodeState:
    """One code of one ECU.

    Args:
        mask: status byte, None where the protocol has none.
        kinds: ``stored``, ``pending``, ``permanent``.
        severity: how urgent.
    """

    display: str
    ecu: str
    mask: int | None
    kinds: tuple[str, ...] = ()
    severity: Severity = Severity.SOON

    @property
    def key(self) -> tuple[str, str]:
        """ECU and code."""
        return self.ecu, self.display

    @property
    def is_fault(self) -> bool:
        """It fails now, is pending, confirmed or listed."""
        return self.mask is None or DtcStatus(self.mask).is_fault or bool(self.kinds)

    @property
    def fails_now(self) -> bool:
        """By its status; a listed code without one fails for all that is known."""
        return bool(self.mask & 1) if self.mask is not None else "stored" in self.kinds or not self.kinds


@dataclass(frozen=True, slots=True)
class RepairVisit:
    """What a comparison needs of one visit.

    Args:
        codes: (ECU address, code with failure type) -> state, faults only.
        states: the same of every code that the ECU can test (19 0A), where it was asked.
        read: ECUs whose codes were read.
        ready: ECU -> whether all its monitors have run, None where it does not say.
        warm_ups: ECU -> warm-ups since its codes were cleared.
        tests: (ECU, monitor, test) -> passed.
        figures: the battery's.
        findings: code -> (severity, title, largest figure), those that rest on measurements.
        simulated: the car is none.
    """

    vin: str | None
    started: datetime
    complete: bool
    codes: Mapping[tuple[str, str], CodeState]
    states: Mapping[tuple[str, str], int] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    ready: Mapping[str, bool | None] = field(default_factory=dict)
    warm_ups: Mapping[str, int] = field(default_factory=dict)
    tests: Mapping[tuple[str, str, str], bool] = field(default_factory=dict)
    figures: Mapping[str, float | None] = field(default_factory=dict)
    has_battery: bool = False
    findings: Mapping[str, tuple[Severity, Text, float | None]] = field(default_factory=dict)
    simulated: bool = False

    @classmethod
    def from_json(cls, value: Any) -> RepairVisit:
        """A saved scan (``huizhen.scan/1``).

        Raises:
            ValueError: it is something else, or parts of it are missing or of another kind; says which.
        """
        if not isinstance(value, dict) or value.get("schema") != "huizhen.scan/1":
            raise ValueError("schema huizhen.scan/1")
        try:
            return cls._read(value)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, value: dict[str, Any]) -> RepairVisit:
        codes = {}
        for dtc in value["dtcs"]:
            mask = int(dtc["status"]["mask"], 16) if dtc["status"] else None
            state = CodeState(dtc["display"], dtc["ecu"] or "?", mask, tuple(dtc["kind"]), Severity(dtc["severity"]))
            if state.is_fault:
                codes[state.ecu, state.display] = state
        readiness = value["readiness"]
        battery = value["battery"]
        tests = {
            (ecu, str(test["monitor"]), str(test["test"])): test["passed"]
            for ecu, item in readiness.items()
            for test in item.get("tests", ())
            if isinstance(test.get("passed"), bool)
        }
        return cls(
            vin=value["vehicle"]["vin"],
            started=datetime.fromisoformat(value["started"]),
            complete=bool(value["complete"]),
            codes=codes,
            states={(one["ecu"], one["display"]): int(one["mask"], 16) for one in value.get("dtc_status", ())},
            read=frozenset(ecu["address"] for ecu in value["ecus"] if ecu.get("codes_read", ecu["answered"])),
            ready={ecu: item.get("ready_by_code", item.get("ready")) for ecu, item in readiness.items()},
            warm_ups={
                ecu: int(item["since_clear"]["warm_ups"])
                for ecu, item in readiness.items()
                if (item.get("since_clear") or {}).get("warm_ups") is not None
            },
            tests=tests,
            figures=dict(battery["features"]) if battery else {},
            has_battery=battery is not None,
            findings={
                finding["code"]: (
                    Severity(finding["severity"]),
                    Text(finding["title"]["en"], finding["title"]["zh"]),
                    _largest(finding["evidence"]),
                )
                for finding in value["findings"]
                if finding["code"].startswith(_FIGURE_FINDINGS)
                and any(item["kind"] == "signal" for item in finding["evidence"])
            },
            simulated=bool(value["simulated"]),
        )


def _largest(evidence: Iterable[dict[str, Any]]) -> float | None:
    values = [abs(item["value"]) for item in evidence if item["kind"] == "signal" and item["value"] is not None]
    return max(values, default=None)


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one fault.

    Args:
        what: ``dtc``, ``finding`` or ``test``.
        ref: ECU and code, or the finding's code.
        needed: what would prove more, None where nothing is.
    """

    what: str
    ref: str
    title: Text
    outcome: Outcome
    because: Text
    needed: Text | None = None

    def to_json(self) -> Json:
        """One entry of ``items``."""
        return {
            "what": self.what,
            "ref": self.ref,
            "title": self.title.to_json(),
            "outcome": self.outcome.value,
            "because": self.because.to_json(),
            "needed": self.needed.to_json() if self.needed else None,
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """The comparison.

    Args:
        outcome: the worst of the items; None where there was nothing to repair.
        figures: name -> (before, after), where both or one is known.
        simulated: of a simulated car.
    """

    outcome: Outcome | None
    items: tuple[Item, ...]
    figures: Mapping[str, tuple[float | None, float | None]]
    simulated: bool = False

    def to_json(self) -> Json:
        """``huizhen.verify/1``."""
        return {
            "schema": "huizhen.verify/1",
            "simulated": self.simulated,
            "verdict": self.outcome.value if self.outcome else "nothing-to-prove",
            "items": [item.to_json() for item in self.items],
            "figures": {name: {"before": pair[0], "after": pair[1]} for name, pair in self.figures.items()},
        }


_DRIVE: Final = Text(
    "its test has to run: switch on, drive 20 minutes with stops, switch off for two minutes, switch on and read again",
    "需要让该项监测运行：上电，行驶 20 分钟（含停车），下电两分钟，再上电并重新读取",
)
_PROVOKE: Final = Text(
    "provoke it (shake harness and plugs, heat, wet, load) while 'huizhen log record' runs, then read again",
    "边运行“huizhen log record”边诱发故障（晃动线束和插头、加热、淋湿、加载），然后重新读取",
)
_LISTEN: Final = Text(
    "read the battery again in the same state, better after a drive of 20 minutes: huizhen scan --listen 1200",
    "在相同状态下重新读取电池，最好行驶 20 分钟：huizhen scan --listen 1200",
)


def prove_repair(before: RepairVisit, after: RepairVisit) -> Proof:
    """Compares two visits of one car.

    Raises:
        ValueError: they are of two cars, one of a simulated car and one of a real one, or the second is the earlier
            one; the message is ``vin``, ``simulated`` or ``time``.
    """
    if before.vin and after.vin and before.vin != after.vin:
        raise ValueError("vin")
    if before.simulated != after.simulated:
        raise ValueError("simulated")
    if after.started < before.started:
        raise ValueError("time")
    items = [_judge_code(state, after) for state in before.codes.values()]
    known = {now.key for state in before.codes.values() if (now := _now(state, after)) is not None}
    items += [_new(state) for key, state in after.codes.items() if key not in known]
    items += [_judge_finding(code, before, after) for code in before.findings]
    items += [
        Item("finding", code, title, Outcome.WORSE, Text("was not there before", "之前没有"))
        for code, (severity, title, _) in after.findings.items()
        if code not in before.findings and severity in (Severity.STOP, Severity.SOON)
    ]
    items += _judge_tests(before, after)
    worst = min((item.outcome for item in items), key=_ORDER.index, default=None)
    figures = {
        name: (before.figures.get(name), after.figures.get(name))
        for name in dict.fromkeys((*before.figures, *after.figures))
        if before.figures.get(name) is not None or after.figures.get(name) is not None
    }
    return Proof(worst, tuple(sorted(items, key=lambda item: _ORDER.index(item.outcome))), figures, after.simulated)


def _now(state: CodeState, after: RepairVisit) -> CodeState | None:
    """The same code as it stands now; OBD-II lists (permanent ones above all) have it without its failure type."""
    exact = after.codes.get(state.key)
    if exact is not None:
        return exact
    code, _, failure_type = state.display.partition("-")
    for (ecu, display), found in after.codes.items():
        other, _, other_type = display.partition("-")
        if ecu == state.ecu and other == code and not (failure_type and other_type):
            return found
    return None


def _judge_code(state: CodeState, after: RepairVisit) -> Item:
    title = Text(f"{state.ecu} {state.display}", f"{state.ecu} {state.display}")

    def item(outcome: Outcome, en: str, zh: str, needed: Text | None = None) -> Item:
        return Item("dtc", f"{state.ecu} {state.display}", title, outcome, Text(en, zh), needed)

    now = _now(state, after)
    if now is not None:
        return _still_listed(state, now, item)
    if state.ecu not in after.read:
        return item(
            Outcome.CLEARED, "its ECU was not read this time", "本次未读取该控制器", Text("read it again", "请重新读取")
        )
    mask = after.states.get(state.key)
    if mask is not None:
        if mask & _NOT_COMPLETED_SINCE_CLEAR:
            return item(
                Outcome.CLEARED,
                f"gone, but its test has not run since clearing (status {mask:#04x})",
                f"已消失，但清码后该项监测尚未运行（状态 {mask:#04x}）",
                _DRIVE,
            )
        if mask & _FAILED_SINCE_CLEAR:
            return item(
                Outcome.INTERMITTENT,
                f"gone, but its test failed since clearing (status {mask:#04x})",
                f"已消失，但清码后该项监测曾失败（状态 {mask:#04x}）",
                _PROVOKE,
            )
        return item(
            Outcome.FIXED,
            f"its test has run since clearing and passed (status {mask:#04x})",
            f"清码后该项监测已运行并通过（状态 {mask:#04x}）",
        )
    if after.ready.get(state.ecu) and after.warm_ups.get(state.ecu, 1) > 0 and "permanent" in state.kinds:
        return item(
            Outcome.FIXED,
            "the permanent code is gone, which only its own passed test removes, and all monitors have run",
            "永久故障码已消失（只有该项监测通过后才会消失），且全部监测已完成",
        )
    return item(
        Outcome.CLEARED,
        "gone, but nothing shows that its test has run since",
        "已消失，但没有证据表明该项监测此后运行过",
        _DRIVE,
    )


def _still_listed(state: CodeState, now: CodeState, item: Any) -> Item:
    found: Item
    if now.fails_now:
        if state.mask is not None and not state.fails_now:
            found = item(Outcome.WORSE, "did not fail before and fails now", "之前未失败，现在失败")
        else:
            found = item(Outcome.NOT_FIXED, "fails now", "当前仍失败")
    elif now.mask is None and now.kinds == ("permanent",):
        found = item(
            Outcome.CLEARED,
            "cleared; the permanent code stays until its test has passed",
            "已清除；永久故障码在该项监测通过前仍会保留",
            _DRIVE,
        )
    elif now.mask is not None and now.mask & _NOT_COMPLETED_THIS_CYCLE:
        found = item(
            Outcome.CLEARED if not now.mask & 0x0C else Outcome.INTERMITTENT,
            f"stored, its test has not run in this cycle (status {now.mask:#04x})",
            f"仍有存储，本循环内该项监测尚未运行（状态 {now.mask:#04x}）",
            _DRIVE,
        )
    else:
        shown = "" if now.mask is None else f" (status {now.mask:#04x})"
        shown_zh = "" if now.mask is None else f"（状态 {now.mask:#04x}）"
        found = item(
            Outcome.INTERMITTENT,
            f"stored or pending, but does not fail now{shown}",
            f"已存储或待定，但当前未失败{shown_zh}",
            _PROVOKE,
        )
    return found


def _new(state: CodeState) -> Item:
    title = Text(f"{state.ecu} {state.display}", f"{state.ecu} {state.display}")
    # A code that was not there before is worse, how urgent it may be: the repair may have caused it.
    return Item("dtc", f"{state.ecu} {state.display}", title, Outcome.WORSE, Text("was not there before", "之前没有"))


def _judge_finding(code: str, before: RepairVisit, after: RepairVisit) -> Item:
    severity, title, figure = before.findings[code]

    def item(outcome: Outcome, en: str, zh: str, needed: Text | None = None) -> Item:
        return Item("finding", code, title, outcome, Text(en, zh), needed)

    if code in after.findings:
        severity_now, _, now = after.findings[code]
        grown = severity_now.rank < severity.rank
        if code != "insulation.low" and figure and now:
            grown = grown or now > _MUCH * figure
        if grown:
            return item(Outcome.WORSE, "measured again, and it is worse", "再次测得，且更严重")
        return item(Outcome.NOT_FIXED, "measured again", "再次测得")
    if not after.has_battery:
        return item(Outcome.CLEARED, "the battery was not seen this time", "本次未读到电池数据", _LISTEN)
    if code in _UNDER_LOAD and after.figures.get(_UNDER_LOAD[code]) is None:
        return item(
            Outcome.CLEARED,
            "not seen this time, but without load or a longer recording it would not show",
            "本次未见，但没有负载或较长的记录本来就看不出",
            _LISTEN,
        )
    if code == "insulation.low" and after.figures.get("insulation_ohm_per_v") is None:
        return item(Outcome.CLEARED, "isolation was not measured this time", "本次未测得绝缘电阻", _LISTEN)
    return item(Outcome.FIXED, "measured again, and it is gone", "再次测量，已消失")


def _judge_tests(before: RepairVisit, after: RepairVisit) -> list[Item]:
    """On-board tests that were outside of their limits."""
    found = []
    for key, passed in before.tests.items():
        if passed:
            continue
        ecu, monitor, test = key
        ref = f"{ecu} {monitor}/{test}"
        title = Text(f"on-board test {ref}", f"车载监测 {ref}")
        now = after.tests.get(key)
        if now is None:
            because, outcome = Text("no result this time", "本次没有结果"), Outcome.CLEARED
        elif now:
            because, outcome = Text("inside its limits now", "现已在限值内"), Outcome.FIXED
        else:
            because, outcome = Text("still outside of its limits", "仍超出限值"), Outcome.NOT_FIXED
        found.append(Item("test", ref, title, outcome, because, _DRIVE if outcome is Outcome.CLEARED else None))
    return found
