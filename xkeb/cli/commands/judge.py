"""xkeb judge: a language model as a judge of free answers that are kept."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from xkeb.cli.echo import complain, say
from xkeb.errors import RequestError


@click.command("judge")
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RESULT..")
@click.option(
    "--endpoint", required=True, metavar="URL", help="Address of OpenAI's interface, such as http://localhost:8000/v1."
)
@click.option("--judge-model", required=True, metavar="M", help="The judge's name at the endpoint.")
@click.option(
    "--judge-args",
    metavar="K=V,..",
    help="Options of each request, e.g. temperature=1,max_tokens=50; null leaves one out.  [default: temperature=0]",
)
@click.option("--api-key-env", metavar="VARIABLE", help="Environment variable with the key.  [default: no key is sent]")
@click.option("--price-in", type=click.FloatRange(min=0), metavar="P", help="Price of a million tokens to the judge.")
@click.option("--price-out", type=click.FloatRange(min=0), metavar="P", help="Price of a million tokens from it.")
@click.option("--yes", is_flag=True, help="Don't ask before it starts.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N", help="Questions at once."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest wait for a reply.",
)
@click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=3,
    show_default=True,
    metavar="N",
    help="Further tries where the endpoint can't be reached, is late or too busy.",
)
@click.option("--fresh", is_flag=True, help="Ask again what the judge was asked before.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the new results go; those that are read stay as they are.",
)
def command(**options: Any) -> None:
    """Let a language model judge the free answers of RESULTs: files, or folders that hold results.

    Says first how much it would ask and what that costs. Each verdict is kept, so the same command goes on where it stopped,
    and asks nothing twice. The verdicts are the metric `judge`, beside the result's own; an answer without one is counted with
    its reason, and has no score.

    \b
    xkeb judge results --endpoint http://localhost:8000/v1 --judge-model MODEL --output judged
    """
    from xkeb.cli.judge_display import JudgeProgress, show_agreement, show_judging_plan, show_undecided
    from xkeb.cli.score_table import show_table
    from xkeb.evaluation.judging import Asked, Endpoint, Judge, VerdictCache, ask_all, plan_judging, write_judged
    from xkeb.registry.options import parse_options
    from xkeb.results.verdicts import JUDGE
    from xkeb.utils.secrets import command_line

    judge = Judge.with_args(options["judge_model"], parse_options(options["judge_args"], "--judge-args"))
    key = _key(options["api_key_env"])
    _check_numbers(options)
    tries = {name: options[name] for name in ("timeout", "retries")}
    with Endpoint(options["endpoint"], judge, key=key, **tries) as endpoint, VerdictCache() as cache:
        plan = plan_judging(options["results"], options["output"], judge, cache, fresh=options["fresh"])
        show_judging_plan(plan, endpoint, options["price_in"], options["price_out"])
        asked = Asked()
        if plan.to_ask:
            if not options["yes"] and not _confirmed(len(plan.to_ask)):
                say("Nothing was asked.")
                return
            with JudgeProgress(len(plan.to_ask)) as progress:
                concurrency = options["concurrency"]
                asked = ask_all(endpoint, cache, plan.to_ask, concurrency=concurrency, progress=progress.advance)
        results = write_judged(plan, endpoint, asked, command_line(["xkeb", *sys.argv[1:]]))
    show_table(results, options["output"], (JUDGE, "exact"))
    show_agreement(results)
    show_undecided(results)
    if asked.failures:
        complain(
            f"The endpoint gave no reply to {asked.failures:,} of {len(plan.to_ask):,} questions; "
            "the same command asks them again."
        )
        sys.exit(1)


def _key(variable: str | None) -> str | None:
    """The key that the endpoint wants. No message quotes what was given: it may be the key itself.

    Raises:
        RequestError: there is none.
    """
    if variable is None:
        return None
    value = os.environ.get(variable) if variable and "\0" not in variable else None
    if not value or not value.strip():
        raise RequestError("--api-key-env takes the name of an environment variable that holds the key; there is none.")
    return value.strip()


def _check_numbers(options: Mapping[str, Any]) -> None:
    for name in ("timeout", "price_in", "price_out"):
        if options[name] is not None and not math.isfinite(options[name]):  # which no range of click refuses
            raise RequestError(f"--{name.replace('_', '-')} takes a number, not {options[name]}.")
    if (options["price_in"] is None) != (options["price_out"] is None):
        raise RequestError("A price is of both directions: name --price-in and --price-out, or neither.")


def _confirmed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise RequestError(f"{count:,} questions are to be asked, and nobody is here to agree: say --yes.")
    return click.confirm("Go on?")
