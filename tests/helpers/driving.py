"""A browser as tests drive it, and a site served to it."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MANY = 1037
"""Cases of the site's largest result."""


@dataclass(frozen=True)
class Browser:
    driver: Any
    address: str
    """Of the site, with a slash at its end."""

    def open(self, page: str = "index.html", *, width: int = 1440, scheme: str = "light") -> None:
        """Loads a page afresh, even if it differs from the one before by what follows # only."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.driver.get("about:blank")
        self.driver.get(self.address + page)
        # On a busy machine, the driver was seen to be back before the page's styles and scripts were at work.
        given_up = time.monotonic() + 10
        while not self.js(READY) and time.monotonic() < given_up:
            time.sleep(0.02)

    def cdp(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What has come to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def requests(self) -> set[str]:
        """Addresses asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}


READY = """
const styled = getComputedStyle(document.documentElement).getPropertyValue("--ink") !== "";
return document.readyState === "complete" && location.protocol !== "about:" && styled;
"""
"""Whether a page has loaded, and the site's style sheet is at work."""


def pause(browser: Browser) -> bool:
    browser.driver.execute_async_script("setTimeout(arguments[0], 50)")
    return False


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Patient(ThreadingHTTPServer):
    request_queue_size = 128  # a page asks for several files at once


@contextlib.contextmanager
def serving(site: Path) -> Iterator[str]:
    """The address of a folder, with a slash at its end."""
    with _Patient(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
