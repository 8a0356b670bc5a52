"""Real readers' way through the pages, in a real browser: nothing here asks the application."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("fastapi", reason="needs the extra review")
pytest.importorskip("selenium", reason="needs Chromium and selenium")
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from magml.review.verify import verify_reviews
from tests.browser_parts import (
    TABLET,
    chromium,
    faults,
    free_port,
    picture,
    requests,
    resize,
    served,
    wider_than_the_screen,
)
from tests.review_parts import PASSWORD, small_desk
from tests.test_review_record import tamper


class Reader:
    """Somebody at the browser."""

    def __init__(self, browser: Any, site: str) -> None:
        self.browser, self.site = browser, site
        self.asked: list[str] = []

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def text(self) -> str:
        return str(self.one("body").text)

    def press(self, selector: str) -> None:
        """Press what is there, as a hand would: it must be possible to see and reach it."""
        found = self.one(selector)
        there = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})"
        self.browser.execute_script(there, found)
        found.click()

    def leave(self, selector: str) -> None:
        """Press what leads to another page, and wait for it."""
        before = self.one("html")
        self.press(selector)
        # While one page gives way to another, Chromium may answer that it does not know.
        wait = WebDriverWait(self.browser, 10, ignored_exceptions=[WebDriverException])
        wait.until(staleness_of(before))
        wait.until(lambda one: one.execute_script("return document.readyState") == "complete")

    def go(self, where: str) -> None:
        self.browser.get(self.site + where)

    def log_in(self, name: str) -> None:
        self.browser.delete_all_cookies()
        self.go("/")
        self.one("#name").send_keys(name)
        self.one("#password").send_keys(PASSWORD)
        self.leave("button.main")
        assert self.one("h1").text == "Worklist"

    def check(self, name: str) -> None:
        """Keep pictures of a page, and hold it to what everybody must be able to read."""
        picture(self.browser, name)
        assert faults(self.browser) == [], name
        assert not wider_than_the_screen(self.browser), name
        resize(self.browser, TABLET)
        assert not wider_than_the_screen(self.browser), f"{name} on a tablet"
        resize(self.browser, (320, 640))  # WCAG 1.4.10, a desktop magnified four times
        assert not wider_than_the_screen(self.browser), f"{name} magnified"
        resize(self.browser, (1440, 900))
        self.asked += requests(self.browser)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, Any, Path]]:
    folder = tmp_path_factory.mktemp("walk")
    port = free_port()
    with chromium(folder) as browser:
        desk = small_desk(folder, port=port)
        with served(desk.app(), port) as site:
            resize(browser, (1440, 900))
            yield Reader(browser, site), desk, folder
        desk.close()


def test_two_readers_walk_through_a_review(walk: tuple[Reader, Any, Path]) -> None:
    reader, desk, folder = walk
    reader.go("/")
    reader.check("01-login")

    # The first reader looks for the highest risk.
    reader.log_in("ada")
    risks = [float(one.text.rstrip("%")) for one in reader.all("td.risk")]
    assert risks == sorted(risks, reverse=True)
    reader.check("02-worklist")
    reader.leave("th a[href*='sort=risk_up']")
    risks = [float(one.text.rstrip("%")) for one in reader.all("td.risk")]
    assert risks == sorted(risks)
    assert reader.one("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    reader.go("/")
    reader.leave("a.row")

    # The waterfall adds up to the risk, as far as its figures are rounded.
    shown = desk.prepared.page(int(desk.prepared.risk.argmax()))
    assert reader.one("h1").text == f"Patient {shown['shown']}"
    ends = [float(one.text.rstrip("%")) for one in reader.all(".end .amount b")]
    points = [
        float(one.text.split()[0].replace("−", "-"))
        for one in reader.all("details.domain > summary .amount")
    ]
    assert len(points) == len(shown["domains"])
    assert ends[0] + sum(points) == pytest.approx(ends[1], abs=0.06 * (len(points) + 2))
    lines = reader.all("details.domain[open] details.concept > summary")
    lines[0].send_keys(Keys.ENTER)  # by keyboard
    assert "Records behind it" in reader.text()
    assert "LOINC" in reader.one("table.records").text
    reader.check("03-patient")

    # It disagrees; first without saying why, which is not signed.
    reader.press("input[name=overall][value=disagree]")
    reader.leave("button.wide")
    assert "Not signed yet" in reader.text()
    reader.check("04-incomplete")
    assert reader.one("input[value=disagree][name=overall]").is_selected()
    reader.one("#comment").send_keys("the latest potassium is from a haemolysed sample")
    if not reader.all("details.domain[open] details.concept[open]"):
        reader.all("details.domain[open] details.concept > summary")[0].click()
    reader.press("details.concept[open] input[data-reason][value=disagree]")
    assert "With verdicts on 1 reason" in reader.one("#judged").text
    reader.leave("button.wide")
    assert "Signed as no. 1." in reader.text()
    assert "haemolysed" in reader.one(".signedone").text
    reader.check("05-signed")
    place = urlsplit(reader.browser.current_url).path
    for verdict in ("agree", "disagree", "agree"):
        reader.leave(".notice.good a.main")
        reader.press(f"input[name=overall][value={verdict}]")
        reader.press("input[name=size][value='about right']")
        if verdict == "disagree":
            reader.press("input[name=codes][value=weight]")
        reader.leave("button.wide")
    signed = urlsplit(reader.browser.current_url).path

    # The second reader is blind to all that, until signed.
    reader.log_in("ben")
    reader.go("/?state=second")
    assert len(reader.all("a.row")) == 4
    reader.go(place)
    assert "1 other reader has signed" in reader.text()
    assert "haemolysed" not in reader.browser.page_source
    reader.check("06-blind")
    reader.press("input[name=overall][value=disagree]")
    reader.one("#comment").send_keys("=HYPERLINK(1)")
    reader.leave("button.wide")
    assert "haemolysed" in reader.text()
    for where in (signed, *[urlsplit(one).path for one in _others(reader, {place, signed})]):
        reader.go(where)
        reader.press("input[name=overall][value=agree]")
        reader.leave("button.wide")
    assert desk.record.count() == 8

    # The lead sees how far they agree: both disagree 1, both agree 2, differ 1, so that
    # kappa = (3/4 - 1/2) / (1 - 1/2) = 0.5.
    reader.log_in("lea")
    reader.go("/agreement")
    first = reader.one("table.kappa tr.first").text
    assert "0.50" in first
    assert "both agree 2, both disagree 1, differ 1" in first
    reader.check("07-agreement")
    reader.go("/model")
    reader.check("08-model")
    reader.go("/agreement")
    for name in ("reviews.csv", "reviews.json"):
        reader.press(f"a[href='/export/{name}']")
    table = list(csv.DictReader(io.StringIO(_downloaded(folder / "downloads/reviews.csv"))))
    assert len(table) == 8
    assert [row["comment"] for row in table if "HYPERLINK" in row["comment"]] == ["'=HYPERLINK(1)"]
    assert len(json.loads(_downloaded(folder / "downloads/reviews.json"))) == 8

    # Nothing was asked of anybody but this machine.
    reader.asked += requests(reader.browser)
    assert len(reader.asked) > 40
    own = {urlsplit(reader.site).netloc}
    assert {urlsplit(one).netloc for one in reader.asked if one.startswith("http")} == own
    # The browser's own first page aside, everything is plain HTTP to it, or inside a page.
    assert {urlsplit(one).scheme for one in reader.asked} <= {"http", "data", "chrome"}
    problems = [one for one in reader.browser.get_log("browser") if one["level"] == "SEVERE"]
    # A judgement without why is answered with 422, which the browser counts as an error.
    assert [one["message"] for one in problems if "422" not in one["message"]] == []


def test_what_was_changed_behind_their_backs_is_found(walk: tuple[Reader, Any, Path]) -> None:
    reader, desk, folder = walk
    if desk.record.count() != 8:
        pytest.skip("the walk before it did not come to its end")
    reader.log_in("lea")
    reader.go("/record")
    reader.leave("section form button.main")
    assert "Nothing was changed." in reader.text()
    reader.check("09-record")
    places = _places(folder)
    tamper(
        places, "UPDATE review SET entry = replace(entry, 'haemolysed', 'good') WHERE number = 1"
    )
    reader.leave("section form button.main")
    assert "The record was changed. 1 fault" in reader.text()
    reader.check("10-tampered")
    assert not verify_reviews(folder / "reviews").passed
    tamper(
        places, "UPDATE review SET entry = replace(entry, 'good', 'haemolysed') WHERE number = 1"
    )
    assert verify_reviews(folder / "reviews").passed
    tamper(places, "DELETE FROM review WHERE number > 6")
    reader.leave("section form button.main")
    assert "2 cut off at the end" in reader.text()
    assert [one.kind for one in verify_reviews(folder / "reviews").faults] == ["cut off"]
    # And nothing can be signed on top of it.
    reader.go("/")
    reader.leave("a.row")
    reader.press("input[name=overall][value=agree]")
    reader.leave("button.wide")
    assert "does not end where its head says" in reader.text()
    assert desk.record.count() == 6


def _others(reader: Reader, known: set[str]) -> list[str]:
    """Return addresses of the other pages that wait for a second reader."""
    reader.go("/?state=second")
    found = [one.get_attribute("href") for one in reader.all("a.row")]
    return [one for one in found if urlsplit(one).path not in known]


def _downloaded(path: Path) -> str:
    end = time.monotonic() + 10
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path.read_text(encoding="utf-8")


def _places(folder: Path) -> Any:
    from magml.review.record import Places

    return Places.of(folder / "reviews")


def test_the_check_of_what_can_be_read_can_fail(walk: tuple[Reader, Any, Path]) -> None:
    reader, _, _ = walk
    reader.browser.get(
        "data:text/html,<html lang=en><title>t</title><main><h1>h</h1><input>"
        "<p style='color:%23999;background:%23fff'>too pale to read</p></main>"
    )
    found = " ".join(faults(reader.browser))
    assert "color-contrast" in found
    assert "label" in found
