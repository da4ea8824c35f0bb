import io
import json

import pytest

from huizhen.cli import main
from huizhen.exits import Exit


@pytest.fixture
def dtc(capsys, monkeypatch):
    def run(*words, stdin="", lang="en"):
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        code = main(["--lang", lang, "dtc", *words])
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


def test_decode_json_has_the_contract_s_keys(dtc):
    code, out, err = dtc("decode", "5902FF0AA61A2F", "--service", "uds", "--ecu", "0x7EC", "--json")
    told = json.loads(out)
    assert (code, err) == (Exit.DONE, "")
    assert told["schema"] == "huizhen.dtcs/1"
    assert told["complete"] is True
    assert (told["missing"], told["negative"], told["snapshots"]) == (0, None, [])
    [entry] = told["dtcs"]
    assert entry["display"] == "P0AA6-1A"
    assert entry["raw"] == "0AA61A2F"
    assert entry["status"]["mask"] == "0x2F"
    assert entry["status"]["testFailed"] is True
    assert entry["status"]["warningIndicatorRequested"] is False
    assert entry["kind"] == ["stored", "pending"]
    assert entry["severity"] == "stop"
    assert set(entry) >= {"code", "failure_type", "ecu", "spn", "fmi", "occurrences", "text", "text_source"}


def test_decode_of_a_refusal_is_a_result(dtc):
    code, out, _ = dtc("decode", "7F 19 31", "--service", "uds", "--json")
    assert code == Exit.DONE
    negative = json.loads(out)["negative"]
    assert (negative["service"], negative["nrc"], negative["name"]) == ("0x19", "0x31", "requestOutOfRange")
    assert json.loads(out)["dtcs"] == []
    _, said, _ = dtc("decode", "7F1931", lang="zh")
    assert said == "ECU 拒绝了服务 0x19：请求超出范围（requestOutOfRange，0x31）\n"


def test_decode_cut_lines_from_standard_input(dtc):
    lines = "7EC 10 2F 59 02 FF 0A A6 1A\n7EC 21 2F 0B BD 85 2C 0D E6\n7EC 22 16 2F 0B 3C 64 24\n"
    code, out, _ = dtc("decode", "-", "--service", "uds", "--json", stdin=lines)
    told = json.loads(out)
    assert code == Exit.DONE
    assert [entry["display"] for entry in told["dtcs"]] == ["P0AA6-1A", "P0BBD-85", "P0DE6-16", "P0B3C-64"]
    assert (told["complete"], told["missing"]) == (False, 7)
    _, said, _ = dtc("decode", "-", "--service", "uds", stdin=lines)
    assert "4 of 11 codes; 7 missing" in said
    _, said, _ = dtc("decode", "-", "--service", "uds", stdin=lines, lang="zh")
    assert "11 个故障码中的 4 个；缺 7 个" in said


def test_decode_snapshots_and_lamps(dtc):
    _, out, _ = dtc("decode", "59030AA61A01", "--json")
    [snapshot] = json.loads(out)["snapshots"]
    assert (snapshot["code"], snapshot["failure_type"], snapshot["record"]) == ("P0AA6", "1A", 1)
    _, said, _ = dtc("decode", "44FF5B0C0305FFFF", "--service", "j1939")
    assert "SPN 3163 FMI 3" in said
    assert "lamps on: amber warning, malfunction indicator" in said


def test_decode_k_line(dtc):
    _, out, _ = dtc("decode", "43 01 43 01 96 00 00", "--kline", "--json")
    assert [entry["code"] for entry in json.loads(out)["dtcs"]] == ["P0143", "P0196"]


def test_decode_jsonl_is_one_code_per_line(dtc):
    _, out, _ = dtc("decode", "43020AA60196", "--service", "obd", "--jsonl")
    assert [json.loads(line)["code"] for line in out.splitlines()] == ["P0AA6", "P0196"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["decode", "5902zz"], "cannot use '5902zz': 'z' is no hex digit"),
        (["decode", "590"], "cannot use '590': 3 hex digits are not whole bytes"),
        (["decode", ""], "cannot use '': no bytes in it"),
        (["decode", "62F190"], "it begins with 62"),
        (["decode", "62F190", "--service", "uds"], "cannot use 62F190: not an answer to UDS service 19"),
        (["decode", "59FE00"], "service 19 has no sub-function FE"),
        (["decode", "-"], "no answer of service uds in 0 frames"),
        (["explain", "P0ZZ6"], "cannot use 'P0ZZ6': not a trouble code"),
        ([], "say what to do"),
    ],
)
def test_bad_input_is_one_line_and_two(dtc, words, says):
    code, out, err = dtc(*words)
    assert (code, out) == (Exit.USAGE, "")
    assert says in err
    assert err.count("\n") == 1
    code, _, chinese = dtc(*words, lang="zh")
    assert code == Exit.USAGE
    assert any("\u4e00" <= char <= "\u9fff" for char in chinese)


def test_explain_says_meaning_urgency_and_why(dtc):
    code, said, _ = dtc("explain", "p0aa6-1a", "P1234", lang="zh")
    assert code == Exit.DONE
    assert "P0AA6-1A  高压系统对车身绝缘故障：电阻低于阈值" in said
    assert "立即停用：人员可能触及高压电：停止行驶和充电，先做高压安全防护" in said
    assert "故障类型 1A：电阻低于阈值" in said
    assert "P1234  厂家自定义" in said


def test_explain_takes_j1939_codes_in_words(dtc):
    _, out, _ = dtc("explain", "SPN", "5464", "FMI", "3", "U0111", "--json")
    codes = json.loads(out)["codes"]
    assert [entry["code"] for entry in codes] == ["SPN 5464 FMI 3", "U0111"]
    assert (codes[0]["spn"], codes[0]["fmi"]) == (5464, 3)
    _, out, _ = dtc("explain", "P0AA6-1A", "--jsonl")
    assert json.loads(out)["raw"] == "0AA61A"


def test_decode_of_binary_rubbish_is_bad_input(dtc):
    code, out, err = dtc("decode", "-", "--service", "uds", stdin=b"7EC 03 59 02 FF\n\xff\xfe\x00\x80\n")
    assert (code, out) == (Exit.USAGE, "")
    assert "line 2: not a CAN frame" in err
