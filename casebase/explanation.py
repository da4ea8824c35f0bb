"""Why a fix stands where it stands, in sentences that name the evidence: code and ECU, figure, words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from casebase.cases import Reason
from casebase.folding import fold
from casebase.matching import MEASURED_BY
from casebase.postings import group_of_term
from diag.facts import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from casebase.catalogue import FeatureScale
    from casebase.matching import Posterior, Seen
    from casebase.postings import Postings
    from casebase.query import DtcSeen, Query

__all__ = ["ROLE_NAMES", "reasons"]

ROLE_NAMES: Final[Mapping[str, Text]] = {
    "vcu": Text("vehicle control unit (VCU)", "整车控制器（VCU）"),
    "bms": Text("battery management (BMS)", "电池管理系统（BMS）"),
    "charger": Text("on-board charger (OBC)", "车载充电机（OBC）"),
    "inverter": Text("inverter", "电机控制器（逆变器）"),
    "engine": Text("engine control", "发动机控制器"),
    "transmission": Text("transmission control", "变速器控制器"),
    "brakes": Text("brake control", "制动控制器"),
    "body": Text("body control", "车身控制器"),
    "gateway": Text("gateway", "网关"),
    "dcdc": Text("DC/DC converter", "DC/DC 变换器"),
    "thermal": Text("thermal management", "热管理控制器"),
    "steering": Text("power steering (EPS)", "电动助力转向（EPS）"),
    "tyres": Text("tyre pressure monitoring", "胎压监测"),
    "cluster": Text("instrument cluster", "组合仪表"),
    "airbag": Text("airbag control", "安全气囊控制器"),
    "telematics": Text("telematics unit (T-BOX)", "车载终端（T-BOX）"),
}
_STATES: Final[Mapping[str, Text]] = {
    "active": Text("failing now", "当前存在"),
    "confirmed": Text("confirmed", "已确认"),
    "pending": Text("pending", "待确认"),
    "history": Text("in the past only", "仅历史"),
}
_MOST_BECAUSE: Final = 10
_MOST_AGAINST: Final = 8
_TELLING: Final = 0.05
_UNNAMED: Final = 4
"""Pieces of evidence that may have nothing to be said of them."""
_EXPECTED: Final = 0.5
_PAIR: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]{2}")


def reasons(
    column: int, result: Posterior, postings: Postings, scales: Mapping[str, FeatureScale], query: Query
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """What speaks for one candidate and what against it, strongest first."""
    because: list[Reason] = []
    against: list[Reason] = []
    values = result.parts[:, column]
    for i in _strongest(values, _MOST_BECAUSE + _UNNAMED):
        item, value = result.seen[i], float(values[i])
        if item.kind in ("sentence", "meaning"):
            if said := result.said.get((item.kind, column)):
                because.append(_alike(item.kind, said, value))
        elif item.ref:
            because.append(Reason(item.kind, item.ref, _there(item, scales, query), value))
    for i in np.flatnonzero(values < -_TELLING).tolist():
        item = result.seen[i]
        if item.kind != "symptom":
            text = _there(item, scales, query)
            sentence = Text(f"{text.en}: not explained by this", f"{text.zh}：不能由此解释")
            against.append(Reason(item.kind, item.ref, sentence, float(values[i])))
    against.extend(_missing(int(result.rows[column]), result, postings, scales, query))
    because = _joined(because, query.symptom)
    because.sort(key=lambda r: (-r.weight, r.kind, r.ref))
    against.sort(key=lambda r: (r.weight, r.kind, r.ref))
    return tuple(because[:_MOST_BECAUSE]), tuple(against[:_MOST_AGAINST])


def _strongest(values: NDArray[np.float64], most: int) -> list[int]:
    """Which pieces of evidence speak for a fix: the strongest so many of them, and those that equal the last."""
    at = np.flatnonzero(values > _TELLING)
    if at.size > most:
        at = at[values[at] >= np.partition(values[at], at.size - most)[at.size - most]]
    return [int(i) for i in at]


def _joined(found: list[Reason], symptom: str) -> list[Reason]:
    """The same, where pairs of Chinese characters that overlap in the complaint are one piece of its text.

    突然 and 然掉 were matched one by one; a person reads 突然掉.
    """
    pairs = {one.ref: one for one in found if one.kind == "symptom" and _PAIR.fullmatch(one.ref)}
    if len(pairs) < 2:
        return found
    text = fold(symptom)
    at = [i for i in range(len(text) - 1) if text[i : i + 2] in pairs]
    runs: list[tuple[int, int]] = []
    for i in at:
        if runs and i < runs[-1][1]:
            runs[-1] = (runs[-1][0], i + 2)
        else:
            runs.append((i, i + 2))
    out = list(found)
    for start, end in runs:
        inside = [pairs.pop(text[i : i + 2], None) for i in range(start, end - 1)]
        parts = [one for one in inside if one is not None]
        if len(parts) > 1:
            piece = text[start:end]
            out = [one for one in out if not any(one is part for part in parts)]
            out.append(Reason("symptom", piece, _says(piece), sum(part.weight for part in parts)))
    return out


def _alike(kind: str, sentence: str, value: float) -> Reason:
    if kind == "sentence":
        text = Text(f"customers say of it: “{sentence}”", f"用户常这样描述：“{sentence}”")
    else:
        text = Text(f"the complaint reads like “{sentence}”", f"报修描述与“{sentence}”意思相近")
    return Reason(kind, sentence, text, value)


def _there(item: Seen, scales: Mapping[str, FeatureScale], query: Query) -> Text:
    if item.dtc is not None:
        return _dtc(item.dtc)
    if item.kind == "feature" and item.value is not None:
        return _figure(scales[item.ref], item.value)
    if item.kind == "cause":
        odds, title = query.causes[item.ref]
        return Text(
            f"the readings speak for “{title.en}” ({odds * 100:.0f} %)", f"读数指向“{title.zh}”（{odds * 100:.0f} %）"
        )
    if item.kind == "silence":
        role = ROLE_NAMES[item.ref]
        return Text(f"the {role.en} does not answer", f"{role.zh}无应答")
    if item.kind == "finding":
        title = query.findings[item.ref]
        named = title.en != item.ref
        en = f"found: {title.en}" if named else f"finding {item.ref}"
        zh = f"诊断结论：{title.zh}" if named else f"诊断结论 {item.ref}"
        return Text(en, zh)
    return _says(item.ref)


def _says(words: str) -> Text:
    return Text(f"the complaint says “{words}”", f"报修描述提到“{words}”")


def _dtc(dtc: DtcSeen) -> Text:
    state = _STATES[dtc.state]
    if dtc.role is None:
        where = f" ({dtc.ecu})" if dtc.ecu else ""
        here = f"（{dtc.ecu}）" if dtc.ecu else ""
        return Text(f"{dtc.display}{where}, {state.en}", f"故障码 {dtc.display}{here}，{state.zh}")
    role = ROLE_NAMES[dtc.role]
    address = f" {dtc.ecu}" if dtc.ecu and dtc.ecu.lower().startswith("0x") else ""
    return Text(
        f"{dtc.display} in the {role.en}{address}, {state.en}",
        f"{role.zh}{address} 故障码 {dtc.display}，{state.zh}".replace("） ", "）"),
    )


def _figure(scale: FeatureScale, value: float) -> Text:
    """``cell voltage spread 182 mV (fault above 150 mV)``."""
    found = scale.bin_of(value)
    i = scale.bins.index(found)
    unit = f" {scale.unit}" if scale.unit else ""
    shown = f"{value:.4g}{unit}"
    if found.name == "good":
        return Text(f"{scale.title.en} {shown}, healthy", f"{scale.title.zh} {shown}，正常".replace("） ", "）"))
    rising = scale.bins[0].name == "good"
    limit = f"{scale.bins[i - 1].below if rising else found.below:g}{unit}"
    word = Text("fault", "故障") if found.name == "fault" else Text("watch", "关注")
    side = Text("from", "起点") if rising else Text("below", "低于")
    return Text(
        f"{scale.title.en} {shown} ({word.en} {side.en} {limit})",
        f"{scale.title.zh} {shown}（{word.zh}{side.zh} {limit}）".replace("） ", "）"),
    )


def _missing(
    row: int, result: Posterior, postings: Postings, scales: Mapping[str, FeatureScale], query: Query
) -> list[Reason]:
    """What usually goes with the fix, was really read, and is not there."""
    read = {group.group: group for group in result.absent}
    out: list[Reason] = []
    for term in postings.terms_of(row):
        group = read.get(group_of_term(term) or "")
        if group is None or term in group.seen:
            continue
        if not postings.is_usual(term, row, _EXPECTED):
            continue
        kind, *rest = term.split("|")
        if kind == "f" and row in postings.seen(group.seen[0]):
            continue
        text, ref = _not_there(kind, rest, scales, query)
        out.append(
            Reason({"d2": "dtc", "f": "feature", "g": "finding"}.get(kind, "silence"), ref, text, -0.5 * group.weight)
        )
    return out


def _not_there(kind: str, rest: list[str], scales: Mapping[str, FeatureScale], query: Query) -> tuple[Text, str]:
    if kind == "d2":
        role = ROLE_NAMES[rest[0]]
        return (
            Text(
                f"{rest[1]} often comes with this; the {role.en} was read and has not set it",
                f"多伴随 {rest[1]}；已读取{role.zh}，未见该码",
            ),
            rest[1],
        )
    if kind == "f":
        text = _figure(scales[rest[0]], query.features[rest[0]])
        return Text(f"{text.en}; often off with this fault", f"{text.zh}；此故障时多为异常"), rest[0]
    if kind == "s":
        role = ROLE_NAMES[rest[0]]
        return Text(f"the {role.en} answers", f"{role.zh}有应答"), rest[0]
    return _no_finding(rest[0], scales, query), rest[0]


def _no_finding(code: str, scales: Mapping[str, FeatureScale], query: Query) -> Text:
    """``cell voltage spread 146 mV: no finding of its own``."""
    name = MEASURED_BY.get(code, "")
    if name not in scales or name not in query.features:
        return Text(f"no finding {code}, although it was measured", f"已测量，未得出结论 {code}")
    scale = scales[name]
    shown = f"{query.features[name]:.4g} {scale.unit}".rstrip()
    return Text(f"{scale.title.en} {shown}: no finding of its own", f"{scale.title.zh} {shown}：未单独形成结论")
