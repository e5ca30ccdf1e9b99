"""Gets the files of a data set from where its authors keep them, each whole or not at all.

`pooch` reads plain addresses and hashes files, `gdown` reads Google Drive."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO, Literal
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from xkeb.data.dataset import Dataset, Download
from xkeb.errors import PluginError, RequestError, one_line, optional_import
from xkeb.utils.hashing import digest_file
from xkeb.utils.paths import data_roots

DRIVE_HOSTS = {"drive.google.com", "docs.google.com", "drive.usercontent.google.com"}
"""Google Drive asks before it hands out a large file; `gdown` knows the answer."""
TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, NotImplementedError)
"""What reading a damaged, encrypted or exotic archive raises."""

_OBJECT = re.compile(r"^(?:<.*?>|\w+\(.*?\)): ")
"""The connection object that urllib3 puts before what happened to it."""


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """One file of the data set, there now."""

    path: Path
    sha256: str
    outcome: Literal["fetched", "replaced", "present"]
    """``present``: it was there, with the stated hash or without any stated, and nothing was fetched."""


def download_dataset(
    dataset: Dataset, data_dir: Path | None = None, *, force: bool = False, console: Console | None = None
) -> list[DownloadedFile]:
    """Every download of a data set, into its folder in the first of `data_roots(data_dir)`; one entry each, in order.

    An archive is fetched once for all its members. Without `force`, a file that is there is kept if its hash is the
    stated one, or if none is stated. Otherwise it is replaced, once the new one is complete, has the stated hash and is
    of the schema. A failure leaves what was there before, and the files that came earlier in the list.

    Raises:
        RequestError: the network, a hash, an archive, the schema or the disk says no; names the url or the folder.
    """
    folder = data_roots(data_dir)[0] / (dataset.folder or dataset.name)
    for download in dataset.downloads:
        _check_destination(folder, download)
    files: dict[str, DownloadedFile] = {}
    by_url: dict[str, list[Download]] = {}
    for download in dataset.downloads:
        path = folder / download.file
        if not force and path.is_file() and download.sha256 in (None, sha256 := digest_file(path)):
            files[download.file] = DownloadedFile(path, sha256, "present")
        else:
            by_url.setdefault(download.url, []).append(download)
    if by_url:
        with _workspace(folder) as workspace, _progress(console) as progress:
            for url, downloads in by_url.items():
                source = workspace / "source"
                _get(url, source, downloads, folder, progress)
                for download in downloads:
                    files[download.file] = _place(dataset, download, source, workspace / "part", folder)
    return [files[download.file] for download in dataset.downloads]


def _check_destination(folder: Path, download: Download) -> None:
    if not (folder / download.file).resolve().is_relative_to(folder.resolve()):
        raise PluginError(f"Download {download.file!r} would be written outside of {folder}.")


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A temporary folder inside `folder`, so that a finished file moves to its place in one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as workspace:
            yield Path(workspace)
    except OSError as error:
        raise RequestError(f"{folder} can't be written: {error.strerror or error}.") from error


def _place(dataset: Dataset, download: Download, source: Path, part: Path, folder: Path) -> DownloadedFile:
    """Takes the file out of what was fetched, checks it, and moves it to its place."""
    path = folder / download.file
    if download.member is None:
        source.replace(part)
    else:
        _extract(source, download.member, part, download.url)
    sha256 = digest_file(part)
    if download.sha256 not in (None, sha256):
        raise RequestError(
            f"{download.file} from {download.url} has sha256 {sha256}; expected {download.sha256}; it was not kept."
        )
    try:
        dataset.verify(download.file, part)
    except RequestError as error:
        problem = str(error).replace(str(part), download.file)
        raise RequestError(f"What {download.url} gave can't be used and was not kept: {problem}") from error
    outcome: Literal["fetched", "replaced"] = "replaced" if path.exists() else "fetched"
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)
    return DownloadedFile(path, sha256, outcome)


# Archives


def _extract(archive: Path, member: str, to: Path, url: str) -> None:
    """Writes one member of a zip or tar archive to `to`. The paths inside choose the member, and nothing else."""
    try:
        # A tar may end in a zip, and would then look like one; a zip never looks like a tar.
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                files = {info.name: info for info in tar if info.isreg()}
                content = tar.extractfile(files[_pick(files, member, url)])
                assert content is not None  # of a regular file it never is
                _write(content, to)
        elif zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as bundle:
                entries = {info.filename: info for info in bundle.infolist() if not info.is_dir()}
                with bundle.open(entries[_pick(entries, member, url)]) as content:
                    _write(content, to)
        else:
            raise RequestError(f"{url} gave neither a zip nor a tar archive; expected one that holds {member}.")
    except BROKEN as error:
        raise RequestError(f"The archive {url} can't be read: {error}.") from error


def _write(content: IO[bytes], to: Path) -> None:
    with to.open("wb") as file:
        shutil.copyfileobj(content, file)


def _pick(names: Iterable[str], member: str, url: str) -> str:
    hits = [name for name in names if name == member or name.endswith("/" + member)]
    if len(hits) != 1:
        what = f"several times: {', '.join(hits)}" if hits else f"nowhere; it holds {', '.join(names) or 'no file'}"
        raise RequestError(f"The archive {url} should hold {member} once; it does {what}.")
    return hits[0]


# Network


def _get(url: str, to: Path, downloads: Sequence[Download], folder: Path, progress: Progress) -> None:
    names = [download.file for download in downloads]
    bar = _Bar(progress, names[0] if len(names) == 1 else f"archive with {len(names)} files")
    gdown = optional_import("gdown", "fetch", "Fetching a data set")
    requests = optional_import("requests", "fetch", "Fetching a data set")
    getter = _get_from_drive if urlsplit(url).hostname in DRIVE_HOSTS else _get_over_http
    try:
        getter(url, to, bar)
    except (requests.RequestException, gdown.exceptions.DownloadError, ValueError) as error:
        raise RequestError(
            f"{url} can't be fetched ({_reason(error)}): get it by hand and put {' and '.join(names)} into {folder}."
        ) from error


def _get_over_http(url: str, to: Path, bar: _Bar) -> None:
    pooch = optional_import("pooch", "fetch", "Fetching a data set")
    pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)(url, str(to), None)


def _get_from_drive(url: str, to: Path, bar: _Bar) -> None:
    gdown = optional_import("gdown", "fetch", "Fetching from Google Drive")
    with to.open("wb") as file:  # given a path, it would make a file that only its owner can read
        gdown.download(url, file, quiet=True, use_cookies=False, progress=bar.reached, timeout=TIMEOUT)


def _reason(error: Exception) -> str:
    """The innermost cause in a few words, without the addresses of objects that `requests` wraps it in."""
    if (response := getattr(error, "response", None)) is not None:
        return f"the server answered {response.status_code} {response.reason}"
    while isinstance(inner := getattr(error, "reason", None) or next(iter(error.args), None), Exception):
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return _OBJECT.sub("", lines[0]).rstrip(".:") if lines else one_line(error)


class _Bar:
    """A line of a rich progress display, as `pooch` and `gdown` like to talk to one."""

    def __init__(self, progress: Progress, description: str) -> None:
        self.progress = progress
        self.task: TaskID = progress.add_task(description, total=None)

    @property
    def total(self) -> float | None:
        return self.progress.tasks[self.progress.task_ids.index(self.task)].total

    @total.setter
    def total(self, total: int) -> None:
        self.progress.update(self.task, total=total or None)  # 0: the server didn't say

    def update(self, n: int) -> None:
        self.progress.advance(self.task, n)

    def reset(self) -> None:
        self.progress.update(self.task, completed=0)

    def close(self) -> None:
        self.progress.refresh()

    @property
    def reached(self) -> Callable[[int, int | None], None]:
        return lambda size, total: self.progress.update(self.task, completed=size, total=total)


def _progress(console: Console | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console or Console(stderr=True), transient=True)
