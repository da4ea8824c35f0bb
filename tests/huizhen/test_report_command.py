"""``huizhen report``: every kind for every reader in both languages, hostile input, the seal, figures in drawings."""

from __future__ import annotations

import base64
import copy
import hashlib
import itertools
import json
import random
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
from reportpages import Node, every, read_page

from huizhen.cli import main
from huizhen.exits import Exit
from huizhen.language import Translator
from huizhen.reporterrors import ReportInput
from huizhen.reports.content import content_of, report_of
from huizhen.reports.page import report_page
from huizhen.reports.source import load_source
from huizhen.simrecord import record_car
from virtualbus.errors import Phrase
from virtualbus.faults import make_fault
from virtualbus.scenario import Phase, Scenario

KINDS = ("intake", "interim", "post", "battery")
AUDIENCES = ("workshop", "customer")
COMPLAINT = "续航变短 <b>&amp; 充电慢</b>"


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real scans of simulated cars: one broken, then repaired; one with a silent battery; a bundle of a weak cell."""
    folder = tmp_path_factory.mktemp("visits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("HUIZHEN_DENSE", "off")
        for name in ("isolation", "healthy", "lost-bms"):
            words = ["--scenario", name, "-q", "--json", "-o", str(folder / f"{name}.json")]
            assert main(["scan", "--demo", *words]) == Exit.DONE
        words = ["--listen", "3", "--symptom", COMPLAINT, "--note", "seat <removed>", "-o", str(folder / "weak.hzb")]
        assert main(["scan", "--demo", "--scenario", "weak-cell", "-q", "--json", *words]) == Exit.DONE
        words = ["-q", "--json", "--from", str(folder / "weak.hzb"), "-o", str(folder / "weak.json")]
        assert main(["scan", *words]) == Exit.DONE
    return folder


def made(words: list[object], out: Path) -> Path:
    assert main(["report", *map(str, words), "-q", "-o", str(out)]) == Exit.DONE
    return out


def page_of(words: list[object], out: Path) -> Node:
    return read_page(made(words, out).read_text(encoding="utf-8"))


def words_for(visits: Path, kind: str) -> list[object]:
    if kind == "post":
        return [visits / "healthy.json", "--kind", kind, "--before", visits / "isolation.json"]
    return [visits / ("lost-bms.json" if kind == "interim" else "weak.hzb"), "--kind", kind]


# -- every kind, reader and language --------------------------------------------------------------------------------


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_page_that_loads_nothing(visits: Path, tmp_path: Path, kind: str, audience: str) -> None:
    words = [*words_for(visits, kind), "--for", audience]
    digests = set()
    for lang, tag in (("en", "en"), ("zh", "zh-CN")):
        text = made([*words, "--lang", lang], tmp_path / f"{lang}.html").read_text(encoding="utf-8")
        page = read_page(text)
        assert page.one("html").attributes["lang"] == tag
        for element in every(page):
            assert element.tag not in {"script", "link", "img", "iframe", "object", "embed", "a", "base", "form", "use"}
            for name in element.attributes:
                assert not name.startswith(("on", "src", "href", "xlink", "style", "action", "data-src")), name
        css = page.one("style").text
        assert not re.search(r"url\(|@import|https?:|//", css)
        assert "http" not in text.replace("http-equiv", "")
        policy = page.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
        digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        assert ("模拟车辆" if lang == "zh" else "SIMULATED CAR") in next(page.kind("sim")).text
        for shape in every(page):  # nothing is drawn nowhere
            assert not {"nan", "inf", "None"} & set(re.split(r"[ ,]", " ".join(shape.attributes.values())))
        body = page.one("body").text
        assert bool(re.search("[\u4e00-\u9fff]", body)) is (lang == "zh" or COMPLAINT in body)
        digests.add(page.one("span", data_digest=None).attributes["data-digest"])
        assert not re.search(r"[0-9A-F](record|第) ?\d", body), "code and record are two words"
    told = json.loads(made(words, tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (told["schema"], told["kind"], told["audience"]) == ("huizhen.report/1", kind, audience)
    assert digests == {told["sha256"]}, "paper and file name the same content, in any language"


def test_what_is_dangerous_comes_first_and_high_voltage_before_any_work(visits: Path, tmp_path: Path) -> None:
    page = page_of([visits / "isolation.json", "--lang", "en"], tmp_path / "x.html")
    assert next(page.kind("verdict")).attributes["class"] == "verdict stop"
    assert "Stop: do not drive" in next(page.kind("verdict")).text
    steps = [item.text for item in next(page.kind("hv")).all("li")]
    assert len(steps) == 5
    assert "verify absence of voltage" in steps[3]
    body = page.one("body").text
    order = [body.index(words) for words in ("touches an orange cable", "What is wrong", "Fault codes")]
    assert order == sorted(order)
    scan = json.loads((visits / "isolation.json").read_text())
    assert all(dtc["display"] in body for dtc in scan["dtcs"])
    assert all(item["text"]["en"] in body for finding in scan["findings"] for item in finding["evidence"])


def test_what_was_not_answered_is_told(visits: Path, tmp_path: Path) -> None:
    scan = json.loads((visits / "lost-bms.json").read_text())
    assert scan["unanswered"]
    body = page_of([visits / "lost-bms.json", "--lang", "zh"], tmp_path / "x.html").one("body").text
    assert all(item["why"]["zh"] in body for item in scan["unanswered"])
    assert "读取的数据中没有动力电池" in body
    assert "高压危险" in body, "a car whose battery is silent has high voltage all the same"
    owner = (
        page_of([visits / "lost-bms.json", "--for", "customer", "--lang", "en"], tmp_path / "y.html").one("body").text
    )
    assert "1 of the car's computers did not answer" in owner
    assert "Orange cables" in owner


def test_an_incomplete_scan_is_never_called_sound(visits: Path, tmp_path: Path) -> None:
    scan = json.loads((visits / "healthy.json").read_text())
    assert "none" in next(page_of([visits / "healthy.json"], tmp_path / "x.html").kind("verdict")).attributes["class"]
    cut = tmp_path / "cut.json"
    cut.write_text(json.dumps({**scan, "complete": False}))
    for audience in AUDIENCES:
        page = page_of([cut, "--for", audience, "--lang", "en"], tmp_path / "y.html")
        assert next(page.kind("verdict")).attributes["class"] == "verdict unproven"
        assert "no proof" in page.one("body").text


def test_a_scan_without_ranked_cases_makes_a_report(visits: Path, tmp_path: Path) -> None:
    scan = json.loads((visits / "isolation.json").read_text())
    del scan["cases"]
    (tmp_path / "scan.json").write_text(json.dumps(scan))
    for audience in AUDIENCES:
        words = [tmp_path / "scan.json", "--kind", "interim", "--for", audience, "--lang", "en"]
        assert "Known fixes" not in page_of(words, tmp_path / "x.html").text


def test_a_certificate_of_cells_that_nobody_saw_proves_nothing(visits: Path, tmp_path: Path) -> None:
    scan = json.loads((visits / "healthy.json").read_text())
    scan["battery"] |= {"cell_v": [], "cell_labels": [], "spread_mv": None, "weakest": None, "soh": None}
    (tmp_path / "scan.json").write_text(json.dumps(scan))
    for audience in AUDIENCES:
        words = [tmp_path / "scan.json", "--kind", "battery", "--for", audience, "--lang", "en"]
        page = page_of(words, tmp_path / "x.html")
        assert "No fault found" not in page.text
        assert list(page.kind("cells")) == []
        assert list(page.kind("health")) == []
        told = "could not be seen" if audience == "customer" else "no cell voltages arrived"
        assert told in page.text


# -- the customer's version -----------------------------------------------------------------------------------------

JARGON = re.compile(
    r"\b(ECU|DTC|UDS|OBD|SOC|SOH|BMS|VCU|CAN|mV|kΩ|Ω/V|freeze|isolation|0x[0-9A-F]+|findings?)\b|冻结帧|压差|中位数|绝缘电阻|诊断结论"
)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_customer_needs_no_dictionary(visits: Path, tmp_path: Path, kind: str, lang: str) -> None:
    words = [*words_for(visits, kind), "--for", "customer", "--lang", lang]
    page = page_of(words, tmp_path / "x.html")
    vin = json.loads((visits / "healthy.json").read_text())["vehicle"]["vin"]
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    told = made(words, tmp_path / "x.json").read_text(encoding="utf-8")
    assert vin not in text
    assert vin not in told, "what the customer does not need is not in the JSON either"
    assert vin[-6:] in text
    assert "raw" not in told
    appendix = {id(node) for node in page.kind("appendix")}
    plain = "".join(
        child if isinstance(child, str) else child.text
        for child in page.one("main").children
        if isinstance(child, str) or id(child) not in appendix
    )
    assert JARGON.findall(plain) == []
    assert re.findall(r"\b[PBCU][0-3][0-9A-F]{3}\b", plain) == [], "codes stand in the small print only"
    assert ("还能开吗" if lang == "zh" else "May I drive?") in plain
    assert ("接下来" if lang == "zh" else "What happens next?") in plain


def test_every_finding_has_plain_words() -> None:
    import tomllib

    from diag import findings
    from huizhen.reports.plainwords import finding_words, part_words

    rules = Path(findings.__file__).parent / "rules" / "findings.toml"
    codes = [rule["code"] for rule in tomllib.loads(rules.read_text(encoding="utf-8"))["finding"]]
    tr = Translator("en")
    stored = part_words("unknown", tr)
    for code in codes:
        ((_, words),) = finding_words([{"code": code, "severity": "soon", "part": "unknown"}], tr)
        assert (stored in words and "stored" in words) is (code == "dtc.confirmed"), code


@pytest.mark.parametrize(
    ("scenario", "drive", "charge"),
    [
        ("isolation", "No. Please leave it where it is", "No, not before it has been repaired."),
        ("healthy", "Yes. Nothing that", "Yes, as usual."),
        ("weak", "To the workshop, gently", "No fast charging"),
        ("lost-bms", "No. Please leave it where it is", "until the cause is found"),
    ],
)
def test_may_i_drive_may_i_charge(visits: Path, tmp_path: Path, scenario: str, drive: str, charge: str) -> None:
    page = page_of([visits / f"{scenario}.json", "--for", "customer", "--lang", "en"], tmp_path / "x.html")
    cards = {card.one("h3").text: card.text for card in page.kind("answer")}
    assert drive in cards["May I drive?"]
    assert charge in cards["May I charge?"]


def test_a_burning_battery_is_no_matter_of_towing(visits: Path, tmp_path: Path) -> None:
    from diag.limits import load_rules

    scan = json.loads((visits / "weak.json").read_text())
    scan["findings"][0] |= {"code": "thermal.runaway", "severity": "stop", "safety": load_rules()["safety"]["thermal"]}
    (tmp_path / "hot.json").write_text(json.dumps(scan))
    words = page_of([tmp_path / "hot.json", "--for", "customer", "--lang", "en"], tmp_path / "x.html").one("body").text
    assert "keep your distance" in words
    assert "call the fire service" in words
    assert "towed" not in words


# -- figures in drawings --------------------------------------------------------------------------------------------


def test_every_cell_is_drawn_with_its_own_figure(visits: Path, tmp_path: Path) -> None:
    battery = json.loads((visits / "weak.json").read_text())["battery"]
    page = page_of([visits / "weak.json", "--lang", "en"], tmp_path / "x.html")
    drawn = list(page.all("g", data_cell=None, data_mv=None))
    assert [int(cell.attributes["data-cell"]) for cell in drawn] == list(range(1, 97))
    middle = statistics.median(battery["cell_v"])
    for cell, volts in zip(drawn, battery["cell_v"], strict=True):
        away = (volts - middle) * 1000
        assert cell.number("data-volts") == volts
        assert cell.number("data-mv") == pytest.approx(away, abs=0.06)
        assert cell.one("text").text == (f"{away:+.0f}".replace("-", "−") if round(away) else "0")
        assert f"{volts:.3f} V" in cell.one("title").text
        red, _, blue = map(int, re.findall(r"\d+", cell.one("rect").attributes["fill"]))
        assert (red > blue) is (away < -0.4) or abs(away) < 3, (away, red, blue)
    marked = [cell for cell in drawn if "marked" in cell.one("rect").attributes["class"]]
    assert [int(cell.attributes["data-cell"]) for cell in marked] == [battery["weakest"]["cell"]]
    places = [(cell.one("rect").number("x"), cell.one("rect").number("y")) for cell in drawn]
    assert len(set(places)) == 96
    assert places == sorted(places, key=lambda place: (place[1], place[0])), "in pack order, row by row"


def test_cells_that_sent_nothing_are_drawn_as_such(visits: Path, tmp_path: Path) -> None:
    scan = json.loads((visits / "weak.json").read_text())
    scan["battery"]["cell_v"][4] = None
    (tmp_path / "gap.json").write_text(json.dumps(scan))
    page = page_of([tmp_path / "gap.json", "--lang", "en"], tmp_path / "x.html")
    cell = next(page.all("g", data_cell="5"))
    assert "data-volts" not in cell.attributes
    assert "not received" in cell.one("title").text
    assert "1 of 96 cells sent no voltage" in page.one("body").text


def test_odds_are_drawn_as_long_as_they_are(visits: Path, tmp_path: Path) -> None:
    cases = json.loads((visits / "weak.json").read_text())["cases"]
    page = page_of([visits / "weak.json", "--lang", "en"], tmp_path / "x.html")
    drawn = list(page.kind("case"))
    assert len(drawn) == min(5, len(cases["matches"]))
    for case, match in zip(drawn, cases["matches"], strict=False):
        bar = case.one("rect", data_p=None)
        assert bar.number("data-p") == pytest.approx(match["p"], abs=1e-4)
        assert bar.number("width") == pytest.approx(160 * match["p"], abs=0.01)
        whisker = case.one("g", data_low=None)
        low, high = (160 * value for value in match["interval"])
        across, *_ = whisker.all("line")
        assert [across.number("x1"), across.number("x2")] == pytest.approx([low, high], abs=0.01)
        assert match["title"]["en"] in case.text
    assert "None of the known ones" in page.one("body").text


def test_cells_stand_on_their_curve(visits: Path, tmp_path: Path) -> None:
    battery = json.loads((visits / "weak.json").read_text())["battery"]
    page = page_of([visits / "weak.json", "--lang", "en"], tmp_path / "x.html")
    plot = next(page.kind("curve-plot"))
    seen = battery["cell_v"]
    points = {
        next(iter(set(point.attributes["class"].split()) - {"point"})): point for point in plot.all("g", data_v=None)
    }
    assert points["lowest"].number("data-v") == min(seen)
    assert points["highest"].number("data-v") == max(seen)
    assert points["median"].number("data-v") == pytest.approx(statistics.median(seen), abs=1e-4)
    assert int(points["lowest"].attributes["data-cell"]) == seen.index(min(seen)) + 1
    curve = [tuple(map(float, pair.split(","))) for pair in plot.one("polyline").attributes["points"].split()]
    line = points["median"].one("line")
    x = (points["median"].one("circle").number("cx"), points["median"].one("circle").number("cy"))
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 <= x[0] <= x1:
            assert x[1] == pytest.approx(y0 + (y1 - y0) * (x[0] - x0) / (x1 - x0), abs=1.0)
    assert line.number("x1") < x[0] < line.number("x2"), "a voltage tells the charge with an uncertainty"
    told = plot.one("line", data_soc=None)
    assert told.number("data-soc") == pytest.approx(battery["soc"], abs=0.01)
    assert told.number("x1") == pytest.approx(46 + 5.2 * battery["soc"], abs=0.1)


def test_signals_around_the_reading_are_those_of_the_bundle(visits: Path, tmp_path: Path) -> None:
    from dbc import load
    from dbc.files import bundled
    from diag.broadcast import decode_broadcast
    from huizhen.sessionbundle import load_session

    tape = load_session(str(visits / "weak.hzb")).tape
    database = next(load(path) for path in bundled() if path.stem == "huizhen_ev400")
    series = decode_broadcast([frame for frame in tape.frames if not frame.tx], [database]).series
    page = page_of([visits / "weak.hzb", "--lang", "en"], tmp_path / "x.html")
    drawn = {strip.attributes["data-signal"]: strip for strip in page.kind("strip")}
    assert {"", "PackCurrent", "PackVoltage", "StateOfCharge"} <= drawn.keys()
    for name in ("PackCurrent", "PackVoltage", "StateOfCharge"):
        values = series[name].values[series[name].valid]
        assert drawn[name].number("data-low") == pytest.approx(values.min(), rel=1e-5), name
        assert drawn[name].number("data-high") == pytest.approx(values.max(), rel=1e-5), name
    cells = [item.values[item.valid] for name, item in series.items() if name.startswith("CellVoltage_")]
    assert drawn[""].number("data-low") == pytest.approx(min(values.min() for values in cells), abs=2e-4)
    assert COMPLAINT in page.one("main").text
    assert "seat <removed>" in page.one("main").text


# -- the half minutes of the flight recorder ------------------------------------------------------------------------


@pytest.fixture
def event(visits: Path, tmp_path: Path) -> Path:
    """A second and a half around something, of the bundle's own frames."""
    from diag.facts import Text
    from diag.flightrecorder import FlightRecorder
    from huizhen.sessionbundle import load_session

    frames = load_session(str(visits / "weak.hzb")).tape.frames
    recorder = FlightRecorder(tmp_path / "ring", before_s=1.0, after_s=1.0)
    at = frames[0].t_ns + 1_500_000_000
    recorder.take(frame for frame in frames if frame.t_ns < at)
    recorder.trigger(at, Text("P0AA6 came <now>", "出现 P0AA6"))
    (event,) = (*recorder.take(frame for frame in frames if frame.t_ns >= at), *recorder.close())
    return event.path.with_suffix(".json")


