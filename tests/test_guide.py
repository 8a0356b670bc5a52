"""The integration guide, followed word for word, to a card in a browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from magml.bundle import write_bundle
from tests import bundle_parts as parts
from tests.conftest import ROOT
from tests.guide.here import run, terminal
from tests.guide.page import Block
from tests.guide.page import blocks as read_blocks


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    return read_blocks("integration")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, blocks: list[Block]) -> Path:
    """A checkout with a bundle where ``magml demo``, which other tests run, would put one.

    ``make guide`` follows the guide without this shortcut, with an environment of its own.
    """
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "docs").mkdir()
    shutil.copytree(ROOT / "docs" / "sandbox", folder / "docs" / "sandbox")
    if os.environ.get("MAGML_GUIDE_DEMO"):
        run(blocks[0], folder)
    else:
        write_bundle(folder / "demo" / "demo_screen" / "bundle", parts.contents())
    return folder


@pytest.fixture(scope="module")
def servers(blocks: list[Block], place: Path) -> Iterator[None]:
    """What the guide starts in terminals of their own."""
    with ExitStack() as opened:
        for block in blocks:
            if block.server is not None:
                opened.enter_context(terminal(block, place))
        yield


def test_the_guide_ends_with_a_risk_assessment_that_validates(
    blocks: list[Block], place: Path, servers: None
) -> None:
    said = [run(block, place) for block in blocks[1:] if block.server is None]
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
        assert "no recent values" not in card.text  # the sandbox moves its records to now
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
