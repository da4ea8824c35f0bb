"""The transmit guard's decisions, one by one."""

from __future__ import annotations

import pytest

from diag.addressing import OBD_FUNCTIONAL, OBD_FUNCTIONAL_29, Target
from diag.errors import RefusedByPolicy
from diag.guard import RULES, Risk, TransmitGuard, VehicleState

BMS = Target.physical(0x7E4)
EVERYTHING = frozenset(Risk)
SAFE = VehicleState(speed_kmh=0.0, is_charging=False, supply_v=12.6)


def full() -> TransmitGuard:
    return TransmitGuard(EVERYTHING, state=SAFE)


READING = [
    "0100", "010C0D", "01000102030405", "020200", "020C000D000F00", "03", "0600", "07", "0902", "0A", "1001", "1081",
    "1901AF", "1902AF", "1903", "19040AA61AFF", "1905FF", "19060AA61AFF", "190A", "1942330108", "195533", "195633FE",
    "22F190", "22F190F18C", "24F190", "3E00", "3E80",
]  # fmt: skip


@pytest.mark.parametrize("text", READING)
def test_reading_passes_without_a_grant(text):
    guard = TransmitGuard()
    assert guard.check_request(bytes.fromhex(text), BMS) is Risk.READ


OTHERS = {
    Risk.ASK_EACH_TIME: ["1003", "1083", "14FFFFFF", "14FFFF3301", "04", "8501", "8502", "280301", "2804010001",
                         "2344200000000010", "2A0101", "2C01F2000AA10101"],
    Risk.ACTUATE: ["1101", "1102", "1103", "2FD00100", "2FD0010301"],
    Risk.ALTER: ["1002", "2701", "270211223344", "2903AA", "2EF19041", "34004400000000000000FF", "350011000001",
                 "360141", "37", "38010001410000", "3D11000141"],
}  # fmt: skip


@pytest.mark.parametrize(("risk", "text"), [(risk, text) for risk, texts in OTHERS.items() for text in texts])
def test_other_classes_need_their_grant_and_a_known_car(risk, text):
    payload = bytes.fromhex(text)
    with pytest.raises(RefusedByPolicy) as refusal:
        TransmitGuard().check_request(payload, BMS)
    assert refusal.value.risk == risk.value
    guard = full()
    guard.confirm(payload, BMS)
    assert guard.check_request(payload, BMS) is risk
    others = TransmitGuard(EVERYTHING - {risk}, state=SAFE)
    others.confirm(payload, BMS)
    with pytest.raises(RefusedByPolicy):
        others.check_request(payload, BMS)
    with pytest.raises(RefusedByPolicy, match="not known to stand still"):
        TransmitGuard(EVERYTHING).check_request(payload, BMS)


@pytest.mark.parametrize(
    "text",
    [
        "", "00", "05",
        "0800", "08010000000000", "0B", "1004", "1040", "1060", "11", "1106", "1F",
        "275F", "2760", "27DF", "27E0", "2743", "2700", "3101E200", "3101E2FF", "3101E201", "3103E2AA", "3101FF00",
        "31010203", "3101E000", "3F00", "40", "7F2211", "83", "8302", "8400", "860100", "8701", "BA", "FF",
    ],
)  # fmt: skip
def test_some_things_are_refused_whatever_was_granted(text):
    with pytest.raises(RefusedByPolicy) as refusal:
        full().check_request(bytes.fromhex(text), BMS)
    assert refusal.value.risk == "refused"


@pytest.mark.parametrize(
    "text",
    ["01", "0101020304050607", "0202", "020C", "0300", "0401", "09", "1001FF", "100100", "10", "1902", "1902AF00",
     "19040AA61A", "190400", "3E", "3E0000", "3E01", "22", "22F1", "22F190F1", "24F1", "24F190F1", "14FFFF", "0700"],
)  # fmt: skip
def test_a_wrong_length_hides_nothing(text):
    with pytest.raises(RefusedByPolicy):
        full().check_request(bytes.fromhex(text), BMS)


