"""What `xkeb judge` prints: what it would ask and what that costs, how far it is, and how the judge agrees with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from xkeb.cli.echo import say
from xkeb.cli.output import make_console, make_table
from xkeb.evaluation.judging import Endpoint, JudgingPlan
from xkeb.registry.manager import get_plugins
from xkeb.results.result import AgreementRecord, Result
from xkeb.results.verdicts import agreement


class JudgeProgress:
    """A bar on a terminal. To be entered as a context."""

    def __init__(self, total: int) -> None:
        out = make_console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), MofNCompleteColumn())
        self.bars = Progress(*columns, TimeRemainingColumn(), console=out, disable=not out.is_terminal, transient=True)
        self.task = self.bars.add_task("asking the judge", total=total)

    def advance(self) -> None:
        self.bars.advance(self.task)

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()


def show_judging_plan(plan: JudgingPlan, endpoint: Endpoint, price_in: float | None, price_out: float | None) -> None:
    """How much is to be asked, and what that costs."""
    count = len(plan.to_ask)
    say(f"Judge: {endpoint.judge.model} at {endpoint.url}")
    say(f"Results: {len(plan.kept):,}; different questions about answers: {count + len(plan.known):,}")
    for reason, number in plan.unasked.items():
        say(f"  {number:,} answers need no judge: {reason}")
    say(f"  {len(plan.known):,} verdicts are known, {count:,} questions are to be asked")
    if not count:
        return
    say(f"  about {plan.tokens_in:,} tokens to the judge and {plan.tokens_out:,} from it, more if it thinks aloud")
    if price_in is None or price_out is None:
        say("  what that costs: name --price-in and --price-out, each of a million tokens")
    else:
        cost = (plan.tokens_in * price_in + plan.tokens_out * price_out) / 1e6
        say(f"  about {cost:,.4f} at {price_in:g} and {price_out:g} a million tokens")


def show_agreement(results: Sequence[Result]) -> None:
    """How often the judge says what comparing the texts says, by language, over all results."""
    counts: dict[tuple[str, str], Counter[tuple[bool, bool]]] = {}
    for result in results:
        for metric, languages in (result.judge.agreement if result.judge else {}).items():
            for language, one in languages.items():
                for key in ((metric, language), (metric, "")):
                    counts.setdefault(key, Counter()).update(_counts(one))
    heads = ["With", "In", "Answers", "Agree", "Kappa", "Right to both", "Judge only", "Metric only"]
    out = make_console()
    table = make_table("Agreement of the judge, answers after the edit", heads, out, right=heads[2:])
    for (metric, language), counted in sorted(counts.items(), key=lambda item: (item[0][0], not item[0][1], item[0])):
        if not language and sum(name == metric for name, _ in counts) == 2:
            continue  # of one language, all is said
        one = agreement(counted)
        table.add_row(
            metric,
            get_plugins().languages.get(language).name if language else "all",
            f"{sum(counted.values()):,}",
            f"{one.percent:.1f}%",
            "-" if one.kappa is None else f"{one.kappa:.2f}",
            *(f"{number:,}" for number in (one.both_right, one.judge_only, one.metric_only)),
        )
    if table.row_count:
        out.print(table)
        out.print()


def _counts(one: AgreementRecord) -> dict[tuple[bool, bool], int]:
    """As `agreement` takes them."""
    return {
        (True, True): one.both_right,
        (True, False): one.judge_only,
        (False, True): one.metric_only,
        (False, False): one.both_wrong,
    }


def show_undecided(results: Sequence[Result]) -> None:
    """How many answers have no verdict, and why."""
    reasons: Counter[str] = Counter()
    for result in results:
        reasons.update(result.judge.undecided if result.judge else {})
    for reason, number in reasons.most_common():
        say(f"{number:,} answers without a verdict: {reason}")
