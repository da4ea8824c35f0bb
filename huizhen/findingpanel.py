"""The findings panel: what stands now, most urgent first; under it what began, rose, fell and ended, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diag.alerts import Change
from diag.facts import Severity
from huizhen.codepanel import clock
from huizhen.panelrows import columns, fitted, headed, scrolled, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diag.alerts import Notice
    from diag.facts import Cause, Finding
    from huizhen.language import Translator
    from huizhen.panelrows import Piece, Row, Scroll

__all__ = ["draw_findings", "severity_word"]

_SHOWN_EVIDENCE: Final = 2


def severity_word(severity: Severity, tr: Translator) -> str:
    """What has to be done about it."""
    words = {
        Severity.STOP: tr("scan.severity.stop"),
        Severity.SOON: tr("scan.severity.soon"),
        Severity.MONITOR: tr("scan.severity.monitor"),
        Severity.LOW: tr("scan.severity.low"),
    }
    return words[severity]


def draw_findings(
    standing: Sequence[Finding],
    causes: Sequence[Cause],
    notices: Sequence[Notice],
    quiet: Piece,
    width: int,
    height: int,
    tr: Translator,
    *,
    is_focused: bool = False,
    scroll: Scroll | None = None,
    is_whole: bool = False,
) -> tuple[Row, ...]:
    """The panel in ``height`` rows of ``width`` columns.

    Args:
        standing: everything told and not ended, the most urgent first.
        causes: what may be behind it.
        notices: of this session, the oldest first.
        quiet: what is said where nothing stands.
        width: of the panel, in columns.
        height: of it, in rows.
        tr: for its words.
        is_focused: the keys go to it.
        scroll: how far it is scrolled.
        is_whole: it has the whole screen: evidence, safety and causes are shown, too.
    """
    body: list[Row] = []
    for finding in standing:
        body += _finding_rows(finding, width, tr, is_whole=is_whole)
    if not standing:
        body.append(fitted(((" ", ""), quiet), width))
    likely = [cause for cause in causes if cause.is_likely]
    for cause in likely if not is_whole else causes:
        text = cause.title.in_language(tr.lang)
        body += wrapped(text, width, ((" → ", "monitor" if cause.is_likely else "dim"),), 3)
    words = {
        Change.BEGAN: tr("live.began"),
        Change.ROSE: tr("live.rose"),
        Change.FELL: tr("live.fell"),
        Change.ENDED: tr("live.ended"),
    }
    for notice in reversed(notices):
        style = "dim" if notice.change is Change.ENDED else notice.finding.severity.value
        body.append(
            fitted(
                (
                    (f" {clock(notice.t_ns)} ", "dim"),
                    (f"{words[notice.change]} ", "soon" if style == "stop" else style),
                    (notice.finding.title.in_language(tr.lang), "dim" if style == "dim" else ""),
                ),
                width,
            )
        )
    title = tr("dashboard.findings.title")
    if standing:
        title = tr("dashboard.findings.count", n=len(standing))
    return (headed(title, "", width, is_focused=is_focused), *scrolled(body, height - 1, scroll, width))


def _finding_rows(finding: Finding, width: int, tr: Translator, *, is_whole: bool) -> list[Row]:
    word = severity_word(finding.severity, tr)
    badge: list[Piece] = [(" ", ""), (f"[{word}]", finding.severity.value), (" ", "")]
    indent = columns(word) + 4
    rows = wrapped(finding.title.in_language(tr.lang), width, badge, indent, "strong")
    if is_whole:
        for item in finding.evidence:
            rows += wrapped(item.text.in_language(tr.lang), width, (("   · ", "dim"),), 5)
        for step in finding.safety:
            rows += wrapped(step.in_language(tr.lang), width, (("   ! ", "soon"),), 5)
    else:
        for item in finding.evidence[:_SHOWN_EVIDENCE]:
            rows.append(fitted((("   · ", "dim"), (item.text.in_language(tr.lang), "dim")), width))
    return rows
