"""An app with accounts for tests: people, their notes, and the mails that they are sent."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import (
    AccountOptions,
    Backstay,
    Hashing,
    Mail,
    ModelBase,
    UserBase,
    has_permission,
    has_role,
    me,
    public,
    signed_in,
)
from support.asgi import Answer, Client, quiet
from support.databases import Filled

#: As cheap as Argon2 gets.
CHEAP = Hashing(passes=1, memory_kib=64, lanes=1, at_once=2)
PASSWORD = "correct horse battery"
OPTIONS = AccountOptions(verify_email=False, hashing=CHEAP)


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class Person(UserBase, Base):
    """Who signs in."""

    nickname: Mapped[str | None]
    notes: Mapped[list["Note"]] = relationship(back_populates="author", passive_deletes="all")


class Note(Base):
    """What a person writes."""

    author_id: Mapped[int] = mapped_column(sa.ForeignKey("persons.id"))
    text: Mapped[str]
    author: Mapped[Person] = relationship(back_populates="notes")


def people_app(url: str, options: AccountOptions = OPTIONS, **settings: Any) -> Backstay:
    """The app over a database."""
    app = Backstay("people", config=quiet(url, **settings))
    app.accounts(Person, options)
    app.resource(Person, name="people", read=public, update=Person.id == me.id, delete=has_role("admin"))
    moderators = has_permission("notes.moderate")
    app.resource(Note, read=public, create=signed_in, stamp={Note.author_id: me.id}, delete=moderators)
    return app


def _fill(engine: sa.Engine) -> None:
    people_app("sqlite:///unused.db")  # the tables of accounts join the MetaData
    Base.metadata.create_all(engine)


PEOPLE = Filled("people", _fill)


@dataclass
class People(Client):
    """A client that signs people in, and reads their mail."""

    app: Backstay
    mails: list[Mail] = field(default_factory=list[Mail])

    def __post_init__(self) -> None:
        super().__init__(self.app)

        async def keep(mail: Mail) -> None:
            self.mails.append(mail)

        self.app.mailer(keep)

    async def send(self, *arguments: Any, **options: Any) -> Answer:
        """One request. Between two of them the loop may stand still: nothing holds the database then."""
        self.accounts().pruned_at = float("inf")
        return await super().send(*arguments, **options)

    def register(self, email: str, password: str = PASSWORD, **more: Any) -> Answer:
        """Make an account."""
        return self.post("/auth/register", {"email": email, "password": password, **more})

    def login(self, login: str, password: str = PASSWORD, **more: Any) -> Answer:
        """Sign in."""
        return self.post("/auth/login", {"login": login, "password": password, **more})

    def signed_in(self, email: str) -> str:
        """The Authorization header of a new account."""
        return bearer_of(self.register(email))

    def refresh(self, token: str) -> Answer:
        """Renew a session."""
        return self.post("/auth/refresh", {"refresh_token": token})

    def me(self, credential: str) -> Answer:
        """Who that is."""
        return self.get("/auth/me", credential=credential)

    def jwks(self) -> list[dict[str, Any]]:
        """The public keys, as anybody reads them."""
        answer = self.request("GET", "/.well-known/jwks.json", base="")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        return answer.json["keys"]

    def mail(self, kind: str) -> Mail:
        """The next mail of a kind, which may still be on its way."""

        async def arrived() -> Mail:
            for _ in range(400):
                for mail in self.mails:
                    if mail.kind == kind:
                        self.mails.remove(mail)
                        return mail
                await asyncio.sleep(0.01)
            raise AssertionError(f"no mail of the kind {kind!r} came, only {self.mails}")

        return self.loop.run_until_complete(arrived())

    def settle(self) -> None:
        """Let what goes on after answers finish: a loop that stands still may hold SQLite's only writer."""
        self.loop.run_until_complete(self.accounts().later.close())

    def no_mail(self) -> None:
        """See that none comes."""
        self.loop.run_until_complete(asyncio.sleep(0.2))
        assert self.mails == []

    def run(self, statement: Any) -> list[Any]:
        """The rows of a statement, which is committed."""

        async def ran() -> list[Any]:
            async with self.app.transaction() as session:
                found: Any = await session.execute(statement)
                return list(found.all()) if isinstance(statement, sa.Select) else []

        return self.loop.run_until_complete(ran())

    def change(self, user_id: int, **values: Any) -> None:
        """Change a user as a program of one's own does."""

        async def changed() -> None:
            async with self.app.transaction() as session:
                user = await session.get(Person, user_id)
                for name, value in values.items():
                    setattr(user, name, value)

        self.loop.run_until_complete(changed())

    def accounts(self) -> Any:
        """The accounts of the app's process."""
        return self.app.start().accounts

    def events(self, kind: str) -> list[Any]:
        """The security events of a kind."""
        table = self.accounts().tables.events
        return self.run(sa.select(table).where(table.c.kind == kind).order_by(table.c.id))


def bearer_of(answer: Answer) -> str:
    """The Authorization header of who just signed in."""
    assert answer.status in (200, 201), answer.body
    return "Bearer " + answer.data["access_token"]


@contextmanager
def people(database: str, folder: Path, options: AccountOptions = OPTIONS, **settings: Any) -> Iterator[People]:
    """The app on a database of its own."""
    with People(people_app(PEOPLE.own(database, folder), options, **settings)) as client:
        yield client


def code_in(mail: Mail) -> str:
    """The code that a mail tells its reader."""
    found = re.search(r"(?:Your code: |token=)([\w-]+)", mail.text)
    assert found is not None, mail.text
    assert found[1] == mail.token
    return found[1]
