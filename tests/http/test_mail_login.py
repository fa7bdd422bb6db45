"""Signing in by mail: who learns nothing, guessed and spent codes first, then how it goes, on both databases."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.auth.mail_codes import ATTEMPTS_MAX
from backstay.schema.base import utc_now
from support.asgi import Answer
from support.databases import DATABASES
from support.people import OPTIONS, People, Person, bearer_of, code_in, people

BY_MAIL = replace(OPTIONS, sign_in_by_mail=True, login_page="https://shop.example/in")
ADA = "ada@example.org"


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database, with an account whose address is proven."""
    with people(request.param, tmp_path, BY_MAIL) as opened:
        opened.register(ADA)
        opened.change(1, email_verified_at=utc_now())
        yield opened


def ask(client: People, email: str = ADA, kind: str = "code") -> Answer:
    """Ask for a mail."""
    return client.post("/auth/mail", {"email": email, "kind": kind})


def answer_with(client: People, **body: Any) -> Answer:
    """Sign in with what it said."""
    return client.post("/auth/mail/login", body)


def other_than(code: str) -> str:
    """A wrong code."""
    return f"{(int(code) + 1) % 10**8:08}"


def test_it_has_to_be_turned_on(tmp_path: Path) -> None:
    """Nobody signs in by mail unless the program says so."""
    with people("sqlite", tmp_path) as client:
        client.register(ADA)
        assert ask(client).json["code"] == "FORBIDDEN"
        assert answer_with(client, token="x" * 43).json["code"] == "FORBIDDEN"
        client.no_mail()


def test_nobody_learns_who_has_an_account(client: People) -> None:
    """One answer for a known, an unknown and a disabled address."""
    client.register("bob@example.org")
    client.change(2, disabled_at=utc_now())
    answers = [ask(client, email) for email in (ADA, "eve@example.org", "bob@example.org")]
    assert {(a.status, len(a.body), tuple(sorted(a.json["data"]))) for a in answers} == {
        (202, len(answers[0].body), ("status", "ticket"))
    }
    assert len({a.data["ticket"] for a in answers}) == 3
    assert client.mail("login_code").to == ADA
    client.no_mail()


def test_codes_need_their_ticket(client: People) -> None:
    """A code alone, another's ticket, a ticket alone, malformed ones: none signs in."""
    mine, other = ask(client).data["ticket"], ask(client).data["ticket"]
    codes = [client.mail("login_code").token for _ in range(2)]
    refused: list[dict[str, Any]] = [
        {},
        {"ticket": mine},
        {"token": mine},
        {"code": codes[0]},
        {"ticket": "x" * 43, "code": codes[0]},
        {"token": "\u0000"},
        {"ticket": mine, "code": "1234567"},
        {"ticket": mine, "code": "１２３４５６７８"},
        {"ticket": mine, "code": codes[0] + "\n"},
        {"token": codes[0]},
    ]
    for body in refused:
        assert answer_with(client, **body).status in (400, 401), body
    statuses = {
        (n, t): answer_with(client, ticket=t, code=c).status for n, c in enumerate(codes) for t in (mine, other)
    }
    assert sorted(statuses.values()) == [200, 200, 401, 401]


def test_few_guesses(client: People) -> None:
    """After them the right code is no good either."""
    ticket = ask(client).data["ticket"]
    code = client.mail("login_code").token
    for _ in range(ATTEMPTS_MAX):
        assert answer_with(client, ticket=ticket, code=other_than(code)).json["code"] == "WRONG_CREDENTIALS"
    assert answer_with(client, ticket=ticket, code=code).status == 401


@pytest.mark.parametrize("kind", ["code", "link"])
def test_once_and_for_a_while(client: People, kind: str) -> None:
    """A code and a link alike."""

    def fresh() -> dict[str, str]:
        ticket = ask(client, kind=kind).data["ticket"]
        mail = client.mail("login" if kind == "link" else "login_code")
        assert (ticket is None) == (kind == "link")
        return {"token": code_in(mail)} if ticket is None else {"ticket": ticket, "code": code_in(mail)}

    body = fresh()
    assert client.me(bearer_of(answer_with(client, **body))).data["id"] == 1
    assert answer_with(client, **body).status == 401
    late = fresh()
    client.run(sa.update(client.accounts().tables.one_time_codes).values(expires_at=utc_now()))
    assert answer_with(client, **late).status == 401
    disabled = fresh()
    client.change(1, disabled_at=utc_now())
    assert answer_with(client, **disabled).status == 401


def test_mails_are_few(client: People) -> None:
    """Nobody's mailbox is filled."""
    for _ in range(12):
        assert ask(client).status == 202
    client.loop.run_until_complete(client.accounts().later.close())
    assert len(client.mails) <= 4


def test_an_address_that_changed(client: People) -> None:
    """A code for the old one is no good."""
    ticket = ask(client).data["ticket"]
    code = client.mail("login_code").token
    client.change(1, email="ada@example.com")
    assert answer_with(client, ticket=ticket, code=code).status == 401


def test_who_made_an_account_with_my_address_has_it_no_more(client: People) -> None:
    """I prove the address: their password, session and keys are worth nothing."""
    theirs = client.signed_in("bob@example.org")
    made = client.post("/auth/keys", {"name": "back", "scopes": ["*"]}, credential=theirs)
    key = "Bearer " + made.data["key"]
    assert client.me(key).status == 200
    ask(client, "bob@example.org", "link")
    mine = bearer_of(answer_with(client, token=client.mail("login").token))
    assert client.me(mine).data["email_verified_at"] is not None
    assert [client.me(credential).status for credential in (theirs, key)] == [401, 401]
    assert client.login("bob@example.org").status == 401


def test_a_link_leads_to_a_page(client: People) -> None:
    """The program's own; nothing of it is kept as it is."""
    ask(client, kind="link")
    mail = client.mail("login")
    assert f"https://shop.example/in?token={mail.token}" in mail.text
    ask(client)
    code = client.mail("login_code").token
    rows = str(client.run(sa.select(client.accounts().tables.one_time_codes)))
    assert mail.token not in rows
    assert code not in rows
    cookies = answer_with(client, token=mail.token, mode="cookie").cookies
    assert len(cookies) == 3
    assert len(client.run(sa.select(Person.id))) == 1
