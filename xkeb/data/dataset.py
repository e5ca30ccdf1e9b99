"""What a data set is: test records and training facts that become cases."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xkeb.data.quality import PublishedSplit, SplitName, SplitTexts
from xkeb.data.subjects import MatchKind, locate_subject
from xkeb.errors import NotHereError, RequestError
from xkeb.types import Case, Direction, Missing, Skipped
from xkeb.utils.hashing import digest_texts
from xkeb.utils.names import EXPECTED, LONGEST_NAME, is_label, is_name
from xkeb.utils.paths import data_roots

SHOWN = 60
"""Characters of an id or label that a sentence quotes."""


@dataclass(frozen=True, slots=True)
class Download:
    """A file that ``xkeb data fetch`` can get."""

    file: str
    """Its name in the data set's folder."""
    url: str
    sha256: str | None = None
    """None where upstream states none; then the hash of what was fetched is shown, and recorded in every result."""
    member: str | None = None
    """Where `url` is an archive: the end of the path inside it."""


@dataclass(frozen=True, slots=True)
class Split:
    """The records of a data set that a task asks for, read."""

    path: Path
    """The file; where they come from several, the first."""
    sha256: str
    """The file's hash, or `joint_hash` of several files'."""
    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    """Records that are no cases."""
    missing: tuple[Missing, ...] = ()
    """Target languages that cases of several targets lack."""
    located: Mapping[str, MatchKind | None] = field(default_factory=dict)
    """By case, how its subject was found in its question; filled in by `aligned`."""

    def check(self) -> None:
        """Refuses what no result can hold of a case, which would else be found out when the first edit is made.

        Raises:
            RequestError: the id of a record is no name, or a case has a label that is none; names the file and the record.
        """
        left_out = [one.case_id for one in self.skipped] + [one.case_id for one in self.missing]
        for case_id in [case.id for case in self.cases] + left_out:
            if not is_name(case_id):
                raise RequestError(f"{self.path}: the id of a record can't be {_quoted(case_id)}: {EXPECTED}.")
        for case in self.cases:
            for text in (part for label in case.labels.items() for part in label):
                if not is_label(text):
                    raise RequestError(
                        f"{self.path}: case {case.id!r} can't have the label {_quoted(text)}: expected a line of 1 to "
                        f"{LONGEST_NAME} characters."
                    )

    def aligned(self) -> Split:
        """The same with each edit's subject as its question writes it. Records how each was found in `located`.

        A subject that isn't found stays as it is: methods that need it skip the case and say so, the others don't.
        """
        cases: list[Case] = []
        located: dict[str, MatchKind | None] = {}
        for case in self.cases:
            edit = case.edit
            match = locate_subject(edit.subject, edit.prompt, edit.aliases) if edit.subject else None
            located[case.id] = match.kind if match else None
            subject = match.text if match else edit.subject
            cases.append(dataclasses.replace(case, edit=dataclasses.replace(edit, subject=subject)))
        return dataclasses.replace(self, cases=tuple(cases), located=located)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")


class Dataset(ABC):
    """What a plugin registers as a data set. `name`, `test` and `training` are all that it must have."""

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the data set."""

    @abstractmethod
    def test(self, pair: Direction, data_dir: Path | None = None) -> Split:
        """The test cases of a direction, each with its probes in all of its languages.

        With one target, a record that lacks it is skipped. With several, a case keeps the targets that it has, at least one;
        those that it lacks are `Split.missing`. With none, a case is asked in the source alone.
        """

    @abstractmethod
    def training(self, language: str, data_dir: Path | None = None) -> Split:
        """The training facts of a language, as cases with at most a generality and a locality probe.

        Raises:
            RequestError: there are none in that language.
        """

    def validation(self, language: str, data_dir: Path | None = None) -> Split | None:
        """Facts of a language to choose settings on, like those of `training`; None where no file of them is here."""
        return None

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of its languages; empty where that isn't known."""
        return ()

    @property
    def pivot(self) -> str | None:
        """The language that every record has beside its others, where there is one. What its training file asks about a fact
        is known to whoever learns from facts in several languages, whichever these are."""
        return None

    @property
    def downloads(self) -> Sequence[Download]:
        """Where its files can be fetched from."""
        return ()

    @property
    def shipped(self) -> Path | None:
        """The folder of a data set that comes with its plugin; None where its files are looked for."""
        return None

    @property
    def published(self) -> Mapping[tuple[SplitName, str], PublishedSplit]:
        """What a paper states of the full files, by split and language."""
        return {}

    @property
    def folder(self) -> str:
        """The folder of its files, where data is looked for; its `name` where this is empty."""
        return ""

    def files(self) -> dict[str, str]:
        """What each of its files is for."""
        return {download.file: "other" for download in self.downloads}

    def folders(self, data_dir: Path | None = None) -> list[Path]:
        """Where its files are looked for, in order."""
        return [self.shipped] if self.shipped else [root / (self.folder or self.name) for root in data_roots(data_dir)]

    def paths(self, data_dir: Path | None = None) -> list[Path]:
        """Every path that its records may be read from, whether a file is there or not."""
        return [folder / file for folder in self.folders(data_dir) for file in self.files()]

    def find(self, file: str, data_dir: Path | None = None) -> Path:
        """The path of a file of this data set.

        Raises:
            NotHereError: it is in none of the folders; says where it was looked for and how to get it.
        """
        folders = self.folders(data_dir)
        for folder in folders:
            if (folder / file).is_file():
                return folder / file
        raise self.missing(file, data_dir)

    def missing(self, file: str, data_dir: Path | None = None) -> NotHereError:
        """The error for a file that is in none of the folders: says how to get it."""
        get = f"Get it with `xkeb data fetch {self.name}`, or name" if self.downloads else "Put it there, or name"
        return NotHereError(
            f"Data set {self.name!r} lacks {file}: looked in {', '.join(map(str, self.folders(data_dir)))}. "
            f"{get} the folder above with --data-dir."
        )

    def verify(self, file: str, path: Path) -> None:  # noqa: B027 - nothing to check is the default
        """Reads `path` as the data set would read its file of that name; does nothing where it has no schema.

        Raises:
            RequestError: it is not of the schema.
        """

    def registered_hashes(self, pair: Direction) -> frozenset[str]:
        """The hashes that `Split.sha256` may have for the registered files of a direction."""
        return frozenset(download.sha256 for download in self.downloads if download.sha256)

    def texts(self, data_dir: Path | None = None) -> tuple[list[SplitTexts], list[str]]:
        """The texts of every file that is there, as ``xkeb data check`` looks at them, and the files that are missing.

        Raises:
            RequestError: the data set doesn't say what its texts are, or no file is there.
        """
        raise RequestError(
            f"Data set {self.name!r} doesn't say what its texts are (Dataset.texts), so it can't be checked."
        )


def joint_hash(hashes: Sequence[str]) -> str:
    """One hash for the files of a direction: the file's own where there is one, else that of all hashes, whichever language
    comes first."""
    return hashes[0] if len(hashes) == 1 else digest_texts(sorted(hashes))
