"""Pictures of the commands on a terminal of 80 columns, for the documentation: docs/images/terminal-*.png.

    python tools/terminal_pictures.py [NAME …]      all, or some of: scan scan-zh doctor doctor-zh first-steps

Runs each command on a pseudo-terminal, takes what it shows at the end, and lets Chromium draw it. Needs a POSIX system.
"""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parents[1]
IMAGES = HERE / "docs" / "images"
COMMANDS = {
    "scan": ["scan", "--demo", "--scenario", "isolation", "--lang", "en"],
    "scan-zh": ["scan", "--demo", "--scenario", "isolation", "--lang", "zh"],
    "doctor": ["doctor", "--lang", "en"],
    "doctor-zh": ["doctor", "--lang", "zh"],
    "first-steps": ["--lang", "en"],
}
COLOURS = {"31": "#ff6b6b", "32": "#6bd68b", "33": "#f2c14e", "36": "#5cc8d6", "97": "#ffffff"}
STYLE = """
body { margin: 0; background: #14171c; color: #d7dce3; }
pre { margin: 0; padding: 16px 20px; font: 14px/1.35 "Noto Sans Mono CJK SC", monospace; width: 80ch; }
"""


def shown(words: list[str]) -> str:
    """What a command leaves on a terminal, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        kept = {"XDG_DATA_HOME": f"{folder}/data", "XDG_CONFIG_HOME": f"{folder}/config", "TERM": "xterm-256color"}
        program = Path(sys.executable).with_name("huizhen")
        environment = {**os.environ, **kept, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
        environment.pop("NO_COLOR", None)
        with subprocess.Popen(  # noqa: S603 - our own program
            [program, *words], stdout=theirs, stderr=theirs, stdin=theirs, env=environment, cwd=folder
        ):
            os.close(theirs)
            text = b""
            while True:
                try:
                    part = os.read(ours, 65_536)
                except OSError:
                    break
                text += part
    os.close(ours)
    plain = text.decode("utf-8").replace("\r\n", "\n")
    return re.sub(r"\r\x1b\[K(· [^\r\n]*(?=\r))?", "", plain).strip("\n")


def as_html(text: str) -> str:
    """Text with SGR sequences as HTML."""
    parts, is_open = [], False
    for piece in re.split(r"(\x1b\[[0-9;]*m)", text):
        if not (found := re.fullmatch(r"\x1b\[([0-9;]*)m", piece)):
            parts.append(html.escape(piece))
            continue
        if is_open:
            parts.append("</span>")
        codes = [code for code in found[1].split(";") if code not in ("", "0")]
        is_open = bool(codes)
        if is_open:
            style = [f"color:{COLOURS[code]}" for code in codes if code in COLOURS]
            style += ["font-weight:bold"] * ("1" in codes) + ["opacity:.65"] * ("2" in codes)
            style += ["background:#c92a2a"] * ("41" in codes)
            parts.append(f'<span style="{";".join(style)}">')
    return "".join(parts) + ("</span>" if is_open else "")


def main() -> None:
    """Draws what was asked for."""
    names = sys.argv[1:] or list(COMMANDS)
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 740, "height": 400}, device_scale_factor=1)
        for name in names:
            typed = f"$ huizhen {' '.join(word for word in COMMANDS[name])}"
            page.set_content(f"<style>{STYLE}</style><pre>{html.escape(typed)}\n{as_html(shown(COMMANDS[name]))}</pre>")
            page.locator("pre").screenshot(path=IMAGES / f"terminal-{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
