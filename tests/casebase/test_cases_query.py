"""Questions: every shape that is allowed, and any JSON in gives an answer or a named refusal."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from case_reports import isolation, lost_bms
from hypothesis import given, settings
from hypothesis import strategies as st

from casebase.errors import BadEvidence, CaseError
from casebase.library import Library
from casebase.query import Query, parse_dtc
from casebase.store import Store
from huizhen.commands.case import answer_line
from huizhen.language import Translator

LIBRARY = Library._filled(Store.memory())


@pytest.mark.parametrize(
    ("item", "code", "failure", "role", "state"),
    [
        ("P0AA6-1A", "P0AA6", "1A", None, "confirmed"),
        ("p0aa6", "P0AA6", None, None, "confirmed"),
        ("P0AA61A", "P0AA6", "1A", None, "confirmed"),
        ("P0AA6:1a@BMS", "P0AA6", "1A", "bms", "confirmed"),
        ("P0AA6-00", "P0AA6", None, None, "confirmed"),
        ("U0111-87@OBC", "U0111", "87", "charger", "confirmed"),
        ("SPN 5464 FMI 3", "SPN 5464 FMI 3", None, None, "confirmed"),
        (
            {"code": "P0AA6", "failure_type": "1A", "ecu_role": "bms", "status": "pending"},
            "P0AA6",
            "1A",
            "bms",
            "pending",
        ),
        ({"code": "P0AA6-1A", "status": "0x2F"}, "P0AA6", "1A", None, "active"),
        ({"code": "P0AA6", "status": 0x28}, "P0AA6", None, None, "confirmed"),
        ({"code": "P0AA6", "status": {"mask": "0x04"}}, "P0AA6", None, None, "pending"),
        (
            {"code": "P0AA6", "status": {"mask": "0x20", "testFailedSinceLastClear": True}},
            "P0AA6",
            None,
            None,
            "history",
        ),
        ({"code": "P0AA6", "status": ["pendingDTC"]}, "P0AA6", None, None, "pending"),
        ({"code": "P0AA6", "status": "2F"}, "P0AA6", None, None, "active"),
        ({"code": "P0AA6", "status": "stored"}, "P0AA6", None, None, "confirmed"),
        ({"code": "P0AA6", "kind": ["pending"]}, "P0AA6", None, None, "pending"),
        ({"code": "P0AA6", "kind": ["stored", "pending"]}, "P0AA6", None, None, "confirmed"),
        ({"code": "P0AA6", "failure_type": 26}, "P0AA6", "1A", None, "confirmed"),
    ],
)
def test_codes_as_people_and_programs_write_them(item, code, failure, role, state) -> None:
    seen = parse_dtc(item)
    assert seen is not None
    assert (seen.code, seen.failure_type, seen.role, seen.state) == (code, failure, role, state)


@pytest.mark.parametrize("status", ["0x50", 0x40, 0, {"mask": "0x50"}, "passed"])
def test_a_test_that_never_failed_is_no_code(status) -> None:
    assert parse_dtc({"code": "P0AA6", "status": status}) is None


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ([], "line"),
        ("P0AA6", "line"),
        (None, "line"),
        ({"dtcs": "P0AA6"}, "dtcs"),
        ({"dtcs": [7]}, "dtcs"),
        ({"dtcs": ["hello"]}, "dtcs"),
        ({"dtcs": [{"failure_type": "1A"}]}, "dtcs"),
        ({"dtcs": ["P0AA6"] * 501}, "dtcs"),
        ({"vehicle": "BYD"}, "vehicle"),
        ({"features": [1]}, "features"),
        ({"symptom": 5}, "symptom"),
        ({"findings": [5]}, "findings"),
        ({"read": "bms"}, "read"),
    ],
)
def test_a_wrong_shape_is_refused_by_its_key(line, key: str) -> None:
    with pytest.raises(BadEvidence) as caught:
        Query.from_json(line)
    assert caught.value.key == key
    assert Translator("zh").error(caught.value) != str(caught.value)


def test_unknown_keys_and_values_that_are_not_there_are_ignored() -> None:
    query = Query.from_json(
        {
            "colour": "red",
            "symptom": None,
            "dtcs": None,
            "features": {"spread_mv": None, "cell_low_mv": "12", "temp_max_c": True, "temp_spread_k": float("nan")},
            "vehicle": {"make": None, "model_year": "2023", "model": " Song  PLUS "},
            "read": ["BMS", "no such ecu", 5],
        }
    )
    assert query.features == {}
    assert query.vehicle.model_year == 2023
    assert query.vehicle.model == "song plus"
    assert query.read == ("bms",)


def test_a_report_says_what_was_read_and_who_was_silent() -> None:
    query = Query.from_report(lost_bms(), symptom="无法上电")
    assert query.read == ("charger", "inverter", "vcu")
    assert query.silent == ("bms",)
    assert query.simulated
    assert {(dtc.role, dtc.display) for dtc in query.dtcs} == {
        ("vcu", "U0111-87"),
        ("inverter", "U0111-87"),
        ("charger", "U0111-87"),
    }
    assert query.symptom == "无法上电"
    assert query.features == {}


def test_an_ecu_that_stopped_half_way_was_not_read_and_is_not_silent() -> None:
    from dataclasses import replace

    from diag.facts import EcuRole, Text
    from diag.vehiclereport import Unanswered

    half = Unanswered("0x7EC", Text("no answer to the codes", "未应答故障码请求"), EcuRole.BMS)
    query = Query.from_report(replace(isolation(), unanswered=(half,)))
    assert "bms" not in query.read
    assert query.silent == ()
    asked = replace(half, address="0x7E4")
    assert "bms" not in Query.from_report(replace(isolation(), unanswered=(asked,))).read


def test_the_status_mask_of_the_ecu_counts_by_its_availability() -> None:
    from dataclasses import replace

    from diag.facts import DtcStatus

    report = isolation()
    unsupported = replace(report.dtcs[0], status=DtcStatus(0x2F, available=0x50))
    assert Query.from_report(replace(report, dtcs=(unsupported,))).dtcs == ()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(max_size=8), child, max_size=4),
    max_leaves=12,
)
KEYED = st.dictionaries(
    st.sampled_from(
        ["symptom", "vehicle", "dtcs", "features", "findings", "read", "silent", "schema", "ecus", "battery"]
    ),
    ANY | st.lists(st.text(max_size=10) | ANY, max_size=3),
    max_size=6,
)


@settings(deadline=None)  # a shared machine may stall
@given(ANY | KEYED | KEYED.map(lambda line: {**line, "schema": "huizhen.scan/1"}))
def test_any_json_gives_a_question_or_a_declared_error(value) -> None:
    try:
        cases = LIBRARY.find(Query.from_json(value))
    except CaseError:
        return
    json.dumps(cases.to_json(), allow_nan=False)


@settings(deadline=None)  # a shared machine may stall
@given(st.binary(max_size=60) | ANY.map(lambda value: json.dumps(value).encode()))
def test_any_line_in_gives_a_line_out(line: bytes) -> None:
    out = answer_line(line, 3, LIBRARY, Translator("en"))
    assert out["schema"] == "huizhen.cases/1"
    assert (out["error"] is None) == (out["verdict"] is not None)
    text = json.dumps(out, allow_nan=False, ensure_ascii=False)
    assert "\n" not in text
    text.encode()


@pytest.mark.parametrize(
    "line",
    [
        rb'{"dtcs": ["\ud800"]}',
        rb'{"findings": ["\udfff x"], "dtcs": ["P0AA6"]}',
        rb'{"symptom": "\ud83d", "vehicle": {"make": "\ud800"}}',
    ],
)
def test_half_a_surrogate_pair_does_no_harm(line: bytes) -> None:
    out = answer_line(line, 1, LIBRARY, Translator("zh"))
    json.dumps(out, ensure_ascii=False).encode()


def test_a_line_that_is_too_long_is_answered_and_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from huizhen.commands import case

    data = b'{"symptom": "' + b"x" * (3 << 20) + b'"}\n' + b'{"dtcs": ["P0AA6"]}'
    monkeypatch.setattr(case.sys, "stdin", SimpleNamespace(buffer=BytesIO(data)))
    lines = list(case._lines())
    assert len(lines) == 2
    first, second = (answer_line(line, i, LIBRARY, Translator("zh")) for i, line in enumerate(lines, start=1))
    assert "超过" in first["error"]["text"]
    assert second["error"] is None
