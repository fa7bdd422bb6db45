"""Accounts over models of every sort: UUID keys, soft deletion, the ready-made `User`; what cannot be one."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pytest
import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import (
    AccountOptions,
    Backstay,
    FieldRule,
    ModelBase,
    OperatorError,
    SoftDelete,
    UserBase,
    UuidKey,
    has_role,
    me,
    public,
    signed_in,
)
from support.asgi import Client, bearer, quiet
from support.databases import DATABASES, empty_database
from support.people import CHEAP, OPTIONS, PASSWORD, bearer_of


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Member(SoftDelete, UuidKey, UserBase, Base):
    """A user whose key is a UUID, and whose row stays when it is deleted."""

    motto: Mapped[str | None]


class Letter(Base):
    """What a member writes."""

    author_id: Mapped[uuid.UUID] = mapped_column(sa.ForeignKey("members.id"))
    author: Mapped[Member] = relationship(Member)


def letters(url: str) -> Backstay:
    """An app over a database."""
    app = Backstay("letters", config=quiet(url))
    app.accounts(Member, OPTIONS)
    mine = FieldRule(read=Member.id == me.id)
    admins = has_role("admin")
    app.resource(
        Member, read=public, update=Member.id == me.id, delete=admins, restore=admins, fields={Member.email: mine}
    )
    app.resource(Letter, read=public, create=signed_in, stamp={Letter.author_id: me.id})
    return app


@pytest.fixture(params=DATABASES)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    """The app on each database."""
    letters("sqlite:///unused.db")
    with Client(letters(empty_database(request.param, tmp_path, Base.metadata))) as opened:
        yield opened


def registered(client: Client, email: str) -> str:
    """The Authorization header of a new account."""
    return bearer_of(client.post("/auth/register", {"email": email, "password": PASSWORD}))


def test_keys_may_be_uuids(client: Client) -> None:
    """In tokens, rules, stamps and sessions."""
    credential = registered(client, "ada@example.org")
    key = client.get("/auth/me", credential=credential).data["id"]
    assert str(uuid.UUID(key)) == key
    assert client.post("/letters", {}, credential=credential).data["author_id"] == key
    path = f"/members/{key}"
    assert client.request("PATCH", path, body={"motto": "per aspera"}, credential=credential).status == 200
    assert len(client.get("/auth/sessions", credential=credential).data) == 1
    body = {"current_password": PASSWORD, "new_password": "another phrase"}
    assert client.post("/auth/password", body, credential=credential).status == 204
    assert client.request("POST", "/auth/logout-all", credential=credential).status == 204
    assert client.get("/auth/me", credential=credential).status == 401


def test_who_is_deleted_softly_is_gone(client: Client) -> None:
    """Their sessions end, and they cannot sign in until somebody restores them."""
    credential = registered(client, "ada@example.org")
    key = client.get("/auth/me", credential=credential).data["id"]
    admin = bearer(str(uuid.uuid4()), roles=["admin"])
    assert client.request("DELETE", f"/members/{key}", credential=admin).status == 204
    assert client.get("/auth/me", credential=credential).status == 401
    body = {"login": "ada@example.org", "password": PASSWORD}
    assert client.post("/auth/login", body).status == 401


def test_a_field_rule_shows_a_private_column(client: Client) -> None:
    """To whom it says; everybody else finds nothing there."""
    credential = registered(client, "ada@example.org")
    registered(client, "bob@example.org")
    shown = client.get("/members", "fields=email&sort=id", credential=credential).data
    assert shown == [{"email": "ada@example.org"}, {"email": None}]
    assert client.get("/members", "fields=email").data == [{"email": None}] * 2


def test_what_is_no_model_of_accounts() -> None:
    """It is refused with what to write."""
    app = Backstay("letters", config=quiet("unused"))
    with pytest.raises(OperatorError, match=r"class Letter\(UserBase, Model\)"):
        app.accounts(Letter)


class Office(ModelBase, DeclarativeBase):
    """Another registry: each has one model of users."""

    metadata = sa.MetaData()


class Clerk(UserBase, Office):
    """A user with columns of the program's own."""

    full_name: Mapped[Annotated[str, Field(min_length=2, max_length=20)]]
    motto: Mapped[str | None]
    rank: Mapped[int] = mapped_column(default=1)


