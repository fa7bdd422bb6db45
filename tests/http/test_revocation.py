"""What one process ends is refused in another within a fifth of a second; roles change at once, on both databases."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.auth.known import KNOWN_MAX, Found, Known
from backstay.auth.people import set_disabled
from backstay.auth.prune import prune
from backstay.auth.revocations import _NEWS_MAX, revoke
from backstay.auth.roles import grant_role, set_role, take_role
from backstay.context import Principal, PrincipalKind
from backstay.schema.base import utc_now
from support.asgi import sync_engine
from support.databases import DATABASES
from support.people import PASSWORD, PEOPLE, People, Person, bearer_of, people_app

WITHIN_S = 0.2


@pytest.fixture(params=DATABASES)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[People, People]]:
    """Two apps over one database, as two processes have it."""
    url = PEOPLE.own(request.param, tmp_path)
    with People(people_app(url)) as one, People(people_app(url)) as other:
        yield one, other


def refused_soon(client: People, credential: str) -> None:
    """See that a credential is good for a fifth of a second at most, however busy the process is with it."""
    started = time.monotonic()
    while client.get("/people", "count=false", credential=credential).status == 200:
        assert time.monotonic() - started < WITHIN_S
        time.sleep(0.002)


def logout(client: People, credential: str) -> None:
    """The session's own end."""
    assert client.request("POST", "/auth/logout", credential=credential).status == 204


def logout_all(client: People, credential: str) -> None:
    """Every session's."""
    assert client.request("POST", "/auth/logout-all", credential=credential).status == 204


def new_password(client: People, credential: str) -> None:
    """Another session's change of the password."""
    second = bearer_of(client.login("ada@example.org"))
    body = {"current_password": PASSWORD, "new_password": "another phrase"}
    assert client.post("/auth/password", body, credential=second).status == 204


def delete_me(client: People, credential: str) -> None:
    """The account's end."""
    assert client.post("/auth/me/delete", {"password": PASSWORD}, credential=credential).status == 204


def disable(client: People, credential: str) -> None:
    """By a program's own ORM session."""
    client.change(1, disabled_at=utc_now())


def disable_by_name(client: People, credential: str) -> None:
    """By the function that the command line uses."""

    async def disabled() -> None:
        async with client.app.transaction() as session:
            await set_disabled(client.accounts(), session, await session.get(Person, 1), disabled=True)

    client.loop.run_until_complete(disabled())


def delete_by_the_api(client: People, credential: str) -> None:
    """An admin deletes the row."""
    give_role(client, 2, "admin")
    admin = bearer_of(client.login("bob@example.org"))
    assert client.request("DELETE", "/people/1", credential=admin).status == 204


def reuse(client: People, credential: str) -> None:
    """What a program writes itself."""
    tables = client.accounts().tables
    client.run(sa.update(tables.sessions).where(tables.sessions.c.user_id == 1).values(ended_at=utc_now()))

    async def told() -> None:
        async with client.app.transaction() as session:
            await revoke(session, tables, "session", 1)

    client.loop.run_until_complete(told())


@pytest.mark.alone
@pytest.mark.parametrize(
    "end", [logout, logout_all, new_password, delete_me, disable, disable_by_name, delete_by_the_api, reuse]
)
def test_what_ends_here_is_refused_there(two: tuple[People, People], end: Callable[[People, str], None]) -> None:
    """Whatever ends a session, in the same moment for the process itself and soon for any other."""
    one, other = two
    credential = one.signed_in("ada@example.org")
    one.signed_in("bob@example.org")
    for client in two:
        assert client.me(credential).status == 200
    end(one, credential)
    refused_soon(other, credential)
    assert one.me(credential).status == 401
    assert other.me(credential).status == 401


def give_role(client: People, user_id: int, role: str, *permissions: str) -> None:
    """Give somebody a role that is made for it."""

    async def given() -> None:
        async with client.app.transaction() as session:
            await set_role(session, client.accounts().tables, role, permissions)
            await grant_role(session, client.accounts().tables, user_id, role)

    client.loop.run_until_complete(given())