@pytest.mark.parametrize(
    "target",
    [Target(0x123, 0x456), Target(0x7E8, 0x7E0), Target(0x7E4, 0x7E4), Target(0x1CECFF00, 0x18DAF110, extended=True),
     Target(0x18FEF100, 0x18DAF110, extended=True), Target(0x7DF, None, extended=True), Target(0x6FF, None),
     Target(0x18DAF110, 0x18DA10F1, extended=True), Target(0x18DA1033, 0x18DA3310, extended=True),
     Target(0x18DBFFF1, None, extended=True), Target(0x7DF, 0x7E8), Target(0x7E0, None),
     Target(0x18DB33F1, 0x18DAF110, extended=True), Target(0x18DA10F1, None, extended=True)],
)  # fmt: skip
def test_nothing_goes_to_identifiers_that_are_not_for_diagnostics(target):
    with pytest.raises(RefusedByPolicy):
        full().check_request(b"\x3e\x00", target)


@pytest.mark.parametrize("target", [OBD_FUNCTIONAL, OBD_FUNCTIONAL_29])
def test_no_actuation_goes_to_all_ecus_at_once(target):
    assert full().check_request(b"\x01\x00", target) is Risk.READ
    for text in ("1101", "2EF19041", "2FD00100", "2701", "280301", "8502"):
        with pytest.raises(RefusedByPolicy):
            full().check_request(bytes.fromhex(text), target)


@pytest.mark.parametrize("target", [OBD_FUNCTIONAL, OBD_FUNCTIONAL_29])
def test_no_session_for_programming_goes_to_all_ecus_at_once(target):
    for text in ("1002", "1082"):
        payload = bytes.fromhex(text)
        guard = full()
        assert guard.check_request(payload, BMS) is Risk.ALTER
        with pytest.raises(RefusedByPolicy, match="to all ECUs at once"):
            guard.check_request(payload, target)
    guard = full()
    guard.confirm(b"\x10\x03", target)
    assert guard.check_request(b"\x10\x03", target) is Risk.ASK_EACH_TIME
    assert guard.check_request(b"\x10\x01", target) is Risk.READ


@pytest.mark.parametrize(("request_id", "response_id"), [(0x7DF, 0x7E8), (0x18DB33F1, 0x18DAF110)])
def test_a_functional_identifier_never_counts_as_one_ecu(request_id, response_id):
    with pytest.raises(ValueError, match=f"{request_id:X}"):
        Target.physical(request_id, response_id)
    disguised = Target(request_id, response_id, request_id > 0x7FF)
    assert disguised.is_functional
    for text in ("1101", "2EF19041", "2701", "22F190"):
        with pytest.raises(RefusedByPolicy):
            full().check_request(bytes.fromhex(text), disguised)


@pytest.mark.parametrize("target", [OBD_FUNCTIONAL, OBD_FUNCTIONAL_29])
def test_no_flow_control_leaves_on_a_functional_identifier(target):
    guard = TransmitGuard()
    exchange = guard.open(b"\x09\x02", target)
    exchange.sent, exchange.flows = 2, {target.request_id: 5}
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(target.request_id, bytes.fromhex("300000CCCCCCCCCC"), extended=target.extended)


def test_every_rule_says_what_it_is_in_both_languages():
    for rule in RULES.values():
        assert rule.name.en
        assert rule.name.zh


def test_a_refusal_names_the_request_in_both_languages():
    with pytest.raises(RefusedByPolicy) as refusal:
        TransmitGuard().check_request(bytes.fromhex("14FFFFFF"), BMS)
    assert "14FFFFFF" in refusal.value.what.en
    assert "0x7EC" in refusal.value.what.zh
    assert "清除故障码" in refusal.value.what.zh
    assert "class B" in str(refusal.value)