def test_what_surrounds_a_fault_is_drawn_from_the_flight_recorder(visits: Path, event: Path, tmp_path: Path) -> None:
    from dbc.files import bundled

    database = next(path for path in bundled() if path.stem == "huizhen_ev400")
    words = [visits / "isolation.json", "--event", event, "--dbc", database, "--lang", "en"]
    page = page_of(words, tmp_path / "x.html")
    text = page.one("main").text
    assert "Around the fault (flight recorder)" in text
    told = json.loads(event.read_text("utf-8"))  # a busy machine's first frame may be some tenths inside the second
    (span,) = re.findall(r"([\d.]+) s before to ([\d.]+) s after", text)
    assert [float(side) for side in span] == pytest.approx([-told["from_s"], told["to_s"]], abs=0.5)
    assert "P0AA6 came <now>" in text
    strips = list(page.kind("strip"))
    assert "PackVoltage" in {strip.attributes["data-signal"] for strip in strips}
    share = -told["from_s"] / (told["to_s"] - told["from_s"])
    assert share == pytest.approx(0.5, abs=0.2)
    for strip in strips:
        (fault,) = strip.kind("fault")
        assert fault.number("x1") == pytest.approx(52 + (580 - 52) * share, abs=2), "the moment stands at its second"


def test_an_event_leads_to_no_other_file(visits: Path, event: Path, tmp_path: Path, capfd) -> None:
    for name in ("../isolation.json", "/etc/passwd", "nowhere.log", "."):
        told = json.loads(event.read_text())
        event.write_text(json.dumps({**told, "frames_file": name}))
        words = ["report", str(visits / "isolation.json"), "--event", str(event), "-o", str(tmp_path / "x.html")]
        assert main([*words, "--lang", "en"]) == Exit.USAGE
        assert "not beside it" in capfd.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_where_the_car_was_is_never_drawn(visits: Path, event: Path, tmp_path: Path) -> None:
    from huizhen.sessionbundle import load_session

    frames = load_session(str(visits / "weak.hzb")).tape.frames
    busiest, _ = Counter(frame.can_id for frame in frames if not frame.tx).most_common(1)[0]
    signals = "".join(
        f' SG_ {name} : {8 * at}|8@1+ (1,0) [0|0] "" X\n'
        for at, name in enumerate(("GPS_Latitude", "Wheel", "Longitude"))
    )
    (tmp_path / "car.dbc").write_text(f'VERSION ""\nBU_: X\nBO_ {busiest} Where: 8 X\n{signals}')
    told = json.loads(event.read_text())
    moved = [{"signal": name, "unit": "", "s": 0.0} for name in ("GPS_Latitude", "Wheel", "Longitude")]
    event.write_text(json.dumps({**told, "moved": moved}))
    words = [visits / "isolation.json", "--event", event, "--dbc", tmp_path / "car.dbc"]
    page = page_of(words, tmp_path / "x.html")
    assert [strip.attributes["data-signal"] for strip in page.kind("strip")] == ["Wheel"]


