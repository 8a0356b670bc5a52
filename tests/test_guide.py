"""The integration guide, followed word for word, to a card in a browser."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from magml.bundle import write_bundle
from tests import bundle_parts as parts
from tests.conftest import ROOT

BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.S | re.M)


@pytest.fixture(scope="module")
def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs" / "integration.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a bundle where ``magml demo``, which other tests run, would put one."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "sandbox", folder / "docs" / "sandbox")
    if os.environ.get("MAGML_GUIDE_DEMO"):
        run(BLOCK.findall((ROOT / "docs" / "integration.md").read_text())[0], folder)
    else:
        write_bundle(folder / "demo" / "demo_screen" / "bundle", parts.contents())
    return folder


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def run(block: tuple[str, str], folder: Path) -> str:
    language, text = block
    text = "\n".join(line for line in text.splitlines() if not line.startswith("pip install"))
    command = ["bash", "-ec", text] if language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def servers(blocks: list[tuple[str, str]], place: Path) -> Iterator[None]:
    """What the guide starts in terminals of their own."""
    started = []
    try:
        for word, url in (("magml serve", "8765/ready"), ("http.server", "8766/")):
            text = next(text for _, text in blocks if word in text)
            started.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {text}"], cwd=place, env=environment(),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{url}", timeout=5)
                    break
                except OSError:
                    assert started[-1].poll() is None, f"{word} ended"
                    time.sleep(0.2)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)


def test_the_guide_ends_with_a_risk_assessment_that_validates(
    blocks: list[tuple[str, str]], place: Path, servers: None
) -> None:
    said = [run(b, place) for b in blocks[2:] if "http.server" not in b[1]]
    assert '"risk"' in said[0]
    assert "risk_low" in said[1]
    assert said[-1].startswith("Patient/abc 0.")


def test_the_guide_ends_with_a_card_in_a_browser(place: Path, servers: None) -> None:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs Chromium and its driver")
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=900,900"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        browser.get("http://127.0.0.1:8766/")
        WebDriverWait(browser, 60).until(
            lambda b: b.find_element(By.ID, "state").text not in ("", "waiting")
        )
        assert browser.find_element(By.ID, "state").text == "1 card(s)"
        card = browser.find_element(By.CLASS_NAME, "card")
        assert re.search(r"\d+% \((low|raised|high)\)", card.text)
        assert card.text.count("the risk by") == 3
        assert "To measure" in card.text
        assert "*" not in card.text  # Markdown is shown, not quoted
        assert len(card.find_elements(By.CSS_SELECTOR, ".detail li")) == 3
        assert card.find_element(By.CSS_SELECTOR, ".detail strong").text == "To measure:"
        # And a text with markup stays a text.
        browser.execute_script(
            "markdown(document.getElementById('patient'), arguments[0])",
            "- **<img src=x onerror=hurt()>** <b>y</b>",
        )
        shown = browser.find_element(By.ID, "patient")
        assert "<img src=x onerror=hurt()> <b>y</b>" in shown.text
        assert not shown.find_elements(By.CSS_SELECTOR, "img, b")
        assert card.find_element(By.TAG_NAME, "a").get_attribute("href").endswith("review=abc")
        if folder := os.environ.get("MAGML_SCREENSHOTS"):
            browser.save_screenshot(str(Path(folder) / "cds-card.png"))
        card.find_elements(By.TAG_NAME, "button")[0].click()
        WebDriverWait(browser, 30).until(
            lambda b: "accepted" in b.find_element(By.ID, "state").text
        )
    finally:
        browser.quit()
