"""A report to its file: sealed HTML, the same on paper by Chromium, or signed JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from diag.bundle import Signer
    from diag.facts import Json
    from huizhen.console import Console

__all__ = ["format_of", "write_report"]

_FORMATS: Final = {".html": "html", ".htm": "html", ".pdf": "pdf", ".json": "json"}


def format_of(path: str) -> str | None:
    """``html``, ``pdf`` or ``json``, by the name's ending; None for another."""
    return _FORMATS.get(Path(path).suffix.lower())


def write_report(path: str, form: str, report: Json, signer: Signer, console: Console) -> None:
    """Writes a signed report, whole or not at all.

    Args:
        path: where to.
        form: ``html``, ``pdf`` or ``json``.
        report: ``huizhen.report/1``, signed.
        signer: seals the file.
        console: its language is the report's.

    Raises:
        CannotWrite: the place cannot be written.
        ReportError: no PDF could be made.
    """
    from diag.bundle import fingerprint
    from huizhen.files import write_bytes, write_json
    from huizhen.reports.page import report_page
    from huizhen.reports.seal import sealed_file

    if form == "json":
        write_json(path, report)
        return
    page = report_page(report, fingerprint(signer.public_key), console.tr)
    content = page.encode()
    if form == "pdf":
        content = _printed(page, path, console)
    write_bytes(path, sealed_file(content, signer))


def _printed(page: str, path: str, console: Console) -> bytes:
    """The page as a PDF whose Chinese can be read.

    Raises:
        NoChromium: there is no browser.
        PdfFailed: it made none.
        NoChineseFont: a Chinese page came out without Chinese.
    """
    from huizhen.reporterrors import NoChineseFont
    from huizhen.reports.pdftext import fonts_in_pdf, with_searchable_text
    from huizhen.reports.printing import font_package, print_page

    console.stage(console.tr("report.printing"))
    content = print_page(page)
    console.stage_done()
    wanted = {char for char in page if "\u4e00" <= char <= "\u9fff"}
    if len(fonts_in_pdf(content).chinese & wanted) < len(wanted) / 2:  # titles of drawings are not printed
        if console.tr.lang == "zh":
            raise NoChineseFont(path, font_package())
        console.note(console.tr("report.font_note", path=path, install=font_package()))
    return with_searchable_text(content)
