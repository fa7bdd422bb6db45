"""Values that a program writes into its rules: members of enums, and lists of values."""

import enum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay import Backstay, ModelBase, nobody, public
from backstay.schema.base import NAMING
from support.asgi import Client, quiet
from support.databases import DATABASES, empty_database


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class State(enum.Enum):
    """Stored by their names."""

    DRAFT = "draft"
    SENT = "sent"
    PAID = "paid"


class Bill(Base):
    """What is shown of it, and taken, is by its state."""

    code: Mapped[str]
    state: Mapped[State] = mapped_column(default=State.DRAFT)
    due: Mapped[State] = mapped_column(default=lambda: State.PAID)


CODES = "abc"
#: A rule, and the codes of the rows that it admits: a draft, one that was sent, one that was paid.
RULES: list[tuple[Any, str]] = [
    (Bill.state == State.SENT, "b"),
    (Bill.state != State.DRAFT, "bc"),
    (Bill.state == "SENT", "b"),
    (Bill.state.in_([State.SENT, State.PAID]), "bc"),
    (Bill.state.not_in([State.DRAFT]), "bc"),
    (Bill.state.in_([]), ""),
    (Bill.state.not_in([]), "abc"),
    (Bill.code.in_(["a", "c", "x"]) & Bill.id.in_([1, 2]), "a"),
    (Bill.code.not_in(["a", "c"]) | Bill.id.in_([3]), "bc"),
]


@pytest.mark.parametrize(("rule", "codes"), RULES, ids=[str(rule) for rule, _ in RULES])
@pytest.mark.parametrize("database", DATABASES)
def test_a_rule_means_its_values(database: str, tmp_path: Path, rule: Any, codes: str) -> None:
    """In lists, items, counts and changes, and of the row that a write would leave."""
    url = empty_database(database, tmp_path, Base.metadata)
    app = Backstay("bills", config=quiet(url))
    app.resource(Bill, read=public, create=public, delete=nobody)
    with Client(app) as client:
        for code, state in zip(CODES, ("DRAFT", "SENT", "PAID"), strict=True):
            made = client.post("/bills", {"code": code} | ({} if state == "DRAFT" else {"state": state}))
            assert (made.data["state"], made.data["due"]) == (state, "PAID")
    app = Backstay("bills", config=quiet(url))
    app.resource(Bill, read=rule, create=rule, update=public)
    with Client(app) as client:
        found = client.get("/bills", "sort=id")
        assert ("".join(row["code"] for row in found.data), found.meta["total"]) == (codes, len(codes))
        for key, code in enumerate(CODES, 1):
            assert client.get(f"/bills/{key}").status == (200 if code in codes else 404)
            changed = client.request("PATCH", f"/bills/{key}", body={"due": "SENT"})
            assert changed.status == (200 if code in codes else 404)
    app = Backstay("bills", config=quiet(url))
    app.resource(Bill, read=public, create=rule)
    with Client(app) as client:
        for code, state in zip(CODES, ("DRAFT", "SENT", "PAID"), strict=True):
            made = client.post("/bills", {"code": code, "state": state})
            if "bills.id" not in str(rule):
                assert made.status == (201 if code in codes else 401), made.json
