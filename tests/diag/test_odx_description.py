"""ODX descriptions through odxtools: names, values, texts, and files that are none."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from diag.dtc import parse_uds_dtcs
from diag.errors import BadInput
from diag.odx import load_odx
from huizhen.cli import main

pytest.importorskip("odxtools", reason="odxtools is optional")

MINI = Path(__file__).with_name("mini.odx-d")


def test_identifiers_get_names_and_values():
    description = load_odx(MINI)
    assert description.layers == ("bms",)
    assert description.dids == {0x0110: "Lowest cell"}
    (reading,) = description.decode(0x0110, bytes.fromhex("6201100E10"))
    assert (reading.name, reading.value, reading.raw) == ("lowest_cell", pytest.approx(3.6), b"\x0e\x10")
    assert description.decode(0xF190, b"\x62\xf1\x90") == ()


def test_what_cannot_be_decoded_keeps_its_bytes():
    (reading,) = load_odx(MINI).decode(0x0110, bytes.fromhex("6201100E"))
    assert (reading.value, reading.raw) == (None, b"\x0e")


def test_makers_codes_get_texts_and_the_standards_own_stay():
    description = load_odx(MINI)
    maker, standard = parse_uds_dtcs(bytes.fromhex("5902FF1211162F0AA61A2F")).dtcs
    assert maker.text_source == "maker-range"
    named = description.with_text(maker)
    assert (named.text.en, named.text_source) == ("Battery heater relay sticks", "odx:mini.odx-d")
    assert description.with_text(standard) is standard


def test_a_pdx_is_read_like_the_file_in_it(tmp_path):
    index = """<?xml version="1.0"?><CATALOG F-DTD-VERSION="ODX-2.2.0"><SHORT-NAME>c</SHORT-NAME><ABLOCKS>
    <ABLOCK UPD="UNCHANGED"><SHORT-NAME>a</SHORT-NAME><CATEGORY>ODX-DATA</CATEGORY><FILES>
    <FILE MIME-TYPE="application/x-asam.odx.odx-d">mini.odx-d</FILE></FILES></ABLOCK></ABLOCKS></CATALOG>"""
    place = tmp_path / "电池.pdx"
    with zipfile.ZipFile(place, "w") as archive:
        archive.write(MINI, "mini.odx-d")
        archive.writestr("index.xml", index)
    assert load_odx(place).dids == {0x0110: "Lowest cell"}


@pytest.mark.parametrize("content", [b"", b"<ODX/>", b"PK\x03\x04", bytes(100), MINI.read_bytes()[:900]])
def test_what_is_no_description_is_said(tmp_path, content):
    for name in ("a.odx-d", "a.pdx"):
        place = tmp_path / name
        place.write_bytes(content)
        with pytest.raises(BadInput):
            load_odx(place)
    with pytest.raises(BadInput):
        load_odx(tmp_path / "nowhere.pdx")


def test_read_and_scan_take_it(capsys, tmp_path):
    place = shutil.copy(MINI, tmp_path / "mini.odx-d")
    assert main(["read", "0110", "--ecu", "7EC", "--demo", "--json", "--odx", str(place)]) == 0
    (value,) = json.loads(capsys.readouterr().out)["readings"][0]["values"]
    assert value["name"] == "lowest_cell"
    assert 3 < value["value"] < 4.3
    assert main(["scan", "--demo", "--json", "--odx", str(place)]) == 0
    assert json.loads(capsys.readouterr().out)["dtcs"]
    assert main(["scan", "--demo", "--odx", str(tmp_path / "nowhere.pdx")]) == 2
