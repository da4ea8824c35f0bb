"""Report pages in a real browser: nothing is fetched, nothing is complained about; on paper everything can be read."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pypdf
import pytest
from playwright.sync_api import sync_playwright

from huizhen.cli import main
from huizhen.exits import Exit

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
COMPLAINT = "续航变短，充电慢"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@pytest.fixture(scope="session")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("printed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("HUIZHEN_DENSE", "off")
        words = ["--listen", "3", "--symptom", COMPLAINT, "-q", "--json", "-o", str(folder / "weak.hzb")]
        assert main(["scan", "--demo", "--scenario", "weak-cell", *words]) == Exit.DONE
    return folder / "weak.hzb"


def made(words: list[object], out: Path) -> Path:
    assert main(["report", *map(str, words), "-q", "-o", str(out)]) == Exit.DONE
    return out


def test_a_page_fetches_nothing_and_fits_any_screen(visit: Path, tmp_path: Path) -> None:
    pages = [
        made([visit, "--lang", "zh"], tmp_path / "workshop.html"),
        made([visit, "--for", "customer", "--lang", "en"], tmp_path / "customer.html"),
        made([visit, "--kind", "battery", "--lang", "en"], tmp_path / "battery.html"),
        made([visit, "--lang", "en"], tmp_path / "workshop-en.html"),
    ]
    nasty = tmp_path / "scan.json"
    assert main(["scan", "--from", str(visit), "-q", "--json", "-o", str(nasty)]) == Exit.DONE
    scan = json.loads(nasty.read_text())
    hostile = '<img src="http://127.0.0.1:9/x" onerror="document.title=1"><script>document.title=1</script></style>'
    scan["ecus"][0]["name"] = scan["findings"][0]["title"]["en"] = scan["vehicle"]["make"] = hostile
    nasty.write_text(json.dumps(scan))
    pages.append(made([nasty, "--lang", "en"], tmp_path / "nasty.html"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for path in pages:
            for size in ({"width": 1280, "height": 800}, {"width": 390, "height": 844}):
                page = browser.new_page(viewport=size)
                said, asked = [], []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("pageerror", lambda error, said=said: said.append(str(error)))
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto(path.as_uri())
                assert said == []
                assert asked == [path.as_uri()]
                assert page.title() != "1"
                assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, "no sideways scrolling"
                if path.stem == "workshop-en":  # no column so narrow that its words stand letter below letter
                    highest = "Math.max(...[...document.querySelectorAll('th, td')].map(one => one.offsetHeight))"
                    assert page.evaluate(highest) < 200
                # The style sheet counts: its hash in the policy is right.
                assert page.evaluate("getComputedStyle(document.querySelector('.hv, .big')).fontSize") != ""
                assert page.evaluate("getComputedStyle(document.querySelector('.brand')).borderBottomWidth") == "3px"
                page.close()
        browser.close()


def text_of(content: bytes) -> tuple[list[str], pypdf.PdfReader]:
    reader = pypdf.PdfReader(io.BytesIO(content))
    return [page.extract_text() for page in reader.pages], reader


def fonts_of(reader: pypdf.PdfReader) -> dict[str, bool]:
    """Name of each font of a PDF -> whether its shapes are in it, by another program's reading."""
    found: dict[str, bool] = {}
    for page in reader.pages:
        for font in (one.get_object() for one in page["/Resources"].get("/Font", {}).values()):
            inner = font.get("/DescendantFonts", [font])[0].get_object()
            told = inner.get("/FontDescriptor", font.get("/FontDescriptor", {})).get_object()
            is_there = font["/Subtype"] == "/Type3" or any(f"/FontFile{n}" in told for n in ("", "2", "3"))
            found[str(told.get("/FontName", font.get("/BaseFont", "?")))] = is_there
    return found


@pytest.mark.parametrize(
    ("words", "lang", "most_pages", "told"),
    [
        (
            [],
            "zh",
            8,
            ("接车检测报告", "高压危险：接触橙色线缆之前必须执行", "故障码", "冻结帧", COMPLAINT, "第 1 页，共"),
        ),
        (["--for", "customer"], "zh", 3, ("还能开吗", "橙色线缆", "动力电池健康状况", COMPLAINT, "请尽快维修")),
        (["--for", "customer"], "en", 3, ("May I drive?", "Orange cables: hands off", "Page 1 of", COMPLAINT)),
    ],
)
def test_a_pdf_can_be_read_searched_and_checked(
    visit: Path, tmp_path: Path, words: list[str], lang: str, most_pages: int, told: tuple[str, ...], capfd
) -> None:
    path = made([visit, *words, "--lang", lang], tmp_path / "报告.pdf")
    content = path.read_bytes()
    pages, reader = text_of(content)
    assert 1 < len(pages) <= most_pages
    text = re.sub(r"\s+", "", "".join(pages))
    for word in told:
        assert word.replace(" ", "") in text, word
    assert not re.search("[\u2e80-\u2fdf]", text), "words are found when they are searched for"
    fonts = fonts_of(reader)
    assert all(fonts.values()), fonts
    assert any("CJK" in name or "Hei" in name or "Song" in name for name in fonts), fonts
    for number, page in enumerate(pages, start=1):
        assert (f"第{number}页，共{len(pages)}页" if lang == "zh" else f"Page{number}of{len(pages)}") in re.sub(
            r"\s", "", page
        )
    width, height = (float(value) * 25.4 / 72 for value in reader.pages[0].mediabox[2:])
    assert (round(width), round(height)) == (210, 297)
    assert main(["report", str(path), "--check", "--lang", "en"]) == Exit.DONE
    assert "by this installation" in capfd.readouterr().out
    for place in (10, len(content) // 3, len(content) // 2, len(content) - 300, len(content) - 5):
        bad = bytearray(content)
        bad[place] ^= 0x01
        path.write_bytes(bad)
        assert main(["report", str(path), "--check"]) == Exit.USAGE, place


def test_a_machine_without_a_chinese_font_says_so(
    visit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    latin = next((path for path in map(Path, ("/usr/share/fonts/truetype/dejavu",)) if path.is_dir()), None)
    if latin is None:
        pytest.skip("needs a folder of fonts without Chinese")
    config = tmp_path / "fonts.conf"
    config.write_text(f"<fontconfig><dir>{latin}</dir><cachedir>{tmp_path / 'cache'}</cachedir></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(config))
    out = tmp_path / "x.pdf"
    assert main(["report", str(visit), "--for", "customer", "--lang", "zh", "-o", str(out)]) == Exit.USAGE
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "没有中文字体" in err
    assert "fonts-noto-cjk" in err
    assert not out.exists()
    assert main(["report", str(visit), "--for", "customer", "--lang", "en", "-o", str(out)]) == Exit.DONE
    assert "no font with Chinese was found" in capfd.readouterr().err, "the customer's words are Chinese"
    assert out.read_bytes().startswith(b"%PDF-")
