"""``huizhen case calibration`` as a person reads it, at eighty columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from huizhen.console import display_width, pad

if TYPE_CHECKING:
    from casebase.calibration import AnswerTimes, Calibration, Rate, Table
    from casebase.recalibration import Curve, Recalibration
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["show_calibration"]

_BAR: Final = 40
_TOLD_AT: Final = 0.8
"""The probability whose correction is told: from here on an answer can be ``direct``."""


def show_calibration(made: Calibration, console: Console) -> None:
    """All of it: overall, by class, the promises, the times, the corrections."""
    tr = console.tr
    overall = made.overall
    console.table(
        [
            [tr("caselib.calibration.shown"), str(overall.shown)],
            [tr("caselib.calibration.closed"), str(overall.closed)],
            [tr("caselib.calibration.coverage"), _rate(overall.covered)],
            [tr("caselib.calibration.first"), _rate(overall.first)],
            [tr("caselib.calibration.three"), _rate(overall.three)],
            *([[tr("caselib.calibration.error"), f"{overall.error:.3f}"]] if overall.error is not None else []),
        ],
        indent="",
    )
    _show_reliability(overall, console)
    _show_classes(made, console)
    _show_promises(made, console)
    _show_corrections(made.recalibration, console)


def _rate(rate: Rate) -> str:
    if rate.value is None:
        return "-"
    low, high = rate.interval
    return f"{rate.value * 100:.0f} % ({rate.hits}/{rate.n}, {low * 100:.0f} … {high * 100:.0f} %)"


def _short(rate: Rate) -> str:
    """``82 % 70…90``."""
    if rate.value is None:
        return "-"
    low, high = rate.interval
    return f"{rate.value * 100:3.0f} % {low * 100:.0f}…{high * 100:.0f}"


def _show_reliability(table: Table, console: Console) -> None:
    tr = console.tr
    if not table.reliability:
        return
    console.line()
    console.line(console.style(tr("caselib.calibration.reliability"), "title"))
    for p, n, right in table.reliability:
        share = right / n
        bar = ("█" * round(share * _BAR)).ljust(_BAR + 1)
        mark = min(_BAR, round(p * _BAR))
        console.line(f"  {p * 100:3.0f} % {bar[:mark]}│{bar[mark + 1 :]} {share * 100:3.0f} %  ({right}/{n})")
    console.line(console.style(tr("caselib.calibration.legend"), "dim"))


def _show_classes(made: Calibration, console: Console) -> None:
    if not made.classes:
        return
    tr = console.tr
    head = [
        tr("caselib.calibration.class"),
        tr("caselib.calibration.n"),
        tr("caselib.calibration.coverage_short"),
        tr("caselib.calibration.first_short"),
        tr("caselib.calibration.three_short"),
        tr("caselib.calibration.error_short"),
    ]
    rows = [
        [
            _class(*name, tr),
            str(table.closed),
            _short(table.covered),
            _short(table.first),
            _short(table.three),
            "-" if table.error is None else f"{table.error:.2f}",
        ]
        for name, table in made.classes
    ]
    console.line()
    console.line(console.style(tr("caselib.calibration.classes"), "title"))
    console.table(rows, head)


def _class(language: str | None, evidence: str, tr: Translator) -> str:
    languages = {
        "zh": tr("caselib.calibration.zh"),
        "en": tr("caselib.calibration.en"),
        "none": tr("caselib.calibration.wordless"),
    }
    kinds = {
        "words": tr("caselib.calibration.words"),
        "codes": tr("caselib.calibration.codes"),
        "measured": tr("caselib.calibration.measured"),
        "notice": tr("caselib.calibration.notice"),
        "fixes": tr("caselib.calibration.other_fixes"),
        "notices": tr("caselib.calibration.other_notices"),
    }
    return kinds[evidence] if language is None else f"{languages[language]} · {kinds[evidence]}"


def _show_promises(made: Calibration, console: Console) -> None:
    tr = console.tr
    names = {
        "fixes-for-common-faults": tr("caselib.calibration.promise_70"),
        "diagnostic-accuracy": tr("caselib.calibration.promise_90"),
        "within-three-minutes": tr("caselib.calibration.promise_3min"),
    }
    verdicts = {
        "yes": tr("caselib.calibration.yes"),
        "no": tr("caselib.calibration.no"),
        "open": tr("caselib.calibration.open"),
    }
    console.line()
    console.line(console.style(tr("caselib.calibration.promises"), "title"))
    console.table([[names[one.name], _rate(one.rate), verdicts[one.verdict]] for one in made.promises])
    if not made.overall.closed:
        return
    common = tr("caselib.calibration.common", fixes=len(made.common), jobs=made.solved.n, missed=made.missed)
    console.wrapped(common, "  ", "  ")
    console.wrapped(_times(made.times, tr), "  ", "  ")


def _times(times: AnswerTimes, tr: Translator) -> str:
    if times.median_ms is None or times.p95_ms is None:
        return tr("caselib.calibration.no_times", unknown=times.unknown)
    told = tr(
        "caselib.calibration.times",
        median=_seconds(times.median_ms),
        p95=_seconds(times.p95_ms),
        known=times.known,
    )
    late = tr("caselib.calibration.unknown_times", unknown=times.unknown) if times.unknown else ""
    return told + late


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f}" if ms < 10_000 else f"{ms / 1000:.0f}"


def _show_corrections(made: Recalibration, console: Console) -> None:
    tr = console.tr
    told: list[tuple[str, Curve]] = [
        (_class(None, name, tr), made.families[name]) for name in ("fixes", "notices") if name in made.families
    ]
    told += [(_class(*name, tr), curve) for name, curve in made.classes.items()]
    if not told:
        return
    console.line()
    console.line(console.style(tr("caselib.calibration.corrections"), "title"))
    width = max(display_width(name) for name, _ in told)
    for name, curve in told:
        said = tr(
            "caselib.calibration.correction",
            p=f"{_TOLD_AT * 100:.0f}",
            told=f"{curve.of(_TOLD_AT) * 100:.0f}",
            n=curve.n,
        )
        console.line(f"  {pad(name, width)}  {said}")
