"""The page's modules that draw nothing, compiled and run by Node.js."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from noticekit import PATHS

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "consult" / "page"
MODULES = ("arrange", "columns", "history", "marks", "pack", "probe", "proof", "requests", "store", "timeview")


def run_modules(tmp_path, modules, runner, **environment):
    """Compiles some modules and lets Node.js run their tests."""
    tsc, node = PAGE / "node_modules" / ".bin" / "tsc", shutil.which("node")
    if node is None or not tsc.exists():
        pytest.skip("Node.js or the page's node_modules are absent (`npm ci` in consult/page)")
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    words = ("--ignoreConfig", "--outDir", tmp_path, "--target", "es2022", "--module", "es2022")
    more = ("--moduleResolution", "bundler", "--skipLibCheck", "--types", "vite/client")
    sources = [PAGE / "src" / f"{name}.ts" for name in modules]
    built = subprocess.run([tsc, *words, *more, *sources], cwd=PAGE, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    for module in tmp_path.glob("*.js"):  # Vite finds a module without its ending, Node.js does not
        module.write_text(re.sub(r'from "(\./\w+)"', r'from "\1.js"', module.read_text()))
    environment = {**os.environ, "PAGE_MODULES": str(tmp_path), **environment}
    command = [node, "--test", str(HERE / runner)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_time_charts_marks_requests_and_proofs(tmp_path):
    run_modules(tmp_path, MODULES, "page_views.mjs", REQUESTS=str(HERE / "requests.json"))


def test_a_stop_pressed_while_there_is_no_line(tmp_path):
    run_modules(tmp_path, ("link",), "page_link.mjs")


def test_what_a_line_bears_and_lines_on_frozen_pictures(tmp_path):
    run_modules(tmp_path, ("callquality", "strokes", "camera"), "page_call.mjs")


def test_a_car_of_which_only_the_year_is_known_has_no_name(tmp_path):
    run_modules(tmp_path, ("carname", "reviewdraft"), "page_carname.mjs")


def test_a_notice_leads_to_where_the_service_says(tmp_path):
    run_modules(tmp_path, ("ownpath",), "page_ownpath.mjs", PATHS=json.dumps(PATHS))


def test_a_class_is_drawn_by_one_sheet():
    """All sheets are one in the built page: a name used twice changes another page's looks."""
    sheets = {}
    for path in (PAGE / "src").glob("*.css"):
        rules = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for selectors in re.findall(r"([^{}]+)\{", rules):
            for name in re.findall(r"(?:^|,)\s*\.([\w-]+)\s*(?=,|$)", selectors):
                sheets.setdefault(name, set()).add(path.name)
    assert len(sheets) > 100
    assert {name: found for name, found in sheets.items() if len(found) > 1} == {}