def test_columns_that_must_have_a_value_are_named() -> None:
    """A model whose users nobody could make is refused, and so is a name that is not people's to set."""
    for profile, said in (
        ((), r"Clerk.full_name must have a value.*profile=\['full_name'\]"),
        (("full_name", "mottoo"), "do not set Clerk.mottoo. Perhaps you meant 'motto'."),
        (("full_name", "password_hash"), "do not set Clerk.password_hash"),
        (("full_name", "email_verified_at"), "do not set Clerk.email_verified_at"),
        (("full_name", "version"), "do not set Clerk.version"),
    ):
        with pytest.raises(OperatorError, match=said):
            Backstay("clerks", config=quiet("unused")).accounts(Clerk, AccountOptions(profile=profile))


@pytest.mark.parametrize("database", DATABASES)
def test_people_fill_in_their_profile(database: str, tmp_path: Path) -> None:
    """The named columns, with their bounds, and no other; what is left out is the model's to decide."""
    app = Backstay("clerks", config=quiet("unused"))
    app.accounts(Clerk, replace(OPTIONS, profile=("full_name", "motto")))
    app.resource(Clerk, read=public)
    app.configure(database_url=empty_database(database, tmp_path, Office.metadata))
    given = {"email": "ada@example.org", "password": PASSWORD, "full_name": "Ada"}
    with Client(app) as client:
        for wrong, field in (
            ({"full_name": None}, "full_name"),
            ({"full_name": "A"}, "full_name"),
            ({"full_name": "A\x00da"}, "full_name"),
            ({"motto": 7}, "motto"),
            ({"rank": 9}, "rank"),
        ):
            answer = client.post("/auth/register", given | wrong)
            assert (answer.status, [e["field"] for e in answer.json["errors"]]) == (400, [field])
        assert client.post("/auth/register", {k: v for k, v in given.items() if k != "full_name"}).status == 400
        assert client.post("/auth/register", given).status == 201
        other = given | {"email": "bob@example.org", "motto": "per aspera"}
        assert client.post("/auth/register", other).status == 201
        rows = client.get("/clerks", "fields=full_name,motto,rank&sort=id").data
        assert rows == [{"full_name": "Ada", "motto": m, "rank": 1} for m in (None, "per aspera")]
        schema = app.openapi()["components"]["schemas"]["Registration"]
        assert {"full_name", "email", "password"} <= set(schema["required"])


def test_accounts_are_turned_on_once() -> None:
    """A program has one model of users."""
    app = Backstay("letters", config=quiet("unused"))
    app.accounts(Member)
    with pytest.raises(OperatorError, match="has accounts already, of Member"):
        app.accounts(Member)

    class Guest(UserBase, Base):
        """A second one in the same MetaData."""

    with pytest.raises(OperatorError, match="guests is not it"):
        Backstay("guests", config=quiet("unused")).accounts(Guest)


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    """Accounts cannot start without one that is long enough."""
    app = letters(empty_database("sqlite", tmp_path, Base.metadata))
    for secret in ("", "short"):
        app.configure(secret=secret)
        with pytest.raises(OperatorError, match="BACKSTAY_SECRET"):
            app.start()


#: The names of the tables that a program has, by what it imports.
TABLES = """
import sys
from backstay import Backstay, Model, {names}
print(*sorted(Model.metadata.tables))
{more}
print(*sorted(Model.metadata.tables))
"""


def tables(names: str, more: str = "") -> list[set[str]]:
    """What a fresh program declares, before and after something."""
    code = TABLES.format(names=names, more=more)
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [set(line.split()) for line in run.stdout.split("\n")[:2]]


def test_nothing_is_declared_before_it_is_used() -> None:
    """`User` is a table when its name is first used, and the others when accounts are turned on."""
    assert tables("UserBase") == [set(), set()]
    before, after = tables("User", 'Backstay("x").accounts(User)')
    assert before == {"users"}
    assert len(after) == 16
    assert all(name.startswith("auth_") for name in after - {"users"})


def test_mail_is_asked_for_where_it_is_needed(tmp_path: Path) -> None:
    """By default an address must be confirmed."""
    assert AccountOptions().verify_email
    assert AccountOptions(hashing=CHEAP).hashing is CHEAP
