"""How long a reader waits for a large leaderboard: first paint, a page that is ready, and what a click or a key takes.

Opens a built site in a headless Chromium, over a server on this machine. Times are in milliseconds, medians of `--times` fresh
loads; of a click and a key, until the next frame stands.

    python benchmarks/speed/leaderboard_scale.py --folder DIR && python benchmarks/speed/leaderboard_browser.py DIR/site
"""

from __future__ import annotations

import functools
import shutil
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from xkeb.cli.telling import Telling

LOADED = """
const [page] = performance.getEntriesByType("navigation");
const paint = performance.getEntriesByName("first-contentful-paint")[0];
const bytes = performance.getEntriesByType("resource").reduce((sum, one) => sum + one.decodedBodySize, page.decodedBodySize);
return document.readyState === "complete" && paint ? [paint.startTime, page.domInteractive, page.loadEventEnd, bytes] : null;
"""
ACT = """
const [act, done] = [arguments[0], arguments[1]];
const start = performance.now();
const changed = new Function(act)();
const look = () => changed() ? requestAnimationFrame(() => done(performance.now() - start)) : setTimeout(look, 1);
look();
"""
SORT = """
const head = document.querySelectorAll("table thead th")[9];
const before = head.getAttribute("aria-sort");
(head.querySelector("button") ?? head).click();
return () => head.getAttribute("aria-sort") !== before;
"""
NEXT = """
const title = () => document.querySelector("#case h2")?.textContent;
const before = title();
document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "j", bubbles: true}));
return () => title() !== before;
"""
BROWSED = "return document.querySelector('#case h2') !== null"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@contextmanager
def chromium() -> Iterator[Any]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise click.ClickException("Chromium and its driver are needed (Debian: chromium, chromium-driver).")
    options = ChromeOptions()
    options.binary_location = browser
    with tempfile.TemporaryDirectory() as profile:
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        opened = Chrome(options=options, service=Service(driver))
        try:
            yield opened, WebDriverWait(opened, 60, poll_frequency=0.02)
        finally:
            opened.quit()


def medians(times: int, measure: Callable[[], list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*(measure() for _ in range(times)), strict=True)]


@click.command(cls=Telling)
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--times", default=7, show_default=True)
def main(site: Path, times: int) -> None:
    result = min((site / "results").iterdir()).name
    acts = {"rows.html": ("sorts", SORT), "cases.html": ("next case", NEXT)}
    click.echo("| page | first paint | interactive | loaded | kB | then |\n|---|---|---|---|---|---|")
    with served(site) as address, chromium() as (driver, wait):

        def load(page: str) -> list[float]:
            driver.get("about:blank")
            driver.get(address + page)
            return list(wait.until(lambda _: driver.execute_script(LOADED)))

        for page in ("index.html", "rows.html", f"results/{result}/index.html", "cases.html"):
            painted, interactive, loaded, size = medians(times, functools.partial(load, page))
            if page == "cases.html":
                wait.until(lambda _: driver.execute_script(BROWSED))
            name, act = acts.get(page, ("", ""))
            then = ""
            if act:
                (taken,) = medians(times, lambda act=act: [driver.execute_async_script(ACT, act)])  # type: ignore[misc]
                then = f"{name} in {taken:.0f}"
            shown = "a result" if page.startswith("results/") else page
            click.echo(f"| {shown} | {painted:.0f} | {interactive:.0f} | {loaded:.0f} | {size / 1e3:.0f} | {then} |")


if __name__ == "__main__":
    main()
