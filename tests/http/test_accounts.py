"""Accounts: what is refused, then register, sign in, renew, sign out, on both databases."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay import AccountOptions
from backstay.schema.base import utc_now
from support.databases import DATABASES
from support.people import CHEAP, PASSWORD, People, Person, bearer_of, people


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"password": PASSWORD}, "email", "missing"),
        ({"email": "ada@example.org"}, "password", "missing"),
        ({"email": "ada", "password": PASSWORD}, "email", "value_error"),
        ({"email": "a b@example.org", "password": PASSWORD}, "email", "value_error"),
        ({"email": "ada@localhost", "password": PASSWORD}, "email", "value_error"),
        ({"email": "ada@example.org\x00", "password": PASSWORD}, "email", "value_error"),
        ({"email": "ada@example.org", "password": "short"}, "password", "too_short"),
        ({"email": "ada@example.org", "password": "x" * 500}, "password", "string_too_long"),
        ({"email": "ada@example.org", "password": "Password1"}, "password", "too_common"),
        ({"email": "ada@example.org", "password": "ada@Example.org"}, "password", "too_personal"),
        ({"email": "ada@example.org", "password": "abababababab"}, "password", "too_simple"),
        ({"email": "ada@example.org", "password": PASSWORD, "username": "a@b"}, "username", "value_error"),
        ({"email": "ada@example.org", "password": PASSWORD, "roles": ["admin"]}, "roles", "extra_forbidden"),
        ({"email": "ada@example.org", "password": PASSWORD, "mode": "none"}, "mode", "literal_error"),
        ({"email": 7, "password": PASSWORD}, "email", "string_type"),
    ],
)
def test_bad_registrations_are_refused(client: People, body: dict[str, object], field: str, code: str) -> None:
    """Each with its field, and without an account."""
    answer = client.post("/auth/register", body)
    assert answer.status == 400
    assert [(e["field"], e["code"]) for e in answer.json["errors"]] == [(field, code)]
    assert client.run(sa.select(Person.id)) == []


@pytest.mark.parametrize(
    "same",
    ["ada@example.org", "ADA@EXAMPLE.ORG", " Ada@Example.Org ", "ada@example.org.", "ａda@example.org"],
)
def test_addresses_that_look_the_same_are_one(client: People, same: str) -> None:
    """Whatever their case; compatibility letters are others, as mail servers have it."""
    assert client.register("ada@example.org").status == 201
    answer = client.register(same)
    if same == "ａda@example.org":
        assert answer.status == 201
    elif same.endswith("."):
        assert answer.status == 400
    else:
        assert answer.status == 409
        assert [e["field"] for e in answer.json["errors"]] == ["email"]
        assert client.login(same).status == 200


@pytest.mark.parametrize("same", ["Chloé", "chloe\u0301", "CHLOÉ", "ＣＨＬＯÉ"])
def test_names_that_look_the_same_are_one(client: People, same: str) -> None:
    """Whatever their case and the form of their letters; they are found by filters in the same way."""
    assert client.register("a@example.org", username="chloé").status == 201
    answer = client.register("b@example.org", username=same)
    assert (answer.status, [e["field"] for e in answer.json["errors"]]) == (409, ["username"])
    assert client.login(same).status == 200
    assert client.get("/people", [("username", same), ("fields", "username")]).data == [{"username": "chloé"}]
    assert client.get("/people", [("username[in]", f"x,{same}")]).meta["total"] == 1


def test_domains_are_compared_in_ascii(client: People) -> None:
    """An internationalised domain and its ASCII form are one."""
    assert client.register("ada@bücher.example").status == 201
    assert client.register("ada@XN--BCHER-KVA.example").status == 409


def test_wrong_credentials_are_all_the_same(client: People) -> None:
    """An unknown address, an unknown name, a wrong password: one answer."""
    client.register("ada@example.org")
    answers = [client.login("ada@example.org", "wrong password")]
    answers += [client.login(login) for login in ("bob@example.org", "bob", "not @ an address", "\u200b")]
    for answer in answers:
        problem = answer.json
        assert (answer.status, problem["code"]) == (401, "WRONG_CREDENTIALS")
        assert {k: v for k, v in problem.items() if k not in ("request_id", "timestamp")} == {
            k: v for k, v in answers[0].json.items() if k not in ("request_id", "timestamp")
        }


def test_a_disabled_user_cannot_sign_in(client: People) -> None:
    """And is told no more than who has a wrong password."""
    credential = client.signed_in("ada@example.org")
    assert client.me(credential).status == 200
    client.change(1, disabled_at=utc_now())
    assert client.me(credential).status == 401
    assert client.login("ada@example.org").json["code"] == "WRONG_CREDENTIALS"
    client.change(1, disabled_at=None)
    assert client.login("ada@example.org").status == 200


def test_sign_in_by_address_or_name(client: People) -> None:
    """Either finds the account; `me` shows it, and rules know it."""
    client.register("ada@example.org", username="ada")
    for login in ("ada@example.org", "ada", "ADA"):
        credential = bearer_of(client.login(login))
        assert client.me(credential).data == {
            "id": 1,
            "email": "ada@example.org",
            "username": "ada",
            "email_verified_at": None,
            "roles": [],
            "permissions": [],
            "tenant": None,
            "actor": None,
        }
    created = client.post("/notes", {"text": "mine"}, credential=credential)
    assert (created.status, created.data["author_id"]) == (201, 1)
    assert client.request("PATCH", "/people/1", body={"nickname": "countess"}, credential=credential).status == 200


def test_nobody_signed_in_is_nobody(client: People) -> None:
    """Endpoints about me ask to sign in."""
    for method, path in (("GET", "me"), ("GET", "sessions"), ("POST", "logout-all"), ("DELETE", "sessions/1")):
        answer = client.request(method, f"/auth/{path}")
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHENTICATED"), path


def test_private_columns_are_not_shown(client: People) -> None:
    """Neither the address nor the hash: not in rows, not by fields, filters, sort or aggregates, nor in OpenAPI."""
    credential = client.signed_in("ada@example.org")
    row = client.get("/people/1").data
    assert set(row) == {"id", "username", "nickname", "created_at", "updated_at", "version"}
    for column in ("email", "password_hash", "email_verified_at", "disabled_at"):
        for query in (f"fields={column}", f"{column}=x", f"sort={column}", f"{column}[like]=a%25"):
            assert client.get("/people", query).status == 400
        assert client.get("/people/aggregate", f"group={column}").status == 400
        body = {column: "2026-01-01T00:00:00Z"}
        assert client.request("PATCH", "/people/1", body=body, credential=credential).status == 400
    text = str({k: v for k, v in client.app.openapi()["components"]["schemas"].items() if k.startswith("Pe")})
    assert "password_hash" not in text
    assert "email" not in text


def test_refresh_renews_and_spends(client: People) -> None:
    """Each refresh token is good once."""
    first = client.register("ada@example.org").data
    second = client.refresh(first["refresh_token"])
    assert second.status == 200
    assert second.headers["cache-control"] == "no-store"
    assert second.data["refresh_token"] != first["refresh_token"]
    assert client.me(bearer_of(second)).status == 200
    third = client.refresh(second.data["refresh_token"])
    assert third.status == 200


def test_reuse_ends_the_session(client: People) -> None:
    """A spent refresh token ends its family, also the newest of it, and is recorded."""
    first = client.register("ada@example.org").data
    other = client.login("ada@example.org")
    second = client.refresh(first["refresh_token"])
    assert client.refresh(first["refresh_token"]).status == 401
    assert client.refresh(second.data["refresh_token"]).status == 401
    assert client.me(bearer_of(second)).status == 401
    assert client.me(bearer_of(other)).status == 200, "another session of the user goes on"
    assert [event.user_id for event in client.events("refresh_reuse")][:1] == ["1"]


def test_twenty_parallel_uses_of_one_refresh_token(client: People) -> None:
    """Exactly one succeeds; the others end the session."""
    token = client.register("ada@example.org").data["refresh_token"]

    async def burst() -> list[int]:
        body = {"refresh_token": token}
        answers = await asyncio.gather(*[client.send("POST", "/auth/refresh", body=body) for _ in range(20)])
        for answer in answers:
            if answer.status == 200:
                again = await client.send(
                    "POST", "/auth/refresh", body={"refresh_token": answer.data["refresh_token"]}
                )
                assert again.status == 401
        return [answer.status for answer in answers]

    assert sorted(client.loop.run_until_complete(burst())) == [200] + [401] * 19


def test_logout_ends_the_session_at_once(client: People) -> None:
    """Its access token and its refresh token are good no more, and a second logout is refused."""
    granted = client.register("ada@example.org")
    credential = bearer_of(granted)
    assert client.me(credential).status == 200
    assert client.request("POST", "/auth/logout", credential=credential).status == 204
    assert client.me(credential).status == 401
    assert client.get("/people", credential=credential).status == 401
    assert client.refresh(granted.data["refresh_token"]).status == 401
    assert client.request("POST", "/auth/logout", credential=credential).status == 204


def test_logout_with_a_refresh_token(client: People) -> None:
    """Who has nothing but that ends the session with it."""
    granted = client.register("ada@example.org")
    assert client.post("/auth/logout", {"refresh_token": granted.data["refresh_token"]}).status == 204
    assert client.me(bearer_of(granted)).status == 401


def test_logout_all(client: People) -> None:
    """Every session of mine ends, and nobody else's."""
    mine = [client.signed_in("ada@example.org"), bearer_of(client.login("ada@example.org"))]
    other = client.signed_in("bob@example.org")
    assert client.request("POST", "/auth/logout-all", credential=mine[0]).status == 204
    assert [client.me(c).status for c in (*mine, other)] == [401, 401, 200]


