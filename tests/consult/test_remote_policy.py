"""The laptop's own list, as a workshop writes it."""

from __future__ import annotations

import pytest

from consult.remotepolicy import PolicyBroken, RemotePolicy, parse_policy, policy_from_allows
from diag.guardrules import Risk
from huizhen.errors import BadSettings
from huizhen.remoterules import load_remote_policy
from huizhen.settings import config_folder

WHOLE = """
[classes]
A = true
B = false
C = true
D = true
[session]
A = false
[hold]
longest_s = 12.5
[[alter]]
ecu = "0x7ec"
request = "2E F1 98"
[[never]]
request = "22 F1 90"
[[outputs]]
ecu = "0x7ec"
request = "2F 01 61"
[routines.0203]
class = "C"
en = "bleed the coolant"
zh = "冷却液排气"
"""


def test_a_whole_policy():
    policy = parse_policy(WHOLE)
    assert policy.classes == {Risk.READ, Risk.ACTUATE, Risk.ALTER}
    assert (policy.session, policy.longest_hold_s) == (False, 12.5)
    assert policy.allows("0x7EC", bytes.fromhex("2EF19801"), Risk.ALTER)
    assert not policy.allows("0x7E8", bytes.fromhex("2EF19801"), Risk.ALTER)
    assert not policy.allows("0x7EC", bytes.fromhex("22F190"), Risk.READ)
    assert not policy.allows("0x7EC", bytes.fromhex("14FFFFFF"), Risk.ASK_EACH_TIME)
    assert policy.rules[0x0203].risk is Risk.ACTUATE
    told = policy_from_allows(policy.to_json())
    for name in ("classes", "session", "alter", "never", "outputs"):
        assert getattr(told, name) == getattr(policy, name)
    assert told.routines == policy.routines


def test_without_a_file_reading_changing_and_holding_may_be_asked_for_and_altering_never():
    policy = RemotePolicy()
    assert parse_policy("") == policy
    assert policy.classes == {Risk.READ, Risk.ASK_EACH_TIME, Risk.ACTUATE}
    assert not policy.allows("0x7EC", bytes.fromhex("2EF19801"), Risk.ALTER)
    named = parse_policy("[classes]\nD = true")
    assert not named.allows("0x7EC", bytes.fromhex("2EF19801"), Risk.ALTER), "class D only by name"


def car(**roles: str) -> dict[str, object]:
    """A report of ECUs by address."""
    ecus = [
        {"address": f"0x7{at}", "request_address": f"0x{int(at, 16) + 0x6F8:X}", "protocol": "uds", "role": role}
        for at, role in roles.items()
    ]
    return {"ecus": ecus}


CONTACTOR, CONTACTOR_OFF, PUMP = (bytes.fromhex(text) for text in ("2F016103FF", "2F016203FF", "2F017003FF"))


def test_security_no_output_that_may_close_a_contactor_is_asked_for_from_afar_unless_the_workshop_names_it():
    report = car(E8="vcu", EC="bms", EA="inverter", E9="charger", EB="dcdc", ED="airbag", EE="unknown", EF="thermal")
    del report["ecus"][6]["role"]  # a report without the word
    policy = RemotePolicy().for_car(report)
    told = policy_from_allows(policy.to_json())
    assert told.guarded == policy.guarded
    for one in (policy, told):
        for ecu in ("0x7E8", "0x7EC", "0x7EA", "0x7E9", "0x7EB", "0x7ED", "0x7EE"):
            assert not one.allows(ecu, PUMP, Risk.ACTUATE)
            assert not one.allows(ecu, bytes.fromhex("2F01610003"), Risk.ACTUATE), "more than giving control back"
            assert one.allows(ecu, bytes.fromhex("2F016100"), Risk.ACTUATE), "control may always be given back"
            assert one.allows(ecu, bytes.fromhex("1101"), Risk.ACTUATE)
        assert one.allows("0x7EF", PUMP, Risk.ACTUATE)
    named = parse_policy('[[outputs]]\necu = "0x7EC"\nrequest = "2F 01 61"').for_car(report)
    assert named.allows("0x7EC", CONTACTOR, Risk.ACTUATE)
    assert not named.allows("0x7EC", CONTACTOR_OFF, Risk.ACTUATE)
    assert not named.allows("0x7E8", CONTACTOR, Risk.ACTUATE)
    both = parse_policy(
        '[[outputs]]\necu = "0x7EC"\nrequest = "2F 01 61"\n[[never]]\nrequest = "2F"',
    ).for_car(report)
    assert not both.allows("0x7EC", CONTACTOR, Risk.ACTUATE), "what is never to be asked for stays so"


@pytest.mark.parametrize(
    "text",
    [
        "classes",
        "[classes]\nE = true",
        "[classes]\nrefused = true",
        '[classes]\nA = "yes"',
        "[classes]\nA = 1",
        "classes = 3",
        "[sessions]\nA = true",
        "[session]\nB = true",
        "[hold]\nlongest_s = 0",
        "[hold]\nlongest_s = 6000",
        "[hold]\nlongest_s = true",
        "[hold]\nlongest = 3",
        '[[alter]]\nrequest = "2E"',
        '[[alter]]\necu = "BMS"\nrequest = "2E"',
        '[[alter]]\necu = "0x7EC"\nrequest = "xyz"',
        '[[alter]]\necu = "0x7EC"\nrequest = "2"',
        '[[alter]]\necu = "0x7EC"\nrequest = "2E"\nwhy = "x"',
        "[alter]\nx = 1",
        "alter = [3]",
        "[[never]]\nrequest = 14",
        '[[outputs]]\nrequest = "2F 01 61"',
        '[[outputs]]\necu = "0x7EC"\nrequest = "2F"',
        '[[outputs]]\necu = "0x7EC"\nrequest = "31 01 02 03"',
        '[routines.0203]\nclass = "A"\nen = "x"\nzh = "x"',
        '[routines.0203]\nclass = "C"\nen = "x"',
        '[routines.03]\nclass = "C"\nen = "x"\nzh = "x"',
        '[routines.E201]\nclass = "C"\nen = "x"\nzh = "x"',
        "[routines]\n0203 = 3",
        "routines = 3",
    ],
)
def test_a_policy_that_makes_no_sense_is_no_policy(text):
    with pytest.raises(PolicyBroken):
        parse_policy(text)


def test_the_file_beside_the_settings(capsys, tmp_path):
    from huizhen.cli import main
    from huizhen.exits import Exit

    path = config_folder() / "remote.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert load_remote_policy() == RemotePolicy()
    try:
        path.write_text(WHOLE, encoding="utf-8")
        assert load_remote_policy() == parse_policy(WHOLE)
        for broken in ("[classes]\nE = true", b"\xff\xfe"):
            path.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
            with pytest.raises(BadSettings, match="remote"):
                load_remote_policy()
        assert main(["--lang", "zh", "consult", "open", "--demo"]) == Exit.USAGE
        out, err = capsys.readouterr()
        assert out == ""
        assert "remote.toml" in err
        assert "可用" in err
    finally:
        path.unlink()
