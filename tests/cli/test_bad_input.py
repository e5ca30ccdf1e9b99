"""A wrong request: exit status 2, one clear sentence, what was expected, nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xkeb.errors import RequestError

pytest_plugins = ("command_line",)

MINI = Path(__file__).parents[2] / "plugins" / "datasets" / "bizsre_mini" / "bizsre_mini_test.json"


def sentence(outcome: Any) -> str:
    """The one line on stderr of a request that was refused, behind the plan where that could be made."""
    assert outcome.status == 2, outcome
    plan, _, refusal = outcome.err.rpartition("\n\n")
    assert not plan or plan.lstrip().startswith("Plan"), outcome.err
    lines = refusal.splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("xkeb: ")
    assert "Traceback" not in outcome.out
    return str(lines[0].removeprefix("xkeb: "))


def test_the_run_that_the_others_spoil_is_right(run: Callable[..., Any], tmp_path: Path) -> None:
    outcome = run()
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "results/bizsre_mini_en2zh/llama/ft/result.json").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "bizsre_mini_en2hz"}, "Unknown task 'bizsre_mini_en2hz': did you mean 'bizsre_mini_en2zh'?"),
        ({"tasks": "bizsre_mini_en2zh,qqqq"}, "Unknown task 'qqqq': known are "),
        ({"tasks": " , "}, "--tasks names nothing."),
        ({"model": "gemma3-270n", "model_args": None}, "Unknown model 'gemma3-270n': did you mean 'gemma3-270m'?"),
        ({"model": ","}, "--model names nothing."),
        ({"methods": "FT"}, "Unknown method 'FT': did you mean 'ft'?"),
        ({"methods": "all,ft"}, "--methods all runs every method; leave out ft, or leave out all."),
        ({"methods": ""}, "--methods names nothing; without it, the paper's methods run."),
        ({"methods": " , "}, "--methods names nothing; without it, the paper's methods run."),
        ({"model_args": "pretrained=x"}, "Unknown option of model 'hf': 'pretrained': it is called 'path' here."),
        (
            {"method_args": "ft.learning_rate=1"},
            "Unknown option of method 'ft': 'learning_rate': it is called 'lr' here.",
        ),
        (
            {"methods": "easyeditor-rome", "method_args": "easyeditor-rome.path=no/such/folder"},
            "no/such/folder is no checkout of EasyEdit (https://github.com/zjunlp/EasyEdit): there is no such folder.",
        ),
        (
            {"methods": "easyeditor-rome", "method_args": f"easyeditor-rome.path={MINI.parent}"},
            f"{MINI.parent} is no checkout of EasyEdit (https://github.com/zjunlp/EasyEdit): it has no folder ",
        ),
        (
            {"methods": "easyeditor-alphaedit"},
            "EasyEdit 0.0.1.dev0 has no such method: give easyeditor-alphaedit.path, the folder of a checkout of ",
        ),
        ({"method_args": "ft.steps=0"}, "Option 'steps' of method 'ft' can't be 0: Input should be greater than 0."),
        (
            {"model": "google/gemma-3-270m", "model_args": None},
            "Unknown model 'google/gemma-3-270m': a folder, or a repository of the hub, is an option of a model "
            "(xkeb ls models): --model-args path=google/gemma-3-270m.",
        ),
        (
            {"model": "chinese-llama-2-7b", "model_args": "path=org/name"},
            "There is no model folder org/name. If 'org/name' is a repository of the hub, name the model ",
        ),
        ({"data_dir": "no/such/folder"}, "There is no folder no/such/folder, which --data-dir names."),
        ({"methods": "ft,rom"}, "Unknown method 'rom': did you mean 'rome'?"),
        ({"metrics": "f1,f1_unit"}, "Unknown metric 'f1_unit': did you mean 'f1_units'?"),
        ({"method_args": "ft.stepz=3"}, "Unknown option of method 'ft': 'stepz': did you mean 'steps'?"),
        ({"method_args": "ft.steps=many"}, "Option 'steps' of method 'ft' can't be 'many': "),
        ({"methods": "kn", "method_args": "kn.neurons=first"}, "Option 'neurons' of method 'kn' can't be 'first': "),
        ({"method_args": "ft.steps"}, "--method-args takes key=value pairs separated by commas, not 'ft.steps'."),
        ({"protocol_args": "bos=kept"}, "Unknown option of protocol 'teacher_forcing': 'bos': there are none."),
        (
            {"protocol": "paper", "protocol_args": "bos=keep"},
            "Option 'bos' of protocol 'paper' can't be 'keep': Input should be 'kept' or 'dropped'.",
        ),
        (
            {"protocol": "paper", "prompt": "qa"},
            "The paper's protocol puts questions as the released code does: not --prompt qa.",
        ),
        ({"method_args": "steps=3"}, "--method-args takes METHOD.OPTION=VALUE; 'steps' names no method."),
        (
            {"method_args": "rome.layer=3"},
            "--method-args sets options of 'rome', which is not a method of this run: ft.",
        ),
        ({"model_args": "pth=x"}, "Unknown option of model 'hf': 'pth': did you mean 'path'?"),
        ({"model_args": "x"}, "--model-args takes key=value pairs separated by commas, not 'x'."),
        (
            {"tasks": "mine/mine_en2de.yaml"},
            "'mine/mine_en2de.yaml' is a file; name the task: --include-path mine --tasks mine_en2de.",
        ),
        ({"limit": "0"}, "--limit must be at least 1, not 0."),
        ({"limit": "-1"}, "--limit must be at least 1, not -1."),
        ({"batch_size": "0"}, "--batch-size must be auto or at least 1, not 0."),
        ({"batch_size": "-2"}, "--batch-size must be auto or at least 1, not -2."),
        ({"batch_size": "x"}, "--batch-size must be auto or a number, not 'x'."),
        ({"device": "gpu"}, "Unknown device 'gpu': expected auto, cpu, cuda or cuda:N."),
        ({"device": "cuda:77"}, "There is no device 'cuda:77' here: PyTorch sees "),
        ({"dtype": "float16"}, "Unknown dtype 'float16': expected auto, float32 or bfloat16."),
        ({"cases": "100000"}, "Unknown case of 'bizsre_mini_en2zh': '100000': "),
        ({"cases": "2-1"}, "Unknown case of 'bizsre_mini_en2zh': '2-1': "),
        ({"include_path": "no/such/folder"}, "There is no task folder no/such/folder."),
    ],
    ids=lambda value: "+".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_name_or_a_number_that_is_wrong(
    run: Callable[..., Any], tmp_path: Path, changes: dict[str, str | None], message: str
) -> None:
    outcome = run(**changes)
    assert sentence(outcome).startswith(message)
    assert outcome.out == ""
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("run --num_fewshot 5", "No such option '--num_fewshot'. Examples are shown by some methods alone"),
        ("run --resume", "No such option '--resume'. There is no need for it: the same command goes on"),
        ("run --freesh", "No such option '--freesh'. Did you mean '--regime'?"),
        (
            "run --tasks x --model y --methods ft rome",
            "Got unexpected extra argument (rome). Several names are joined by commas: --methods A,B.",
        ),
        ("eval --tasks x", "Unknown command 'eval': did you mean 'run'?"),
        ("validate tasks", "tasks is a folder; name its files: tasks/*.yaml."),
    ],
)
def test_what_other_suites_have_or_a_shell_splits(xkeb_cli: Callable[..., Any], typed: str, message: str) -> None:
    outcome = xkeb_cli(*typed.split())
    assert outcome.status == 2 and outcome.out == ""
    assert sentence(outcome).startswith(message)


def test_a_model_without_a_chat_template(run: Callable[..., Any], tmp_path: Path) -> None:
    """It is found when the model is loaded: before anything is written."""
    outcome = run(prompt="chat")
    said = outcome.err.splitlines()[-1]  # the plan stands above it
    assert outcome.status == 2 and said.startswith("xkeb: bizsre_mini_en2zh / llama / ft: The model's tokenizer (")
    assert " can't ask with --prompt chat: " in said
    assert not list((tmp_path / "results").rglob("*.json*"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--tasks", "bizsre", "--modle", "hf"], ["--modle", "--model"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "--limit", "x"], ["--limit", "'x'", "integer"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "--limit"], ["--limit"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "--protocol", "free"], ["protocol 'free'", "teacher_forcing"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "--prompt", "talk"], ["--prompt", "plain", "qa", "chat"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "--executor", "lokal"], ["executor 'lokal'", "'local'"]),
        (["run", "--tasks", "bizsre", "--model", "hf", "more"], ["more"]),
        (["run", "--model", "hf"], ["--tasks"]),
        (["rnu", "--model", "hf"], ["'rnu'", "run"]),
        (["ls", "modles"], ["modles", "models"]),
        (["validate"], ["FILE.yaml"]),
    ],
    ids=" ".join,
)
def test_an_option_or_a_command_that_is_not_there(
    xkeb_cli: Callable[..., Any], arguments: list[str], expected: list[str]
) -> None:
    message = sentence(xkeb_cli(*arguments))
    assert all(part in message for part in expected), message


def test_debug_shows_where_it_went_wrong(xkeb_cli: Callable[..., Any]) -> None:
    with pytest.raises(RequestError, match="Unknown task 'qqqq'"):
        xkeb_cli("--debug", "run", "--tasks", "qqqq", "--model", "hf")


# Data ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder that is looked into alone; bizsre's folder in it is empty yet."""
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "bizsre").mkdir(parents=True)
    return tmp_path / "data"