class TestFrames:
    """The second stand: the very bytes of an open exchange, and flow control for its answers."""

    def setup_method(self):
        self.guard = TransmitGuard()
        self.exchange = self.guard.open(bytes.fromhex("22F190"), BMS)

    def refuse(self, can_id, text, **kinds):
        before = self.guard.refused
        with pytest.raises(RefusedByPolicy):
            self.guard.check_frame(can_id, bytes.fromhex(text), **kinds)
        assert self.guard.refused == before + 1

    def allow(self, can_id, text):
        self.guard.check_frame(can_id, bytes.fromhex(text))

    @pytest.mark.parametrize("text", ["0322F190CCCCCCCC", "0322F19000000000", "0322F190", "0322F190AA"])
    def test_the_request_itself_passes_once(self, text):
        self.allow(0x7E4, text)
        self.refuse(0x7E4, text)

    @pytest.mark.parametrize(
        "text",
        ["0322F191CCCCCCCC", "0222F1CCCCCCCCCC", "0422F190CCCCCCCC", "0322F190CC00CCCC", "0322F19012345678",
         "023E00CCCCCCCCCC", "0322F1902EF19041", "", "00", "FF", "1003", "101022F190414243"],
    )  # fmt: skip
    def test_other_bytes_do_not(self, text):
        self.refuse(0x7E4, text)

    def test_nor_other_places(self):
        for can_id in (0x7E3, 0x7DF, 0x7EC, 0x100):
            self.refuse(can_id, "0322F190CCCCCCCC")
        self.refuse(0x7E4, "0322F190CCCCCCCC", extended=True)
        self.refuse(0x7E4, "0322F190CCCCCCCC", is_plain=False)

    def test_nor_after_the_end(self):
        self.guard.close(self.exchange)
        self.guard.close(self.exchange)
        self.refuse(0x7E4, "0322F190CCCCCCCC")

    def test_flow_control_needs_a_first_frame_of_an_answer(self):
        self.allow(0x7E4, "0322F190CCCCCCCC")
        self.refuse(0x7E4, "300000CCCCCCCCCC")
        self.guard.observe(0x7ED, bytes.fromhex("101462F190414243"), extended=False)  # another ECU
        self.guard.observe(0x7EC, bytes.fromhex("101459F190414243"), extended=False)  # another service
        self.guard.observe(0x7EC, bytes.fromhex("0662F19041424300"), extended=False)  # a single frame
        self.guard.observe(0x7EC, bytes.fromhex("101462F190414243"), extended=True)
        self.refuse(0x7E4, "300000CCCCCCCCCC")
        self.guard.observe(0x7EC, bytes.fromhex("101462F190414243"), extended=False)
        self.refuse(0x7E5, "300000CCCCCCCCCC")
        self.refuse(0x7DF, "300000CCCCCCCCCC")
        self.refuse(0x7E4, "30000022F1904142")
        self.allow(0x7E4, "300000CCCCCCCCCC")
        self.guard.close(self.exchange)
        self.refuse(0x7E4, "300000CCCCCCCCCC")

    def test_no_answer_before_the_question(self):
        self.guard.observe(0x7EC, bytes.fromhex("101462F190414243"), extended=False)
        self.refuse(0x7E4, "300000CCCCCCCCCC")

    def test_a_storm_of_first_frames_earns_no_storm_of_flow_control(self):
        self.allow(0x7E4, "0322F190CCCCCCCC")
        allowed = 0
        for _ in range(1000):
            self.guard.observe(0x7EC, bytes.fromhex("101462F190414243"), extended=False)
            try:
                self.allow(0x7E4, "300000CCCCCCCCCC")
            except RefusedByPolicy:
                continue
            allowed += 1
        assert allowed < 40


def test_functional_answers_get_flow_control_at_the_physical_id():
    guard = TransmitGuard()
    guard.open(b"\x09\x02", OBD_FUNCTIONAL)
    guard.check_frame(0x7DF, bytes.fromhex("020902CCCCCCCCCC"))
    guard.observe(0x7EC, bytes.fromhex("1014490201414243"), extended=False)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x7DF, bytes.fromhex("300000CCCCCCCCCC"))
    guard.check_frame(0x7E4, bytes.fromhex("300000CCCCCCCCCC"))
    guard.open(b"\x09\x02", OBD_FUNCTIONAL_29)
    guard.check_frame(0x18DB33F1, bytes.fromhex("020902CCCCCCCCCC"), extended=True)
    guard.observe(0x18DAF140, bytes.fromhex("1014490201414243"), extended=True)
    guard.check_frame(0x18DA40F1, bytes.fromhex("300000CCCCCCCCCC"), extended=True)


def test_a_long_request_goes_piece_by_piece_and_only_when_asked_for():
    guard = TransmitGuard()
    guard.open(bytes.fromhex("22F190F18CF195F188"), BMS)

    def refuse(text):
        with pytest.raises(RefusedByPolicy):
            guard.check_frame(0x7E4, bytes.fromhex(text))

    refuse("21F195F188CCCCCC")
    refuse("100922F190F18CF1"[:-2] + "00")
    refuse("100A22F190F18CF1")
    guard.check_frame(0x7E4, bytes.fromhex("100922F190F18CF1"))
    refuse("2195F188CCCCCCCC")  # no flow control came
    guard.observe(0x7EC, bytes.fromhex("310000"), extended=False)
    refuse("2195F188CCCCCCCC")  # it said wait
    guard.observe(0x7EC, bytes.fromhex("300000"), extended=False)
    refuse("2295F188CCCCCCCC")
    refuse("2195F189CCCCCCCC")
    refuse("2195F188CC2EF190")
    guard.check_frame(0x7E4, bytes.fromhex("2195F188CCCCCCCC"))
    refuse("2295F188CCCCCCCC")


