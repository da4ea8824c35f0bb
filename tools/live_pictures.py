"""Pictures of the dashboard, for the documentation: docs/images/live.png and live-zh.png.

    python tools/live_pictures.py [--into FOLDER] [--seconds 45]

Runs ``huizhen live --demo`` on pseudo-terminals, takes what their screens show, and lets Chromium draw it, every
character in its own place: no font decides what is aligned. With another folder, also pictures of single panels.
Needs a POSIX system and the tests' extra.
"""

from __future__ import annotations

import argparse
import html
import os
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests" / "huizhen"))

from terminals import Terminal  # noqa: E402 - tests are no package

from huizhen.console import display_width  # noqa: E402 - as above

WIDE, HIGH = 8, 17
STYLE = f"""
body {{ margin: 0; background: #121212; position: relative; overflow: hidden; }}
i {{ position: absolute; height: {HIGH}px; font: 13px/{HIGH}px "DejaVu Sans Mono", "Noto Sans Mono CJK SC",
     "WenQuanYi Zen Hei Mono", "DejaVu Sans", monospace; white-space: pre; text-align: center; overflow: hidden; }}
"""
CARS = {
    "live": ("en", 80, 24, "weak-cell", ""),
    "live-zh": ("zh", 120, 40, "two-faults", ""),
    "live-wide": ("en", 120, 40, "lfp104", ""),
    "live-small-zh": ("zh", 80, 24, "weak-cell", ""),
    "live-search-zh": ("zh", 80, 24, "weak-cell", "/cell 9"),
    "live-help-zh": ("zh", 80, 24, "weak-cell", "?"),
    "live-cells": ("en", 80, 24, "lfp104", "1"),
    "live-findings-zh": ("zh", 80, 24, "isolation", "4"),
}
"""Picture -> language, size, scenario, keys."""
SHOWN = ("live", "live-zh")


def as_html(terminal: Terminal) -> str:
    """A screen, character by character."""
    screen, parts = terminal.screen, []
    for y in range(screen.lines):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            if not cell.data:
                continue
            colour = "d0d0d0" if cell.fg == "default" else cell.fg
            ground = "121212" if cell.bg == "default" else cell.bg
            place = f"left:{x * WIDE}px;top:{y * HIGH}px;width:{max(1, display_width(cell.data)) * WIDE}px"
            look = f"color:#{colour};background:#{ground};font-weight:{700 if cell.bold else 400};font-style:normal"
            parts.append(f'<i style="{place};{look}">{html.escape(cell.data)}</i>')
    return f"<style>{STYLE}</style>{''.join(parts)}"


def read(terminals: list[Terminal], seconds: float) -> None:
    """Lets the programs draw for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for terminal in terminals:
            terminal.read(0.02)


def main() -> None:
    """Draws them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=IMAGES)
    parser.add_argument("--seconds", type=float, default=45.0)
    args = parser.parse_args()
    names = SHOWN if args.into == IMAGES else tuple(CARS)
    running: dict[str, Terminal] = {}
    try:
        for name in names:
            lang, width, height, scenario, _ = CARS[name]
            words = ["live", "--demo", "--scenario", scenario, "--lang", lang]
            running[name] = Terminal(words, width=width, height=height, COLORTERM="truecolor")
        read(list(running.values()), args.seconds)
        for name, terminal in running.items():
            if keys := CARS[name][4]:
                terminal.type(keys)
        read(list(running.values()), 3.0)
        pages = {name: as_html(terminal) for name, terminal in running.items()}
    finally:
        for terminal in running.values():
            terminal.close()
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for name, page_html in pages.items():
            _, width, height, _, _ = CARS[name]
            page = browser.new_page(viewport={"width": width * WIDE, "height": height * HIGH})
            page.set_content(page_html)
            page.screenshot(path=args.into / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
