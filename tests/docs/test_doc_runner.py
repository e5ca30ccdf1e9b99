"""The reader of pages notices what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import PageError, read_blocks
from doc_running import commands, reader


def follow(folder: Path, text: str, **places: str) -> str:
    """The output of the last block of such a page."""
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    home = folder / "home"
    home.mkdir()
    with reader(home, places) as somebody:
        for block in read_blocks(page, "page.md"):
            somebody.follow(block)
        return somebody.output


WRONG = {
    "an unmarked command that fails": ("```sh\nls nowhere\n```\n", "page.md:2: `ls nowhere`: exit status 2"),
    "a command of ours that fails": ("```sh\n\nxkeb ls nothing\n```\n", "`xkeb ls nothing`: exit status 2"),
    "a line of a transcript that fails": ("```console\n$ true\nall well\n$ false\n```\n", "`false`: exit status 1"),
    "Python that raises": ("```python\nx = 1\n```\n\n```python\nx + y\n```\n", "page.md:6: NameError: name 'y'"),
    "an unknown reason": ("<!-- not run: lazy -->\n```sh\nls\n```\n", "'lazy' is no reason"),
    "a misspelt mark": ("<!-- not-run: gpu -->\n<!-- not run gpu -->\n```sh\nls\n```\n", "page.md:2: not a mark"),
    "a mark before no block": ("<!-- not run: gpu -->\n\nText.\n", "stands before no block"),
    "an unknown language": ("```bash\nls\n```\n", "a block in 'bash'"),
    "no language": ("```\nls\n```\n", "a block in no language"),
    "words that are not there": ("<!-- run with: a for b -->\n```sh\nls\n```\n", "there is no 'b' in the block"),
    "two marks of a kind": (
        "<!-- not run: gpu -->\n<!-- not run: data -->\n```sh\nls\n```\n",
        "page.md:2: a second mark",
    ),
    "a misspelt option of what is not run": (
        "<!-- not run: gpu -->\n```sh\nxkeb run --taskz t\n```\n",
        "No such option.*--taskz",
    ),
    "a misspelt command of what is not run": ("<!-- not run: gpu -->\n```sh\nxkeb data fech x\n```\n", "fech"),
    "a misspelt option of a benchmark": (
        "<!-- not run: data -->\n```sh\npython benchmarks/truth/joining.py --data-dirr DIR\n```\n",
        "benchmarks/truth/joining.py has no option --data-dirr",
    ),
    "a benchmark that is not there": (
        "<!-- not run: data -->\n```sh\npython benchmarks/truth/joyning.py\n```\n",
        "there is no benchmarks/truth/joyning.py",
    ),
    "Python that is not run and is none": ("<!-- not run: gpu -->\n```python\nif\n```\n", "page.md:3: SyntaxError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_page_is_found(name: str, tmp_path: Path) -> None:
    text, found = WRONG[name]
    with pytest.raises(PageError, match=found):
        follow(tmp_path, text)


def test_blocks_go_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    """A folder that is entered, a file that is written, a name that is defined."""
    text = """
```sh
mkdir here
cd here
```

1. In a list:

    ```python title="a/module.py"
    def double(x):
        return 2 * x
    ```

```python
import sys
sys.path.insert(0, "a")
from module import double
y = double(21)
```

<!-- not run: network -->

```python
y = "not run"
```

<!-- run with: print(y) for print(NAME) -->
```python
print(NAME)
```
"""
    assert follow(tmp_path, text) == "42\n"
    assert (tmp_path / "home" / "here" / "a" / "module.py").is_file()
    with pytest.raises(ImportError):
        import module  # type: ignore[import-not-found] # noqa: F401 -- what the page brought is gone again


def test_words_may_name_a_place(tmp_path: Path) -> None:
    assert follow(tmp_path, "<!-- run with: {llama} for DIR -->\n```sh\necho DIR\n```\n", llama="/there") == "/there\n"


@pytest.mark.parametrize(("as_printed", "said"), [(False, "/there 1\n"), (True, "/there 50\n")])
def test_words_that_only_save_time_may_stay_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_printed: bool, said: str
) -> None:
    monkeypatch.setattr("doc_running.AS_PRINTED", as_printed)
    marks = "<!-- run with: {llama} for DIR -->\n<!-- run quickly with: 1 for 50 -->\n"
    assert follow(tmp_path, f"{marks}```sh\necho DIR 50\n```\n", llama="/there") == said


def test_a_command_over_several_lines_is_one(tmp_path: Path) -> None:
    assert commands("# nothing\nls \\\n  -l  # files\n\npwd\n") == ["ls -l  # files", "pwd"]
    assert commands("$ ls \\\n> -l\nfile\n$ pwd\n/\n", console=True) == ["ls -l", "pwd"]
