"""`xkeb.tasks.task` and ``xkeb validate``: a task in a few lines of YAML, and what is said of each line that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import xkeb
from xkeb.cli.commands.validate import command as validate
from xkeb.errors import PluginError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.tasks.config import Definition, GroupFile, TaskFile, read_definitions
from xkeb.tasks.directions import pair_named
from xkeb.tasks.task import expand_groups, load_definitions, load_task
from xkeb.types import LanguagePair

FOLDER = Path(__file__).parents[2] / "tasks"
SHIPPED = sorted([*FOLDER.glob("*.yaml"), *(FOLDER / "mzsre").glob("*.yaml")])
GOOD = "task: mine\nversion: 2\ndataset: bizsre_mini\npair: en-zh\n"
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problem(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        read_definitions(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_task_is_its_file(write: Write, tmp_path: Path) -> None:
    write("mine.yaml", GOOD + "description: what it is\n")
    task = load_task("mine", include=[tmp_path])
    assert (task.name, task.version, task.dataset.name, task.pair.name, task.description) == (
        "mine",
        2,
        "bizsre_mini",
        "en-zh",
        "what it is",
    )
    assert len(task) == len(list(task)) > 0


def test_an_included_file_gives_what_its_includer_leaves_out(write: Write) -> None:
    write("parts/common.inc", "include: deeper.inc\nversion: 7\npair: zh-en\n")
    write("parts/deeper.inc", "dataset: bizsre_mini\nversion: 1\ndescription: from below\n")
    (found,) = read_definitions(write("mine.yaml", "include: parts/common.inc\ntask: mine\npair: en-zh\n"))
    assert found.content == TaskFile(
        task="mine", version=7, dataset="bizsre_mini", pair="en-zh", description="from below"
    )


def test_a_mistake_in_an_included_file_is_told_by_that_file_s_line(write: Write) -> None:
    base = write("common.inc", "dataset: bizsre_mini\nversion: 1\n\npear: en-zh\n")
    path = write("mine.yaml", "task: mine\ninclude: common.inc\npair: en-zh\n")
    assert problem(path) == f"{base}:4: Unknown key 'pear': did you mean 'pair'?"


def test_a_file_that_includes_itself_is_refused(write: Write) -> None:
    assert problem(write("a.yaml", "include: a.yaml\n" + GOOD)).endswith("a.yaml includes itself.")
    write("c.yaml", "include: b.yaml\n")
    assert problem(write("b.yaml", "include: c.yaml\n" + GOOD)).endswith("b.yaml includes itself.")


def test_an_included_file_that_is_not_there_is_named(write: Write, tmp_path: Path) -> None:
    assert problem(write("a.yaml", "include: no.inc\n" + GOOD)).startswith(f"Can't read {tmp_path / 'no.inc'}: No such")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "vershun: 3\n", "{path}:5: Unknown key 'vershun': did you mean 'version'?"),
        (GOOD.replace("en-zh", "en-zz"), "{path}:4: Unknown language 'zz': "),
        (GOOD.replace("en-zh", "eng-zh"), "{path}:4: Unknown language 'eng': did you mean 'en'?"),
        (GOOD.replace("en-zh", "zh-zh"), "{path}:4: A pair is two languages, source-target; found 'zh-zh'."),
        (GOOD.replace("en-zh", "en"), "{path}:4: A pair is two languages, source-target; found 'en'."),
        (GOOD.replace("en-zh", "en-zh-de"), "{path}:4: A pair is two languages, source-target; found 'en-zh-de'."),
        (GOOD + "subject: fuzzy\n", "{path}:5: subject: Input should be 'exact' or 'aligned'."),
        (
            GOOD.replace("bizsre_mini", "bizrse_mini"),
            "{path}:3: Unknown data set 'bizrse_mini': did you mean 'bizsre_mini'?",
        ),
        (GOOD.replace("version: 2", "version: two"), "{path}:2: version: "),
        (GOOD.replace("version: 2", "version: 0"), "{path}:2: version: Input should be greater than or equal to 1."),
        (GOOD.replace("task: mine", "task: [mine]"), "{path}:1: task: "),
        ("task: mine\ndataset: bizsre_mini\npair: en-zh\n", "{path}:1: version: Field required."),
        ("version: 2\n", "{path}:1: neither `task` nor `group` is set."),
        ("group: g\ntasks: []\n", "{path}:2: tasks: "),
        ("group: g\ntasks: [bizsre_mini_en2zh]\npair: en-zh\n", "{path}:3: Unknown key 'pair': "),
        ("task: mine\n  version: 2\n", "{path}:2: not YAML: mapping values are not allowed here."),
        ("task: [mine\n", "{path}:2: not YAML: "),
        ("task: mine\nversion: 2\n\tpair: en-zh\n", "{path}:3: not YAML: "),
        ("- a\n- b\n", "{path}:1: expected a mapping of keys to values."),
        ("just text\n", "{path}:1: expected a mapping of keys to values."),
        ("", "{path}:1: expected a mapping of keys to values."),
        ("# nothing yet\n", "{path}:1: expected a mapping of keys to values."),
        (GOOD + "3: x\n", "{path}:5: Unknown key '3': "),
        (GOOD + "yes: x\n", "{path}:5: Unknown key 'yes': "),
        (GOOD + "<<: {vershun: 3}\n", "{path}:5: Unknown key 'vershun': "),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_line(write: Write, text: str, message: str) -> None:
    path = write("mine.yaml", text)
    assert problem(path).startswith(message.format(path=path))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"task: \xff\xfe\n")
    assert problem(path).startswith(f"{path}:1: not YAML: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert problem(tmp_path / "no.yaml") == f"Can't read {tmp_path / 'no.yaml'}: No such file or directory."


def test_a_task_defined_twice_names_both_files(write: Write, tmp_path: Path) -> None:
    first, second = write("a.yaml", GOOD), write("b.yaml", GOOD)
    with pytest.raises(RequestError, match="both define 'mine'") as caught:
        load_definitions([tmp_path])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_shipped_name_is_not_overridden_silently(write: Write, tmp_path: Path) -> None:
    write("a.yaml", GOOD.replace("mine", "bizsre_en2zh"))
    with pytest.raises(RequestError, match="both define 'bizsre_en2zh'"):
        load_definitions([tmp_path])


def test_a_group_stands_for_its_tasks_in_order_and_once_each() -> None:
    known = load_definitions()
    assert expand_groups(["bizsre_mini"], known) == ["bizsre_mini_en2zh", "bizsre_mini_zh2en"]
    assert expand_groups(["bizsre_mini_zh2en", "bizsre_mini"], known) == ["bizsre_mini_zh2en", "bizsre_mini_en2zh"]
    assert expand_groups(["bizsre", "bizsre"], known) == ["bizsre_en2zh", "bizsre_zh2en"]


def test_a_group_is_not_a_task() -> None:
    with pytest.raises(RequestError, match="'bizsre' is a group of tasks: bizsre_en2zh, bizsre_zh2en"):
        load_task("bizsre")


def test_a_group_may_hold_groups(write: Write, tmp_path: Path) -> None:
    write("mine.yaml", GOOD)
    write("g.yaml", "group: g\ntasks: [mine, bizsre, bizsre_en2zh]\n")
    write("h.yaml", "group: h\ntasks: [g, bizsre_mini]\n")
    members = ["mine", "bizsre_en2zh", "bizsre_zh2en"]
    assert expand_groups(["g"], load_definitions([tmp_path])) == members
    assert expand_groups(["bizsre_zh2en", "h"], load_definitions([tmp_path])) == [
        "bizsre_zh2en", "mine", "bizsre_en2zh", "bizsre_mini_en2zh", "bizsre_mini_zh2en",
    ]  # fmt: skip
    with pytest.raises(RequestError, match="'h' is a group of tasks: mine, bizsre_en2zh, bizsre_zh2en, bizsre_mini_en"):
        load_task("h", include=[tmp_path])


def test_a_group_among_its_own_members_is_refused(write: Write, tmp_path: Path) -> None:
    write("g.yaml", "group: g\ntasks: [h]\n")
    path = write("h.yaml", "group: h\ntasks: [bizsre_en2zh, g]\n")
    with pytest.raises(RequestError, match=r"^Group '[gh]' \(.*\) is among its own members\.$"):
        load_definitions([tmp_path])
    done = CliRunner().invoke(validate, [str(path)])
    assert (done.exit_code, "is among its own members" in done.stderr) == (2, True)


def test_a_group_of_what_is_unknown_is_refused(write: Write, tmp_path: Path) -> None:
    path = write("g.yaml", "group: g\ntasks: [bizsre_mini_en2zhh]\n")
    with pytest.raises(RequestError, match="Unknown task in group 'g'") as caught:
        load_definitions([tmp_path])
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("ask", [load_task, lambda name: expand_groups([name], load_definitions())])
def test_an_unknown_task_is_named_with_the_nearest(ask: Callable[[str], object]) -> None:
    with pytest.raises(RequestError, match=r"^Unknown task 'bizsre_en2hz': did you mean 'bizsre_en2zh'"):
        ask("bizsre_en2hz")


def test_a_task_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"There is no task folder {tmp_path / 'no'}"):
        load_definitions([tmp_path / "no"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_is_valid_described_and_named_as_its_file(path: Path) -> None:
    here = read_definitions(path)
    assert path.stem in {definition.name for definition in here}
    for definition in here:
        assert definition.content.description
        found = load_definitions()[definition.name]
        assert found == Definition(found.path, definition.content)
        assert found.path.samefile(path)


@pytest.mark.parametrize("name", ["bizsre_en2zh", "bizsre_zh2en", "bizsre_mini_en2zh", "bizsre_mini_zh2en"])
def test_every_shipped_task_loads(name: str, request: pytest.FixtureRequest) -> None:
    folder = None if "mini" in name else request.getfixturevalue("data_dir")
    task = xkeb.load_task(name, data_dir=folder)
    assert len(task) > 50
    assert {case.edit.language for case in task} == {task.pair.source}
    assert len(task.training.cases) >= 100


def test_the_shipped_groups_are_the_directions_of_a_data_set() -> None:
    groups = {name: d.content.tasks for name, d in load_definitions().items() if isinstance(d.content, GroupFile)}
    assert groups["bizsre"] == ["bizsre_en2zh", "bizsre_zh2en"]
    assert groups["bizsre_mini"] == ["bizsre_mini_en2zh", "bizsre_mini_zh2en"]
    assert groups["mzsre"] == ["mzsre_en2x", "mzsre_x2en"]


def test_validate_says_of_each_file_whether_it_is_right(write: Write) -> None:
    good, bad = write("good.yaml", GOOD), write("bad.yaml", GOOD + "vershun: 3\n")
    done = CliRunner().invoke(validate, [str(bad), str(good)])
    assert done.exit_code == 2
    assert done.stdout == f"{good}: mine is valid\n"
    assert done.stderr == f"xkeb: {bad}:5: Unknown key 'vershun': did you mean 'version'?\n"


TABLE = """\
task: mine
version: 1
pair: en-de
dataset:
  format: csv
  path: facts.csv
  columns: {en: {question: q, answer: a}, de: {question: f, answer: g}}
