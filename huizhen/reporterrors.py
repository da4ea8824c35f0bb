"""What can go wrong with reports.

::

    HuizhenError
    └── ReportError       (2)
        ├── ReportInput      what the report is to be made of cannot be used
        ├── ReportChanged    a report is not as it was made
        ├── NoChromium       a PDF needs a browser, and there is none
        ├── PdfFailed        the browser made no PDF
        └── NoChineseFont    the PDF would show boxes instead of Chinese
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from huizhen.errors import HuizhenError

if TYPE_CHECKING:
    from diag.facts import Text

__all__ = ["NoChineseFont", "NoChromium", "PdfFailed", "ReportChanged", "ReportError", "ReportInput"]


class ReportError(HuizhenError):
    """A report could not be made or checked."""

    code: ClassVar[str] = "huizhen.report"
    template: ClassVar[str] = "no report"


@dataclass(eq=False)
class ReportInput(ReportError):
    """What the report is to be made of cannot be used."""

    path: str
    reason: str | Text
    code: ClassVar[str] = "huizhen.report-input"
    template: ClassVar[str] = "no report can be made of {path}: {reason}"


@dataclass(eq=False)
class ReportChanged(ReportError):
    """A report is not as it was made, or is none."""

    path: str
    reason: str | Text
    code: ClassVar[str] = "huizhen.report-changed"
    template: ClassVar[str] = "{path} is no report as it was made: {reason}"


@dataclass(eq=False)
class NoChromium(ReportError):
    """A PDF needs a browser, and there is none."""

    install: str
    code: ClassVar[str] = "huizhen.no-chromium"
    template: ClassVar[str] = (
        "a PDF is made by Chromium or Chrome, and neither was found: install one ({install}), name it in "
        "HUIZHEN_CHROMIUM, or write .html and print that from a browser"
    )


@dataclass(eq=False)
class PdfFailed(ReportError):
    """The browser made no PDF; nothing was written."""

    browser: str
    reason: str | Text
    code: ClassVar[str] = "huizhen.pdf-failed"
    template: ClassVar[str] = "{browser} made no PDF: {reason}; write .html and print that from a browser"


@dataclass(eq=False)
class NoChineseFont(ReportError):
    """The PDF would show boxes instead of Chinese; nothing was written."""

    path: str
    install: str
    code: ClassVar[str] = "huizhen.no-chinese-font"
    template: ClassVar[str] = (
        "no font with Chinese was found on this machine, so {path} was not written; install one ({install}), or write "
        ".html, which takes the reader's fonts"
    )
