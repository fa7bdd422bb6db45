"""What goes by mail: who learns nothing, spent codes, then a proven address and a new password, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay import AccountOptions
from backstay.cli.serve import _warn_of_mail
from backstay.schema.base import utc_now
from support.asgi import Answer, Client
from support.databases import DATABASES
from support.people import CHEAP, OPTIONS, PASSWORD, PEOPLE, People, Person, bearer_of, code_in, people, people_app

VERIFIED = AccountOptions(hashing=CHEAP)


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database, where an address must be proven."""
    with people(request.param, tmp_path, VERIFIED) as opened:
        yield opened


def same(*answers: Answer) -> bool:
    """Whether nobody can tell answers apart."""
    return len({(a.status, a.body, tuple(sorted(set(a.headers) - {"x-request-id"}))) for a in answers}) == 1


def test_without_a_mailer_there_is_no_mail(tmp_path: Path) -> None:
    """What needs mail says so, and makes nothing."""
    with Client(people_app(PEOPLE.own("sqlite", tmp_path), VERIFIED)) as client:
        for path, body in (
            ("register", {"email": "ada@example.org", "password": PASSWORD}),
            ("password/forgot", {"email": "ada@example.org"}),
            ("verify/resend", {"email": "ada@example.org"}),
        ):
            answer = client.post(f"/auth/{path}", body)
            assert (answer.status, answer.json["code"]) == (503, "MAIL_UNAVAILABLE")
        assert client.get("/people").data == []


def test_serve_warns_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator hears of it before the first who wants to register."""
    with Client(people_app(PEOPLE.own("sqlite", tmp_path), VERIFIED)) as client:
        _warn_of_mail(client.app.start().accounts)
        assert "declare @app.mailer" in capsys.readouterr().err
    with people("sqlite", tmp_path, VERIFIED) as client:
        _warn_of_mail(client.accounts())
        assert capsys.readouterr().err == ""


def test_registering_tells_nobody_who_has_an_account(client: People) -> None:
    """A taken address is answered like a fresh one; its owner hears of it."""
    fresh = client.register("ada@example.org")
    assert (fresh.status, fresh.data) == (202, {"status": "mail_sent"})
    assert client.mail("verify").to == "ada@example.org"
    again = client.register("ADA@example.org", "another fine phrase")
    assert same(fresh, again)
    assert client.mail("taken").to == "ada@example.org"
    client.no_mail()
    assert len(client.run(sa.select(Person.id))) == 1
    assert len(client.events("registration_repeated")) == 1


def test_forgetting_tells_nobody_who_has_an_account(client: People) -> None:
    """Nor does asking for the code again, nor an account that is disabled."""
    client.register("ada@example.org")
    client.mail("verify")
    known = client.post("/auth/password/forgot", {"email": "ada@example.org"})
    assert same(known, client.post("/auth/password/forgot", {"email": "bob@example.org"}))
    assert same(known, client.post("/auth/verify/resend", {"email": "bob@example.org"}))
    client.mail("reset")
    client.no_mail()
    client.change(1, disabled_at=utc_now())
    assert same(known, client.post("/auth/password/forgot", {"email": "ada@example.org"}))
    client.no_mail()


def test_unproven_address_does_not_sign_in(client: People) -> None:
    """Only who knows the password is told why."""
    client.register("ada@example.org")
    assert client.login("ada@example.org", "wrong password").json["code"] == "WRONG_CREDENTIALS"
    assert client.login("ada@example.org").json["code"] == "EMAIL_UNVERIFIED"


@pytest.mark.parametrize("path", ["verify", "password/reset"])
@pytest.mark.parametrize("token", ["", "x", "x" * 43, "\u0000", "x" * 500])
def test_unknown_codes_are_refused(client: People, path: str, token: str) -> None:
    """Whatever they look like."""
    body = {"token": token} | ({"password": PASSWORD} if path == "password/reset" else {})
    answer = client.post(f"/auth/{path}", body)
    assert answer.status == 400
    assert [e["field"] for e in answer.json["errors"]] == ["token"]


def test_a_code_is_good_once_and_for_one_purpose(client: People) -> None:
    """And only the newest of its kind, and only for a while."""
    client.register("ada@example.org")
    code = code_in(client.mail("verify"))
    assert client.post("/auth/password/reset", {"token": code, "password": "another phrase"}).status == 400
    client.post("/auth/verify/resend", {"email": "ada@example.org"})
    newer = code_in(client.mail("verify"))
    assert client.post("/auth/verify", {"token": code}).status == 400
    assert client.post("/auth/verify", {"token": newer}).status == 204
    assert client.post("/auth/verify", {"token": newer}).status == 400
    assert client.login("ada@example.org").status == 200
    client.post("/auth/password/forgot", {"email": "ada@example.org"})
    reset = code_in(client.mail("reset"))
    codes = client.accounts().tables.one_time_codes
    client.run(sa.update(codes).values(expires_at=utc_now()))
    assert client.post("/auth/password/reset", {"token": reset, "password": "another phrase"}).status == 400
    client.post("/auth/verify/resend", {"email": "ada@example.org"})
    client.no_mail()


def test_codes_are_kept_as_hashes(client: People) -> None:
    """Who reads the table cannot use what is there."""
    client.register("ada@example.org")
    code = code_in(client.mail("verify"))
    assert code not in str(client.run(sa.select(client.accounts().tables.one_time_codes)))


def test_password_reset(client: People) -> None:
    """A new password, and a proven address; every session ends, and so does waiting."""
    client.register("ada@example.org")
    client.post("/auth/verify", {"token": client.mail("verify").token})
    session = bearer_of(client.login("ada@example.org"))
    for _ in range(6):
        client.login("ada@example.org", "wrong password")
    assert client.login("ada@example.org").status == 429
    client.post("/auth/password/forgot", {"email": "ada@example.org"})
    token = client.mail("reset").token
    weak = client.post("/auth/password/reset", {"token": token, "password": "ada@example.org"})
    assert (weak.status, weak.json["errors"][0]["code"]) == (400, "too_personal")
    assert client.post("/auth/password/reset", {"token": token, "password": "another phrase"}).status == 204
    assert client.me(session).status == 401
    assert client.login("ada@example.org").status == 401
    assert client.login("ada@example.org", "another phrase").status == 200
    assert client.mail("password_changed").to == "ada@example.org"


def test_mails_are_few(client: People) -> None:
    """Nobody's mailbox is filled by asking again and again."""
    client.register("ada@example.org")
    client.mail("verify")
    for _ in range(12):
        assert client.post("/auth/password/forgot", {"email": "ada@example.org"}).status == 202
    client.mail("reset")
    client.loop.run_until_complete(client.accounts().later.close())
    assert len(client.mails) <= 4


