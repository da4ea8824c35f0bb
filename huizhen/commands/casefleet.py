"""``huizhen case trends|cohort``: what the library's cases say of whole populations of cars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from huizhen.console import wants_json
from huizhen.exits import Exit

if TYPE_CHECKING:
    import argparse

    from casebase.cohort import Card
    from casebase.library import Library
    from casebase.nextcars import Outlook
    from casebase.trends import Trend
    from huizhen.console import Console
    from huizhen.language import Translator

__all__ = ["ACTIONS", "add_actions"]

_SHOWN: Final = 20
_FIRST: Final = 10


def add_actions(actions: Any, common: argparse.ArgumentParser, tr: Translator) -> list[argparse.ArgumentParser]:
    """Names their options; returns their parsers."""
    trends = actions.add_parser(
        "trends", parents=[common], help=tr("casefleet.trends.help"), description=tr("casefleet.trends.description"),
        epilog=tr("casefleet.trends.epilog"),
    )  # fmt: skip
    trends.add_argument("--weeks", type=int, default=8, metavar="N", help=tr("casefleet.trends.weeks"))
    trends.add_argument("--lead", type=int, default=4, metavar="N", help=tr("casefleet.trends.lead"))
    cohort = actions.add_parser(
        "cohort", parents=[common], help=tr("casefleet.cohort.help"), description=tr("casefleet.cohort.description"),
        epilog=tr("casefleet.cohort.epilog"),
    )  # fmt: skip
    cohort.add_argument("--weeks", type=int, default=8, metavar="N", help=tr("casefleet.cohort.weeks"))
    cohort.add_argument("--outcome", default="spread_mv", metavar="NAME", help=tr("casefleet.cohort.outcome"))
    escalations = actions.add_parser(
        "escalations", parents=[common], help=tr("casefleet.escalations.help"),
        description=tr("casefleet.escalations.description"), epilog=tr("casefleet.escalations.epilog"),
    )  # fmt: skip
    for action in (trends, cohort):
        action.add_argument("--simulated", action="store_true", help=tr("casefleet.simulated"))
    return [trends, cohort, escalations]


def _trends(args: argparse.Namespace, console: Console, library: Library) -> int:
    from huizhen.errors import BadUsage

    tr = console.tr
    if not 1 <= args.weeks <= 52 or not 1 <= args.lead <= 52:
        raise BadUsage(tr("casefleet.trends.bad_weeks"))
    trends, by_jobs = library.trends(recent_weeks=args.weeks, lead_weeks=args.lead, simulated=args.simulated)
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.trends/1",
                "recent_weeks": args.weeks,
                "simulated": args.simulated,
                "exposure_from_jobs": sorted(by_jobs),
                "trends": [_told(trend, library) for trend in trends],
            }
        )
        return Exit.DONE
    states = {
        "rising": tr("casefleet.trends.rising"),
        "watch": tr("casefleet.trends.watch"),
        "steady": tr("casefleet.trends.steady"),
    }
    styles = {"rising": "stop", "watch": "monitor", "steady": "dim"}
    if not trends:
        console.wrapped(tr("casefleet.trends.nothing"))
        return Exit.DONE
    shown = trends if console.verbose else [trend for trend in trends if trend.state != "steady"][:_SHOWN]
    if not shown:
        console.line(tr("casefleet.trends.all_steady", n=len(trends)))
    for trend in shown:
        console.line(console.style(f"{states[trend.state]}  {trend.fault} · {trend.model}", styles[trend.state]))
        ratio = f"{trend.ratio:.2f}" if trend.before else "∞"
        console.wrapped(
            tr(
                "casefleet.trends.numbers", recent=trend.recent, weeks=trend.weeks, before=trend.before, ratio=ratio,
                lower=f"{trend.lower:.2f}", q=f"{trend.q:.2g}",
            ),
            indent="   ",
        )  # fmt: skip
        if trend.state == "rising":
            stock = trend.stock
            console.wrapped(
                tr("casefleet.trends.stock", level=stock.level, before=stock.before, weeks=stock.weeks), indent="   "
            )
            for fix, p in library.parts_for(trend.fault):
                named = tr.listed(part.in_language(tr.lang) for part in fix.parts) or tr("case.show.no_parts")
                title = fix.title.in_language(tr.lang)
                console.wrapped(tr("casefleet.trends.parts", parts=named, fix=title, p=f"{p * 100:.0f}"), indent="   ")
    if by_jobs:
        console.line()
        console.wrapped(console.style(tr("casefleet.trends.by_jobs", models=tr.listed(sorted(by_jobs)[:5])), "dim"))
    return Exit.DONE


def _told(trend: Trend, library: Library) -> dict[str, Any]:
    """A trend; a rising one with the parts of its fix."""
    told: dict[str, Any] = dict(trend.to_json())
    if trend.state == "rising":
        told["parts"] = [
            {"source_id": fix.slug, "p": round(p, 4), "parts": [part.to_json() for part in fix.parts]}
            for fix, p in library.parts_for(trend.fault)
        ]
    return told


def _cohort(args: argparse.Namespace, console: Console, library: Library) -> int:
    from huizhen.errors import BadUsage

    tr = console.tr
    if not 1 <= args.weeks <= 52:
        raise BadUsage(tr("casefleet.trends.bad_weeks"))
    cards = library.cohort(args.outcome, simulated=args.simulated, weeks=args.weeks)
    if wants_json(args):
        console.json(
            {
                "schema": "huizhen.cohort/1",
                "outcome": args.outcome,
                "simulated": args.simulated,
                "cards": [card.to_json() for card in cards],
            }
        )
        return Exit.DONE
    if not cards:
        console.wrapped(tr("casefleet.cohort.nothing", outcome=args.outcome))
        return Exit.DONE
    telling = [card for card in cards if card.state in ("worse", "better", "confounded")]
    for card in cards if console.verbose else telling[:_SHOWN]:
        _show_card(card, args.outcome, console)
    tested = sum(card.p is not None for card in cards)
    console.line(tr("casefleet.cohort.tested", n=len(cards), tested=tested, telling=len(telling)))
    return Exit.DONE


def _show_card(card: Card, outcome: str, console: Console) -> None:
    tr = console.tr
    states = {
        "worse": tr("casefleet.cohort.worse"),
        "better": tr("casefleet.cohort.better"),
        "same": tr("casefleet.cohort.same"),
        "confounded": tr("casefleet.cohort.confounded"),
        "few": tr("casefleet.cohort.few"),
    }
    styles = {"worse": "stop", "confounded": "monitor"}
    kinds = {"software": tr("casefleet.cohort.other_software"), "batch": tr("casefleet.cohort.other_batches")}
    program = f"{card.ecu.upper()} {card.version}" if card.ecu else tr("casefleet.cohort.any_software")
    head = f"{states[card.state]}  {card.model} · {card.batch} · {program}"
    console.line(console.style(head, styles.get(card.state, "dim")))
    if card.effect is not None and card.interval is not None and card.detectable is not None:
        low, high = card.interval
        said = tr(
            "casefleet.cohort.numbers", outcome=outcome, effect=f"{card.effect:+.3g}", low=f"{low:+.3g}",
            high=f"{high:+.3g}", treated=card.treated, controls=card.controls, kind=kinds[card.kind],
            detectable=f"{card.detectable:.3g}", q=f"{card.q or 0.0:.2g}",
        )  # fmt: skip
        console.wrapped(said, indent="   ")
        if card.next is not None:
            _show_next(card.next, outcome, console)
    elif card.state == "confounded":
        names = {
            "mileage_km": tr("casefleet.cohort.mileage"),
            "climate": tr("casefleet.cohort.climate"),
            "charging": tr("casefleet.cohort.charging"),
        }
        named = names.get(card.confounder or "", card.confounder or tr("casefleet.cohort.its_use"))
        console.wrapped(
            tr("casefleet.cohort.cannot_tell", matched=card.treated, cars=card.cars, what=named), indent="   "
        )


def _show_next(outlook: Outlook, outcome: str, console: Console) -> None:
    """The cars that have it, and those that get it next."""
    tr = console.tr
    if outlook.limit is None:
        having = tr("casefleet.cohort.having", n=outlook.having, outcome=outcome)
    else:
        limit = f"{outlook.limit:.4g}"
        having = tr("casefleet.cohort.having_more", n=outlook.having, outcome=outcome, limit=limit)
    console.wrapped(having, indent="   ")
    if not outlook.remaining:
        return
    if outlook.expected is None or outlook.interval is None:
        said = tr("casefleet.cohort.nobody_knows_when", n=outlook.remaining)
    else:
        low, high = outlook.interval
        said = tr(
            "casefleet.cohort.next", n=outlook.remaining, weeks=outlook.weeks, expected=f"{outlook.expected:.1f}",
            low=low, high=high,
        )  # fmt: skip
    console.wrapped(said, indent="   ")
    rows = []
    for car in outlook.cars if console.verbose else outlook.cars[:_FIRST]:
        chance = "" if car.chance is None else f"{car.chance * 100:.0f} %"
        use = " · ".join(value for _, value in sorted(car.traits.items()))
        rows.append([str(car.case), car.car, f"× {car.times:.2f}", chance, use])
    console.table(rows, indent="     ")


def _escalations(args: argparse.Namespace, console: Console, library: Library) -> int:
    from casebase.errors import FixUnknown

    tr = console.tr
    found = library.escalations()
    if wants_json(args):
        console.json({"schema": "huizhen.escalations/1", "escalations": [one.to_json() for one in found]})
        return Exit.DONE
    if not found:
        console.line(tr("casefleet.escalations.none"))
        return Exit.DONE
    rules = {
        "three-in-a-row": tr("casefleet.escalations.three_in_a_row"),
        "failing": tr("casefleet.escalations.failing"),
        "unknown": tr("casefleet.escalations.unknown"),
    }
    for one in found:
        try:
            title = library.title_of(one.what).in_language(tr.lang)
        except FixUnknown:
            title = one.what
        console.wrapped(console.style(" · ".join(part for part in (title, one.model) if part), "stop"))
        said = tr.listed(rules[rule] for rule in one.rules)
        numbers = tr.listed(str(number) for number in one.cases[:5])
        console.wrapped(
            tr("casefleet.escalations.numbers", rules=said, failed=one.failed, jobs=one.jobs, cases=numbers),
            indent="   ",
        )
    return Exit.DONE


ACTIONS: Final = {"trends": _trends, "cohort": _cohort, "escalations": _escalations}
