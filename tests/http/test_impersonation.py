"""Impersonation: who cannot and what cannot be done by it first, then how it goes, on both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.auth.roles import grant_role, set_role, take_role
from backstay.schema.base import utc_now
from support.asgi import Answer
from support.databases import DATABASES
from support.people import PASSWORD, People, bearer_of, people


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[People]:
    """The app on each database."""
    with people(request.param, tmp_path) as opened:
        for name in ("support", "ada", "admin"):
            opened.register(f"{name}@example.org")
        roles(opened)
        yield opened


def roles(client: People, *, take: tuple[int, str] | None = None, give: tuple[int, str] | None = None) -> None:
    """Make the roles, and change who has them."""
    tables = client.accounts().tables

    async def changed() -> None:
        async with client.app.transaction() as session:
            if take is not None:
                await take_role(session, tables, *take)
            elif give is not None:
                await grant_role(session, tables, *give)
            else:
                await set_role(session, tables, "support", ["users.impersonate", "notes.moderate"])
                await set_role(session, tables, "admin", ["users.delete"])
                await set_role(session, tables, "moderator", ["notes.moderate"])
                await grant_role(session, tables, 1, "support")
                await grant_role(session, tables, 3, "admin")

    client.loop.run_until_complete(changed())


def signed_in(client: People, name: str) -> str:
    """The Authorization header of one of them."""
    return bearer_of(client.login(f"{name}@example.org"))


def act(client: People, credential: str, user: object = 2) -> Answer:
    """Act for a user."""
    return client.post("/auth/impersonate", {"user_id": user, "reason": "ticket 7"}, credential=credential)


def acting(client: People, credential: str, user: object = 2) -> str:
    """The Authorization header to act with."""
    return bearer_of(act(client, credential, user))


def test_who_cannot(client: People) -> None:
    """Nobody without the permission, without a session, for more rights, for themselves, for nobody."""
    support = signed_in(client, "support")
    key = client.post("/auth/keys", {"name": "k", "scopes": ["*"]}, credential=support).data["key"]
    cases: list[tuple[Answer, int]] = [
        (act(client, ""), 401),
        (act(client, signed_in(client, "ada"), 1), 403),
        (act(client, signed_in(client, "admin")), 403),
        (act(client, f"Bearer {key}"), 403),
        (act(client, support, 3), 403),
        (act(client, support, 1), 403),
        (act(client, support, 99), 404),
        (act(client, support, "ada"), 404),
        (act(client, support, "\u0000"), 400),
        (act(client, support, 10**30), 400),
        (act(client, support, -1), 404),
        (client.post("/auth/impersonate", {"user_id": 2}, credential=support), 400),
        (client.post("/auth/impersonate", {"user_id": 2, "reason": ""}, credential=support), 400),
        (client.request("DELETE", "/auth/impersonate", credential=support), 403),
    ]
    assert [answer.status for answer, _ in cases] == [status for _, status in cases]
    client.change(2, disabled_at=utc_now())
    assert act(client, support).status == 404
    assert client.events("impersonation_began") == []
    assert len(client.events("impersonation_refused")) == 2


def test_rights_of_its_own_are_needed_for_each(client: People) -> None:
    """A user who has a role that support has not may not be acted for, though it permits nothing new."""
    roles(client, give=(2, "moderator"))
    assert act(client, signed_in(client, "support")).status == 403
    roles(client, give=(1, "moderator"))
    assert act(client, signed_in(client, "support")).status == 200


def test_what_is_the_users_own(client: People) -> None:
    """Their password, address, keys, sessions and ways to sign in are not touched in their name."""
    credential = acting(client, signed_in(client, "support"))
    for method, path, body in (
        ("POST", "/auth/password", {"current_password": PASSWORD, "new_password": "another fine phrase"}),
        ("POST", "/auth/email", {"email": "eve@example.org", "password": PASSWORD}),
        ("POST", "/auth/me/delete", {"password": PASSWORD}),
        ("POST", "/auth/keys", {"name": "k", "scopes": ["*"]}),
        ("GET", "/auth/keys", None),
        ("GET", "/auth/sessions", None),
        ("POST", "/auth/logout-all", None),
        ("GET", "/auth/mfa", None),
        ("POST", "/auth/mfa/totp", {"password": PASSWORD}),
        ("POST", "/auth/passkeys/options", {"password": PASSWORD}),
        ("GET", "/auth/identities", None),
        ("POST", "/auth/impersonate", {"user_id": 1, "reason": "on and on"}),
    ):
        answer = client.request(method, path, body=body, credential=credential)
        assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN"), path
    assert client.login("ada@example.org").status == 200


def test_it_ends(client: People) -> None:
    """By its end, and whenever the actor has no session, no permission or no account any more."""
    support = signed_in(client, "support")
    first = acting(client, support)
    assert client.request("DELETE", "/auth/impersonate", credential=first).status == 204
    assert client.me(first).status == 401
    second = acting(client, support)
    assert client.post("/auth/logout", None, credential=second).status == 204
    assert client.me(second).status == 401
    third = acting(client, support)
    assert client.me(third).status == 200
    client.post("/auth/logout", None, credential=support)
    assert client.me(third).status == 401, "the actor signed out"
    fourth = acting(client, signed_in(client, "support"))
    assert client.me(fourth).status == 200
    roles(client, take=(1, "support"))
    assert client.me(fourth).status == 401, "the actor has no permission any more"
    roles(client, give=(1, "support"))
    fifth = acting(client, signed_in(client, "support"))
    roles(client, give=(2, "admin"))
    assert client.me(fifth).status == 401, "the user may do more now"
    roles(client, take=(2, "admin"))
    assert client.me(fifth).status == 200
    client.change(1, disabled_at=utc_now())
    assert client.me(fifth).status == 401


def test_it_is_over_soon(client: People) -> None:
    """Nothing renews it."""
    answer = act(client, signed_in(client, "support"))
    assert (set(answer.data), answer.headers["cache-control"]) == (
        {"access_token", "token_type", "expires_in"},
        "no-store",
    )
    assert answer.data["expires_in"] <= 900
    sessions = client.accounts().tables.sessions
    mine = sa.update(sessions).where(sessions.c.kind.like("impersonation:%"))
    client.run(mine.values(expires_at=utc_now()))
    assert client.me(bearer_of(answer)).status == 401


def test_acting_for_a_user(client: People) -> None:
    """It is the user who acts, with their rights; `me` and the security events say who really does."""
    support = signed_in(client, "support")
    credential = acting(client, support)
    me = client.me(credential).data
    assert (me["id"], me["actor"], me["permissions"]) == (2, 1, [])
    assert client.post("/notes", {"text": "in your name"}, credential=credential).data["author_id"] == 2
    assert client.me(support).data["actor"] is None
    client.request("DELETE", "/auth/impersonate", credential=credential)
    for kind, told in (("impersonation_began", {"actor", "reason", "session_id"}), ("impersonation_ended", None)):
        [event] = client.events(kind)
        details = dict(event.details)
        assert (event.user_id, details["actor"]) == ("2", "1")
        assert told is None or (set(details), details["reason"]) == (told, "ticket 7")
