"""The dashboard's panels as text: what they say, and that every row is exactly as wide as it should be."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from diag.alerts import Change, Notice
from diag.facts import BatteryState, Cause, Dtc, DtcChange, DtcKind, DtcStatus, Evidence, Finding, Severity, Text
from diag.frames import Frame
from diag.samples import SignalInfo
from huizhen.busload import BusLoad, seconds_on_wire
from huizhen.codepanel import draw_codes
from huizhen.console import display_width
from huizhen.findingpanel import draw_findings
from huizhen.heatmap import STEPS_MV, CellBoard, Pack, draw_pack
from huizhen.language import Translator
from huizhen.liverecord import LiveRecorder
from huizhen.panelrows import Scroll, columns, cut, fitted, headed, scrolled, text_of, wrapped
from huizhen.signalsearch import SignalSearch, chart_names, draw_search, find_signals
from huizhen.statusline import Status, draw_keys, draw_status
from huizhen.stripchart import SignalHistory, Strip, draw_strips, number, plot

if TYPE_CHECKING:
    from pathlib import Path

EN, ZH = Translator("en"), Translator("zh")
SECOND = 1_000_000_000


def widths(rows) -> set[int]:
    return {sum(display_width(text) for text, _ in row) for row in rows}


def pack_of(volts, **more) -> Pack:
    volts = np.array([np.nan if value is None else value for value in volts], dtype=np.float64)
    return Pack(volts, tuple(str(number + 1) for number in range(len(volts))), **more)


def usual_pack(count: int) -> Pack:
    volts = [3.700 + 0.001 * (number % 4) for number in range(count)]
    volts[count // 2] = 3.612
    volts[-1] = 3.731
    return pack_of(volts)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_a_row_is_cut_and_filled_by_columns() -> None:
    assert fitted((("单体电压", "a"), ("x", "a"), ("y", "b")), 12) == (("单体电压x", "a"), ("y", "b"), ("  ", ""))
    assert columns("单体A") == 5
    assert cut("单体电压", 8) == "单体电压"
    assert cut("单体电压", 7) == "单体电…"
    assert cut("单体电压", 6) == "单体…"
    assert cut("abc", 0) == ""
    assert widths([fitted((("单体电压", ""),), size) for size in range(1, 12)]) == set(range(1, 12))


def test_nothing_out_of_a_file_reaches_the_terminal_as_a_command() -> None:
    row = fitted((("km/h\x1b[2J\u202e", ""), ("\n单体\u3000\x07", "")), 20)
    assert row == (("km/h·[2J··单体\u3000·   ", ""),)
    assert widths([row]) == {20}
    history = SignalHistory(1)
    history.add(np.ones(1, dtype=np.float32), np.ones(1, dtype=np.bool_))
    rows = draw_strips([Strip("Speed\x1b]0;x\x07", "\x9b2J", 0)], history, 60, 0, 40, 4, EN)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for row in rows for text, _ in row for char in text)


def test_a_head_has_a_rule_to_its_end() -> None:
    assert text_of([headed("Cells", "96", 20, is_focused=True)]) == "─ Cells  96 ────────"
    assert widths([headed("1 单体", "共 96 节", size, is_focused=False) for size in (8, 9, 30)]) == {8, 9, 30}


def test_scrolling_stays_inside_and_shows_that_there_is_more() -> None:
    rows = [fitted(((f"row {at}", ""),), 10) for at in range(8)]
    scroll = Scroll()
    assert text_of(scrolled(rows, 3, scroll, 10)) == "row 0\nrow 1\nrow 2    ▼"
    scroll.move(100)
    assert text_of(scrolled(rows, 3, scroll, 10)) == "row 5    ▲\nrow 6\nrow 7"
    scroll.move(-1)
    assert text_of(scrolled(rows, 3, scroll, 10)) == "row 4    ▲\nrow 5\nrow 6    ▼"
    assert len(scrolled(rows, 12, scroll, 10)) == 12


def test_a_sentence_is_wrapped_behind_its_mark() -> None:
    rows = wrapped("one two three four", 13, (("> ", ""),), 2)
    assert text_of(rows) == "> one two\n  three four"


# --- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 12, 96, 108, 198, 216, 400, 900])
@pytest.mark.parametrize(("width", "height"), [(39, 12), (40, 8), (60, 22), (120, 38), (24, 5)])
@pytest.mark.parametrize("tr", [EN, ZH], ids=["en", "zh"])
def test_a_pack_of_any_size_fills_its_panel_exactly(count: int, width: int, height: int, tr: Translator) -> None:
    rows = draw_pack(usual_pack(count), width, height, tr)
    assert len(rows) == height
    assert widths(rows) == {width}


@pytest.mark.parametrize("count", [96, 108, 198, 216])
def test_every_cell_is_seen_on_80_columns(count: int) -> None:
    rows = draw_pack(usual_pack(count), 39, 12, EN)
    shown = sum(len(text) for row in rows for text, style in row if style.startswith("heat"))
    extremes = 2  # the marks beside the names
    size = 1 if count > 120 else 2
    assert shown >= count * size + extremes
    text = text_of(rows)
    assert f"▼ lowest cell {count // 2 + 1}  3.612 V" in text
    assert f"▲ highest cell {count}  3.731 V" in text
    assert "spread 119 mV" in text


def test_the_colour_is_the_distance_from_the_median() -> None:
    edges = [-81, -50, -25, -15, -7, 0, 7, 15, 25, 50, 81]
    volts = [3.7 + edge / 1000 for edge in edges]
    row = draw_pack(pack_of(volts), 60, 8, EN)[1]
    steps = [style for text, style in row if style.startswith("heat")]
    assert steps == [f"heat{at}" for at in range(len(STEPS_MV) + 1)]


def test_with_room_the_millivolts_stand_in_the_cells() -> None:
    text = text_of(draw_pack(pack_of([3.7] * 10 + [3.655, 3.712]), 70, 8, EN))
    assert "▼-45" in text
    assert "▲+12" in text


def test_unseen_and_impossible_cells_are_no_voltages() -> None:
    pack = pack_of([3.7, None, 3.71, None, 3.7, 3.7], impossible=frozenset({3}))
    text = text_of(draw_pack(pack, 40, 10, ZH))
    assert "·" in text
    assert "×" in text
    assert "共 6 个，2 个无数据" in text
    assert "单体压差 10 mV" in text
    nothing = text_of(draw_pack(pack_of([None] * 4), 40, 10, EN))
    assert "no cell voltage comes now" in nothing
    assert "lowest" not in nothing


def test_figures_of_the_battery_stand_below_and_no_value_is_none() -> None:
    state = BatteryState((3.7, 3.7), soc_percent=63.4, pack_v=355.0, current_a=None, features={"temp_max_c": 31.2})
    text = text_of(draw_pack(pack_of([3.7, 3.71], state=state), 40, 10, EN))
    assert "SOC 63 %" in text
    assert "pack 355 V" in text
    assert "max 31 °C" in text
    assert "current" not in text


def test_a_figure_that_just_fits_is_not_cut() -> None:
    state = BatteryState((), soc_percent=62.0, pack_v=355.2, current_a=-12.3, insulation_kohm=5000.0)
    for width in (38, 39, 40):
        lines = text_of(draw_pack(pack_of([3.7, 3.71], state=state), width, 12, EN)).splitlines()
        assert " SOC 62 %  pack 355 V  current -12.3 A" in lines
        assert " isolation 5000 kΩ" in lines


def test_cells_are_found_on_the_board_and_their_units_heeded() -> None:
    signals = [
        SignalInfo("PackVoltage", "V"),
        *(SignalInfo(f"CellVoltage{number:02}", "mV") for number in range(1, 13)),
    ]
    board = CellBoard(signals, (0.5, 5.0))
    valid = np.ones(13, dtype=np.bool_)
    values = np.array([44.0] + [3700.0 + at for at in range(12)], dtype=np.float32)
    values[5] = 65535.0
    valid[7] = False
    assert len(board.pack(values, valid, None).volts) == 0
    board.learn(valid | True)
    pack = board.pack(values, valid, None)
    assert len(pack.volts) == 12
    assert pack.volts[0] == pytest.approx(3.7)
    assert np.isnan(pack.volts[4])
    assert pack.impossible == {4}
    assert np.isnan(pack.volts[6])
    assert pack.labels[11] == "12"


# --- charts ---------------------------------------------------------------------------------------------------------


def braille_dots(lines: list[str]) -> np.ndarray:
    """The dots of a plot, row 0 on top."""
    bits = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
    dots = np.zeros((4 * len(lines), 2 * len(lines[0])), dtype=bool)
    for (y, line), (r, c) in itertools.product(enumerate(lines), itertools.product(range(4), range(2))):
        for x, char in enumerate(line):
            code = ord(char) - 0x2800 if char != " " else 0
            dots[4 * y + r, 2 * x + c] = bool(code & bits[r][c])
    return dots


def test_a_ramp_rises_and_a_spike_of_one_sample_is_seen() -> None:
    ramp = np.linspace(0, 40, 40, dtype=np.float32).reshape(20, 2)
    lines, low, high = plot(ramp, 3)
    assert (low, high) == (0.0, 40.0)
    dots = braille_dots(lines)
    assert dots[-1, 0]
    assert dots[0, -1]
    assert all(column.any() for column in dots.T)
    still = np.zeros((20, 8), dtype=np.float32)
    still[10, 3] = 5.0
    dots = braille_dots(plot(still, 2)[0])
    assert dots[:, 10].all()
    assert dots[:, 15].sum() == 1


def test_a_jump_has_no_hole_and_a_gap_stays_one() -> None:
    values = np.array([0, 0, 10, 10, np.nan, np.nan, 0, 0], dtype=np.float32).reshape(8, 1)
    dots = braille_dots(plot(values, 2)[0])
    assert dots[:, 2].sum() >= 7
    assert not dots[:, 4].any()
    assert not dots[:, 5].any()
    assert dots[:, 6].sum() == 1  # behind a gap nothing is joined
    assert plot(np.full((8, 2), np.nan, dtype=np.float32), 2) == (["    ", "    "], None, None)


def test_the_history_keeps_all_signals_and_forgets_the_oldest() -> None:
    history = SignalHistory(2, seconds=10)
    for at in range(150):
        history.add(np.array([at, 2 * at], dtype=np.float32), np.array([True, at % 2 == 0]))
    assert history.last(0) == 149.0
    assert history.last(1) is None
    window = history.window(0, 140)
    assert window.tolist() == list(range(140, 150))
    old = history.window(0, 40)
    assert np.isnan(old[:10]).all()
    assert old[10] == 50.0
    assert np.isnan(history.window(1, 141)[0])
    still = history.copy()
    history.add(np.array([7, 7], dtype=np.float32), np.array([True, True]))
    assert (still.last(0), history.last(0)) == (149.0, 7.0)


@pytest.mark.parametrize(("width", "height"), [(40, 12), (41, 7), (79, 30), (24, 4)])
@pytest.mark.parametrize("count", [0, 1, 3, 12])
@pytest.mark.parametrize("tr", [EN, ZH], ids=["en", "zh"])
def test_charts_fill_their_panel_exactly(width: int, height: int, count: int, tr: Translator) -> None:
    history = SignalHistory(count)
    for at in range(100):
        history.add(np.sin(np.arange(count) + at / 9).astype(np.float32), np.ones(count, dtype=np.bool_))
    strips = [Strip(f"一个名字很长的信号_{at}", "km/h", at, at) for at in range(count)]
    rows = draw_strips(strips, history, 60, max(0, count - 1), width, height, tr, is_focused=True)
    assert len(rows) == height
    assert widths(rows) == {width}
    if count == 12:
        assert "▶" in text_of(rows)  # the selected one is among those that fit


def test_numbers_are_short() -> None:
    shown = [number(value) for value in (None, 0.0, 3.14159, -12.3456, 123.456, 45678.9, 1.5e7, 2e-5, 360.0)]
    assert shown == ["–", "0", "3.142", "-12.35", "123.5", "45679", "1.5e7", "2.0e-5", "360"]
    assert all(len(text) <= 7 for text in shown)


# --- codes and findings ---------------------------------------------------------------------------------------------


def dtc(code: str, mask: int, ecu: str = "0x7EC", failure: str | None = "1A") -> Dtc:
    text = Text("Isolation fault of the high-voltage system", "高压系统绝缘故障")
    return Dtc(code, b"", ecu, failure, DtcStatus(mask), text=text)


def change(code: str, before: int | None, after: int | None, t_ns: int, ecu: str = "0x7EC") -> DtcChange:
    def status(mask: int | None) -> DtcStatus | None:
        return None if mask is None else DtcStatus(mask)

    return DtcChange(t_ns, ecu, code, status(before), status(after))


def test_codes_show_their_status_and_what_it_was_before() -> None:
    now = 1_000 * SECOND
    dtcs = [dtc("P0C0B", 0x28), dtc("P0AA6", 0x2F), dtc("P1234", 0x10)]
    changes = [change("P0AA6-1A", 0x2C, 0x2F, now - 3 * SECOND), change("U0100", 0x09, None, now - 9 * SECOND)]
    rows = draw_codes(dtcs, changes, "2 s ago", now, 39, 10, EN)
    assert widths(rows) == {39}
    lines = text_of(rows).splitlines()
    assert lines[0].startswith("─ 3 Fault codes 2 ")
    assert lines[1].startswith(" P0AA6-1A 7EC  2F failing now ← 2C")  # what fails now stands first
    assert ("2F", "changed") in [(text.strip(), style) for text, style in rows[1]]
    assert any("P0C0B-1A 7EC  28 stored" in line for line in lines)
    assert any("P1234-1A 7EC  10 history" in line for line in lines)
    assert any("U0100" in line and "gone" in line for line in lines)
    later = text_of(draw_codes(dtcs, changes, "", now + 120 * SECOND, 39, 10, EN))
    assert "←" not in later
    assert "U0100" not in later


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ((DtcKind.PENDING,), "pending"),
        ((DtcKind.STORED, DtcKind.PENDING), "stored"),
        ((DtcKind.PERMANENT,), "permanent"),
    ],
)
def test_a_code_without_status_byte_is_named_by_its_list(kind: tuple[DtcKind, ...], word: str) -> None:
    assert f"P0301    7E8     {word}" in text_of(
        draw_codes([Dtc("P0301", b"", "0x7E8", kind=kind)], [], "", 0, 39, 6, EN)
    )


def test_codes_in_chinese_are_as_wide() -> None:
    for width in (26, 39, 55, 120):
        rows = draw_codes([dtc("P0AA6", 0x2F)], [], "2 秒前", 0, width, 6, ZH)
        assert widths(rows) == {width}
        assert "当前故障" in text_of(rows)
        assert width < 39 or "高压系统绝缘故障" in text_of(rows)


def finding(code: str, severity: Severity, en: str, zh: str) -> Finding:
    evidence = (Evidence("signal", "x", Text("12 kΩ against 500 Ω/V", "12 kΩ，低于 500 Ω/V")),)
    return Finding(code, severity, Text(en, zh), evidence, (Text("Do not touch", "禁止触摸"),))


def test_findings_stand_above_their_history() -> None:
    stop = finding("insulation.low", Severity.STOP, "Isolation is lost", "绝缘失效")
    weak = finding("battery.cell-weak", Severity.SOON, "Cell 91 is weak", "91 号单体偏弱")
    notices = [Notice(SECOND, Change.BEGAN, weak), Notice(2 * SECOND, Change.ENDED, weak)]
    cause = Cause("wet", Text("water in the connector", "插接器进水"), 0, 0.9, True, ())
    rows = draw_findings([stop], [cause], notices, ("quiet", "good"), 40, 10, ZH)
    assert widths(rows) == {40}
    lines = text_of(rows).splitlines()
    assert "绝缘失效" in lines[1]
    assert ("[立即停驶]" in lines[1]) or lines[1].startswith(" [")
    assert "插接器进水" in text_of(rows)
    assert lines.index(next(line for line in lines if "消失" in line)) < lines.index(
        next(line for line in lines if "新增" in line)
    )
    whole = text_of(draw_findings([stop], [cause], notices, ("", ""), 80, 20, EN, is_whole=True))
    assert "! Do not touch" in whole
    assert "quiet" in text_of(draw_findings([], [], [], ("quiet", "good"), 40, 5, EN))


# --- search ---------------------------------------------------------------------------------------------------------

SIGNALS = (
    SignalInfo("PackCurrent", "A", "BMS_Pack"),
    SignalInfo("VehicleSpeed", "km/h", "VCU_Drive"),
    SignalInfo("CellVoltage91", "V", "BMS_Cells_23"),
    SignalInfo("CurrentLimit", "A", "BMS_Limits"),
)


def test_signals_are_found_by_every_word_names_first() -> None:
    assert find_signals(SIGNALS, "current") == (3, 0)
    assert find_signals([SignalInfo(f"Cell{at}", "V") for at in (10, 9, 1)], "cell") == (2, 1, 0)
    assert find_signals(SIGNALS, "CELL 91") == (2,)
    assert find_signals(SIGNALS, "bms") == (2, 3, 0)
    assert find_signals(SIGNALS, "") == (2, 3, 0, 1)
    assert find_signals(SIGNALS, "zzz") == ()


def test_a_name_that_several_messages_have_stands_with_its_message() -> None:
    signals = (
        SignalInfo("Speed", "km/h", "ABS"),
        SignalInfo("Speed", "km/h", "VCU"),
        SignalInfo("Torque", "Nm", "VCU"),
    )
    assert chart_names(signals) == ("ABS.Speed", "VCU.Speed", "Torque")


def test_a_search_is_typed_moved_and_drawn() -> None:
    search = SignalSearch(SIGNALS)
    search.type("cur")
    search.move(1)
    assert search.marked == 0
    search.move(5)
    assert search.at == 1
    search.erase()
    assert (search.typed, search.at) == ("cu", 0)
    search.erase(is_all=True)
    search.type("\x1bvehicle\n")
    assert search.typed == "vehicle"
    for tr in (EN, ZH):
        rows = draw_search(search, {1}, lambda at: f"{at} km/h", 40, 8, tr)
        assert len(rows) == 8
        assert widths(rows) == {40}
        assert "✓ VehicleSpeed" in text_of(rows)
    search.type("no such")
    assert search.marked is None
    assert "没有匹配的信号" in text_of(draw_search(search, (), str, 40, 8, ZH))


# --- first and last line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tr", [EN, ZH], ids=["en", "zh"])
@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_the_first_line_fits_and_names_a_lost_link(tr: Translator, width: int) -> None:
    status = Status("can0 500k", None, 0.0, 3987, 47.3, 12, 75.0, 1_230_000, True, "12:03:41")
    row = draw_status(status, width, tr)
    assert widths([row]) == {width}
    if width >= 80:
        text = text_of([row])
        assert "3987/s" in text
        assert "47 %" in text
        assert "01:15 1.2 MB" in text
    lost = draw_status(Status("can0", "it was unplugged", 12.0), width, tr)
    assert widths([lost]) == {width}
    assert (" LINK LOST " if tr is EN else " 连接中断 ", "lost") in lost


def test_keys_give_way_to_a_message() -> None:
    keys = (("/", "signals"), ("q", "quit"))
    assert text_of([draw_keys(keys, None, 30)]) == " / signals q quit"
    assert text_of([draw_keys(keys, "recording", 30)]) == " recording"
    assert widths([draw_keys(keys, None, 9)]) == {9}


# --- bus load -------------------------------------------------------------------------------------------------------


def test_the_load_of_a_full_bus_is_about_all_of_it() -> None:
    frame = Frame(0x123, bytes(8))
    # 111 bits without stuffing (ISO 11898-1), 135 at most with it.
    assert 111 / 500_000 < seconds_on_wire(frame, 500_000) < 135 / 500_000
    assert seconds_on_wire(Frame(0x12345678, bytes(8), extended=True), 500_000) > 131 / 500_000
    assert seconds_on_wire(Frame(0x123, b"", remote=True), 500_000) < 56 / 500_000
    fast = seconds_on_wire(Frame(0x123, bytes(64), fd=True), 500_000, 2_000_000)
    assert fast < seconds_on_wire(Frame(0x123, bytes(64), fd=True), 500_000) / 2
    load = BusLoad(500_000)
    load.take([frame] * 2000, 10.0)
    load.take([frame] * 2000, 10.5)
    assert load.frames_per_s(10.9) == 4000
    assert 90 < load.percent(10.9) <= 100
    assert load.frames_per_s(11.2) == 2000
    assert load.frames_per_s(12.0) == 0
    assert BusLoad().percent(1.0) is None


# --- recording ------------------------------------------------------------------------------------------------------


def test_a_recording_is_candump_that_our_reader_takes(tmp_path: Path) -> None:
    from dbc.recording import open_recording

    recorder = LiveRecorder(tmp_path / "new")
    recorder.take([Frame(1, b"\x01")])
    path = recorder.start("20261130-120000", 5.0)
    recorder.take([Frame(0x123, b"\x01\x02", t_ns=SECOND), Frame(0x18DAF110, b"", t_ns=2 * SECOND, extended=True)])
    assert recorder.is_on
    assert recorder.size == path.stat().st_size
    second = recorder.start("20261130-120000", 6.0)
    assert second != path
    recorder.stop()
    assert not recorder.is_on
    assert len(open_recording(path).table) == 2


def test_a_full_disk_ends_the_recording_and_says_so(small_disk: Path) -> None:
    recorder = LiveRecorder(small_disk)
    recorder.start("x", 0.0)
    batch = [Frame(0x123, bytes(8), t_ns=at * SECOND) for at in range(1000)]
    for _ in range(100):
        recorder.take(batch)
    assert recorder.failure
    assert not recorder.is_on
    assert 1000 <= recorder.frames < 100_000
