"""Results of sequences, read: verified, scored anew, shown, set against each other, refused in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Xkeb
from result_files import read_cases, read_result, write
from sealed_lines import sealed_text
from small_jobs import FT, TASK, lines, make_config, run_jobs

import xkeb
from xkeb.leaderboard.rows.entries import find_results
from xkeb.leaderboard.site.build import build_site
from xkeb.leaderboard.verify.check import check_result

pytest_plugins = ("command_line",)
Json = dict[str, Any]
EACH, ALL = "ft-sequential-2-after_each", "ft-sequential-2"


@pytest.fixture(scope="module")
def made(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of two edits and a case that is left over, asked after each, with the damage, and after all."""
    output = tmp_path_factory.mktemp("sequences")
    llama = xkeb.load_backbone("hf", path=str(tiny_folders["llama"]), device="cpu")
    for point in ("after_each", "after_all"):
        options: Json = {"limit": 5, "regime": "sequential:2", "evaluate": point, "damage": point == "after_each"}
        run_jobs(llama, make_config(tiny_folders, output, ["ft"], method_args=FT, **options))
    run_jobs(llama, make_config(tiny_folders, output, ["ft"], method_args=FT, limit=5))
    return output / TASK / "llama"


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "out" / TASK / "llama"
    shutil.copytree(made, folder)
    return folder


@pytest.mark.parametrize("name", [EACH, ALL, "ft"])
def test_a_result_of_sequences_is_verified(made: Path, name: str) -> None:
    report = check_result(made / name / "result.json")
    assert (report.problems == () and "4 cases" in report.summary) or name == "ft"


def _swap_places(cases: list[Json], _: Json) -> None:
    found = {case["sequence"]["place"]: case for case in cases if case.get("sequence")}
    found[1]["sequence"]["place"], found[2]["sequence"]["place"] = 2, 1
    found[1]["sequence"]["edits"], found[2]["sequence"]["edits"] = 2, 1


def _without_place(cases: list[Json], _: Json) -> None:
    del next(case for case in cases if case.get("sequence"))["sequence"]


def _later(cases: list[Json], _: Json) -> None:
    next(case for case in cases if case.get("sequence", {}).get("place") == 1)["sequence"]["edits"] = 2


def _other_regime(_: list[Json], result: Json) -> None:
    del result["retention"]["1"]


def _other_mean(_: list[Json], result: Json) -> None:
    result["retention"]["2"]["reliability"]["en"]["em"]["mean"] += 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_swap_places, "is not that of its cases"),
        (_without_place, "has no place in a sequence, and the regime is sequential:2@after_each"),
        (_later, "was asked after 2 edits, and after_each is after 1"),
        (_other_regime, "retention is stated after 2 edits, and measured after 1, 2"),
        (_other_mean, "retention.2.reliability.en.em"),
    ],
)
def test_what_is_wrong_with_a_sequence_is_found(
    copied: Path, spoil: Callable[[list[Json], Json], None], said: str
) -> None:
    folder = copied / EACH
    result, cases = read_result(folder), read_cases(folder)
    spoil(cases, result)
    write(folder, result, cases)
    assert any(said in problem for problem in check_result(folder / "result.json").problems)


def test_what_is_wrong_with_the_retention_is_found(copied: Path) -> None:
    path = copied / EACH / "retention-2.jsonl"
    kept = lines(path)
    path.write_text(sealed_text(kept[1:]), encoding="utf-8")
    problems = check_result(copied / EACH / "result.json").problems
    assert f"retention-2.jsonl, case {kept[0]['case_id']!r}: is missing." in problems
    scores = kept[0]["probes"][0]["scores"]
    scores["em"] = 1.0 - scores["em"]
    path.write_text(sealed_text(kept), encoding="utf-8")
    problems = check_result(copied / EACH / "result.json").problems
    said = f"retention-2.jsonl, case {kept[0]['case_id']!r}: reliability in 'en', scores: em is stated as"
    assert any(problem.startswith(said) for problem in problems)
    path.write_text(json.dumps(kept[1]) + "\n", encoding="utf-8")
    problems = check_result(copied / EACH / "result.json").problems
    assert any("retention-2.jsonl, line 1: its checksum doesn't fit" in problem for problem in problems)
    path.unlink()
    assert "has no retention-2.jsonl beside it." in check_result(copied / EACH / "result.json").problems


def test_the_last_retention_is_what_after_all_says(made: Path) -> None:
    """The same answers to the same questions, asked on the same model by two ways."""
    at_the_end = {line["case_id"]: line["probes"] for line in lines(made / ALL / "cases.jsonl") if line["probes"]}
    for name in (ALL, EACH):
        for line in lines(made / name / "retention-2.jsonl"):
            whole = at_the_end[line["case_id"]]
            asked = [probe for probe in whole if probe["property"] in ("reliability", "generality")]
            assert line["probes"] == asked


def test_what_is_wrong_with_the_damage_is_found(copied: Path) -> None:
    folder = copied / EACH
    path, result = folder / "damage.jsonl", read_result(folder)
    kept = lines(path)
    assert [line["edits"] for line in kept] == [1, 2, 1, 2]

    def problems(some: list[Json]) -> list[str]:
        path.write_text(sealed_text(some), encoding="utf-8")
        return list(check_result(folder / "result.json").problems)

    assert problems(kept) == []
    assert f"damage.jsonl: {kept[3]['sequence'][:12]}… after 2 is missing." in problems(kept[:3])
    other = {**kept[0], "edits": 7, "settings": "f" * 64}
    found = " ".join(problems([*kept, other]))
    assert "is no point at which sequential:2@after_each is asked" in found
    assert "was measured with other settings or texts than the result" in found
    path.write_text(sealed_text(kept), encoding="utf-8")
    result["damage"]["after"]["2"]["languages"]["zh"]["perplexity"]["after"] += 1
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (found,) = problems(kept)
    assert found.startswith("damage.after.2.languages.zh.perplexity.after is stated as")