@pytest.mark.parametrize("mark", ["京A12345", "13800138000", "owner@example.com"])
def test_the_customer_s_sheet_names_nobody_of_the_complaint(visits: Path, mark: str) -> None:

    source = load_source(str(visits / "weak.hzb"))
    vin = source.value["vehicle"]["vin"]
    source.session.tape.settings["symptom"] = f"车辆 {mark}，VIN {vin}：无法行驶"
    told = {one: content_of(source, kind="intake", audience=one)["complaint"] for one in AUDIENCES}
    assert mark in told["workshop"]
    assert mark not in told["customer"]
    assert vin not in told["customer"]
    assert "无法行驶" in told["customer"]


# -- after a repair -------------------------------------------------------------------------------------------------


def test_a_report_after_repair_says_what_verify_says(visits: Path, tmp_path: Path, capfd) -> None:
    before, after = visits / "isolation.json", visits / "healthy.json"
    capfd.readouterr()
    assert main(["verify", str(before), str(after), "--json"]) == Exit.DONE
    proof = json.loads(capfd.readouterr().out.splitlines()[-1])
    words = [after, "--kind", "post", "--before", before]
    told = json.loads(made(words, tmp_path / "x.json").read_text())["content"]["proof"]
    assert (told["verdict"], told["items"]) == (proof["verdict"], proof["items"])
    page = page_of([*words, "--lang", "zh"], tmp_path / "x.html")
    text = page.one("main").text
    for item in proof["items"]:
        assert item["because"]["zh"] in text
        assert item["needed"] is None or item["needed"]["zh"] in text
    assert len(list(page.kind("cells"))) == 2, "the cells before and now"
    assert proof["verdict"] == "cleared"
    assert next(page.kind("verdict")).attributes["class"] == "verdict unproven", "gone is not proven"
    assert "维修尚未证实" in text
    owner = page_of([*words, "--for", "customer", "--lang", "en"], tmp_path / "y.html").one("main").text
    assert "That the repair holds still has to be shown." in owner
    assert "drive about 20 minutes" in owner
    figure = proof["figures"]["insulation_ohm_per_v"]
    assert f"{figure['before']:g}" in text
    assert f"{figure['after']:g}" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["healthy.json", "--kind", "post"], "--before"),
        (["healthy.json", "--before", "isolation.json"], "--kind post"),
        (["isolation.json", "--kind", "post", "--before", "healthy.json"], "older"),
        (["lost-bms.json", "--kind", "battery"], "no traction battery"),
    ],
)
def test_what_does_not_go_together_is_refused(visits: Path, tmp_path: Path, words: list[str], told: str, capfd) -> None:
    named = [str(visits / word) if word.endswith(".json") else word for word in words]
    out = tmp_path / "x.html"
    assert main(["report", *named, "-o", str(out), "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not out.exists()


# -- battery certificate --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def battery_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("battery")
    joint = (make_fault("module-joint", joint=40),)
    scenario = Scenario("drive", Phrase("drive", "drive"), "ev400", joint, cycle=(Phase("park", 1.0),), now="drive")
    record_car(scenario, 3, 240.0, str(folder / "drive.blf"))
    words = ["battery", "--from", str(folder / "drive.blf"), "--rated-ah", "150", "-q", "--json"]
    assert main([*words, "-o", str(folder / "battery.json")]) == Exit.DONE
    return folder / "battery.json"


def test_a_certificate_says_health_with_interval_and_method(battery_report: Path, tmp_path: Path) -> None:
    told = json.loads(battery_report.read_text())
    page = page_of([battery_report, "--kind", "battery", "--lang", "en"], tmp_path / "x.html")
    bar = next(page.kind("health"))
    soh = told["soh"]
    needle = bar.one("rect", data_percent=None)
    assert needle.number("data-percent") == soh["percent"]
    assert needle.number("x") + 3 == pytest.approx(22 + (soh["percent"] - 40) / 70 * 544, abs=0.02)
    if soh["interval"]:
        span = bar.one("rect", data_low=None)
        assert [span.number("data-low"), span.number("data-high")] == soh["interval"]
    text = page.one("main").text
    for item in told["soh_methods"]:
        assert item["name"]["en"] in text
    for item in told["study"]["not_visible"]:
        assert item["remedy"]["en"] in text
    assert f"{told['warranty_percent']:g} % within {told['warranty_years']:g} years" in text
    marked = [cell for cell in page.all("g", data_mv=None) if "marked" in cell.one("rect").attributes["class"]]
    assert {cause["cell"] for cause in told["study"]["causes"]} <= {
        int(cell.attributes["data-cell"]) for cell in marked
    }
    assert "SIMULATED" in page.text
    assert main(["report", str(battery_report), "-o", str(tmp_path / "y.html")]) == Exit.USAGE, "it is no intake"


# -- input that is hostile or broken --------------------------------------------------------------------------------

NASTY = (
    "\"><script>alert(1)</script><img src=x onerror=alert(2)></style></title>]]>&lt;\u202e\x00\ud7ff'--><svg/onload=x>"
)


def poisoned(value: object) -> object:
    """The same with every text hostile that is free text."""
    kept = {
        "schema",
        "started",
        "mask",
        "severity",
        "verdict",
        "address",
        "ecu",
        "t",
        "before",
        "after",
        "role",
        "source",
        "kind",
    }
    if isinstance(value, dict):
        return {name: item if name in kept else poisoned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return f"{value[:8]}{NASTY}" if isinstance(value, str) else value


@pytest.mark.parametrize("audience", AUDIENCES)
@pytest.mark.parametrize("kind", KINDS)
def test_text_from_the_car_stays_text(visits: Path, tmp_path: Path, kind: str, audience: str) -> None:
    for name in ("isolation", "lost-bms", "healthy", "weak"):
        scan = poisoned(json.loads((visits / f"{name}.json").read_text()))
        (tmp_path / f"{name}.json").write_text(json.dumps(scan))
    words = [
        str(tmp_path / f"{Path(str(word)).stem}.json") if "/" in str(word) else word for word in words_for(visits, kind)
    ]
    text = made([*words, "--for", audience], tmp_path / "x.html").read_text(encoding="utf-8")
    page = read_page(text)
    tags = {element.tag for element in every(page)}
    assert not tags & {"script", "img"}
    assert "<script>" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert all(not name.startswith("on") for element in every(page) for name in element.attributes)
    if audience == "workshop" and kind != "post":
        assert "<script>alert(1)</script>" in page.text, "it is shown, as the text that it is"


def damaged(scan: dict, path: str, value: object) -> dict:
    scan = copy.deepcopy(scan)
    *way, last = path.split(".")
    at: object = scan
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is KeyError:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return scan


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("schema", "huizhen.scan/2", "its version is huizhen.scan/2, this program reads huizhen.scan/1"),
        ("schema", "huizhen.battery/1", "cell_v is missing"),
        ("schema", 7, "no saved scan"),
        ("started", "yesterday", "started has to be a time"),
        ("started", "2026-13-45T99:99:99Z", "started has to be a time"),
        ("started", "9999-12-31T23:59:59-12:00", "started has to be a time"),
        ("started", KeyError, "started is missing"),
        ("cases.matches.0.interval", [0.5], "cases.matches[0].interval has to be two numbers"),
        ("cases.matches.0.interval", [0.9, 0.1], "cases.matches[0].interval has to be two numbers"),
        ("complete", "yes", "complete has to be true or false"),
        ("dtcs", {}, "dtcs has to be a list"),
        ("dtcs.0.status.mask", "2F", "dtcs[0].status.mask has to be a status byte"),
        ("dtcs.0.severity", "mild", "dtcs[0].severity has to be stop"),
        ("dtcs.0.text", "text", "dtcs[0].text has to be an object"),
        ("battery.cell_v.3", "3.7", "battery.cell_v[3] has to be a number"),
        ("battery.cell_v.3", True, "battery.cell_v[3] has to be a number"),
        ("battery.cell_v.3", 1e300, "battery.cell_v[3] has to be a number"),
        ("battery.features.spread_mv", [], "battery.features.spread_mv has to be a number"),
        ("findings.0.title", {"en": "x"}, "findings[0].title.zh is missing"),
        ("findings.0.title.en", "\ud800", "findings[0].title.en has to be a text"),
        ("findings.0.title.en", "x" * 30_000, "findings[0].title.en has to be a text"),
        ("cases.matches.0.p", None, "cases.matches[0].p has to be a number"),
        ("vehicle", [], "vehicle has to be an object"),
        ("ecus.0.identification", {"name": 5}, "ecus[0].identification.name has to be a text"),
        ("unanswered", None, "unanswered has to be a list"),
    ],
)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_damaged_scan_is_told_with_its_place(
    visits: Path, tmp_path: Path, path: str, value: object, told: str, lang: str, capfd
) -> None:
    scan = damaged(json.loads((visits / "isolation.json").read_text()), path, value)
    (tmp_path / "bad.json").write_text(json.dumps(scan))
    out = tmp_path / "x.html"
    assert main(["report", str(tmp_path / "bad.json"), "-o", str(out), "--lang", lang]) == Exit.USAGE
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert (told in err) if lang == "en" else ("bad.json" in err and re.search("[\u4e00-\u9fff]", err))
    assert not out.exists()


ODD = (
    None,
    True,
    -1,
    0,
    10**18,
    1e300,
    -273.15,
    "",
    "0xZZ",
    "x" * 70,
    [],
    [[]],
    {},
    {"en": "x", "zh": "x"},
    [0.5],
    [None],
)


def leaves_of(value: object, way: tuple[object, ...] = ()):
    """The way to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield (*way, name)
        yield from leaves_of(item, (*way, name))


def with_something_odd(good: dict, dice: random.Random) -> dict:
    value = copy.deepcopy(good)
    at, way = value, dice.choice(list(leaves_of(good)))
    for step in way[:-1]:
        at = at[step]
    if isinstance(at, dict) and dice.random() < 0.2:
        del at[way[-1]]
    else:
        at[way[-1]] = dice.choice(ODD)
    return value


@pytest.mark.parametrize("name", ["isolation", "weak", "lost-bms", "battery"])
def test_no_damage_is_an_internal_error(visits: Path, battery_report: Path, tmp_path: Path, name: str) -> None:
    """Three hundred files with something odd in them: a report, or a refusal that names the place."""
    place = battery_report if name == "battery" else visits / f"{name}.json"
    good, dice, reports = json.loads(place.read_text()), random.Random(name), 0
    for turn in range(300):
        (tmp_path / "odd.json").write_text(json.dumps(with_something_odd(good, dice)))
        kind, audience = "battery" if name == "battery" else KINDS[turn % 2], AUDIENCES[turn // 2 % 2]
        try:
            source = load_source(str(tmp_path / "odd.json"))
            content = content_of(source, kind=kind, audience=audience)
        except ReportInput:
            continue
        report = report_of(source, content, kind=kind, audience=audience, made="2026-11-30T00:00:00Z", made_by="test")
        read_page(report_page(report, "0000", Translator(("en", "zh")[turn % 2])))
        reports += 1
    assert 30 < reports < 290, "some are refused, some are not"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\x00\x01", b"[" * 100_000, b'{"schema": "huizhen.scan/1", "x": NaN}', b"PK\x03\x04"],
)
def test_what_is_no_scan_is_refused_in_one_line(tmp_path: Path, content: bytes, capfd) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    assert main(["report", str(tmp_path / "bad.json"), "-o", str(tmp_path / "x.html"), "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "bad.json" in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{scan}"], "-o FILE.html"),
        (["{scan}", "-o", "{folder}/x.docx"], ".html, .pdf or .json"),
        (["{scan}", "-o", "{scan}"], "would overwrite"),
        (["{scan}", "-o", "{folder}/no/such/x.html"], "cannot write"),
        (["{folder}/nowhere.json", "-o", "{folder}/x.html"], "nowhere.json"),
        (["{scan}", "--event", "{scan}", "-o", "{folder}/x.html"], "no event of the flight recorder"),
    ],
)
def test_mistakes_are_told_in_one_line(visits: Path, tmp_path: Path, words: list[str], told: str, capfd) -> None:
    scan = tmp_path / "scan.json"
    scan.write_bytes((visits / "isolation.json").read_bytes())
    named = [word.format(scan=scan, folder=tmp_path) for word in words]
    assert main(["report", *named, "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["scan.json"]
    assert scan.read_bytes() == (visits / "isolation.json").read_bytes()


def test_a_changed_bundle_makes_no_report(visits: Path, tmp_path: Path, capfd) -> None:
    content = bytearray((visits / "weak.hzb").read_bytes())
    content[len(content) // 2] ^= 0x10
    (tmp_path / "bad.hzb").write_bytes(content)
    assert main(["report", str(tmp_path / "bad.hzb"), "-o", str(tmp_path / "x.html"), "--lang", "en"]) == Exit.USAGE
    assert capfd.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.html").exists()


def test_a_full_disk_leaves_what_was_there(visits: Path, small_disk: Path, capfd) -> None:
    out = small_disk / "report.json"
    out.write_text("before")
    (small_disk / "filling").write_bytes(b"x" * 320_000)
    assert main(["report", str(visits / "lost-bms.json"), "-o", str(out), "--lang", "en"]) == Exit.USAGE
    assert "report.json" in capfd.readouterr().err
    assert out.read_text() == "before"
    assert sorted(path.name for path in small_disk.iterdir()) == ["filling", "report.json"]


def test_without_a_browser_there_is_one_line_that_says_what_to_install(
    visits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HUIZHEN_CHROMIUM", raising=False)
    out = tmp_path / "x.pdf"
    assert main(["report", str(visits / "healthy.json"), "-o", str(out), "--lang", "en"]) == Exit.USAGE
    err = capfd.readouterr().err
    assert "apt install chromium" in err
    assert err.count("\n") == 1
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("HUIZHEN_CHROMIUM", str(broken))
    assert main(["report", str(visits / "healthy.json"), "-o", str(out), "--lang", "en"]) == Exit.USAGE
    assert "made no PDF" in capfd.readouterr().err
    assert not out.exists()


# -- the seal -------------------------------------------------------------------------------------------------------


def check(path: Path, capfd) -> tuple[int, str]:
    capfd.readouterr()
    code = main(["report", str(path), "--check", "--lang", "en"])
    return code, "".join(capfd.readouterr())


@pytest.mark.parametrize("ending", ["html", "json"])
def test_any_edit_is_found(visits: Path, tmp_path: Path, ending: str, capfd) -> None:
    path = made([visits / "lost-bms.json", "--for", "customer"], tmp_path / f"x.{ending}")
    assert check(path, capfd)[0] == Exit.DONE
    assert "by this installation" in check(path, capfd)[1]
    good = path.read_bytes()
    step = max(1, len(good) // 150)
    places = [*range(0, len(good), step), *range(len(good) - 150, len(good))]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 0x01 if place % 2 else 0x20
        path.write_bytes(bad)
        assert check(path, capfd)[0] == Exit.USAGE, (place, good[max(0, place - 20) : place + 20])
    for bad in (
        good + b" ",
        good[:-1],
        b" " + good,
        good + good[-200:],
        good[: len(good) // 2],
        b"",
        good.replace(b"\n", b"\r\n"),
    ):
        path.write_bytes(bad)
        code, said = check(path, capfd)
        assert code == Exit.USAGE
        assert said.count("\n") == 1


def test_another_spelling_of_the_same_seal_is_an_edit(visits: Path, tmp_path: Path, capfd) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    path = made([visits / "lost-bms.json", "--for", "customer"], tmp_path / "x.html")
    good = path.read_text(encoding="utf-8")
    *_, key, signature, _ = good.split()
    for word in (key, signature):
        last = word.rstrip("=")[-1]
        other = word.replace(f"{last}=", f"{alphabet[alphabet.index(last) ^ 1]}=")
        assert base64.b64decode(other) == base64.b64decode(word), "base64 lets it through"
        path.write_text(good.replace(word, other), encoding="utf-8")
        assert check(path, capfd)[0] == Exit.USAGE
    path.write_text(good.replace(" -->", ""), encoding="utf-8")
    assert check(path, capfd)[0] == Exit.USAGE
    path.write_text(good, encoding="utf-8")
    assert check(path, capfd)[0] == Exit.DONE


def test_a_report_of_another_key_is_told_as_such(
    visits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    from huizhen.signing import load_signer

    path = made([visits / "healthy.json"], tmp_path / "x.html")
    mark = load_signer().fingerprint
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    code, said = check(path, capfd)
    assert code == Exit.DONE
    assert "not known here" in said
    assert mark in said
    assert main(["report", str(path), "--check", "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out)
    assert (told["schema"], told["by"], told["format"]) == ("huizhen.report-check/1", "unknown", "html")
    assert "huizhen.seal/1" not in path.read_text().split("<!--")[0]


def test_the_json_is_signed_as_the_documents_say(visits: Path, tmp_path: Path) -> None:
    """By the recipe of docs/report.md, with nothing of ours."""
    import struct

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    told = json.loads(made([visits / "isolation.json"], tmp_path / "x.json").read_text())
    seal = told.pop("signature")

    def plain(value: object) -> bytes:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(seal["public_key"]))
    tag = b"huizhen.report/1"
    key.verify(base64.b64decode(seal["signature"]), struct.pack("<Q", len(tag)) + tag + plain(told))
    said = {name: told[name] for name in ("kind", "audience", "source", "content")}
    assert told["sha256"] == hashlib.sha256(plain(said)).hexdigest()
    assert told["source"]["sha256"] == hashlib.sha256((visits / "isolation.json").read_bytes()).hexdigest()


def test_the_report_goes_to_standard_output_too(visits: Path, capfd) -> None:
    capfd.readouterr()
    assert main(["report", str(visits / "isolation.json"), "--for", "customer", "--json"]) == Exit.DONE
    told = json.loads(capfd.readouterr().out)
    assert told["content"]["drive"] == "stop"
    assert set(told["signature"]) == {"algorithm", "public_key", "signature"}
