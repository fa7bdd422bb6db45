"""A second world, of rules: tenants, rows that are deleted softly, fields with rules of their own, hidden references.

Two organizations have the same kinds of rows. People belong to none: what may be read of one depends on who asks.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import (
    Backstay,
    FieldRule,
    ModelBase,
    SoftDelete,
    TenantScoped,
    has_permission,
    has_role,
    me,
    nobody,
    public,
    signed_in,
)
from backstay.schema.base import NAMING
from backstay.testing import token
from support.asgi import SECRET, quiet
from support.databases import Filled
from support.seed import STAMPS, Row, rows


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Org(Base):
    """A tenant."""

    name: Mapped[str] = mapped_column(unique=True)


class Person(Base):
    """Anybody; `email` is for herself and for HR, `salary` and `manager` for HR alone, `pin` for nobody to read."""

    name: Mapped[str]
    email: Mapped[str | None] = mapped_column(unique=True)
    salary: Mapped[int | None]
    pin: Mapped[str | None]
    manager_id: Mapped[int | None] = mapped_column(sa.ForeignKey("people.id"))
    manager: Mapped["Person | None"] = relationship(back_populates="reports", remote_side="Person.id")
    reports: Mapped[list["Person"]] = relationship(back_populates="manager")
    tasks: Mapped[list["Task"]] = relationship(back_populates="assignee")
    __tablename__ = "people"


class Project(TenantScoped, SoftDelete, Base):
    """Of a tenant, and deleted softly."""

    __tenant__ = "orgs.id"
    name: Mapped[str]
    code: Mapped[str] = mapped_column(unique=True)
    budget: Mapped[Annotated[int, Field(ge=0)] | None]
    tasks: Mapped[list["Task"]] = relationship(back_populates="project")


class Task(TenantScoped, Base):
    """Of a tenant; its note is its assignee's."""

    __tenant__ = "orgs.id"
    title: Mapped[str]
    effort: Mapped[int | None]
    note: Mapped[str | None]
    project_id: Mapped[int | None] = mapped_column(sa.ForeignKey("projects.id"))
    assignee_id: Mapped[int | None] = mapped_column(sa.ForeignKey("people.id"))
    project: Mapped[Project | None] = relationship(back_populates="tasks")
    assignee: Mapped[Person | None] = relationship(back_populates="tasks")
    labels: Mapped[list["Label"]] = relationship(back_populates="tasks", secondary="taggings")


class Label(Base):
    """Of all tenants."""

    text: Mapped[str]
    tasks: Mapped[list[Task]] = relationship(back_populates="labels", secondary="taggings")


class Tagging(SoftDelete, Base):
    """What joins tasks and labels is a row with rules too."""

    task_id: Mapped[int] = mapped_column(sa.ForeignKey("tasks.id"))
    label_id: Mapped[int] = mapped_column(sa.ForeignKey("labels.id"))
    hushed: Mapped[bool]


class Draft(Base):
    """Its owner's alone; one that is open may be replied to by anybody."""

    text: Mapped[str]
    owner_id: Mapped[int] = mapped_column(sa.ForeignKey("people.id"))
    replies: Mapped[list["Reply"]] = relationship(back_populates="draft", foreign_keys="Reply.draft_id")


class Reply(Base):
    """Refers to drafts, and to any draft of the same table that its own rule admits."""

    text: Mapped[str]
    draft_id: Mapped[int | None] = mapped_column(sa.ForeignKey("drafts.id"))
    about_id: Mapped[int | None] = mapped_column(sa.ForeignKey("drafts.id"))
    draft: Mapped[Draft | None] = relationship(back_populates="replies", foreign_keys="Reply.draft_id")
    __table_args__ = (sa.CheckConstraint("draft_id IS NULL OR draft_id <> 99", name="draft_id_not_99"),)


def office(url: str, **settings: Any) -> Backstay:
    """The app over a database."""
    app = Backstay("office", config=quiet(url, **settings))
    hr, boss = has_role("hr"), has_role("boss")
    app.resource(Org, read=Org.id == me.tenant)
    app.resource(
        Person,
        read=public,
        write=signed_in,
        fields={
            Person.email: FieldRule(read=(Person.id == me.id) | hr, write=(Person.id == me.id) | hr),
            Person.salary: FieldRule(read=hr),
            Person.pin: FieldRule(read=nobody, write=hr),
            Person.manager_id: FieldRule(read=hr, write=nobody),
        },
    )
    app.resource(
        Project,
        read=public,
        write=signed_in,
        restore=has_permission("projects.restore"),
        fields={Project.budget: FieldRule(read=signed_in, write=boss)},
    )
    app.resource(Task, read=public, write=public, fields={Task.note: FieldRule(read=Task.assignee_id == me.id)})
    app.resource(Label, read=public, write=public)
    app.resource(Tagging, read=Tagging.hushed.is_(False), write=signed_in, restore=boss & Tagging.hushed.is_(False))
    app.resource(Draft, read=Draft.owner_id == me.id, create=signed_in, stamp={Draft.owner_id: me.id})
    app.resource(
        Reply,
        read=public,
        write=signed_in,
        fields={Reply.about_id: FieldRule(refer=Draft.text == "open")},
    )
    return app