REFUSE = {
    "sqlite": ["CREATE TRIGGER refuse BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'not now'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}
ALLOW = {"sqlite": "DROP TRIGGER refuse", "postgresql": "DROP TRIGGER refuse ON {table}"}


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("batched", [False, True])
def test_a_user_is_deleted_with_the_revocation_or_not_at_all(database: str, tmp_path: Path, batched: bool) -> None:
    """What fails between the two, as a process that dies there, leaves the user and the sessions as they were."""
    url = PEOPLE.copied(database, tmp_path)
    with People(people_app(url)) as client:
        credential = client.signed_in("ada@example.org")
        client.signed_in("bob@example.org")
        give_role(client, 2, "admin")
        admin = bearer_of(client.login("bob@example.org"))
        tables = client.accounts().tables
        name = tables.revocations.name

        def delete(*more: dict[str, str]) -> int:
            if not batched:
                return client.request("DELETE", "/people/1", credential=admin).status
            operations = [{"method": "DELETE", "path": "/people/1"}, *more]
            return client.post("/batch", {"operations": operations}, credential=admin).status

        def told() -> int:
            return len(client.run(sa.select(tables.revocations).where(tables.revocations.c.kind == "all")))

        engine = sync_engine(url)
        with engine.begin() as connection:
            for statement in REFUSE[database]:
                connection.exec_driver_sql(statement.format(table=name))
        assert delete() >= 400
        assert client.get("/people/1").status == 200
        assert client.me(credential).status == 200
        with engine.begin() as connection:
            connection.exec_driver_sql(ALLOW[database].format(table=name))
        engine.dispose()
        if batched:
            assert delete({"method": "DELETE", "path": "/people/99"}) == 404
            assert (client.me(credential).status, told()) == (200, 0)
        assert delete() in (200, 204)
        assert (client.me(credential).status, told()) == (401, 1)
        assert client.run(sa.select(tables.sessions).where(tables.sessions.c.user_id == 1)) == []


def test_roles_and_permissions_hold_at_once(two: tuple[People, People]) -> None:
    """Given, changed and taken; rules of both kinds follow, in both processes, with the token as it was."""
    one, other = two
    credential = one.signed_in("ada@example.org")
    notes = [one.post("/notes", {"text": text}, credential=credential).data["id"] for text in "abcd"]

    def allowed(client: People) -> bool:
        time.sleep(0.11)
        return client.request("DELETE", f"/notes/{notes.pop()}", credential=credential).status == 204

    assert not allowed(other)
    give_role(one, 1, "moderator", "notes.moderate")
    assert allowed(other)
    assert other.me(credential).data["roles"] == ["moderator"]
    assert other.me(credential).data["permissions"] == ["notes.moderate"]

    async def change() -> None:
        async with one.app.transaction() as session:
            await set_role(session, one.accounts().tables, "moderator", [])

    one.loop.run_until_complete(change())
    assert not allowed(other)

    async def take() -> None:
        async with one.app.transaction() as session:
            assert await take_role(session, one.accounts().tables, 1, "moderator")
            assert not await take_role(session, one.accounts().tables, 1, "moderator")

    one.loop.run_until_complete(take())
    time.sleep(0.11)
    assert other.me(credential).data["roles"] == []


def test_roles_in_a_token_are_for_others(two: tuple[People, People]) -> None:
    """Backstay itself takes them from the database: a role that was taken is gone whatever the token says."""
    one, _ = two
    one.register("ada@example.org")
    give_role(one, 1, "admin")
    credential = bearer_of(one.login("ada@example.org"))

    async def take() -> None:
        async with one.app.transaction() as session:
            await take_role(session, one.accounts().tables, 1, "admin")

    one.loop.run_until_complete(take())
    assert one.me(credential).data["roles"] == []


def test_a_process_that_missed_much_forgets_everything(two: tuple[People, People]) -> None:
    """More news than it takes in at once: nobody is trusted by memory."""
    one, other = two
    credential = one.signed_in("ada@example.org")
    assert other.me(credential).status == 200
    tables = one.accounts().tables
    rows = [{"kind": "session", "subject": str(i)} for i in range(1_000, 1_000 + _NEWS_MAX + 5)]

    async def flood() -> None:
        async with one.app.transaction() as session:
            await session.execute(sa.insert(tables.revocations), rows)
            await session.execute(sa.update(tables.sessions).values(ended_at=utc_now()))
            await revoke(session, tables, "session", 1)

    one.loop.run_until_complete(flood())
    time.sleep(0.11)
    assert other.me(credential).status == 401


def test_old_rows_are_deleted(two: tuple[People, People]) -> None:
    """What is of no more use goes, and a process that slept meanwhile trusts nobody by memory."""
    one, other = two
    credential, tables = one.signed_in("ada@example.org"), one.accounts().tables
    client_of_old = bearer_of(one.login("ada@example.org"))
    assert other.me(credential).status == 200
    logout(one, credential)
    long_ago = utc_now() - timedelta(days=40)
    for table, column in (
        (tables.sessions, "expires_at"),
        (tables.refresh_tokens, "expires_at"),
        (tables.revocations, "created_at"),
        (tables.attempts, "failed_at"),
    ):
        old = table.c.ended_at.is_not(None) if table is tables.sessions else sa.true()
        one.run(sa.update(table).where(old).values({column: long_ago}))
    one.login("nobody@example.org")
    one.post("/auth/logout", {})
    one.loop.run_until_complete(prune(one.accounts()))
    time.sleep(0.11)
    assert [len(one.run(sa.select(t))) for t in (tables.sessions, tables.refresh_tokens, tables.revocations)] == [
        1,
        0,
        1,
    ]
    assert other.me(credential).status == 401
    assert other.me(client_of_old).status == 200


def test_a_known_credential_takes_no_statement(two: tuple[People, People]) -> None:
    """A list read with one is one statement, and asks for nothing else within a tenth of a second."""
    one, _ = two
    credential = one.signed_in("ada@example.org")
    for _ in range(3):
        answer = one.get("/people", credential=credential)
        assert 'statements;desc="1"' in answer.headers["server-timing"]


def test_memory_is_bounded() -> None:
    """Nobody fills it; the oldest goes first, and what is forgotten leaves nothing behind."""
    known = Known(60)
    principal = Principal(PrincipalKind.USER, id=1)
    for i in range(KNOWN_MAX + 10):
        known.keep(b"%d" % i, Found(principal, time.time() + 60, (f"session:{i}", "user:1"), i))
    assert len(known) == KNOWN_MAX
    assert known.get(b"9") is None
    assert known.get(b"10") is not None
    known.forget("session", "10")
    assert known.get(b"10") is None
    known.forget("user", "1")
    assert len(known) == 0
    assert known._of == {}


def test_what_is_remembered_gets_old() -> None:
    """A token's expiry bounds it, and so does the setting."""
    known = Known(60)
    principal = Principal(PrincipalKind.USER, id=1)
    known.keep(b"short", Found(principal, time.time() + 1))
    known.keep(b"long", Found(principal, time.time() + 900))
    short, long = known.get(b"short"), known.get(b"long")
    assert short is not None
    assert long is not None
    assert short.until - time.monotonic() < 1.1
    assert 59 < long.until - time.monotonic() <= 60