def test_all_files_are_handed_in(copied: Path, tmp_path: Path, xkeb_cli: Xkeb) -> None:
    done = xkeb_cli("leaderboard", "submit", copied / EACH, tmp_path / "handed")
    assert done.status == 0, done.err
    (folder,) = {path.parent for path in (tmp_path / "handed").rglob("result.json")}
    assert {path.name for path in folder.iterdir()} == {
        *("result.json", "cases.jsonl", "retention-1.jsonl", "retention-2.jsonl", "damage.jsonl")
    }
    assert check_result(folder / "result.json").problems == ()


def test_both_are_scored_anew(copied: Path, tmp_path: Path, xkeb_cli: Xkeb) -> None:
    done = xkeb_cli("rescore", copied / EACH, "--metrics", "em,f1,exact", "--output", tmp_path / "new")
    assert done.status == 0, done.err
    folder = tmp_path / "new" / TASK / "llama" / EACH
    result = read_result(folder)
    assert set(result["retention"]["2"]["reliability"]["en"]) == {"em", "f1", "exact"}
    assert result["retention"]["2"]["reliability"]["en"]["em"] == read_result(copied / EACH)["retention"]["2"]["reliability"]["en"]["em"]  # fmt: skip  # noqa: E501
    assert check_result(folder / "result.json").problems == ()
    assert result["damage"] == read_result(copied / EACH)["damage"]
    assert len(lines(folder / "damage.jsonl")) == 4


def test_what_is_refused_is_refused_in_one_sentence(copied: Path, tmp_path: Path, xkeb_cli: Xkeb) -> None:
    for arguments, said in (
        (("merge", copied / EACH), "is of the regime sequential:2@after_each: the edits of one model aren't divided"),
        (
            ("compare", copied / EACH, copied / ALL),
            "they differ in regime (sequential:2@after_each and sequential:2@after_all)",
        ),
        (("compare", copied / "ft", copied / ALL), "they differ in regime (single and sequential:2@after_all)"),
    ):
        output = ("--output", tmp_path / "new") if arguments[0] == "merge" else ()
        done = xkeb_cli(*arguments, *output)
        assert done.status == 2 and said in " ".join(done.err.split()), done.err


def test_the_gap_between_two_points_is_shown(made: Path, xkeb_cli: Xkeb) -> None:
    done = xkeb_cli("compare", made / EACH, made / ALL, "--across", "regime")
    assert done.status == 0 and "sequential:2@after_each" in done.out, done.err


def test_the_terminal_and_the_site_tell_the_regime(made: Path, tmp_path: Path, xkeb_cli: Xkeb) -> None:
    shown = xkeb_cli("show", made / EACH)
    assert shown.status == 0 and "sequential:2@after_each" in shown.out
    assert "All edits so far, asked again: em" in shown.out
    head = ["Edits", "In", "Asked", "Changed", "KL,", "nats", "Perplexity", "Before"]
    table = [line.split() for line in shown.out.splitlines()]
    start = table.index(head)
    assert [row[:3] for row in table[start + 1 : start + 5]] == [
        ["1", "en", "4"], ["1", "zh", "4"], ["2", "en", "4"], ["2", "zh", "4"]
    ]  # fmt: skip
    score = read_result(made / EACH)["damage"]["after"]["2"]["languages"]["zh"]
    perplexity = score["perplexity"]
    assert table[start + 4][3:] == [
        f"{score['changed']:.1f}%", f"{score['kl']:.4f}",
        f"{perplexity['after']:,.2f}", f"{perplexity['before']:,.2f}",
    ]  # fmt: skip
    entries = find_results([made]).entries
    assert {entry.asked for entry in entries} == {
        "teacher_forcing",
        "teacher_forcing, sequential:2@after_each",
        "teacher_forcing, sequential:2@after_all",
    }
    built = build_site([made], tmp_path / "site", with_published=False)
    assert (built.n_results, len(built.broken)) == (3, 0)


def test_a_run_prints_its_regime(tiny_folders: dict[str, Path], tmp_path: Path, xkeb_cli: Xkeb) -> None:
    common = (
        "run",
        "--tasks",
        TASK,
        "--model",
        "hf",
        "--model-args",
        f"path={tiny_folders['llama']}",
        "--methods",
        "ft",
    )
    limits = ("--limit", 2, "--damage", "--output", tmp_path / "out")
    done = xkeb_cli(*common, *limits, "--regime", "sequential:2", "--evaluate", "after_each")
    header, *rows = (line.split("\t") for line in done.out.splitlines())
    assert done.status == 0 and {row[header.index("regime")] for row in rows} == {"sequential:2@after_each"}
    assert (
        json.loads((tmp_path / "out" / TASK / "llama" / EACH / "result.json").read_text())["regime"]
        == rows[0][header.index("regime")]
    )
    score = json.loads((tmp_path / "out" / TASK / "llama" / EACH / "result.json").read_text())["damage"]["after"]["2"]
    told = {row[header.index("when")]: row for row in rows if row[header.index("cases_of")] == "all"}
    column = header.index("damage.zh.perplexity")
    for when in ("before", "after"):
        assert float(told[when][column]) == pytest.approx(score["languages"]["zh"]["perplexity"][when], rel=1e-4)
    wrong = xkeb_cli(*common, *limits, "--regime", "batch:2")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert "Method 'ft' can't follow --regime batch:2: it makes one edit at a time." in wrong.err