ORGS = rows("id name", (1, "acme"), (2, "bolt"))
PEOPLE = rows(
    "id name email salary pin manager_id",
    (1, "Ann", "ann@acme", 300, "1111", None),
    (2, "Ben", "ben@acme", 100, "2222", 1),
    (3, "Cy", "cy@bolt", 200, "3333", None),
    (4, "Dee", None, 50, None, 3),
)
PROJECTS = rows(
    "id tenant_id name code budget deleted_at",
    (1, 1, "Rocket", "R", 1_000, None),
    (2, 1, "Anvil", "A", None, STAMPS["created_at"]),
    (3, 2, "Bicycle", "B", 20, None),
    (4, 2, "Gone", "G", 30, STAMPS["created_at"]),
)
TASKS = rows(
    "id tenant_id title effort note project_id assignee_id",
    (1, 1, "light", 5, "m", 1, 1),
    (2, 1, "aim", 3, "z", 1, 2),
    (3, 1, "forge", None, "a", 2, 1),
    (4, 1, "rest", 1, None, None, None),
    (5, 2, "pedal", 8, "q", 3, 3),
    (6, 2, "brake", 2, "m", 4, 1),
)
LABELS = rows("id text", (1, "hot"), (2, "cold"))
TAGGINGS = rows(
    "id task_id label_id hushed deleted_at",
    (1, 1, 1, False, None),
    (2, 2, 1, True, None),
    (3, 3, 1, False, STAMPS["created_at"]),
    (4, 5, 1, False, None),
    (5, 1, 2, False, None),
)
DRAFTS = rows("id text owner_id", (1, "mine", 1), (2, "his", 2), (3, "open", 2))
REPLIES = rows("id text draft_id about_id", (1, "yes", 1, None), (2, "no", 2, None), (3, "well", None, 3))
TABLES = (
    ("orgs", ORGS),
    ("people", PEOPLE),
    ("projects", PROJECTS),
    ("tasks", TASKS),
    ("labels", LABELS),
    ("taggings", TAGGINGS),
    ("drafts", DRAFTS),
    ("replies", REPLIES),
)


def fill(engine: sa.Engine) -> None:
    """Create every table and insert every row."""
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        for name, found in TABLES:
            for row in found:
                connection.execute(sa.insert(Base.metadata.tables[name]), row | STAMPS)


OFFICE = Filled("office", fill)


def known(
    subject: object,
    *,
    roles: Iterable[str] = (),
    permissions: Iterable[str] = (),
    scopes: Iterable[str] | None = None,
    tenant: object = None,
) -> dict[str, str]:
    """The headers of a principal."""
    made = token(subject, roles, permissions=permissions, scopes=scopes, tenant=tenant, secret=SECRET)
    return {"authorization": f"Bearer {made}"}


#: Principals by name: Ann and Ben of the first tenant, Cy of the second, Dee of none.
PEOPLE_BY_NAME: dict[str, dict[str, str]] = {
    "": {},
    "ann": known(1, tenant=1),
    "ben": known(2, tenant=1),
    "cy": known(3, tenant=2),
    "dee": known(4),
    "hr": known(4, roles=["hr"], tenant=1),
    "boss": known(1, roles=["boss"], tenant=1),
    "keeper": known(1, permissions=["projects.restore"], tenant=1),
    "keeper of bolt": known(3, permissions=["projects.restore"], tenant=2),
    "lost": known(1, tenant=77),
    "odd": known(1, tenant="no number"),
    "reader": known(1, tenant=1, scopes=["*:read"]),
    "tasks reader": known(1, tenant=1, scopes=["tasks:read"]),
    "tasks writer": known(1, tenant=1, scopes=["tasks:write"]),
    "nothing": known(1, tenant=1, scopes=[]),
}


def table_rows(name: str) -> list[Row]:
    """The rows of a table."""
    return dict(TABLES)[name]
