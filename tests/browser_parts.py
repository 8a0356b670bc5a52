"""A real browser for the tests of the pages: Chromium, without a window and without a network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parent / "data" / "axe.min.js"
#: Where pictures of the pages are kept, if anywhere.
SHOTS = os.environ.get("MAGML_SCREENSHOTS")
DESKTOP, TABLET = (1440, 900), (820, 1180)
_SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium(folder: Path) -> Iterator[Any]:
    """Yield a browser, or skip the test where there is none."""
    pytest.importorskip("selenium", reason="needs Chromium and selenium")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs Chromium (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    downloads = folder / "downloads"
    for switch in (*_SWITCHES, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(switch)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(downloads), "download.prompt_for_download": 0}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield found
    finally:
        found.quit()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(app: Any, port: int) -> Iterator[str]:
    """Serve an application on loopback and yield its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    assert server.started
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def resize(browser: Any, size: tuple[int, int], height: int | None = None) -> None:
    """Give the page a size."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": height or size[1], "deviceScaleFactor": 1, "mobile": False},
    )


def picture(browser: Any, name: str) -> None:
    """Keep pictures of the whole page, as on a desktop and as on a tablet."""
    if SHOTS is None:
        return
    Path(SHOTS).mkdir(parents=True, exist_ok=True)
    for kind, size in (("desktop", DESKTOP), ("tablet", TABLET)):
        resize(browser, size)
        tall = browser.execute_script("return document.documentElement.scrollHeight")
        resize(browser, size, max(size[1], min(tall, 6000)))
        found = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (Path(SHOTS) / f"{name}-{kind}.png").write_bytes(base64.b64decode(found["data"]))
    resize(browser, DESKTOP)


def faults(browser: Any) -> list[str]:
    """Return what axe finds against WCAG 2.1 A and AA on the page as it is."""
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})"
        ".then(r => done(r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)"
        " + ' ' + n.any.map(a => a.message).join(' ')).slice(0, 5).join(' | '))));"
    )
    return [str(one) for one in found]


def wider_than_the_screen(browser: Any) -> bool:
    """Return whether the page must be moved sideways to be read."""
    script = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(browser.execute_script(script))


def requests(browser: Any) -> list[str]:
    """Return every address that the browser asked for since the last call."""
    found = []
    for line in browser.get_log("performance"):
        message = json.loads(line["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(str(message["params"]["request"]["url"]))
    return found