def test_a_missing_data_file_says_where_it_was_looked_for_and_how_to_get_it(
    run: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    message = sentence(run(tasks="bizsre_en2zh", data_dir=str(data)))
    assert message.startswith("Data set 'bizsre' lacks bizsre_test.json: looked in ")
    assert str(data / "bizsre") in message
    assert str(tmp_path / "cache" / "data" / "bizsre") in message
    assert "`xkeb data fetch bizsre`" in message


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON, or was cut short: "),
        (lambda text: "<html>", "is not JSON, or was cut short: "),
        (lambda text: "", "is not JSON, or was cut short: "),
        (lambda text: "[]", "should hold a list of records; found list (empty)."),
        (lambda text: "{}", "should hold a list of records; found dict (empty)."),
        (lambda text: text.replace('"alt"', '"atl"', 1), "record 0: field en.alt is missing."),
        (lambda text: json.dumps([*json.loads(text)[:5], {"en": {}}]), "record 5: field en.subject is missing."),
    ],
    ids=["truncated", "not JSON", "empty", "no records", "no list", "another schema", "another record"],
)
def test_a_data_file_that_is_broken_is_named_with_the_place(
    run: Callable[..., Any], data: Path, spoil: Callable[[str], str], message: str
) -> None:
    path = data / "bizsre" / "bizsre_test.json"
    path.write_text(spoil(MINI.read_text(encoding="utf-8")), encoding="utf-8")
    found = sentence(run(tasks="bizsre_en2zh", data_dir=str(data)))
    assert found.startswith(str(path))
    assert message in found


