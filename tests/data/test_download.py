"""`xkeb.data.download`, against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

import xkeb.cli
from xkeb.data import download as fetching
from xkeb.data.dataset import Download
from xkeb.data.download import download_dataset
from xkeb.data.parallel import ParallelRecords
from xkeb.errors import PluginError, RequestError
from xkeb.registry.manager import get_plugins
from xkeb.registry.registry import Entry

SIDE = {
    "subject": "Ada",
    "src": "Where does Ada live?",
    "rephrase": "Ada lives where?",
    "alt": "Rome",
    "loc": "nq question: what is red",
    "loc_ans": "a colour",
    "portability": {"New Question": "In which country does Ada live?", "New Answer": "Italy"},
}
TEST = json.dumps([{"en": SIDE, "zh": SIDE}]).encode()
TRAIN = json.dumps([{"src": "Where is Bo?", "alt": "Oslo"}]).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Server:
    """What it serves by path, and how often each path was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    """Paths of which only the first half is sent, under the length of the whole."""
    asked: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked[self.path] += 1
            if (content := state.files.get(self.path)) is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.path in state.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def dataset(*downloads: Download) -> ParallelRecords:
    return ParallelRecords("tiny", ("en", "zh"), "test.json", {"en": "train.json"}, downloads=downloads)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, so that a forgotten temporary one is seen."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_file_with_its_hash(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    (fetched,) = download_dataset(dataset(Download("test.json", f"{server.url}/a", sha256(TEST))), tmp_path)
    assert (fetched.path, fetched.sha256, fetched.outcome) == (tmp_path / "tiny/test.json", sha256(TEST), "fetched")
    assert contents(tmp_path) == {"tiny/test.json": TEST}
    assert list((tmp_path / "tiny").iterdir()) == [fetched.path]