def test_a_request_to_all_ecus_fits_one_frame_or_does_not_go():
    guard = TransmitGuard()
    guard.open(bytes.fromhex("22F190F18CF195F188"), OBD_FUNCTIONAL)
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x7DF, bytes.fromhex("100922F190F18CF1"))


def test_the_log_keeps_what_left_and_what_did_not_and_is_bounded():
    guard = TransmitGuard(capacity=4, clock=iter(range(100)).__next__)
    guard.open(b"\x3e\x00", BMS)
    with pytest.raises(RefusedByPolicy):
        guard.check_request(b"\x11\x01", BMS)
    guard.check_frame(0x7E4, bytes.fromhex("023E00CCCCCCCCCC"))
    with pytest.raises(RefusedByPolicy):
        guard.check_frame(0x7E4, bytes.fromhex("021101CCCCCCCCCC"))
    assert [(entry.t_ns, entry.stage, entry.is_allowed, entry.risk.value) for entry in guard.log] == [
        (0, "request", True, "A"), (1, "request", False, "C"), (2, "frame", True, "A"), (3, "frame", False, "refused"),
    ]  # fmt: skip
    assert (guard.sent, guard.refused) == (1, 2)
    for _ in range(10):
        guard.open(b"\x3e\x00", BMS)
    assert len(guard.log) == 4


def test_class_b_is_asked_for_each_time():
    guard = full()
    with pytest.raises(RefusedByPolicy, match="not confirmed this time"):
        guard.open(bytes.fromhex("14FFFFFF"), BMS)
    guard.confirm(bytes.fromhex("14FFFFFF"), BMS)
    with pytest.raises(RefusedByPolicy):
        guard.open(bytes.fromhex("14FFFF33"), BMS)
    guard.open(bytes.fromhex("14FFFFFF"), BMS)
    with pytest.raises(RefusedByPolicy, match="not confirmed this time"):
        guard.open(bytes.fromhex("14FFFFFF"), BMS)


def test_a_confirmation_is_no_grant():
    guard = TransmitGuard(state=SAFE)
    guard.confirm(bytes.fromhex("14FFFFFF"), BMS)
    with pytest.raises(RefusedByPolicy):
        guard.open(bytes.fromhex("14FFFFFF"), BMS)


def test_a_confirmation_does_not_outlive_a_refused_attempt():
    clear, guard = bytes.fromhex("14FFFFFF"), full()
    guard.state = VehicleState(speed_kmh=30.0, is_charging=False, supply_v=12.6)
    guard.confirm(clear, BMS)
    with pytest.raises(RefusedByPolicy, match="stand still"):
        guard.open(clear, BMS)
    guard.state = SAFE
    with pytest.raises(RefusedByPolicy, match="not confirmed this time"):
        guard.open(clear, BMS)


def test_a_confirmation_expires():
    now = [0]
    clear = bytes.fromhex("14FFFFFF")
    guard = TransmitGuard(EVERYTHING, state=SAFE, confirmation_s=60, monotonic=lambda: now[0])
    guard.confirm(clear, BMS)
    now[0] = 60 * 10**9 - 1
    guard.check_request(clear, BMS)
    now[0] += 1
    with pytest.raises(RefusedByPolicy, match="not confirmed this time"):
        guard.open(clear, BMS)


def test_refused_cannot_be_granted():
    assert Risk.REFUSED not in full().granted


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (VehicleState(), "stand still"),
        (VehicleState(speed_kmh=3), "stand still"),
        (VehicleState(speed_kmh=0), "charge"),
        (VehicleState(speed_kmh=0, is_charging=True), "charge"),
        (VehicleState(speed_kmh=0, is_charging=False), "12 V"),
        (VehicleState(speed_kmh=0, is_charging=False, supply_v=11.2), "12 V"),
    ],
)
def test_an_unknown_condition_is_not_met(state, words):
    assert words in state.unmet().en
    assert SAFE.unmet() is None
