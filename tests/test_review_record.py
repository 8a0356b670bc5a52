"""The record of reviews: what is signed stays, and what was changed is found."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from magml.errors import InputError, MagmlError
from magml.review.entry import CODES, Judgement, ReasonVerdict
from magml.review.head import Head
from magml.review.key import read_key
from magml.review.record import Places, Record, open_record
from magml.review.verify import verify_reviews
from tests.review_parts import postgresql, review


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    """A record's places on each database, empty."""
    if request.param == "sqlite":
        yield Places.of(tmp_path / "reviews")
        return
    url = request.getfixturevalue("server")
    run(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    yield Places.of(tmp_path / "reviews", url)


def run(url: str, *statements: str) -> None:
    """Work on the database as somebody who does not ask magml."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def tamper(places: Places, *statements: str) -> None:
    """Change the chain in spite of its triggers, which who owns the database can remove."""
    if places.url.startswith("sqlite"):
        run(
            places.url,
            "DROP TRIGGER IF EXISTS review_no_update",
            "DROP TRIGGER IF EXISTS review_no_delete",
            *statements,
        )
    else:
        run(places.url, "DROP TRIGGER IF EXISTS review_append_only ON review", *statements)


def add(record: Record, reviewer: str = "ada", overall: str = "agree") -> int:
    new = review(reviewer, overall)
    return record.add(new.page, new.form, lambda _: new)[0]


@pytest.fixture
def filled(places: Places) -> Places:
    record = open_record(places)
    assert [add(record, overall=kind) for kind in ("agree", "disagree", "agree", "agree")] == [
        1,
        2,
        3,
        4,
    ]
    record.close()
    return places


def check(places: Places, **options: str) -> list[tuple[str, int]]:
    found = verify_reviews(
        places.head.parent, db=places.url, key=places.key, head=places.head, **options
    )
    assert found.passed == (not found.faults)
    return [(fault.kind, fault.number) for fault in found.faults]


def test_an_untouched_record_passes(filled: Places) -> None:
    assert check(filled) == []


def test_hashes_are_hmac_sha256_worked_out_apart(filled: Places) -> None:
    secret = bytes.fromhex(filled.key.read_text().strip())
    key = hmac.new(secret, b"magml review chain", hashlib.sha256).digest()
    record = open_record(filled)
    previous = "0" * 64
    for number, link in enumerate(record.links(), start=1):
        message = json.dumps(
            {"entry": link.entry, "number": number, "previous": previous},
            sort_keys=True,
            separators=(",", ":"),
        )
        previous = hmac.new(key, message.encode(), hashlib.sha256).hexdigest()
        assert link.hash == previous
    head = json.loads(filled.head.read_text())
    assert (head["count"], head["hash"]) == (4, previous)
    record.close()


def test_an_altered_entry_is_found(filled: Places) -> None:
    tamper(filled, "UPDATE review SET entry = replace(entry, 'disagree', 'agree') WHERE number = 2")
    assert check(filled) == [("altered", 2)]
    with pytest.raises(InputError, match="1 faults"):
        open_record(filled)


def test_an_altered_column_is_found(filled: Places) -> None:
    tamper(filled, "UPDATE review SET reviewer = 'bob' WHERE number = 3")
    assert check(filled) == [("column", 3)]


def test_a_removed_entry_is_found(filled: Places) -> None:
    tamper(filled, "DELETE FROM review WHERE number = 2")
    assert check(filled) == [("removed", 2)]


def test_a_removed_entry_is_found_when_the_rest_moves_up(filled: Places) -> None:
    tamper(
        filled,
        "DELETE FROM review WHERE number = 2",
        "UPDATE review SET number = 2 WHERE number = 3",
        "UPDATE review SET number = 3 WHERE number = 4",
    )
    kinds = {kind for kind, _ in check(filled)}
    assert {"altered", "reordered", "cut off"} <= kinds


def test_reordered_entries_are_found(filled: Places) -> None:
    tamper(
        filled,
        "UPDATE review SET number = 99 WHERE number = 2",
        "UPDATE review SET number = 2 WHERE number = 3",
        "UPDATE review SET number = 3 WHERE number = 99",
    )
    found = check(filled)
    assert ("reordered", 2) in found
    assert ("altered", 3) in found


def test_a_cut_off_tail_is_found(filled: Places) -> None:
    tamper(filled, "DELETE FROM review WHERE number > 2")
    assert check(filled) == [("cut off", 3)]


def test_an_emptied_record_is_found(filled: Places) -> None:
    tamper(filled, "DELETE FROM review")
    assert check(filled) == [("cut off", 1)]
    with pytest.raises(InputError, match="faults"):
        open_record(filled)


def test_entries_put_before_the_first_are_found(filled: Places) -> None:
    tamper(
        filled,
        "INSERT INTO review (number, form, page, reviewer, entry, previous, hash) "
        "VALUES (0, 'f', 'p', 'r', '{}', 'x', 'y')",
    )
    assert ("altered", 0) in check(filled)


def test_a_tail_cut_off_with_the_head_is_found_by_a_noted_head(filled: Places) -> None:
    """Database and head put back together are whole in themselves."""
    noted = verify_reviews(filled.head.parent, db=filled.url).end.text()
    tamper(filled, "DELETE FROM review WHERE number > 2")
    assert noted.startswith("4:")
    from magml.review.head import write_head

    record = Record(create_engine("sqlite://"), read_key(filled.key), filled.head)
    end = next(link for link in _links(filled) if link.number == 2)
    write_head(filled.head, Head(2, end.hash), record.key)
    assert check(filled) == []
    assert check(filled, expected=noted) == [("cut off", 3)]


def _links(places: Places) -> list:
    from magml.review.database import connect

    engine = connect(places.url)
    links = list(Record(engine, read_key(places.key), places.head).links())
    engine.dispose()
    return links


def test_an_edited_head_is_found(filled: Places) -> None:
    value = json.loads(filled.head.read_text())
    value["count"] = 2
    filled.head.write_text(json.dumps(value))
    assert check(filled)[0] == ("head", 0)
    with pytest.raises(InputError, match="altered"):
        open_record(filled)


def test_a_missing_head_is_found_and_not_begun_again(filled: Places) -> None:
    filled.head.unlink()
    assert check(filled) == [("head", 0)]
    with pytest.raises(InputError, match="no head"):
        open_record(filled)


def test_a_review_behind_a_tail_cut_off_while_running_is_refused(filled: Places) -> None:
    record = open_record(filled)
    tamper(filled, "DELETE FROM review WHERE number > 3")
    with pytest.raises(MagmlError, match="does not end where its head says"):
        add(record)
    record.close()


def test_stopped_between_storing_and_counting_is_no_fault(
    filled: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = open_record(filled)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("magml.review.record.write_head", stop)
        with pytest.raises(KeyboardInterrupt):
            add(record)
    found = record.verify()
    assert (found.passed, found.entries, found.uncounted) == (True, 5, 1)
    assert add(record) == 6  # the next one counts both
    assert record.verify().uncounted == 0
    record.close()


def test_the_triggers_refuse_what_changes_the_past(filled: Places) -> None:
    for statement in (
        "UPDATE review SET reviewer = 'bob'",
        "DELETE FROM review",
        "DELETE FROM audit",
    ):
        if statement.endswith("audit"):
            run(
                filled.url,
                "INSERT INTO audit (at, account, action) VALUES (0, 'ada', 'login')",
            )
        with pytest.raises(SQLAlchemyError, match="append-only"):
            run(filled.url, statement)
    assert check(filled) == []


def test_a_form_sent_twice_is_stored_once(places: Places) -> None:
    record = open_record(places)
    new = review()
    assert record.add(new.page, new.form, lambda _: new) == (1, True)
    assert record.add(new.page, new.form, lambda _: new) == (1, False)
    assert record.count() == 1
    record.close()


def test_who_adds_sees_what_there_is_of_the_page(places: Places) -> None:
    record = open_record(places)
    add(record, "ada")
    seen: list[str] = []
    other = review("bob")
    record.add(
        other.page, other.form, lambda there: seen.extend(r.reviewer for r in there) or other
    )
    assert seen == ["ada"]
    record.close()


def test_threads_and_two_openers_make_one_chain(places: Places) -> None:
    records = [open_record(places), open_record(places)]
    threads = [
        threading.Thread(target=lambda r=record: [add(r) for _ in range(15)])
        for record in (*records, records[0])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records[0].verify()
    assert (found.passed, found.entries, found.uncounted) == (True, 45, 0)
    for record in records:
        record.close()


def test_the_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    places = Places.of(tmp_path / "reviews")
    open_record(places).close()
    assert places.key.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "reviews" / "reviews.db").stat().st_mode & 0o777 == 0o600
    assert places.key.read_text().strip() not in (tmp_path / "reviews" / "head.json").read_text()
    os.chmod(places.key, 0o640)
    with pytest.raises(InputError, match="0640"):
        open_record(places)


def test_another_key_passes_nothing(filled: Places) -> None:
    filled.key.write_text("ab" * 32 + "\n")
    kinds = [kind for kind, _ in check(filled)]
    assert kinds.count("altered") == 4


def test_a_lost_key_is_not_made_again(filled: Places) -> None:
    filled.key.unlink()
    with pytest.raises(InputError, match="no key"):
        open_record(filled)
    filled.head.unlink()
    with pytest.raises(InputError, match="holds 4 reviews"):
        open_record(filled)
    assert not filled.key.exists()


def test_a_judgement_must_be_complete() -> None:
    concepts = {"lab.potassium"}
    Judgement("agree").check(concepts)
    Judgement("disagree", codes=("weight",)).check(concepts)
    Judgement("disagree", comment="why").check(concepts)
    reason = ReasonVerdict("lab.potassium", "disagree", "direction")
    Judgement("agree", reasons=(reason,)).check(concepts)
    for wrong in (
        Judgement(""),
        Judgement("perhaps"),
        Judgement("disagree"),
        Judgement("disagree", comment="  "),
        Judgement("agree", codes=("nonsense",)),
        Judgement("agree", size="enormous"),
        Judgement("agree", comment="x" * 4001),
        Judgement("agree", reasons=(ReasonVerdict("lab.sodium", "agree"),)),
        Judgement("agree", reasons=(reason, reason)),
        Judgement("agree", reasons=(ReasonVerdict("lab.potassium", "yes"),)),
    ):
        with pytest.raises(InputError):
            wrong.check(concepts)
    assert "" not in CODES


def test_databases_that_are_none_are_named() -> None:
    from magml.review.database import connect

    for url, said in (
        ("nonsense", "does not read"),
        ("mysql://x/y", "of the kind mysql"),
        ("sqlite://", "in memory"),
    ):
        with pytest.raises(InputError, match=said):
            connect(url)


def test_the_command_tells_by_its_status(filled: Places) -> None:
    from typer.testing import CliRunner

    from magml.cli.app import app

    options = ["verify-reviews", "--record", str(filled.head.parent), "--db", filled.url, "--json"]
    runner = CliRunner()
    done = runner.invoke(app, options)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["entries"] == 4
    tamper(filled, "DELETE FROM review WHERE number > 2")
    done = runner.invoke(app, options)
    assert done.exit_code == 2
    assert json.loads(done.stdout)["faults"][0]["kind"] == "cut off"
