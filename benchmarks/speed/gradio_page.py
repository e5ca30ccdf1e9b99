"""How long a reader waits for the same rows on a page of Gradio, as MTEB's leaderboard is one: a server, a table, and filters.

Beside `leaderboard_browser.py`, over the tables of a site that is built. Times are in milliseconds, medians of `--times` fresh
loads; `rows` is when the first row of the table stands, and then until a chosen filter has been answered. The suite doesn't
install Gradio.

    pip install gradio
    python benchmarks/speed/gradio_page.py DIR/site
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import click
from leaderboard_browser import LOADED, chromium, medians

from xkeb.cli.telling import Telling

SHOWN = ("task", "model", "method", "protocol", "n_cases", "overall")
STANDS = """
const cell = document.querySelector("tbody td");
return cell && cell.textContent.trim() ? performance.now() : null;
"""
CHOOSE = """
const done = arguments[0];
const box = document.querySelector("input[type=checkbox]");
const before = document.body.innerText;
const start = performance.now();
box.click();
const changed = () => document.body.innerText !== before;
const look = () => changed() ? requestAnimationFrame(() => done(performance.now() - start)) : setTimeout(look, 1);
look();
"""


def table_of(site: Path) -> tuple[list[str], list[list[str]]]:
    """The rows of the site, with their scores."""
    rows: list[list[str]] = []
    for path in sorted((site / "tables").glob("all--*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        heads = [*SHOWN, *(name for name in found[0] if name.endswith(("_f1", "_em")))]
        rows += [[row[name] for name in heads] for row in found]
    return heads, rows


def page(site: Path) -> Any:
    import gradio

    heads, rows = table_of(site)
    tasks = sorted({row[0] for row in rows})
    with gradio.Blocks() as blocks:
        gradio.Markdown("# Leaderboard")
        chosen = gradio.CheckboxGroup(tasks, value=tasks, label="Tasks")
        table = gradio.Dataframe(rows, headers=heads, interactive=False)
        chosen.change(lambda names: [row for row in rows if row[0] in names], chosen, table)
    return blocks


@click.command(cls=Telling)
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--times", default=7, show_default=True)
def main(site: Path, times: int) -> None:
    try:
        blocks = page(site)
    except ImportError as error:
        raise click.ClickException("Gradio is needed: pip install gradio") from error
    blocks.launch(prevent_thread_lock=True, quiet=True)
    click.echo("| page | first paint | interactive | loaded | rows | kB | then |\n|---|---|---|---|---|---|---|")
    with chromium() as (driver, wait):

        def load() -> list[float]:
            driver.get("about:blank")
            driver.get(blocks.local_url)
            rows = wait.until(lambda _: driver.execute_script(STANDS))
            return [*wait.until(lambda _: driver.execute_script(LOADED)), rows]

        painted, interactive, loaded, size, rows = medians(times, load)
        taken = driver.execute_async_script(CHOOSE)
        figures = [f"{painted:.0f}", f"{interactive:.0f}", f"{loaded:.0f}", f"{rows:.0f}", f"{size / 1e3:.0f}"]
        click.echo(f"| Gradio | {' | '.join(figures)} | filters in {taken:.0f} |")
    blocks.close()


if __name__ == "__main__":
    main()