def test_another_address(tmp_path: Path, client: People) -> None:
    """It is the account's when its code comes back; the old one hears of it, and signs in no more."""
    client.register("ada@example.org")
    client.post("/auth/verify", {"token": client.mail("verify").token})
    client.register("bob@example.org")
    client.mail("verify")
    credential = bearer_of(client.login("ada@example.org"))
    wrong = {"email": "ada@example.com", "password": "wrong password"}
    assert client.post("/auth/email", wrong, credential=credential).status == 401
    taken = client.post("/auth/email", {"email": "bob@example.org", "password": PASSWORD}, credential=credential)
    assert client.mail("taken").to == "bob@example.org"
    free = client.post("/auth/email", {"email": "ada@example.com", "password": PASSWORD}, credential=credential)
    assert same(taken, free)
    mail = client.mail("email")
    assert mail.to == "ada@example.com"
    assert client.me(credential).data["email"] == "ada@example.org"
    assert client.post("/auth/verify", {"token": code_in(mail)}).status == 204
    assert client.me(credential).data["email"] == "ada@example.com"
    assert client.mail("email_changed").to == "ada@example.org"
    assert client.login("ada@example.org").status == 401
    assert client.login("ada@example.com").status == 200


def test_mails_lead_to_pages(tmp_path: Path) -> None:
    """Where a program names its pages, a mail has a link instead of a code."""
    options = replace(OPTIONS, verify_email=True, verify_page="https://shop.example/verify?lang=en")
    with people("sqlite", tmp_path, options) as client:
        client.register("ada@example.org")
        mail = client.mail("verify")
        assert f"https://shop.example/verify?lang=en&token={mail.token}" in mail.text
        assert mail.subject == "people: Confirm your e-mail address"


def test_a_mailer_that_fails_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer does not wait for it, and the log says why, without the code."""
    app = people_app(PEOPLE.own("sqlite", tmp_path), VERIFIED)

    @app.mailer
    async def send(mail: object) -> None:
        raise ConnectionError("no route to mail host")

    with Client(app) as client:
        assert client.post("/auth/register", {"email": "ada@example.org", "password": PASSWORD}).status == 202
    assert "no route to mail host" in capsys.readouterr().err
