"""KCD, SYM, ARXML and CDD: recognised by content, the same values as cantools, nothing dangerous in XML."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import cantools
import cantools.database.can.formats.arxml as arxml
import pytest

from dbc.database import load
from dbc.errors import DatabaseBroken, NotADatabase
from dbc.formats import _with_headers

DBC = (
    'VERSION ""\n\nBU_: VCU BMS\n\nBO_ 256 Pack: 8 BMS\n SG_ Voltage : 7|16@0+ (0.1,0) [0|1000] "V" VCU\n'
    ' SG_ Current : 16|16@1- (0.1,5) [0|0] "A" VCU\nBO_ 2566869221 Far: 8 BMS\n'
    ' SG_ Mux M : 0|8@1+ (1,0) [0|0] "" VCU\n SG_ A m1 : 8|8@1+ (1,0) [0|0] "" VCU\n'
    ' SG_ B m2 : 8|8@1- (2,0) [0|0] "" VCU\nVAL_ 256 Voltage 1 "one";\n'
)
CDD = """<?xml version='1.0' encoding='iso-8859-1' standalone='no'?>
<!DOCTYPE CANDELA SYSTEM 'candela.dtd'>
<CANDELA dtdvers='4.0.102'>
<ECUDOC>
<DATATYPES>
<IDENT id='t1'><NAME><TUV xml:lang='en-US'>U16</TUV></NAME><QUAL>U16</QUAL>
<CVALUETYPE bl='16' bo='21' enc='uns' sig='0' df='dec' qty='atom' sz='no' minsz='0' maxsz='255'/>
<PVALUETYPE bl='64' bo='21' enc='dbl' sig='0' df='flt' qty='atom'><UNIT>V</UNIT></PVALUETYPE>
<COMP f='0.5' o='10'/></IDENT>
</DATATYPES>
<ECU id='e'><VAR id='v'><DIAGCLASS id='c'>
<DIAGINST id='d1' tmplref='x'><NAME><TUV xml:lang='en-US'>Pack</TUV></NAME><QUAL>Pack</QUAL>
<STATICVALUE shstaticref='s' v='61840'/>
<SIMPLECOMPCONT shproxyref='p'><DATAOBJ id='o' dtref='t1'><NAME><TUV xml:lang='en-US'>Voltage</TUV></NAME>
<QUAL>Voltage</QUAL></DATAOBJ></SIMPLECOMPCONT></DIAGINST>
</DIAGCLASS></VAR></ECU>
</ECUDOC>
</CANDELA>
"""


def written(folder: Path, ending: str) -> Path:
    """The same database in another format, written by cantools, under a name that says nothing."""
    database = cantools.database.load_string(DBC, database_format="dbc")
    text = {"kcd": database.as_kcd_string, "sym": database.as_sym_string}[ending]()
    path = folder / "car.txt"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["kcd", "sym"])
def test_other_formats_decode_as_cantools_does(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending)
    database = load(path)
    assert database.format == ending
    reference = cantools.database.load_string(path.read_text(), database_format=ending)
    assert {m.name for m in database.messages} == {m.name for m in reference.messages}
    for number, extended in ((256, False), (2566869221 & 0x1FFFFFFF, True)):
        for data in (bytes(range(1, 9)), bytes([2] * 8)):
            frame = database.decode_frame(number, extended, data)
            assert frame is not None
            want = reference.get_message_by_name(frame.message.name).decode(data, decode_choices=False)
            assert {name: value.value for name, value in frame.values.items()} == pytest.approx(want)


def test_arxml_decodes_as_cantools_does() -> None:
    spec = find_spec("canmatrix")
    if spec is None or spec.origin is None:
        pytest.skip("canmatrix, whose ARXML examples are read here, is not installed")
    examples = sorted((Path(spec.origin).parent / "tests").glob("*.arxml"))
    if not examples:
        pytest.skip("this canmatrix comes without its examples")
    read = 0
    for path in examples:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                reference = arxml.load_string(_with_headers(path.read_text("utf-8")), strict=False)
            except Exception:  # noqa: BLE001 - the reference may stumble over anything; then so may we, but declared
                with pytest.raises(DatabaseBroken):
                    load(path)
                continue
        database = load(path)
        read += 1
        assert database.format == "arxml"
        assert [m.name for m in database.messages] == [m.name for m in reference.messages]
        assert [len(m.signals) + len(m.unreadable) for m in database.messages] == [
            len(m.signals) for m in reference.messages
        ]
        lacking = {
            m.name for m in reference.messages if m.is_container and not all(i.header_id for i in m.contained_messages)
        }
        assert {i.text.en.split()[1] for i in database.issues if i.code == "container"} == lacking
    assert read


def test_a_diagnostic_description_gives_data_identifiers(tmp_path: Path) -> None:
    path = tmp_path / "ecu.cdd"
    path.write_text(CDD)
    database = load(path)
    assert (database.format, database.messages) == ("cdd", ())
    (did,) = database.dids
    assert (did.identifier, did.name, did.length) == (61840, "Pack", 2)
    (signal,) = did.signals
    assert (signal.name, signal.unit) == ("Voltage", "V")
    assert signal.value_from_bits(signal.bits_of(b"\x01\x00")) == 138.0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('<?xml version="1.0"?>\n<!DOCTYPE a [\n<!ENTITY b "c">]>\n<NetworkDefinition>&b;</NetworkDefinition>', 3),
        ('<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>\n<AUTOSAR>&b;</AUTOSAR>', 2),
        ("<NetworkDefinition>\n<a>\n</NetworkDefinition>", 3),
        ("<NetworkDefinition>" + "<a>" * 300, 1),
        ("<AUTOSAR>\n</AUTOSAR>", "?"),
        ('FormatVersion=6.0 // x\nTitle="a"\n{SEND}\n[M]\nID=zz\n', 5),
    ],
)
def test_broken_and_dangerous_files_are_refused(tmp_path: Path, text: str, line: int | str) -> None:
    path = tmp_path / "car.xml"
    path.write_text(text)
    with pytest.raises(DatabaseBroken) as caught:
        load(path)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["<html></html>", "FormatVersion=5.0\n", "<svg/>"])
def test_xml_of_another_kind_is_no_database(tmp_path: Path, text: str) -> None:
    path = tmp_path / "car.kcd"
    path.write_text(text)
    with pytest.raises(NotADatabase):
        load(path)


def test_xml_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    path = written(tmp_path, "kcd")
    text = path.read_text().replace('name="Voltage"', 'name="总电压"')
    text = text if text.startswith("<?xml") else f'<?xml version="1.0" encoding="utf-8"?>\n{text}'
    path.write_bytes(text.replace("utf-8", "gbk").replace("UTF-8", "gbk").encode("gbk"))
    database = load(path)
    assert database.encoding == "gbk"
    assert "总电压" in database.messages[0].by_name
