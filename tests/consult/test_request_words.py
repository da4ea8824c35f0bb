"""The words by which people decide about a request, and by which they read its answer."""

from __future__ import annotations

import pytest

from consult.answertext import text_of
from consult.redaction import redact_event
from consult.requestnames import name_of_request
from diag.addressing import Target
from diag.answers import Answer
from diag.facts import Text
from huizhen.roomview import command_from_typed, is_command

_READ = Text("read data by identifier", "按标识符读数据")


def test_a_request_for_the_vin_says_so() -> None:
    assert name_of_request(bytes.fromhex("22F190"), _READ).en == "read data by identifier: VIN"
    assert "车架号" in name_of_request(bytes.fromhex("22F190F1AA"), _READ).zh
    assert name_of_request(bytes.fromhex("2EF19031"), Text("write", "写")).en == "write: VIN"


@pytest.mark.parametrize("data", ["", "22", "221234", "14FFFFFF", "1902FF", "22F1"])
def test_what_no_standard_names_keeps_its_service_s_name(data: str) -> None:
    assert name_of_request(bytes.fromhex(data), _READ) is _READ


def _answer(request: bytes, payload: bytes) -> Answer:
    return Answer(Target.physical(0x7E4, 0x7EC), request, payload)


def test_codes_that_were_merely_not_tested_are_not_counted_as_faults() -> None:
    request = bytes.fromhex("1902FF")
    answer = _answer(request, bytes.fromhex("5902FF 0DE6162F 0DE71750 0BBD8550"))
    said = text_of(request, [answer])
    assert said.en == "0x7EC: 1 codes: P0DE6-16; 2 more without a fault"
    assert said.zh == "0x7EC：1 个故障码：P0DE6-16；另有 2 个未报故障"
    clean = _answer(request, bytes.fromhex("5902FF 0DE71750"))
    assert text_of(request, [clean]).en == "0x7EC: no codes; 1 more without a fault"


def test_a_refused_request_for_the_vin_is_not_called_read() -> None:
    body = {"outcome": "refused", "request": {"data": "22F190"}, "answers": [], "values": [], "guard": []}
    assert "was read" not in redact_event({"kind": "result", "body": body}, ())["body"]["text"]["en"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("、stop", "/stop"), ("／stop", "/stop"), ("/stop", "/stop"), ("、好的", "、好的"), ("你好、stop", "你好、stop")],
)
def test_a_command_from_a_chinese_keyboard_is_one(typed: str, meant: str) -> None:
    assert command_from_typed(typed) == meant


@pytest.mark.parametrize(
    ("typed", "command"), [("/stpo", True), ("/invite lead", True), ("/dev/ttyUSB0", False), ("24/7", False)]
)
def test_mistyped_commands_are_told_from_talk(typed: str, command: bool) -> None:
    assert is_command(typed) is command
