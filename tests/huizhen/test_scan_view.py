"""A scan on a terminal of 80 columns: stages as they come, the dangerous first, what to do, then the details."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from huizhen.console import display_width

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
SECTIONS = {
    "en": ["SIMULATED CAR", "What is wrong", "HIGH VOLTAGE", "What to do next", "Known fixes", "Fault codes",
           "Freeze frame", "Traction battery", "ECUs", "Next: "],
    "zh": ["模拟车辆", "诊断结论", "高压危险", "下一步", "已知解决办法", "故障码", "冻结帧", "动力电池", "控制器",
           "下一步："],
}  # fmt: skip


def seen_on_terminal(*words: str) -> tuple[list[str], list[str]]:
    """What a terminal of 80 columns shows: the stages, and the lines of result."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "huizhen", *words], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    ) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # the other end is closed: Linux calls that an input error
                break
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0, text.decode()
    shown = text.decode("utf-8").replace("\r\n", "\n")
    stages = re.findall(r"\r\x1b\[K· ([^\r\n]*)", shown)
    plain = ESCAPE.sub("", re.sub(r"\r\x1b\[K(· [^\r\n]*)?", "", shown))
    return stages, plain.split("\n")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_leak_on_a_terminal(lang: str) -> None:
    stages, lines = seen_on_terminal("scan", "--demo", "--scenario", "isolation", "--lang", lang)
    assert len(stages) >= 5
    assert all(display_width(stage) <= 78 for stage in stages)
    starts = [next(i for i, line in enumerate(lines) if line.strip().startswith(word)) for word in SECTIONS[lang]]
    assert starts[:-1] == sorted(starts[:-1])
    wide = [line for line in lines if display_width(line) > 80 and not line.strip().startswith("huizhen ")]
    assert wide == []
    next_step = starts[SECTIONS[lang].index("What to do next" if lang == "en" else "下一步")]
    told = " ".join(lines[next_step : next_step + 8])
    assert "huizhen case show " in told
    assert "huizhen consult open --demo --scenario isolation" in told
    assert starts[-1] if lang == "en" else lines[-2].startswith("下一步：")
    causes = "".join(lines[starts[1] : starts[2]])
    assert "insulation.low" not in causes, "what speaks for a cause is told by its title"


def test_a_sound_car_needs_no_next_step() -> None:
    _, lines = seen_on_terminal("scan", "--demo", "--scenario", "healthy", "--lang", "en")
    assert any("no fault found" in line for line in lines)
    assert not any("next" in line.lower() for line in lines)


def test_rivals_that_are_all_but_excluded_take_one_line_each() -> None:
    _, lines = seen_on_terminal("scan", "--demo", "--scenario", "weak-cell", "--lang", "en")
    first = next(i for i, line in enumerate(lines) if line.startswith("Known fixes"))
    last = next(i for i, line in enumerate(lines) if line.startswith("Fault codes"))
    assert last - first <= 22
    assert sum("+ " in line for line in lines[first:last]) <= 4


def test_records_of_a_moment_stand_side_by_side() -> None:
    _, lines = seen_on_terminal("scan", "--demo", "--scenario", "isolation", "--lang", "en")
    head = next(i for i, line in enumerate(lines) if "record 1" in line)
    assert lines[head].index("record 2") > lines[head].index("record 1")
    row = next(line for line in lines[head:] if "traction battery voltage" in line)
    assert re.search(r"\d V +\d+(\.\d)? V$", row)
    assert row.index(re.findall(r"[\d.]+ V", row)[1]) == lines[head].index("record 2")


def test_a_pipe_hears_at_once_that_the_car_is_simulated() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "huizhen", "scan", "--demo", "--lang", "en"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 65_536).decode()
        rest = process.stdout.read().decode()
    assert first == "SIMULATED CAR: nothing here is a real vehicle\n"
    assert "SIMULATED" not in rest
    assert rest.startswith("VIN ")


def test_reasons_are_words_for_a_technician() -> None:
    _, lines = seen_on_terminal("scan", "--demo", "--scenario", "weak-cell", "--lang", "en")
    assert not any("battery.cell-weak" in line or "battery.spread" in line or "robust" in line for line in lines)
    _, lines = seen_on_terminal("scan", "--demo", "--scenario", "isolation", "--lang", "en")
    assert not any("insulation.low" in line for line in lines)
