"""The pages of a review: who may come in, what may be sent, what may be known."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra review")
from starlette.testclient import TestClient

from magml.errors import InputError
from magml.review.audit import access_log
from magml.review.web.desk import Desk
from magml.review.web.settings import Settings
from tests.review_parts import PASSWORD, PEOPLE, small_desk

SITE = "http://127.0.0.1:8765"
ORIGIN = {"origin": SITE}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared pages, to be copied."""
    folder = tmp_path_factory.mktemp("review")
    small_desk(folder).close()
    return folder


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(shared, tmp_path / "review"))


@pytest.fixture
def desk(folder: Path) -> Iterator[Desk]:
    found = small_desk(folder)
    yield found
    found.close()


def client(desk: Desk, **more: Any) -> TestClient:
    return TestClient(
        desk.app(), base_url=SITE, follow_redirects=False, client=("127.0.0.1", 50000), **more
    )


def reader(desk: Desk, name: str) -> TestClient:
    """Return somebody who is logged in."""
    found = client(desk)
    sent = {"name": name, "password": PASSWORD, "next": "/"}
    assert found.post("/login", data=sent, headers=ORIGIN).status_code == 303
    return found


def hidden(text: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', text)
    assert found, name
    return found.group(1)


def fill(person: TestClient, address: str, **values: Any) -> Any:
    """Open a page and send its form."""
    shown = person.get(address).text
    data = {"token": hidden(shown, "token"), "form": hidden(shown, "form"), "size": "", **values}
    return person.post(address, data=data, headers=ORIGIN)


def test_nobody_reads_without_logging_in(desk: Desk) -> None:
    nobody = client(desk)
    page = f"/patient/{desk.prepared.tokens[0]}"
    for address in ("/", page, "/agreement", "/model", "/record", "/export/reviews.csv"):
        answer = nobody.get(address)
        assert answer.status_code == 303, address
        assert answer.headers["location"].startswith("/login"), address
    assert nobody.post(page, data={"overall": "agree"}, headers=ORIGIN).status_code == 303
    assert desk.record.count() == 0
    assert not [line for line in access_log(desk.record.engine) if line["action"] == "page opened"]


def test_every_answer_keeps_scripts_and_frames_out(desk: Desk) -> None:
    ada = reader(desk, "ada")
    for address in ("/", "/login", "/none", "/static/review.css", "/model/report.html"):
        headers = ada.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'unsafe-inline'" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
    for address in ("/", f"/patient/{desk.prepared.tokens[0]}"):
        text = ada.get(address).text
        # What the policy forbids is not there to be forbidden, and nothing comes from elsewhere.
        assert not re.search(r"\sstyle=|<style|<script>|\son\w+=", text)
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', text)
        assert ada.get(address).headers["cache-control"] == "no-store"
    cookie = client(desk).post(
        "/login", data={"name": "ada", "password": PASSWORD}, headers=ORIGIN
    ).headers["set-cookie"]  # fmt: skip
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": SITE, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_from_elsewhere_signs_nothing(desk: Desk, headers: dict[str, str]) -> None:
    ada = reader(desk, "ada")
    address = f"/patient/{desk.prepared.tokens[0]}"
    shown = ada.get(address).text
    data = {"token": hidden(shown, "token"), "form": hidden(shown, "form"), "overall": "agree"}
    assert ada.post(address, data=data, headers=headers).status_code == 403
    assert ada.post(address, data={**data, "token": "x"}, headers=ORIGIN).status_code == 403
    assert desk.record.count() == 0
    assert ada.post(address, data=data, headers=ORIGIN).status_code == 303
    assert desk.record.count() == 1


def test_another_sites_name_does_not_reach_the_pages(desk: Desk) -> None:
    ada = reader(desk, "ada")
    assert ada.get("/", headers={"host": "evil.example:8765"}).status_code == 421
    assert ada.get("/", headers={"host": "localhost:8765"}).status_code == 200


def test_guessing_is_slowed_down(desk: Desk) -> None:
    thief = client(desk)
    sent = {"name": "ada", "password": "wrong password"}
    answers = [thief.post("/login", data=sent, headers=ORIGIN).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    right = {"name": "ada", "password": PASSWORD}
    assert thief.post("/login", data=right, headers=ORIGIN).status_code == 429
    assert client(desk).post(
        "/login", data={"name": "ben", "password": PASSWORD}, headers=ORIGIN
    ).status_code == 303  # fmt: skip


def test_login_leads_back_to_these_pages_only(desk: Desk) -> None:
    asked = {"//evil.example": "/", "https://evil.example": "/", "/model": "/model"}
    for where, lands in asked.items():
        answer = client(desk).post(
            "/login", data={"name": "ada", "password": PASSWORD, "next": where}, headers=ORIGIN
        )
        assert answer.headers["location"] == lands


def test_opening_a_page_is_written_down(desk: Desk) -> None:
    ada = reader(desk, "ada")
    token = desk.prepared.tokens[7]
    assert ada.get(f"/patient/{token}").status_code == 200
    lines = access_log(desk.record.engine, token)
    assert [(line["account"], line["action"], line["address"]) for line in lines] == [
        ("ada", "page opened", "127.0.0.1")
    ]


def test_a_second_reader_is_blind_until_signed(desk: Desk) -> None:
    address = f"/patient/{desk.prepared.tokens[3]}"
    ada, ben, lea = (reader(desk, name) for name in ("ada", "ben", "lea"))
    said = {"overall": "disagree", "comment": "the potassium is from a haemolysed sample"}
    assert fill(ada, address, **said).status_code == 303
    before = ben.get(address).text
    assert "haemolysed" not in before
    assert "1 other reader has signed" in before
    assert "haemolysed" not in ben.get("/export/reviews.json").text
    assert '<span class="flag">disagrees' not in ben.get("/").text
    assert '<span class="flag">disagrees' in lea.get("/").text
    assert "haemolysed" in lea.get(address).text
    assert fill(ben, address, overall="agree").status_code == 303
    assert "haemolysed" in ben.get(address).text
    assert fill(lea, address, overall="agree").status_code == 303
    blind = {review.reviewer: review.blind for _, review in desk.record.reviews()}
    assert blind == {"ada": True, "ben": True, "lea": False}


def test_what_is_signed_is_what_was_shown(desk: Desk) -> None:
    row = 5
    address = f"/patient/{desk.prepared.tokens[row]}"
    content = desk.prepared.page(row)
    concept = content["domains"][0]["concepts"][0]["name"]
    ada = reader(desk, "ada")
    values = {
        "overall": "disagree", "size": "too high", "codes": ["weight", "not causal"],
        f"reason:{concept}": "disagree", f"code:{concept}": "outdated", "comment": "<b>old</b>",
    }  # fmt: skip
    assert fill(ada, address, **values).status_code == 303
    (_, signed), = desk.record.reviews()  # fmt: skip
    assert (signed.explanation, signed.model, signed.data) == (
        desk.prepared.hashes[row], desk.model.hash, desk.prepared.data
    )  # fmt: skip
    assert signed.prediction["risk"] == content["risk"]
    assert signed.judgement.codes == ("weight", "not causal")
    assert [(one.concept, one.verdict, one.code) for one in signed.judgement.reasons] == [
        (concept, "disagree", "outdated")
    ]
    shown = ada.get(address).text
    assert "&lt;b&gt;old&lt;/b&gt;" in shown
    assert "<b>old</b>" not in shown


def test_an_incomplete_judgement_comes_back_as_it_was_filled_in(desk: Desk) -> None:
    ada = reader(desk, "ada")
    address = f"/patient/{desk.prepared.tokens[0]}"
    answer = fill(ada, address, overall="disagree", size="too low")
    assert answer.status_code == 422
    assert "A reason code or a comment" in answer.text
    assert re.search(r'value="disagree" required checked', answer.text)
    assert desk.record.count() == 0


def test_a_form_counts_once_and_an_edited_one_is_not_lost(desk: Desk) -> None:
    ada = reader(desk, "ada")
    address = f"/patient/{desk.prepared.tokens[0]}"
    shown = ada.get(address).text
    data = {"token": hidden(shown, "token"), "form": hidden(shown, "form"), "overall": "agree"}
    first, again = (ada.post(address, data=data, headers=ORIGIN) for _ in range(2))
    assert first.headers["location"] == again.headers["location"]
    assert desk.record.count() == 1
    changed = ada.post(address, data={**data, "overall": "cannot judge"}, headers=ORIGIN)
    assert changed.status_code == 409
    assert "Sign once more" in changed.text


def test_roles(desk: Desk) -> None:
    address = f"/patient/{desk.prepared.tokens[0]}"
    rob, ada, lea = (reader(desk, name) for name in ("rob", "ada", "lea"))
    assert 'name="overall"' not in rob.get(address).text
    token = hidden(rob.get("/").text, "token")
    sent = {"token": token, "form": "0" * 32, "overall": "agree"}
    assert rob.post(address, data=sent, headers=ORIGIN).status_code == 403
    assert desk.record.count() == 0
    assert (ada.get("/record").status_code, rob.get("/record").status_code) == (403, 403)
    assert lea.get("/record").status_code == 200
    # Outcomes in sum are for those who see all.
    fill(ada, address, overall="agree")
    assert "Outcome known" in lea.get("/agreement").text
    assert "Outcome known" not in ada.get("/agreement").text


def test_export(desk: Desk) -> None:
    ada = reader(desk, "ada")
    fill(
        ada, f"/patient/{desk.prepared.tokens[0]}", overall="disagree", comment="=cmd|' /C calc'!A0"
    )
    answer = ada.get("/export/reviews.csv")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows[0]["comment"].startswith("'=")
    assert json.loads(ada.get("/export/reviews.json").text)[0]["comment"].startswith("=cmd")


def test_search_and_filters(desk: Desk) -> None:
    ada = reader(desk, "ada")
    shown = ada.get("/").text
    found = ada.post("/find", data={"token": hidden(shown, "token"), "id": "17"}, headers=ORIGIN)
    assert re.findall(r'<a class="row"[^>]*>([^<]+)</a>', found.text) == ["17"]
    risks = [float(x) for x in re.findall(r'<td class="n risk">([\d.]+)%', ada.get("/").text)]
    assert len(risks) == 50
    assert risks == sorted(risks, reverse=True)
    second = ada.get("/?page=2").text
    assert len(re.findall(r'class="row"', second)) == PEOPLE - 50
    bands = ada.get("/?band=high").text
    expected = int((desk.prepared.band == "high").sum())
    assert len(re.findall(r'class="row"', bands)) == min(50, expected)
    fill(ada, f"/patient/{desk.prepared.tokens[0]}", overall="agree")
    assert len(re.findall(r'class="row"', ada.get("/?state=mine").text)) == 1


def test_the_one_user_of_this_machine_comes_in_by_the_printed_address(tmp_path: Path) -> None:
    desk = small_desk(tmp_path, users=False)
    try:
        person = client(desk)
        assert person.get("/").status_code == 303
        assert person.get("/enter/guess").status_code == 404
        answer = person.get(desk.address().removeprefix(SITE))
        assert answer.status_code == 303
        assert person.get("/").status_code == 200
        with pytest.raises(InputError, match="asked who they are"):
            Settings(host="0.0.0.0").check(users=False)
    finally:
        desk.close()


def test_a_proxy_says_who_is_there(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    desk = small_desk(
        folder, proxies=("127.0.0.1",), user_header="X-Remote-User", proxy_secret=secret
    )
    try:
        person = client(desk)
        known = {"x-magml-proxy-secret": secret.read_text().strip()}
        person.headers["x-forwarded-for"] = "1.2.3.4, 10.0.0.9"
        assert person.get("/", headers={"x-remote-user": "ada"}).status_code == 403
        assert person.get("/", headers={**known, "x-remote-user": "eve"}).status_code == 403
        assert person.get("/", headers=known).status_code == 403
        answer = person.get("/", headers={**known, "x-remote-user": "ada"})
        assert answer.status_code == 200
        assert "__Host-magml=" in answer.headers["set-cookie"]
        assert "Secure" in answer.headers["set-cookie"]
        assert access_log(desk.record.engine)[-1]["address"] == "10.0.0.9"
        # Another person on the same browser is not taken for the first.
        assert "ben" in person.get("/", headers={**known, "x-remote-user": "ben"}).text
        elsewhere = TestClient(desk.app(), base_url=SITE, client=("10.0.0.7", 50000))
        assert elsewhere.get("/", headers={**known, "x-remote-user": "ada"}).status_code == 403
    finally:
        desk.close()


@pytest.mark.parametrize(
    ("settings", "users", "missing"),
    [
        ({"host": "0.0.0.0"}, False, "asked who they are"),
        ({"host": "0.0.0.0"}, True, "without TLS"),
        ({"proxies": ("10.0.0.1",)}, False, "ask nobody"),
        ({"user_header": "X-User"}, True, "nothing that shows a proxy sent it"),
        ({"user_header": "X-User", "proxies": ("10.0.0.1",)}, True, "nothing that shows"),
        ({"tls_key": Path("key")}, True, "certificate without its key"),
    ],
)
def test_it_refuses_to_be_open(settings: dict[str, Any], users: bool, missing: str) -> None:
    with pytest.raises(InputError, match=missing):
        Settings(**settings).check(users=users)


def test_too_much_is_refused_and_a_defect_says_nothing(desk: Desk) -> None:
    ada = reader(desk, "ada")
    address = f"/patient/{desk.prepared.tokens[0]}"
    assert fill(ada, address, overall="agree", comment="x" * 300_000).status_code == 413
    assert fill(ada, address, overall="agree", comment="x" * 5_000).status_code == 422
    assert ada.get("/patient/none").status_code == 404
    object.__setattr__(desk, "prepared", None)
    answer = ada.get("/")
    assert answer.status_code == 500
    assert answer.text == "This is a defect of magml. Nothing was signed."