"""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("q,a,f,g\n1,2,3,4\n", "is valid: 1 cases\n"),
        ("q,a,f,g\n1,2,3,4\n1,,3,4\n", "is valid: 1 cases; 1 rows skipped, the first: {table}:3: en: empty answer"),
        ("q,a,f,h\n1,2,3,4\n", "xkeb: {table}: Unknown column 'g': "),
        (
            "q,a,f,g\n1,2,3,\n",
            "xkeb: Task 'mine' has no case that can be run: 1 rows, all skipped; the first: {table}:2: de",
        ),
        ("q,a,f,g\n1,2\n", "xkeb: {table}:2: 2 fields; the first row names 4."),
        (None, "xkeb: There is no file {table}, which the task's dataset names."),
    ],
)
def test_validate_opens_the_table_that_a_task_names(write: Write, rows: str | None, said: str) -> None:
    path = write("mine.yaml", TABLE)
    table = path.with_name("facts.csv")
    if rows is not None:
        table.write_text(rows, encoding="utf-8")
    done = CliRunner().invoke(validate, [str(path)])
    assert done.exit_code == (2 if said.startswith("xkeb: ") else 0)
    assert said.format(table=table) in done.output and done.output.count("\n") == 1


def test_validate_accepts_what_ships() -> None:
    done = CliRunner().invoke(validate, list(map(str, SHIPPED)))
    assert (done.exit_code, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(SHIPPED)


def test_validate_checks_the_tasks_that_a_group_names(write: Write) -> None:
    path = write("g.yaml", "group: g\ntasks: [bizsre_mini_en2zh, bizsre_mini_en2zhh]\n")
    done = CliRunner().invoke(validate, [str(path)])
    assert done.exit_code == 2
    assert "'bizsre_mini_en2zhh'" in done.stderr
    assert "'bizsre_mini_en2zh'" in done.stderr


def test_validate_takes_a_group_whose_tasks_stand_beside_it(write: Write) -> None:
    write("mine.yaml", GOOD)
    done = CliRunner().invoke(validate, [str(write("g.yaml", "group: g\ntasks: [mine, bizsre_en2zh]\n"))])
    assert (done.exit_code, done.stderr) == (0, "")


FAMILY = """\
task: all_{source}2{target}
version: 4
dataset: bizsre_mini
subject: aligned
pairs: [en-zh, zh-en]
description: From {source_name} ({source}) to {target_name}
group: all
group_description: Both
"""


def test_one_file_gives_a_task_for_each_pair_and_their_group(write: Write, tmp_path: Path) -> None:
    path = write("all.yaml", FAMILY)
    common: dict[str, Any] = {"version": 4, "dataset": "bizsre_mini", "subject": "aligned"}
    assert [(definition.path, definition.content) for definition in read_definitions(path)] == [
        (path, TaskFile(task="all_en2zh", pair="en-zh", description="From English (en) to Chinese", **common)),
        (path, TaskFile(task="all_zh2en", pair="zh-en", description="From Chinese (zh) to English", **common)),
        (path, GroupFile(group="all", tasks=["all_en2zh", "all_zh2en"], description="Both")),
    ]
    assert expand_groups(["all"], load_definitions([tmp_path])) == ["all_en2zh", "all_zh2en"]
    assert load_task("all_zh2en", include=[tmp_path]).pair.source == "zh"
    assert CliRunner().invoke(validate, [str(path)]).stdout == f"{path}: all_en2zh to all (3) are valid\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("zh-en]", "zh-xx]", "{path}:5: Unknown language 'xx': "),
        ("zh-en]", "zh]", "{path}:5: A pair is two languages, source-target; found 'zh'."),
        ("[en-zh, zh-en]", "[]", "{path}:5: pairs: "),
        ("all_{source}2{target}", "all_{place}",
         "{path}:1: task: 'all_{{place}}' can't be filled in ('place'); there are {{source}}, "),
        ("{source}2{target}", "{source.foo}", "{path}:1: task: 'all_{{source.foo}}' can't be filled in ("),
        ("({source})", "{source[foo]}", "{path}:6: description: 'From {{source_name}} {{source[foo]}} to "),
        ("all_{source}2{target}", "all_{source", "{path}:1: task: "),
        ("all_{source}2{target}", "all", "{path}:1: task: 'all' gives several tasks the same name."),
        ("group: all", "pair: en-zh", "{path}:7: Unknown key 'pair': did you mean 'pairs'?"),
        ("bizsre_mini", "bizrse_mini", "{path}:3: Unknown data set 'bizrse_mini': did you mean 'bizsre_mini'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_family_is_told_by_its_line(write: Write, old: str, new: str, message: str) -> None:
    assert old in FAMILY
    path = write("all.yaml", FAMILY.replace(old, new))
    assert problem(path).startswith(message.format(path=path))


def test_a_registered_pair_is_of_two_registered_languages(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_plugins().pairs.entries, "en-xq", Entry(LanguagePair("en", "xq"), "tests"))
    path = write("mine.yaml", GOOD.replace("en-zh", "en-xq"))
    assert problem(path).startswith(f"{path}:4: Unknown language 'xq': ")


@pytest.mark.parametrize(("kind", "old"), [("languages", "zh"), ("datasets", "bizsre_mini")])
def test_what_two_plugins_claim_is_not_called_unknown(
    write: Write, monkeypatch: pytest.MonkeyPatch, kind: str, old: str
) -> None:
    sentence = "Two plugins register 'xq': one and another. Neither is used; uninstall one of them."
    monkeypatch.setitem(getattr(get_plugins(), kind).disputed, "xq", sentence)
    bad, good = write("bad.yaml", GOOD.replace(old, "xq")), write("good.yaml", GOOD)
    with pytest.raises(PluginError) as caught:
        read_definitions(bad)
    assert str(caught.value) == sentence
    done = CliRunner().invoke(validate, [str(bad), str(good)])
    assert (done.exit_code, done.stderr) == (2, f"xkeb: {sentence}\n")
    assert done.stdout == f"{good}: mine is valid\n"


def test_any_two_languages_are_a_pair() -> None:
    assert (pair_named("th-cs").source, pair_named("th-cs").target) == ("th", "cs")
    assert pair_named("en-zh").name == "en-zh"  # a registered one
    with pytest.raises(RequestError, match="Unknown language 'dee': did you mean 'de'"):
        pair_named("dee-ru")


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "..", "a\\\\b", "a\\eb"])
def test_a_task_s_or_group_s_name_leads_to_no_other_folder(write: Write, name: str) -> None:
    said = "expected a name of at most 200 characters, all printable, without / or \\"
    for text, line in (
        (GOOD.replace("mine", f'"{name}"'), "1: task"),
        (f'group: "{name}"\ntasks: [bizsre_en2zh]\n', "1: group"),
        (GOOD.replace("mine", f'"{name}{{source}}"').replace("pair: en-zh", "pairs: [en-zh]"), "1: task"),
        (GOOD.replace("mine", '"x{source}"').replace("pair: en-zh", f'pairs: [en-zh]\ngroup: "{name}"'), "5: group"),
    ):
        if "task" in line and name == ".." and "{" in text:
            continue  # "..en" is the name of a folder like any other
        path = write("mine.yaml", text)
        assert problem(path).startswith(f"{path}:{line}: {said}")
