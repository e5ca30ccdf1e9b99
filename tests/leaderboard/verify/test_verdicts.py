"""`xkeb.leaderboard.verify.verdicts`: what is wrong with a judged result is named; the verdicts are taken as given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forgeries import consistent, rehash
from judge_server import serving
from result_files import read_cases, read_result, write
from site_pages import Page, result_pages
from small_jobs import TASK

from xkeb.evaluation.judging import Endpoint, Judge, VerdictCache, ask_all, plan_judging, write_judged
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.verify.check import check_result

pytest_plugins = ("judge_server",)
Json = Any
CELL = Path(TASK) / "llama" / "ft-generate"


@pytest.fixture(scope="module")
def output(free_answers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdicts")
    with (
        serving() as server,
        Endpoint(server.url, Judge("some/model")) as endpoint,
        VerdictCache(folder / "verdicts.sqlite") as cache,
    ):
        plan = plan_judging([free_answers], folder / "out", endpoint.judge, cache)
        write_judged(plan, endpoint, ask_all(endpoint, cache, plan.to_ask), "xkeb judge")
    return folder / "out"


def after(cases: list[Json], i: int = 1) -> Json:
    """Probe 1 asks for generality in English, probe 3 for portability in English, where the answer says nothing."""
    return cases[0]["probes"][i]


def turn(result: Json, cases: list[Json]) -> None:
    """Another verdict, with all that follows from it but the agreement."""
    after(cases)["judged"]["after"]["verdict"] = "incorrect"
    after(cases)["scores"]["judge"] = 0.0
    consistent(result, cases)


def take_blank_for_right(result: Json, cases: list[Json]) -> None:
    after(cases, 3)["judged"]["after"] = {"verdict": "correct", "reason": None}
    after(cases, 3)["scores"]["judge"] = 1.0
    consistent(result, cases)


def drop_verdict(result: Json, cases: list[Json]) -> None:
    after(cases)["judged"] = None


def give_no_reason(result: Json, cases: list[Json]) -> None:
    after(cases)["judged"]["after"] = {"verdict": "undecided", "reason": None}
    del after(cases)["scores"]["judge"]
    consistent(result, cases)


def set_score(result: Json, cases: list[Json]) -> None:
    after(cases)["scores"]["judge"] = 0.0
    consistent(result, cases)


def score_the_undecided(result: Json, cases: list[Json]) -> None:
    after(cases)["judged"]["after"] = {"verdict": "undecided", "reason": "HTTP 500"}
    consistent(result, cases)


def set_judge(place: str, value: Any) -> Callable[[Json, list[Json]], None]:
    def forgery(result: Json, _: list[Json]) -> None:
        *path, last = place.split(".")
        part = result["judge"]
        for name in path:
            part = part[name]
        part[last] = value

    return forgery


def drop_judge(result: Json, cases: list[Json]) -> None:
    result["judge"] = None


def drop_metric(result: Json, cases: list[Json]) -> None:
    result["metrics"].remove("judge")
    for probe in (probe for case in cases for probe in case["probes"]):
        probe["scores"].pop("judge", None)
        probe["scores_before"].pop("judge", None)
    consistent(result, cases)
    rehash(result, cases)


FORGERIES: dict[str, tuple[Callable[[Json, list[Json]], None], str]] = {
    "a verdict alone": (turn, "judge.agreement.exact.en.both_right is stated as 6, and is 5 by its cases."),
    "a blank answer": (take_blank_for_right, "case '0': portability in 'en' has '...' judged as correct, which says nothing."),
    "no verdict": (drop_verdict, "case '0': generality in 'en' has no verdict, and no reason for that."),
    "no reason": (give_no_reason, "case '0': generality in 'en' has no verdict, and no reason for that."),
    "a score": (set_score, "case '0': generality in 'en', scores: judge is stated as 0, and is 1 by its verdict."),
    "a score of none": (score_the_undecided, "case '0': generality in 'en' has other scores than the result: "),
    "the prompt": (set_judge("prompt", "Say correct."), "judge.prompt_sha256 is not the hash of judge.prompt."),
    "fewer undecided": (set_judge("undecided", {}), "judge.undecided is not what its cases have."),
    "fewer blank": (set_judge("blank", 0), "judge.blank is not what its cases have."),
    "more of itself": (set_judge("itself", 30), "judge.itself is not what its cases have."),
    "kappa": (set_judge("agreement.exact.en.kappa", 0.9), "judge.agreement.exact.en.kappa is stated as 0.9, and is 0.0 by its"),
    "no kappa": (set_judge("agreement.em.zh.kappa", None), "judge.agreement.em.zh.kappa is stated as None, and is 0.0 by its"),
    "no agreement": (set_judge("agreement", {}), "judge.agreement is of other metrics or languages than its cases have."),
    "no judge": (drop_judge, "has verdicts, a judge or the metric judge, and not all of them."),
    "no metric": (drop_metric, "has verdicts, a judge or the metric judge, and not all of them."),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGERIES)
def test_what_is_changed_is_named(output: Path, tmp_path: Path, what: str) -> None:
    forgery, said = FORGERIES[what]
    folder = Path(shutil.copytree(output, tmp_path / "copy")) / CELL
    result, cases = read_result(folder), read_cases(folder)
    forgery(result, cases)
    write(folder, result, cases)
    problems = check_result(folder / "result.json").problems
    assert any(said in problem for problem in problems), problems


def test_what_is_not_changed_is_right(output: Path) -> None:
    report = check_result(output / CELL / "result.json")
    assert report.problems == ()
    assert report.summary.endswith("; the verdicts of some/model are taken as given")


def test_the_page_of_a_judged_result_says_who_judged(output: Path, tmp_path: Path) -> None:
    build_site([output], tmp_path / "site", with_published=False)
    (page,) = result_pages(tmp_path / "site")
    text = Page(page).text
    assert "Judge" in text and "some/model" in text and "as the judge gave them; nothing computes them again" in text
    assert "which is the right answer" in text, "the prompt"