def test_a_data_file_of_which_nothing_can_be_asked_is_refused(run: Callable[..., Any], data: Path) -> None:
    records = json.loads(MINI.read_text(encoding="utf-8"))[:2]
    for record in records:
        record["zh"]["alt"] = ""
    (data / "bizsre" / "bizsre_test.json").write_text(json.dumps(records), encoding="utf-8")
    message = sentence(run(tasks="bizsre_en2zh", data_dir=str(data)))
    assert (
        message == "Task 'bizsre_en2zh' has no case that can be run: 2 records, all skipped; the first: zh: empty alt."
    )
    message = sentence(run(tasks="bizsre_en2zh", data_dir=str(data), cases="1"))
    assert message == "Case '1' of 'bizsre_en2zh' can't be run: zh: empty alt."


def test_a_method_that_learns_says_which_training_file_is_missing(run: Callable[..., Any], data: Path) -> None:
    shutil.copy(MINI, data / "bizsre" / "bizsre_test.json")
    message = sentence(run(tasks="bizsre_en2zh", data_dir=str(data), methods="ike"))
    assert "Data set 'bizsre' lacks zsre_mend_train_10000.json: looked in " in message


@pytest.mark.parametrize(
    ("line", "message"),
    [("vershun: 2", "Unknown key 'vershun': did you mean 'version'?"), ("pair: en-xx", "Unknown language 'xx': ")],
)
def test_a_task_file_that_is_wrong_is_named_with_the_line(
    run: Callable[..., Any], tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "tasks" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(f"task: mine\ndataset: bizsre_mini\n{line}\nversion: 1\n", encoding="utf-8")
    assert sentence(run(tasks="mine", include_path=str(path.parent))).startswith(f"{path}:3: {message}")


# Models ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tiny_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of a model folder, to be spoilt."""
    return Path(shutil.copytree(tiny_folders["llama"], tmp_path / "model"))


def test_a_model_without_a_folder_is_told_how_to_name_one(run: Callable[..., Any]) -> None:
    assert "Model 'hf' needs --model-args path=FOLDER" in sentence(run(model_args=None))


def test_a_model_folder_that_is_not_there_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    assert f"There is no model folder {tmp_path / 'no'}." in sentence(run(model_args=f"path={tmp_path / 'no'}"))


def test_a_model_folder_that_is_a_file_is_refused(run: Callable[..., Any], broken: Path) -> None:
    assert f"{broken / 'config.json'}" in sentence(run(model_args=f"path={broken / 'config.json'}"))


def test_a_model_folder_without_weights_says_what_was_expected_and_found(run: Callable[..., Any], broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    message = sentence(run(model_args=f"path={broken}"))
    assert (
        f"Model folder {broken} holds no weights: expected model.safetensors or pytorch_model.bin; found config.json"
        in message
    )


def test_several_methods_of_a_model_that_can_t_be_loaded_are_told_once(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = sentence(run(methods="ft,rome", model_args=f"path={tmp_path / 'empty'}"))
    assert f"Model folder {tmp_path / 'empty'} holds no weights" in message


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def write_config(text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "config.json").write_text(text)


@pytest.mark.parametrize(
    "spoil",
    [
        cut_weights,
        lambda folder: (folder / "config.json").unlink(),
        write_config("{"),
        write_config('{"model_type": "no_such_family"}'),
        lambda folder: [path.unlink() for path in folder.glob("token*")],
    ],
    ids=["cut weights", "no config", "broken config", "unknown family", "no tokenizer"],
)
@pytest.mark.parametrize("command", ["run", "edit"])
def test_a_model_folder_that_is_broken_is_named(
    run: Callable[..., Any], edit: Callable[..., Any], broken: Path, spoil: Callable[[Path], Any], command: str
) -> None:
    spoil(broken)
    outcome = (run if command == "run" else edit)(model_args=f"path={broken}")
    assert f"{broken} can't be loaded as a causal language model: " in sentence(outcome)


def test_a_model_that_is_no_causal_language_model_is_named_by_its_class(run: Callable[..., Any], broken: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
    (broken / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 900, **small}))
    assert "BertLMHeadModel is an encoder" in sentence(run(model_args=f"path={broken}"))


# Output ----------------------------------------------------------------------------------------------------------------


def test_an_output_folder_that_can_t_be_written_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    """A path below a file, since nothing else stops root."""
    (tmp_path / "file").write_text("in the way")
    output = tmp_path / "file" / "results"
    assert sentence(run(output=str(output))).startswith(f"Can't write to the output folder {output}: ")
    told = f"{output.parent} is a file; choose a folder with --output."
    assert sentence(run(output=str(output.parent))) == told
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("changes", [{"method_args": "ft.steps=3"}, {"seed": "7"}, {"metrics": "f1"}])
def test_other_settings_in_the_same_output_are_refused_and_nothing_is_lost(
    run: Callable[..., Any], tmp_path: Path, changes: dict[str, str]
) -> None:
    assert run().status == 0
    folder = tmp_path / "results/bizsre_mini_en2zh/llama"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    message = sentence(run(**changes, limit="2"))
    assert f"{folder / 'ft'} holds cases made with other settings" in message
    assert "--fresh" in message
    assert "--output" in message
    kept = {path: path.read_bytes() for path in before if path.name != "before.jsonl"}
    assert kept == {path: content for path, content in before.items() if path.name != "before.jsonl"}


# Run files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("taskz: bizsre\n", "Unknown option 'taskz': did you mean 'tasks'?"),
        ("config: x.yaml\n", "Unknown option 'config': "),
        ("tasks: bizsre_mini_en2hz\n", "Unknown task 'bizsre_mini_en2hz': did you mean 'bizsre_mini_en2zh'?"),
        ("- bizsre\n", "should map options of `xkeb run` to values."),
        ("", "should map options of `xkeb run` to values."),
        ("tasks: [bizsre\nmodel: hf\n", "Can't read the run file "),
        ("limit: 0\n", "--limit must be at least 1, not 0."),
        ("limit: few\n", "few"),
        ("output: 2026\n", "output names a file or folder, and YAML reads 2026 as no text: put it in quotes."),
        ("output: false\n", "YAML reads False as no text"),
        ("include-path: [a, 3.5]\n", "YAML reads 3.5 as no text"),
    ],
)
def test_a_run_file_that_is_wrong(
    xkeb_cli: Callable[..., Any], run: Callable[..., Any], tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    given = {text.partition(":")[0]: None}  # what stands on the command line would win
    assert message in sentence(run("--config", path, **given))


def test_a_run_file_that_is_not_there_is_named(run: Callable[..., Any], tmp_path: Path) -> None:
    assert str(tmp_path / "no.yaml") in sentence(run("--config", tmp_path / "no.yaml"))


# Edits by hand ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def edit(xkeb_cli: Callable[..., Any], tiny_folders: dict[str, Path]) -> Callable[..., Any]:
    """``xkeb edit`` with options that are right, but for the given ones."""
    right = {
        "model": "hf",
        "model-args": f"path={tiny_folders['llama']}",
        "method": "ft",
        "prompt": "What is the capital of France?",
        "target": "Lyon",
    }

    def edit(**changes: str) -> Any:
        chosen = right | {name.replace("_", "-"): value for name, value in changes.items()}
        return xkeb_cli("edit", *(part for name, value in chosen.items() for part in (f"--{name}", value)))

    return edit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ""}, "--target is empty."),
        ({"target": " \t"}, "--target is empty."),
        ({"prompt": " "}, "--prompt is empty."),
        ({"model": "hff"}, "Unknown model 'hff': did you mean 'hf'?"),
        ({"method": "rom"}, "Unknown method 'rom': did you mean 'rome'?"),
        ({"method_args": "stepz=1"}, "Unknown option of method 'ft': 'stepz': did you mean 'steps'?"),
        ({"method_args": "ft.steps=1"}, "Unknown option of method 'ft': 'ft.steps': did you mean 'steps'?"),
        ({"method_args": "layer=99"}, "ft.layer is 99; 'llama' has layers 0 to 5."),
        ({"language": "ez"}, "Unknown language 'ez': did you mean 'zh'?"),
        ({"ask": "zh:法国的首都？"}, "--ask takes LANGUAGE:QUESTION|ANSWER, not 'zh:法国的首都？'."),
        ({"ask": "法国的首都？|里昂"}, "--ask takes LANGUAGE:QUESTION|ANSWER, not '法国的首都？|里昂'."),
        ({"ask": "zh:法国的首都？| "}, "--ask takes LANGUAGE:QUESTION|ANSWER, not "),
        ({"ask": "zh:|里昂"}, "--ask takes LANGUAGE:QUESTION|ANSWER, not "),
        ({"ask": "zz:q|a"}, "Unknown language 'zz': "),
        (
            {"method": "rome"},
            "This edit can't be made: it has no subject, whose place in the question this method needs.",
        ),
        ({"method": "rome", "subject": "Spain"}, "This edit can't be made: the subject 'Spain' does not stand in "),
    ],
    ids=lambda value: "+".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_an_edit_that_is_wrong(edit: Callable[..., Any], changes: dict[str, str], message: str) -> None:
    outcome = edit(**changes)
    assert sentence(outcome).startswith(message)
    assert outcome.out == ""


def test_a_change_that_can_t_be_saved_says_where(edit: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert sentence(edit(save=str(tmp_path / "file" / "x"))).startswith(f"Can't write to {tmp_path / 'file' / 'x'}: ")
