"""Right fix first? Simulated cars with one fault each, what a scan and a drive say of them, and what the customer says.

For each kind of fault and seed: the fixes that the case library ranks. "Answered" is a verdict of ``direct`` or
``test`` with a first fix of at least half the probability; "first" is the share of those whose first fix is right.
Sentences come from templates that the library's own content does not use. Baselines on the same cars: the most common
fix (popularity), the fix that shares most codes (code set), and FTS5 with OR over the fixes' own symptom sentences.
Each car is asked about once more with its right fixes taken out of the library: what it says then of a fault that it
does not know, and how well the probability of the best match tells both apart (AUC). Intervals are Wilson's, 95 %.

    python benchmarks/known_fixes.py [--seeds 4] [--seed 70000] [--kinds a,b] [-v]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from faulty_cars import judged, visit

from casebase.catalogue import CASES_OF, load_catalogue
from casebase.intervals import Z95, wilson
from casebase.library import Library
from casebase.query import Query
from casebase.ranking import answer
from virtualbus.faults import FAULTS
from virtualbus.vehicles import VEHICLES

if TYPE_CHECKING:
    from casebase.cases import Cases
    from casebase.catalogue import Fix

CARS = ("ev400", "lfp104", "zev", "phev", "ev800")
CELL = ("weak-cell", "module-low-capacity", "cell-high-resistance")
ISOLATION = ("isolation-coolant-water", "isolation-compressor", "isolation-ptc-heater", "motor-stator-insulation")
AT_TIMES = (*ISOLATION, "hv-cable-chafed", "isolation-charge-inlet", "pack-water-ingress")
CASES = {
    "weak-cell": (CELL, "the gauge fell from 40 to 15 percent on the way home", "回家路上电量从四成一下掉到一成多"),
    "low-capacity-cell": (CELL, "does not go as far as last year", "开不了去年那么远了"),
    "self-discharge": (
        ("cell-self-discharge", "balancing-failure"),
        "loses charge standing in the garage",
        "停车库里电自己少",
    ),
    "resistive-cell": (("cell-high-resistance", "weak-cell"), "pulls badly when I floor it", "一脚到底就没劲"),
    "shorted-cell": (("cell-internal-short",), "battery light came on in the car park", "停着停着电池灯亮"),
    "ageing": (("pack-end-of-life",), "eight years old, goes half as far", "开了八年，只能跑原来一半"),
    "module-joint": (("module-busbar-joint",), "power is cut on steep ramps", "上陡坡就掉功率"),
    "sampling-line": (("sampling-line",), "battery light comes and goes on rough roads", "过坑洼路电池灯时亮时灭"),
    "sampling-line-open": (("sampling-line",), "battery light since yesterday", "昨天起电池灯亮"),
    "probe-offset": (("battery-temperature-probe",), "charges slowly even on mild days", "天不冷也充得慢"),
    "probe-open": (("battery-temperature-probe",), "shows a battery fault in the morning", "早上报电池故障"),
    "probe-stuck": (("battery-temperature-probe",), "battery fan runs oddly", "电池风扇转得怪"),
    "current-offset": (("current-sensor-offset",), "the percentage is never right", "百分比老是不对"),
    "balancing-dead": (("balancing-failure", "cell-imbalance"), "full charge takes for ever", "充到满要很久"),
    "balancing-stuck": (("balancing-failure", "cell-self-discharge"), "loses range when parked", "停几天就少跑一截"),
    "soc-jump": (("bms-memory-fault",), "percentage changes by itself while driving", "开着电量自己变"),
    "software-mismatch": (("bms-software-mismatch",), "odd since a computer was swapped", "换过电脑后就怪怪的"),
    "low-battery": (("twelve-volt-weak",), "everything dark in the morning", "早上什么都不亮"),
    "converter": (("dcdc-failure", "dcdc-output-cable"), "lights get dim on the road", "开着开着灯暗"),
    "drain": (("key-off-drain",), "dead after the weekend", "过个周末就没电"),
    "body-ground": (("ground-strap-corroded", "ecu-supply-fuse"), "indicators behave strangely", "转向灯乱闪"),
    "lost-bms": (
        ("bms-communication-lost", "ecu-supply-fuse"),
        "no Ready, screen full of messages",
        "起步不了，满屏提示",
    ),
    "bus-errors": (
        ("can-wire-fault", "babbling-ecu", "can-termination-missing"),
        "lamps come on at random",
        "灯乱亮",
    ),
    "isolation": (ISOLATION, "warns of electric shock risk", "提示触电风险"),
    "isolation-intermittent": (AT_TIMES, "electric warning now and then", "有时报高压安全"),
    "isolation-wet": (AT_TIMES, "fails every time it pours", "一下大雨就趴"),
    "contactor-welded": (("contactor-welded",), "does not switch off properly", "关车关不干净"),
    "contactor-stuck": (
        ("contactor-coil-open", "contactor-economiser-driver"),
        "clicks but does not go to Ready",
        "咯噔一下就没反应",
    ),
    "precharge-resistor": (("precharge-resistor",), "Ready fails after a few seconds", "几秒后起步失败"),
    "interlock-open": (
        ("hvil-open", "service-disconnect-not-seated"),
        "dead since the garage had it",
        "从修理厂出来就不走",
    ),
    "coolant-pump": (("battery-coolant-pump",), "gets hot and slow on the autobahn", "跑高速又热又慢"),
    "chiller": (("battery-chiller-valve", "refrigerant-low"), "charging gets slow in summer", "夏天充电越来越慢"),
    "drive-pump": (
        ("drive-coolant-pump", "inverter-over-temperature"),
        "loses power after long climbs",
        "长坡之后没劲",
    ),
    "inverter-hot": (("inverter-over-temperature", "drive-coolant-pump"), "cuts back uphill", "爬山就降速"),
    "resolver": (("resolver", "resolver-offset-not-learned"), "shakes when setting off", "起步发抖"),
    "winding": (("motor-phase-open",), "hums and has no pull", "嗡嗡响不走"),
    "brake-switch": (("brake-switch-implausible", "brake-light-switch"), "brake lights stay on", "刹车灯一直亮"),
    "wheel-sensor": (("wheel-speed-sensor-circuit", "wheel-encoder-ring"), "ABS light on", "ABS灯亮"),
    "tyre-sensor": (("tyre-sensor-battery", "tyre-sensor-not-learned"), "no value for one tyre", "一个轮胎没数"),
    "misfire": (("ignition-coil", "spark-plugs-worn"), "engine stumbles", "发动机一顿一顿"),
    "intake-leak": (("vacuum-leak",), "idles unevenly with a hiss", "怠速不稳还漏气声"),
    "thermostat": (("thermostat-stuck-open",), "engine never gets warm", "发动机总是热不起来"),
    "charger-derating": (
        ("charger-over-temperature", "charger-internal-failure"),
        "takes twice as long at home",
        "家里充要两倍时间",
    ),
    "inlet-hot": (("charge-inlet-hot",), "the socket smells hot", "插口烫手"),
    "control-pilot": (("charge-pilot",), "the wall box refuses the car", "家里桩不认车"),
    "inlet-lock": (("charge-lock",), "the plug is not held", "枪插不牢"),
    "dc-timeout": (("dc-handshake-gbt", "dc-plc-modem"), "the fast charger gives up", "快充桩自己停"),
}


@cache
def library() -> Library:
    """The fixes that come with the program."""
    return Library.built_in()


@cache
def index() -> tuple[list[Fix], sqlite3.Connection]:
    """The fixes and their sentences in FTS5."""
    fixes = list(library().own_fixes())
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(text, tokenize = 'unicode61')")
    for row, fix in enumerate(fixes, start=1):
        text = " ".join((*fix.symptoms_en, *(" ".join(s) for s in fix.symptoms_zh), fix.title.en))
        db.execute("INSERT INTO f (rowid, text) VALUES (?, ?)", (row, text))
    return fixes, db


def baselines(query: Query) -> tuple[str, str, str]:
    """First fix by popularity, by shared codes, by FTS5."""
    fixes, db = index()
    popular = max(fixes, key=lambda fix: (CASES_OF[fix.commonness], fix.slug)).slug
    codes = {(dtc.role, dtc.code) for dtc in query.dtcs}
    shared = max(fixes, key=lambda fix: (len(codes & {(c.role, c.code) for c in fix.codes}), CASES_OF[fix.commonness]))
    words = [*re.findall(r"[a-z]{2,}", query.symptom.lower()), *re.findall(r"[一-鿿]", query.symptom)]
    words += [dtc.code for dtc in query.dtcs]
    asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
    row = (
        db.execute("SELECT rowid FROM f WHERE f MATCH ? ORDER BY rank LIMIT 1", (asked,)).fetchone() if asked else None
    )
    return popular, shared.slug, fixes[row[0] - 1].slug if row else ""


def is_answered(cases: Cases) -> bool:
    """Whether the library stands by its first match."""
    return cases.verdict.value in ("direct", "test") and bool(cases.matches) and cases.matches[0].p >= 0.5


def sureness(cases: Cases) -> float:
    """Probability of the best match."""
    return cases.matches[0].p if cases.matches else 0.0


def one(job: tuple[str, int]) -> tuple[str, int, bool, int, tuple[bool, bool, bool], str, float, float, bool]:
    """Kind, seed, answered, place of a right fix (0 = not shown), baselines right, what was said.

    And how sure it is, how sure without the right fixes, and whether it still stands by an answer then.
    """
    kind, seed = job
    right, en, zh = CASES[kind]
    rng = random.Random(f"{kind} {seed}")
    vehicle = rng.choice([name for name in CARS if FAULTS[kind].fits(VEHICLES[name])])
    report, series = visit(kind, vehicle, seed)
    findings, causes = judged(report, series)
    told = {
        **report.to_json(),
        "findings": [finding.to_json() for finding in findings],
        "causes": [cause.to_json() for cause in causes],
    }
    query = Query.from_json(told, symptom=rng.choice([en, zh]))
    cases = library().find(query)
    names = [match.source_id for match in cases.matches]
    place = next((at for at, name in enumerate(names, start=1) if name in right), 0)
    known = library()
    gone = {known.get_fix(name).fix_id for name in right}
    catalogue = load_catalogue()
    without = answer(
        query, known.postings.without(gone), known.get_fix, catalogue.scales, catalogue.tests,
        known.words,
    )  # fmt: skip
    popular, shared, said = (name in right for name in baselines(query))
    shown = ", ".join(f"{match.source_id} {match.p:.2f}" for match in cases.matches[:3])
    words = f"{vehicle} {cases.verdict.value}: {shown}"
    return (
        kind, seed, is_answered(cases), place, (popular, shared, said), words, sureness(cases), sureness(without),
        is_answered(without),
    )  # fmt: skip


def share(hits: int, n: int) -> str:
    """``0.85 [0.80, 0.89]``."""
    low, high = wilson(hits / max(1, n), max(1, n), Z95)
    return f"{hits / max(1, n):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=70_000)
    parser.add_argument("--kinds", default=",".join(CASES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", action="store_true")
    args = parser.parse_args()
    jobs = [(kind, args.seed + number) for kind in args.kinds.split(",") for number in range(args.seeds)]
    rows = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for row in pool.map(one, jobs):
            rows.append(row)
            if args.v and (row[3] != 1 or not row[2]):
                print(f"  {row[0]} {row[1]} answered={row[2]} place {row[3]}: {row[5]}", flush=True)
    answered = [row for row in rows if row[2]]
    print(f"{len(rows)} cars, {len(args.kinds.split(','))} kinds")
    print(f"answered           {share(len(answered), len(rows))}")
    print(f"right fix first    {share(sum(row[3] == 1 for row in answered), len(answered))} of those answered")
    print(f"                   {share(sum(row[3] == 1 for row in rows), len(rows))} of all")
    print(f"among three        {share(sum(0 < row[3] <= 3 for row in rows), len(rows))} of all")
    known, absent = (np.array([row[at] for row in rows]) for at in (6, 7))
    auc = float((known[:, None] > absent).mean() + 0.5 * (known[:, None] == absent).mean())
    print(f"right fix absent   AUC {auc:.3f}; still answered {share(sum(row[8] for row in rows), len(rows))}")
    for at, name in enumerate(("popularity", "code set", "FTS5 OR")):
        print(f"baseline {name}: {sum(row[4][at] for row in rows) / len(rows):.3f} of all")


if __name__ == "__main__":
    main()