def test_sessions_are_listed_and_ended(client: People) -> None:
    """Mine, with where they are from; another's is not there."""
    first = client.signed_in("ada@example.org")
    other = client.signed_in("bob@example.org")
    headers = [(b"user-agent", b"Lynx/2.9"), (b"content-type", b"application/json")]
    body = {"login": "ada@example.org", "password": PASSWORD}
    second = bearer_of(client.request("POST", "/auth/login", body=body, headers=headers))
    shown = client.get("/auth/sessions", credential=first).data
    assert [(s["device"], s["ip"], s["kind"], s["current"]) for s in shown] == [
        ("Lynx/2.9", "192.0.2.1", "password", False),
        ("", "192.0.2.1", "password", True),
    ]
    number = shown[0]["id"]
    assert client.request("DELETE", f"/auth/sessions/{number}", credential=other).status == 404
    assert client.me(second).status == 200
    assert client.request("DELETE", f"/auth/sessions/{number}", credential=first).status == 204
    assert client.request("DELETE", f"/auth/sessions/{number}", credential=first).status == 404
    assert client.request("DELETE", "/auth/sessions/99999999999999999999", credential=first).status in (400, 404)
    assert [client.me(c).status for c in (first, second)] == [200, 401]


def test_password_change(client: People) -> None:
    """With the old one only; other sessions end, this one goes on."""
    first, second = client.signed_in("ada@example.org"), bearer_of(client.login("ada@example.org"))
    body = {"current_password": "wrong password", "new_password": "another fine phrase"}
    assert client.post("/auth/password", body, credential=first).json["code"] == "WRONG_CREDENTIALS"
    weak = {"current_password": PASSWORD, "new_password": "password1"}
    assert client.post("/auth/password", weak, credential=first).json["errors"][0]["field"] == "new_password"
    assert client.post("/auth/password", body | {"current_password": PASSWORD}, credential=first).status == 204
    assert [client.me(c).status for c in (first, second)] == [200, 401]
    assert client.login("ada@example.org").status == 401
    assert client.login("ada@example.org", "another fine phrase").status == 200
    assert client.mail("password_changed").to == "ada@example.org"


