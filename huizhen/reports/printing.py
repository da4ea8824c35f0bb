"""The page as a PDF, by the Chromium or Chrome that is installed. The page is the same; nothing is fetched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from diag.facts import Text
from huizhen.reporterrors import NoChromium, PdfFailed

__all__ = ["find_chromium", "font_package", "print_page"]

_NAMES: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
_MAC: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
_WINDOWS: Final = (r"Google\Chrome\Application\chrome.exe", r"Microsoft\Edge\Application\msedge.exe")
_FLAGS: Final = (
    "--headless",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
    "--run-all-compositor-stages-before-draw",
)
_LONGEST_S: Final = 180.0


def find_chromium() -> str | None:
    """The browser to print with: ``HUIZHEN_CHROMIUM``, else one on the path, else where installers put it."""
    if named := os.environ.get("HUIZHEN_CHROMIUM"):
        return shutil.which(named)
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    places = [Path(place) for place in _MAC]
    roots = (os.environ.get(name) for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"))
    places += [Path(root) / tail for root in roots if root for tail in _WINDOWS]
    return next((str(place) for place in places if place.is_file()), None)


def _install_line() -> str:
    if sys.platform == "darwin":
        return "brew install --cask google-chrome"
    if sys.platform == "win32":
        return "winget install Google.Chrome"
    return "sudo apt install chromium"


def font_package() -> str:
    """What to type for a font with Chinese."""
    return (
        "brew install --cask font-noto-sans-cjk-sc" if sys.platform == "darwin" else "sudo apt install fonts-noto-cjk"
    )


def print_page(page: str) -> bytes:
    """A page as a PDF.

    Raises:
        NoChromium: there is no browser.
        PdfFailed: it made none.
    """
    browser = find_chromium()
    if browser is None:
        raise NoChromium(_install_line())
    is_root = getattr(os, "geteuid", lambda: 1)() == 0
    with tempfile.TemporaryDirectory(prefix="huizhen-report-", ignore_cleanup_errors=True) as folder:
        place, out = Path(folder) / "report.html", Path(folder) / "report.pdf"
        place.write_text(page, encoding="utf-8")
        words = [
            browser,
            *_FLAGS,
            *(("--no-sandbox",) if is_root else ()),
            f"--user-data-dir={Path(folder) / 'profile'}",
            f"--print-to-pdf={out}",
            place.as_uri(),
        ]
        _run(words, browser)
        try:
            content = out.read_bytes()
        except OSError as error:
            raise PdfFailed(browser, Text("it ended without one", "未生成文件")) from error
    if not content.startswith(b"%PDF-") or b"%%EOF" not in content[-1024:]:
        raise PdfFailed(browser, Text("what it wrote is none", "生成的文件不是 PDF"))
    return content


def _run(words: list[str], browser: str) -> None:
    """Runs the browser to its end; with all its processes it is ended when that takes too long."""
    try:
        process = subprocess.Popen(  # noqa: S603 - the browser that the user has or named, and flags of ours
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise PdfFailed(browser, error.strerror or str(error)) from error
    try:
        code = process.wait(_LONGEST_S)
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            seconds = f"{_LONGEST_S:g}"
            raise PdfFailed(browser, Text(f"it was not done in {seconds} s", f"{seconds} 秒内未完成")) from error
        raise
    if code:
        raise PdfFailed(browser, Text(f"it ended with {code}", f"退出码 {code}"))


def _end(process: subprocess.Popen[bytes]) -> None:
    kill_group = getattr(os, "killpg", None)  # a browser is many processes; Windows ends them with the first
    if kill_group is None:
        process.kill()
    else:
        kill_group(process.pid, signal.SIGKILL)
    process.wait()
