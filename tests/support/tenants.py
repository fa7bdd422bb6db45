"""An app with tenants for tests: firms, who belongs to them, and their papers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import (
    Backstay,
    MembershipBase,
    ModelBase,
    SoftDelete,
    TenantScoped,
    UserBase,
    has_permission,
    has_role,
    me,
    public,
    signed_in,
)
from support.asgi import Answer, quiet
from support.databases import Filled
from support.people import OPTIONS, People

ROLES = {"owner": ("papers.shred",), "clerk": ()}
WAYS = ("token", "header", "subdomain")


class Base(ModelBase, DeclarativeBase):
    """A registry of these tests' own."""

    metadata = sa.MetaData()


class User(UserBase, Base):
    """Who signs in."""


class Firm(SoftDelete, Base):
    """A tenant."""

    slug: Mapped[str] = mapped_column(unique=True)


class Member(MembershipBase, Base):
    """Who belongs to a firm."""

    __tenant__ = "firms.id"


class Paper(TenantScoped, Base):
    """A firm's own."""

    __tenant__ = "firms.id"
    title: Mapped[str]


def tenants_app(url: str, *, by: Any = WAYS, visitors: bool = False, **settings: Any) -> Backstay:
    """The app over a database."""
    app = Backstay("papers", config=quiet(url, **({"public_url": "https://papers.example"} | settings)))
    app.accounts(User, OPTIONS)
    app.tenants(Firm, members=Member, slug=Firm.slug, by=by, roles=ROLES, visitors=visitors)
    app.resource(Firm, read=Firm.id == me.tenant, delete=has_role("owner") & (Firm.id == me.tenant))
    app.resource(Member, read=signed_in, write=has_role("owner"))
    shred = has_permission("papers.shred")
    app.resource(Paper, read=public, create=signed_in, update=has_role("superuser"), delete=shred)
    return app


def _fill(engine: sa.Engine) -> None:
    """Two firms, each with a paper. Ada owns the first and is a clerk of the second; Bob is a clerk of the second."""
    tenants_app("sqlite:///unused.db")  # the tables of accounts join the MetaData
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(Firm), [{"slug": "ours"}, {"slug": "theirs"}, {"slug": "nobodys"}])
        connection.execute(sa.insert(Paper), [{"tenant_id": i, "title": f"of {i}"} for i in (1, 2, 3)])


FIRMS = Filled("firms", _fill)


class Firms(People):
    """A client with people in firms."""

    def join(self, user: int, tenant: int, role: str) -> None:
        """Make somebody a member, as a program does."""

        async def joined() -> None:
            async with self.app.transaction() as session:
                session.add(Member(user_id=user, tenant_id=tenant, role=role))

        self.loop.run_until_complete(joined())

    def leave(self, user: int, tenant: int) -> None:
        """End a membership, as a program does."""

        async def left() -> None:
            async with self.app.transaction() as session:
                mine = sa.and_(Member.user_id == user, Member.tenant_id == tenant)
                await session.delete(await session.scalar(sa.select(Member).where(mine)))

        self.loop.run_until_complete(left())

    def papers(self, credential: str = "", tenant: str | None = None, host: str = "papers.example") -> Answer:
        """The papers that somebody sees."""
        more = [] if tenant is None else [(b"x-tenant", tenant.encode())]
        return self.get("/papers", credential=credential, headers=[(b"host", host.encode())], more=more)

    def titles(self, *words: Any, **named: Any) -> list[str]:
        """Their titles."""
        answer = self.papers(*words, **named)
        assert answer.status == 200, answer.body
        return [paper["title"] for paper in answer.data]

    def choose(self, credential: str, tenant: str | int | None) -> Answer:
        """Use a session for a tenant."""
        return self.post("/auth/tenant", {"tenant": tenant}, credential=credential)


@contextmanager
def firms(database: str, folder: Path, **options: Any) -> Iterator[Firms]:
    """The app on a database of its own."""
    with Firms(tenants_app(FIRMS.own(database, folder), **options)) as client:
        yield client