def test_account_is_deleted(client: People) -> None:
    """By the password; every trace of who it was goes."""
    credential = client.signed_in("ada@example.org")
    assert client.post("/auth/me/delete", {"password": "wrong password"}, credential=credential).status == 401
    assert client.post("/auth/me/delete", {"password": PASSWORD}, credential=credential).status == 204
    assert client.me(credential).status == 401
    assert client.get("/people").data == []
    assert client.login("ada@example.org").status == 401
    assert client.register("ada@example.org").status == 201


def test_account_that_others_refer_to_is_emptied(client: People) -> None:
    """What it wrote stays; its name, address and password do not."""
    credential = bearer_of(client.register("ada@example.org", username="ada"))
    client.post("/notes", {"text": "mine"}, credential=credential)
    assert client.post("/auth/me/delete", {"password": PASSWORD}, credential=credential).status == 204
    assert client.me(credential).status == 401
    assert client.get("/notes").data[0]["author_id"] == 1
    [row] = client.run(sa.select(Person.email, Person.username, Person.password_hash, Person.disabled_at))
    assert row[:3] == (None, None, None)
    assert row[3] is not None


def test_registration_can_be_closed(client: People, tmp_path: Path) -> None:
    """Then nobody makes an account."""
    with people("sqlite", tmp_path, AccountOptions(registration=False, hashing=CHEAP)) as closed:
        assert closed.register("ada@example.org").status == 403
