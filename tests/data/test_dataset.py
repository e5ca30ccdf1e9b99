"""`xkeb.data.Dataset`: what a plugin's data set must have, and what it gets without saying anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import xkeb.cli
from xkeb.data import Dataset, Split
from xkeb.data.download import download_dataset
from xkeb.errors import NotHereError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry
from xkeb.types import Case, Direction, Edit, LanguagePair, Probe

EN_DE = LanguagePair("en", "de")


class Least(Dataset):
    """A data set of no file, with what it must have and no more."""

    name = "least"

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        edit = Edit("Where is Bo?", "Rome", "en", "Bo", {"en": "Rome", "de": "Rom"})
        probes = (Probe("reliability", "en", edit.prompt, edit.target), Probe("generality", "de", "Wo ist Bo?", "Rom"))
        return Split(Path("nowhere"), "0" * 64, (Case("0", edit, probes),), ())

    def training(self, language: str, data_dir: Path | None = None) -> Split:
        raise RequestError("There are no training facts.")


class OddId(Least):
    """A data set with an id that no result could hold."""

    odd = "a/b"

    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        split = super().test(pair, data_dir)
        return dataclasses.replace(split, cases=(dataclasses.replace(split.cases[0], id=self.odd),))


@pytest.mark.parametrize("odd", ["a/b", "w" * 201])
def test_an_id_that_is_no_name_is_refused_when_the_data_is_read(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddId, "odd", odd)
    task = xkeb.Task("odd", 1, OddId(), EN_DE)
    with pytest.raises(RequestError, match=r"nowhere: the id of a record can't be '[aw]") as caught:
        len(task)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(get_plugins().datasets.entries, "least", Entry(Least(), "this test"))


@pytest.fixture
def refused(
    registered: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What ``xkeb data`` says, as a user reads it, of what it can't do."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["xkeb", "data", *arguments])
        with pytest.raises(SystemExit) as caught:
            xkeb.cli.main()
        assert caught.value.code == 2
        told = capsys.readouterr()
        assert told.out == ""
        return told.err

    return run


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(xkeb.cli.cli, ["data", "ls", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


@pytest.mark.parametrize("lacking", ["name", "test", "training"])
def test_a_data_set_without_a_name_test_cases_or_training_facts_can_t_be_made(lacking: str) -> None:
    has = {key: value for key, value in vars(Least).items() if key in {"name", "test", "training"} - {lacking}}
    with pytest.raises(TypeError, match=f"abstract method '?{lacking}'?$"):
        type("Less", (Dataset,), has)()


def test_the_rest_has_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path / "env"))
    data = Least()
    assert (data.languages, data.downloads, data.shipped, data.published, data.files()) == ((), (), None, {}, {})
    assert data.registered_hashes(EN_DE) == frozenset()
    assert data.folders(tmp_path)[:2] == [tmp_path / "least", tmp_path / "env" / "least"]
    assert data.paths(tmp_path) == []
    (tmp_path / "env" / "least").mkdir(parents=True)
    path = tmp_path / "env" / "least" / "facts.json"
    path.write_text("not JSON")
    assert data.find("facts.json", tmp_path) == path
    data.verify("facts.json", path)  # it has no schema, so nothing is wrong
    assert download_dataset(data, tmp_path) == []


def test_a_file_that_is_nowhere_is_told_with_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotHereError) as caught:
        Least().find("facts.json", tmp_path)
    places = ", ".join(str(tmp_path / place) for place in ("least", "env/least", "cache/data/least"))
    assert (
        str(caught.value)
        == str(Least().missing("facts.json", tmp_path))
        == (
            f"Data set 'least' lacks facts.json: looked in {places}. Put it there, or name the folder above with --data-dir."
        )
    )


def test_it_is_listed_without_files(registered: None, tmp_path: Path) -> None:
    assert "least" in [line.strip() for line in listed("--data-dir", str(tmp_path)).splitlines()]
    rows = {row["name"]: row for row in json.loads(listed("--data-dir", str(tmp_path), "--json"))}
    assert (rows["least"]["languages"], rows["least"]["files"], rows["least"]["problem"]) == ([], [], "")
    assert rows["least"]["looked_in"][0] == str(tmp_path / "least")


def test_it_can_not_be_checked_and_the_command_says_so(refused: Callable[..., str]) -> None:
    sentence = "Data set 'least' doesn't say what its texts are (Dataset.texts), so it can't be checked."
    assert refused("check", "least").splitlines()[-1] == f"xkeb: {sentence}"


def test_it_can_not_be_fetched_and_the_command_says_so(refused: Callable[..., str]) -> None:
    sentence = "Data set 'least' says nowhere that its files can be downloaded from."
    assert refused("fetch", "least").splitlines()[-1] == f"xkeb: {sentence}"


def test_the_doctor_has_nothing_to_count(registered: None) -> None:
    lines = CliRunner().invoke(xkeb.cli.cli, ["doctor"], catch_exceptions=False).stdout.splitlines()
    assert not [line for line in lines if "least" in line]
    assert [line for line in lines if "bizsre_mini: " in line]


def test_a_subject_that_its_question_writes_otherwise_is_aligned() -> None:
    (case,) = Least().test(EN_DE).cases
    edits = [
        Edit("Where is Bo?", "Rome", "en", "Bo"),
        Edit("Where is BO?", "Rome", "en", "Bo"),
        Edit("Wo ist Bo?", "Rom", "de", "Der Bo", aliases=("Ada", "Bo")),
        Edit("Wo ist er?", "Rom", "de", "Bo", aliases=("Bo Berg",)),
        Edit("Wo ist Bo?", "Rom", "de", "", aliases=("Bo",)),
    ]
    cases = tuple(Case(str(i), edit, case.probes) for i, edit in enumerate(edits))
    before = Split(Path("nowhere"), "0" * 64, cases, ())
    after = before.aligned()
    assert [case.edit.subject for case in after.cases] == ["Bo", "BO", "Bo", "Bo", ""]
    assert after.located == {"0": "exact", "1": "normalised", "2": "alias", "3": None, "4": None}
    assert [case.edit.aliases for case in after.cases] == [edit.aliases for edit in edits]
    assert (before.cases, before.located) == (cases, {})
