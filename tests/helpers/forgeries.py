"""Ways to forge a result, each with what the check says of it. Made for the results of `finished_runs.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from result_files import RECORDS, WITHOUT_SUBJECT

from xkeb.leaderboard.verify.recompute import KEYS
from xkeb.results.settings import LINES_VERSION
from xkeb.results.statistics import blank_scores, mean_scores, slice_scores
from xkeb.utils.hashing import digest

RAN = RECORDS - 2
"""Cases that ROME ran: one can't be asked, and one can't be edited."""
Json = Any
Forgery = Callable[[Json, list[Json]], object]


def ran(result: Json, cases: list[Json]) -> list[Json]:
    lines = {case["case_id"]: case for case in cases}
    return [lines[case_id] for case_id in result["case_ids"]]


def consistent(result: Json, cases: list[Json]) -> None:
    """What a careful forger does: everything that is computed from the cases is that."""
    entries = ran(result, cases)
    unchecked: list[Any] = [
        SimpleNamespace(
            case_id=entry["case_id"],
            edit=SimpleNamespace(**entry["edit"]),
            probes=[SimpleNamespace(**probe) for probe in entry["probes"]],
            slices=entry["slices"],
            sequence=None,
        )
        for entry in entries
    ]
    for key in KEYS:
        result[key] = as_json(mean_scores(unchecked, key))
        result[key.replace("scores", "slices")] = as_json(slice_scores(unchecked, key))
    result["blank"] = as_json(blank_scores(unchecked))
    for name in ("edit", "evaluate"):
        result["timing"][f"{name}_seconds"] = sum(entry["seconds"][name] for entry in entries)


def as_json(part: Any) -> Any:
    """Scores as a file has them."""
    if isinstance(part, Mapping):
        return {key: as_json(value) for key, value in part.items()}
    return part.model_dump(mode="json")


def rehash(result: Json, cases: list[Json]) -> None:
    """The hash of the settings, as a run computes it, in every place."""
    dataset = {key: value for key, value in result["task"]["dataset"].items() if key != "n_cases"}
    model = {key: result["model"][key] for key in ("name", "dtype", "n_parameters", "sha256")}
    about = {key: result[key] for key in ("method", "protocol", "protocol_args", "prompt", "regime", "metrics", "seed")}
    task = {**result["task"], "dataset": dataset}
    result["settings"] = digest({**about, "task": task, "model": model, "schema_version": LINES_VERSION})
    for case in cases:
        case["settings"] = result["settings"]
    data = f"{task['name']}@{task['version']}:{dataset['sha256'][:8]}"
    result["comparable_group"] = f"{data}/{result['protocol']}/{result['prompt']}/{result['regime']}/{result['scorer']}"


def change_score(name: str, value: float, key: str = "scores", *, probe: int = 4, tell: bool = True) -> Forgery:
    """Sets a score of case 3, and everything that follows from it. Probe 4 asks for generality in Chinese."""

    def forgery(result: Json, cases: list[Json]) -> None:
        (case,) = [case for case in cases if case["case_id"] == "3"]
        case["probes"][probe][key][name] = value
        if tell:
            consistent(result, cases)

    return forgery


def add(place: str, amount: float) -> Forgery:
    def forgery(result: Json, _: list[Json]) -> None:
        *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
        for part in path:
            result = result[part]
        result[last] += amount

    return forgery


def drop(case_id: str) -> Forgery:
    """A case leaves every place that names it, as if nobody had asked for it."""

    def forgery(result: Json, cases: list[Json]) -> None:
        cases[:] = [case for case in cases if case["case_id"] != case_id]
        result["case_ids"].remove(case_id)
        result["task"]["dataset"]["n_cases"] -= 1
        consistent(result, cases)

    return forgery


def leave_out(result: Json, cases: list[Json]) -> None:
    result["case_ids"].remove("3")
    consistent(result, cases)


def drop_as_skipped(result: Json, cases: list[Json]) -> None:
    drop("3")(result, cases)
    result["skipped"].append({"case_id": "3", "reason": "en: empty alt"})


def set_in(name: str, value: Json) -> Forgery:
    """Sets something in case 3."""

    def forgery(_: Json, cases: list[Json]) -> None:
        (found,) = [case for case in cases if case["case_id"] == "3"]
        *path, last = [int(part) if part.isdigit() else part for part in name.split(".")]
        for part in path:
            found = found[part]
        found[last] = value

    return forgery


def set_result(name: str, value: Json) -> Forgery:
    return lambda result, cases: _set(result, name, value)


def _set(found: Json, name: str, value: Json) -> None:
    *path, last = name.split(".")
    for part in path:
        found = found[part]
    found[last] = value


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "mean": (add("scores.generality.zh.f1.mean", 2), "scores.generality.zh.f1.mean is stated as "),
    "mean before": (add("scores_before.generality.zh.f1.mean", 2), "scores_before.generality.zh.f1.mean is stated as "),
    "stderr": (add("scores.generality.zh.f1.stderr", 1), "scores.generality.zh.f1.stderr is stated as "),
    "interval": (add("scores.generality.zh.f1.ci95.0", 0.01), "scores.generality.zh.f1.ci95.0 is stated as "),
    "n": (
        add("scores.generality.zh.f1.n", 1),
        f"scores.generality.zh.f1.n is stated as {RAN + 1}, and is {RAN} by its cases.",
    ),
    "n_clusters": (
        add("scores.generality.zh.f1.n_clusters", -1),
        f"scores.generality.zh.f1.n_clusters is stated as {RAN - 1}, and is {RAN} by its cases.",
    ),
    "a missing mean": (
        lambda r, c: r["scores"]["generality"].pop("zh"),
        "scores.generality.zh.em is missing, and 6 cases have it.",
    ),
    "a mean of nothing": (
        lambda r, c: r["scores"]["reliability"].update(zh=r["scores"]["reliability"]["en"]),
        "scores.reliability.zh.em is stated, and no case has it.",
    ),
    "a slice's mean": (
        add("slices.answers=differ.generality.zh.f1.mean", 2),
        "slices.answers=differ.generality.zh.f1.mean is stated as ",
    ),
    "a slice of no case": (
        lambda r, c: r["slices"].update({"relation=P36": r["slices"]["answers=differ"]}),
        "slices.relation=P36 is stated, and no slice of its cases.",
    ),
    "a slice left out": (
        lambda r, c: r["slices"].pop("answers=differ"),
        "slices.answers=differ is missing, and a slice of",
    ),
    "an alias of one's own": (
        set_in("probes.1.aliases", ["Lyon"]),
        "probes.1.aliases are 'Lyon', and 'none' in the data",
    ),
    "another slice": (set_in("slices.answers", "equal"), "case '3': is in the slices 'answers=equal, digit="),
    "a blank answer that is none": (
        set_in("probes.1.blank", True),
        "case '3': has a blank of true where generality is compared with ",
    ),
    "echoes of the edit untold": (
        set_result("blank.en.echoes", 7),
        "blank.en.echoes is stated as 7, and is 0 by its cases.",
    ),
    "blank answers untold": (set_result("blank", {}), "blank.en.n is stated as 0, and is 1 by its cases."),
    "another scorer": (set_result("scorer", "judge"), "scorer is 'judge', and 'f1+em' by its protocol."),
    "another group": (
        set_result("comparable_group", "mine"),
        "comparable_group is 'mine', and 'bizsre_en2zh@1:",
    ),
    "time": (add("timing.edit_seconds", -0.001), "timing.edit_seconds is stated as "),
    "time of the suite": (add("timing.phases.suite", -0.001), "timing.wall_seconds is stated as "),
    "a phase of no run": (
        set_result("timing.phases.sleep", 1.0),
        "timing.phases.sleep is not a field of this schema version.",
    ),
    "a mean that is impossible": (
        set_result("scores.locality.zh.em.mean", 101),
        "scores.locality.zh.em.mean should be less than or equal to 100.000000001, not 101.",
    ),
    "a case's score": (
        change_score("f1", 0.987),
        "case '3': generality in 'zh', scores: f1 is stated as 0.987, and is ",
    ),
    "a case's score before": (
        change_score("f1", 0.987, "scores_before"),
        "case '3': generality in 'zh', scores_before: f1 is stated as 0.987, and is ",
    ),
    "a case's score alone": (change_score("f1", 0.987, tell=False), "scores.generality.zh.f1.mean is stated as "),
    "a score above 1": (
        change_score("f1", 1.5, tell=False),
        "line 4, case '3': probes.4.scores.f1 should be less than or equal to 1, not 1.5.",
    ),
    "a score below 0": (
        change_score("f1", -0.5, tell=False),
        "line 4, case '3': probes.4.scores.f1 should be greater than or equal to 0, not -0.5.",
    ),
    "a match in part": (
        change_score("em", 0.5),
        "case '3': generality in 'zh', scores: em is 0.5, and can only be 0 or 1.",
    ),
    "a match with less than all": (change_score("em", 1.0), "which is impossible."),
    "f1_pr above f1": (change_score("f1_pr", 1.0), "which is impossible."),
    "another metric": (
        change_score("f2", 1.0),
        "case '3': generality in 'zh' has other scores than the result: 'em', 'f1', 'f1_pr', 'f1_units', 'f2'.",
    ),
    "a missing line": (lambda r, c: c.pop(1), "case '0': is missing from cases.jsonl."),
    "a line twice": (lambda r, c: c.append(c[1]), "cases.jsonl, line 8: repeats case '0'."),
    "an id twice": (lambda r, c: r["case_ids"].append("0"), "case '0': stands 2 times in case_ids."),
    "an id of no line": (lambda r, c: r["case_ids"].append("99"), "case '99': is missing from cases.jsonl."),
    "a skipped id": (
        lambda r, c: r["case_ids"].append(str(WITHOUT_SUBJECT)),
        "case '5': was skipped, and stands in case_ids.",
    ),
    "a case left out": (
        leave_out,
        "task.dataset.n_cases is 7, and 6 cases were run or refused.",
    ),
    "a bad case dropped": (
        drop("3"),
        "rests on 6 of the data's 7 cases, not the first of them, and says that it is of all cases.",
    ),
    "a bad case called skipped": (
        drop_as_skipped,
        "case '3': is skipped, and nothing in the data or in 6 lines says why.",
    ),
    "a skip untold": (
        lambda r, c: r["skipped"].pop(0),
        "case '2': is missing from skipped, and can't be run: zh: empty alt.",
    ),
    "a skip twice": (lambda r, c: r["skipped"].append(r["skipped"][0]), "case '2': stands 2 times in skipped."),
    "a skip for another reason": (
        lambda r, c: r["skipped"][1].update(reason="bored"),
        "case '5': is skipped for another reason than in cases.jsonl.",
    ),
    "other data": (set_result("task.dataset.sha256", "0" * 64), "its data hash is foreign: 'bizsre' is "),
    "a data set that has no such language": (set_result("task.target", "fr"), "the data set 'bizsre' has no 'fr'."),
    "another direction of a known task": (
        lambda r, c: r["task"].update(source="zh", target="en"),
        "task 'bizsre_en2zh' has the pair 'en-zh' here, not 'zh-en'.",
    ),
    "another version of a known task": (
        set_result("task.version", 9),
        "task 'bizsre_en2zh' has the version 1 here, not 9.",
    ),
    "another data set of a known task": (
        set_result("task.dataset.name", "mine"),
        "task 'bizsre_en2zh' has the dataset 'bizsre' here, not 'mine'.",
    ),
    "other settings of a line": (
        set_in("settings", "0" * 64),
        "case '3': was made with other settings than the result.",
    ),
    "another model": (
        set_result("model.name", "a-larger-one"),
        "settings is not the hash of its task, model, method, protocol, prompt, regime, metrics and seed.",
    ),
    "other options": (
        set_result("method.params.steps", 9),
        "settings is not the hash of its task, model, method, protocol, prompt, regime, metrics and seed.",
    ),
    "another seed": (
        set_result("seed", 7),
        "settings is not the hash of its task, model, method, protocol, prompt, regime, metrics and seed.",
    ),
    "a metric untold": (
        lambda r, c: r["metrics"].remove("em"),
        "settings is not the hash of its task, model, method, protocol, prompt, regime, metrics and seed.",
    ),
    "an easier question": (set_in("probes.4.prompt", "1 + 1 = ?"), "case '3': probes.4.prompt is '1 + 1 = ?', and "),
    "an easier answer": (set_in("probes.1.reference", "yes"), "case '3': probes.1.reference is 'yes', and "),
    "another edit": (
        set_in("edit.prompt", "1 + 1 = ?"),
        "case '3': asks for reliability with another question or answer than it edits.",
    ),
    "an edit in another language": (
        set_in("edit.language", "zh"),
        "case '3': is edited in 'zh', and the task's source is 'en'.",
    ),
    "a probe less": (
        lambda r, c: c[3]["probes"].pop(),
        "case '3': has 0 probes of portability in 'zh'; there should be one.",
    ),
    "a probe twice": (
        lambda r, c: c[3]["probes"].append(c[3]["probes"][-1]),
        "case '3': has 2 probes of portability in 'zh'; there should be one.",
    ),
    "a probe in another language": (
        set_in("probes.6.language", "fr"),
        "case '3': has a probe of portability in 'fr', which the task doesn't ask.",
    ),
    "a line that is skipped and scored": (
        set_in("status", "skipped"),
        "case '3': is skipped, so it should have a reason, and neither probes nor seconds.",
    ),
    "a line without its time": (set_in("seconds", None), "case '3': was run, so it should have seconds and no reason."),
    "a path as a name": (set_result("method.name", "../../etc"), "method.name should be a name, not '../../etc'."),
    "an empty name": (set_result("task.name", ""), "task.name should be a name, not ''."),
    "a name that a terminal obeys": (
        set_result("task.name", "a\x1b[2Jb"),
        "task.name should be a name, not 'a\\x1b[2Jb'.",
    ),
    "half a character": (set_result("command", "\ud800"), "has half a character (a lone surrogate) at command."),
    "a text of a megabyte": (
        set_result("command", "x" * 10**6),
        "has a text of 1,000,000 characters (at most 131,072) at command.",
    ),
    "a long text in a case": (
        set_in("probes.0.after", "x" * 200_000),
        "cases.jsonl, line 4: has a text of 200,000 characters (at most 131,072) at probes.0.after.",
    ),
    "a huge number": (set_result("timing.wall_seconds", 10**400), "has a number of 1329 bits at timing.wall_seconds."),
    "a number for a text": (
        set_in("probes.0.after", 7),
        "line 4, case '3': probes.0.after should be a valid string, not 7.",
    ),
    "a text for a number": (set_result("task.version", "1"), "task.version should be a valid integer, not '1'."),
    "a field more": (set_result("best", True), "best is not a field of this schema version."),
    "a field less": (lambda r, c: r.pop("timing"), "timing is missing."),
    "a newer version": (
        set_result("schema_version", 7),
        "is of schema version 7, newer than the 6 that this xkeb reads.",
    ),
    "an older version": (
        set_result("schema_version", 5),
        "is of schema version 5, older than the 6 that this xkeb reads: the command that made it, given again, makes it anew.",
    ),
    "a version that is none": (
        set_result("schema_version", "6"),
        "is not a result: it has no schema_version that is a number.",
    ),
}