def test_the_folder_is_the_first_of_the_data_roots(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a"] = TEST
    data = dataset(Download("test.json", f"{server.url}/a"))
    monkeypatch.setenv("XKEB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XKEB_DATA_DIR", raising=False)
    assert download_dataset(data)[0].path == tmp_path / "cache/data/tiny/test.json"
    monkeypatch.setenv("XKEB_DATA_DIR", str(tmp_path / "env"))
    assert download_dataset(data)[0].path == tmp_path / "env/tiny/test.json"


def test_a_wrong_hash_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    with pytest.raises(RequestError) as caught:
        download_dataset(dataset(Download("test.json", f"{server.url}/a", "0" * 64)), tmp_path)
    assert "0" * 64 in str(caught.value)
    assert sha256(TEST) in str(caught.value)
    assert contents(tmp_path) == {}
    assert list((tmp_path / "tiny").iterdir()) == []


def test_a_failure_leaves_the_old_file(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/test.json").write_bytes(b"mine")
    with pytest.raises(RequestError, match="expected 0000"):
        download_dataset(dataset(Download("test.json", f"{server.url}/a", "0" * 64)), tmp_path)
    assert contents(tmp_path) == {"tiny/test.json": b"mine"}


@pytest.mark.parametrize("over", ["http", "drive"])
def test_a_truncated_answer(over: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if over == "drive":
        monkeypatch.setattr(fetching, "DRIVE_HOSTS", {"127.0.0.1"})
    server.files["/a"] = TEST
    server.cut.add("/a")
    # No hash is stated and half of the JSON would not parse either: the message says that the transfer is at fault.
    with pytest.raises(RequestError, match=r"can't be fetched .*put test\.json into .*tiny\.$"):
        download_dataset(dataset(Download("test.json", f"{server.url}/a")), tmp_path)
    assert contents(tmp_path) == {}


def test_connection_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, and not listening
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a"
        with pytest.raises(RequestError) as caught:
            download_dataset(dataset(Download("test.json", url)), tmp_path)
    assert str(caught.value) == (
        f"{url} can't be fetched (Failed to establish a new connection: [Errno 111] Connection refused): "
        f"get it by hand and put test.json into {tmp_path}/tiny."
    )


def test_not_found(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the server answered 404 Not Found"):
        download_dataset(dataset(Download("test.json", f"{server.url}/gone")), tmp_path)
    assert contents(tmp_path) == {}


def test_already_there(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    stated = dataset(Download("test.json", f"{server.url}/a", sha256(TEST)))
    unstated = dataset(Download("test.json", f"{server.url}/a"))
    download_dataset(stated, tmp_path)
    assert download_dataset(stated, tmp_path)[0].outcome == "present"
    assert download_dataset(unstated, tmp_path)[0].outcome == "present"
    assert server.asked["/a"] == 1
    assert download_dataset(unstated, tmp_path, force=True)[0].outcome == "replaced"
    assert download_dataset(stated, tmp_path, force=True)[0].outcome == "replaced"
    assert server.asked["/a"] == 3


def test_another_file_is_replaced_where_a_hash_is_stated(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/test.json").write_bytes(b"cut sho")
    unstated = Download("test.json", f"{server.url}/a")
    assert download_dataset(dataset(unstated), tmp_path)[0].outcome == "present"
    assert download_dataset(dataset(replace(unstated, sha256=sha256(TEST))), tmp_path)[0].outcome == "replaced"
    assert contents(tmp_path) == {"tiny/test.json": TEST}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>Sign in", "test.json is not JSON"),
        (b"{}", "test.json should hold a list"),
        (b'[{"en": {"src": "Where?"}}]', r"test.json: record 0: field en\.\w+"),
    ],
)
def test_not_of_the_schema(content: bytes, problem: str, server: Server, tmp_path: Path) -> None:
    server.files["/a"] = content
    with pytest.raises(RequestError, match=problem) as caught:
        download_dataset(dataset(Download("test.json", f"{server.url}/a")), tmp_path)
    assert ".fetch-" not in str(caught.value)
    assert contents(tmp_path) == {}


def test_a_training_file_is_read_as_one(server: Server, tmp_path: Path) -> None:
    server.files |= {"/good": TRAIN, "/bad": TEST}
    assert download_dataset(dataset(Download("train.json", f"{server.url}/good")), tmp_path)[0].outcome == "fetched"
    with pytest.raises(RequestError, match="field src"):
        download_dataset(dataset(Download("train.json", f"{server.url}/bad")), tmp_path, force=True)
    assert contents(tmp_path) == {"tiny/train.json": TRAIN}


MEMBERS = {"data/bi/train.json": TRAIN, "data/bi/my_test.json": b"another", "data/bi/test.json": TEST}


@pytest.mark.parametrize(
    "archive",
    [zipped(MEMBERS), tarred(MEMBERS), tarred({**MEMBERS, "z.zip": zipped({"test.json": b"inner"})}, "w:")],
    ids=["zip", "tar.gz", "tar that ends in a zip"],
)
@pytest.mark.parametrize("over", ["http", "drive"])
def test_members_of_an_archive(
    archive: bytes, over: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if over == "drive":
        monkeypatch.setattr(fetching, "DRIVE_HOSTS", {"127.0.0.1"})
        monkeypatch.setattr(fetching, "_get_over_http", None)
    else:
        monkeypatch.setattr(fetching, "_get_from_drive", None)
    server.files["/all"] = archive
    url = f"{server.url}/all"
    data = dataset(
        Download("test.json", url, sha256(TEST), member="test.json"),
        Download("train.json", url, member="bi/train.json"),
    )
    assert [fetched.outcome for fetched in download_dataset(data, tmp_path)] == ["fetched", "fetched"]
    assert contents(tmp_path) == {"tiny/test.json": TEST, "tiny/train.json": TRAIN}
    assert server.asked["/all"] == 1
    assert [fetched.outcome for fetched in download_dataset(data, tmp_path)] == ["present", "present"]
    assert server.asked["/all"] == 1


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../../test.json", "/tmp/xkeb-escaped/test.json"])
def test_a_path_in_an_archive_goes_nowhere(name: str, pack: object, server: Server, tmp_path: Path) -> None:
    server.files["/all"] = pack({name: TEST, "../../loose.txt": b"x"})  # type: ignore[operator]
    inner = tmp_path / "deep/er"
    download_dataset(dataset(Download("test.json", f"{server.url}/all", member="test.json")), inner)
    assert contents(tmp_path) == {"deep/er/tiny/test.json": TEST}
    assert not Path("/tmp/xkeb-escaped").exists()


def test_a_link_in_an_archive_is_not_followed(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(TEST)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("test.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    server.files["/all"] = buffer.getvalue()
    with pytest.raises(RequestError, match="holds no file"):
        download_dataset(dataset(Download("test.json", f"{server.url}/all", member="test.json")), tmp_path / "data")


@pytest.mark.parametrize(
    ("archive", "problem"),
    [
        (zipped({"other.json": TEST}), "nowhere; it holds other.json"),
        (zipped({"a/test.json": TEST, "b/test.json": TEST}), "several times: a/test.json, b/test.json"),
        (b"<html>quota exceeded", "neither a zip nor a tar"),
        (zipped(MEMBERS)[:40] + bytes(400) + zipped(MEMBERS)[440:], "can't be read"),
        (tarred(MEMBERS)[:-30], "(can't be read|neither a zip nor a tar)"),
    ],
    ids=["absent", "ambiguous", "a page", "damaged zip", "cut tar"],
)
def test_archives_that_will_not_do(archive: bytes, problem: str, server: Server, tmp_path: Path) -> None:
    server.files["/all"] = archive
    with pytest.raises(RequestError, match=problem):
        download_dataset(dataset(Download("test.json", f"{server.url}/all", member="test.json")), tmp_path)
    assert contents(tmp_path) == {}


def test_a_plugin_may_not_write_elsewhere(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = TEST
    with pytest.raises(PluginError, match="outside"):
        download_dataset(dataset(Download("../test.json", f"{server.url}/a")), tmp_path)
    assert contents(tmp_path) == {}
    assert server.asked.total() == 0


def test_a_folder_that_can_not_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("a file")
    with pytest.raises(RequestError, match="can't be written"):
        download_dataset(dataset(Download("test.json", f"{server.url}/a")), tmp_path)


@pytest.fixture
def tiny(server: Server, monkeypatch: pytest.MonkeyPatch) -> ParallelRecords:
    """A registered data set with a stated hash and an unstated one."""
    server.files |= {"/a": TEST, "/b": TRAIN}
    data = dataset(Download("test.json", f"{server.url}/a", sha256(TEST)), Download("train.json", f"{server.url}/b"))
    monkeypatch.setitem(get_plugins().datasets.entries, "tiny", Entry(data, "this test"))
    return data


def test_the_command(tiny: ParallelRecords, tmp_path: Path) -> None:
    result = CliRunner().invoke(xkeb.cli.cli, ["data", "fetch", "tiny", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["fetched", f"{tmp_path}/tiny/test.json"]
    assert lines[1].strip() == f"sha256 {sha256(TEST)} (as stated)"
    assert lines[3].strip() == f"sha256 {sha256(TRAIN)} (none is stated to compare with)"
    again = CliRunner().invoke(xkeb.cli.cli, ["data", "fetch", "tiny", "--data-dir", str(tmp_path)])
    assert again.stdout.count("present") == 2
    listed = CliRunner().invoke(xkeb.cli.cli, ["data", "ls", "--json", "--data-dir", str(tmp_path)])
    row = next(row for row in json.loads(listed.stdout) if row["name"] == "tiny")
    assert row["languages"] == ["en", "zh"]
    assert [file["path"] for file in row["files"]] == [f"{tmp_path}/tiny/test.json", f"{tmp_path}/tiny/train.json"]


def test_a_failing_command_exits_with_2(
    tiny: ParallelRecords,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/a"] = b"tampered"
    monkeypatch.setattr("sys.argv", ["xkeb", "data", "fetch", "tiny", "--data-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        xkeb.cli.main()
    assert caught.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("xkeb: test.json from ")
    assert sha256(TEST) in error


def test_what_is_shipped_needs_no_fetching(tmp_path: Path) -> None:
    result = CliRunner().invoke(xkeb.cli.cli, ["data", "fetch", "bizsre_mini", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout.startswith("bizsre_mini comes with its plugin: ")
    assert Path(result.stdout.partition(": ")[2].strip(), "bizsre_mini_test.json").is_file()
    assert contents(tmp_path) == {}
