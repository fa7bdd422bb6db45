"""What SQLAlchemy can say in a rule means the same on both databases, or is refused before anybody is served."""

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship

from backstay import Backstay, FieldRule, ModelBase, OperatorError, has_role, me, public, signed_in
from backstay.schema.base import NAMING
from support.asgi import Client, bearer, quiet
from support.databases import DATABASES, Filled


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""

    metadata = sa.MetaData(naming_convention=NAMING)


class Bill(Base):
    """One of each kind of column."""

    code: Mapped[str]
    note: Mapped[str | None]
    amount: Mapped[int]
    price: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2), default=Decimal("1.50"))
    day: Mapped[dt.date] = mapped_column(default=dt.date(2026, 1, 2))
    owner_id: Mapped[int]
    owner: Mapped[str]
    words: Mapped[list[str]]
    data: Mapped[dict[str, Any]]
    ok: Mapped[bool]
    lines: Mapped[list["Line"]] = relationship(back_populates="bill")


class Line(Base):
    """Part of a bill."""

    bill_id: Mapped[int] = mapped_column(sa.ForeignKey("bills.id"))
    n: Mapped[int]
    who: Mapped[str]
    bill: Mapped[Bill] = relationship(back_populates="lines")


Other = aliased(Line)
LATER = dt.datetime(9000, 1, 1, tzinfo=dt.UTC)


def fill(engine: sa.Engine) -> None:
    """Bills a, b and c of the people 7, 8 and 9; a has a line of 7 and one of 8."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for number, code in enumerate("abc", 1):
            owner = 6 + number
            data = {
                "a": "x" if number < 3 else "y",
                "n": number,
                "b": number == 1,
                "c": {"d": code},
                "of": str(owner),
            }
            facts = {"owner_id": owner, "owner": str(owner), "words": [code], "data": data, "ok": number != 2}
            note = "x" if number == 1 else None
            created = {"created_at": LATER} if number == 3 else {}
            session.add(Bill(id=number, code=code, amount=number, note=note, **facts, **created))
        session.flush()
        session.add_all([Line(bill_id=1, n=1, who="7"), Line(bill_id=1, n=2, who="8")])
        session.commit()


BILLS = Filled("rule-expressions", fill)
LINES = sa.select(Line.bill_id)
#: Name, rule, and the codes of the bills that user 7 may see by it.
KEPT: list[tuple[str, Any, str]] = [
    ("column", Bill.ok, "ac"),
    ("not column", ~Bill.ok, "b"),
    ("column of a role", has_role("x") | Bill.ok, "ac"),
    ("tuple in", sa.tuple_(Bill.code, Bill.amount).in_([("a", 1), ("b", 2), ("c", 1)]), "ab"),
    ("tuple in none", sa.tuple_(Bill.code, Bill.amount).in_([]), ""),
    ("tuple not in", sa.tuple_(Bill.code, Bill.amount).not_in([("a", 1)]), "bc"),
    ("tuple not in none", sa.tuple_(Bill.code, Bill.amount).not_in([]), "abc"),
    ("not tuple in", ~sa.tuple_(Bill.code, Bill.amount).in_([("a", 1)]), "bc"),
    ("tuple in, of me", sa.tuple_(Bill.code, Bill.owner_id).in_([("a", me.id), ("b", me.id)]), "a"),
    ("tuple equals", sa.tuple_(Bill.code, Bill.amount) == sa.tuple_("a", 1), "a"),
    ("tuple in rows", sa.tuple_(Bill.id, Bill.amount).in_(sa.select(Line.bill_id, Line.n)), "a"),
    ("between", Bill.amount.between(2, 3), "bc"),
    ("not between", ~Bill.amount.between(2, 3), "a"),
    ("case", sa.case((Bill.amount > 1, True), else_=False), "bc"),
    ("case of texts", sa.case((Bill.amount > 1, "x"), else_="y") == "x", "bc"),
    ("case by value", sa.case({"a": 1, "b": 2}, value=Bill.code, else_=3) == 2, "b"),
    ("case of a role", sa.case((has_role("x"), Bill.amount > 0), else_=Bill.amount > 2), "c"),
    ("lower", sa.func.lower(Bill.code) == "a", "a"),
    ("lower, of me", sa.func.lower(Bill.owner) == me.id, "a"),
    ("me, of lower", me.id == sa.func.lower(Bill.owner), "a"),
    ("lower of both", sa.func.lower(Bill.owner) == sa.func.lower(me.id), "a"),
    ("like", Bill.code.like("a%"), "a"),
    ("like with escape", Bill.code.like("a/%", escape="/"), ""),
    ("ilike", Bill.code.ilike("A"), "a"),
    ("startswith", Bill.code.startswith("a", autoescape=True), "a"),
    ("icontains", Bill.code.icontains("B"), "b"),
    ("is distinct", Bill.note.is_distinct_from("x"), "bc"),
    ("is not distinct", Bill.note.is_not_distinct_from("x"), "a"),
    ("is distinct from me", Bill.owner_id.is_distinct_from(me.id), "bc"),
    ("cast", sa.cast(Bill.amount, sa.String) == "1", "a"),
    ("cast of me", sa.cast(me.id, sa.Integer) == Bill.owner_id, "a"),
    ("cast, of me", sa.cast(Bill.owner_id, sa.String) == me.id, "a"),
    ("exists", sa.exists().where(Line.bill_id == Bill.id, Line.n > 1), "a"),
    ("not exists", ~sa.exists().where(Line.bill_id == Bill.id), "bc"),
    ("exists by an alias", sa.exists(sa.select(Other.id).where(Other.bill_id == Bill.id, Other.who == me.id)), "a"),
    ("exists for who signed in", sa.exists(sa.select(Line.id).where(Line.bill_id == Bill.id, signed_in)), "a"),
    ("any", Bill.lines.any(Line.who == me.id), "a"),
    ("in rows", Bill.id.in_(LINES.where(Line.who == me.id)), "a"),
    ("in a union", Bill.id.in_(sa.union(LINES.where(Line.who == me.id), LINES.where(Line.n < 0))), "a"),
    ("of all rows", sa.select(sa.func.count(Line.id)).where(Line.bill_id == Bill.id).scalar_subquery() > 1, "a"),
    ("of its own table", Bill.amount > sa.select(sa.func.avg(Bill.amount)).scalar_subquery(), "c"),
    ("in, of me", Bill.owner_id.in_([me.id, 8]), "ab"),
    ("me in", me.id.in_(["6", "7"]), "abc"),
    ("me in numbers", me.id.in_([6, 8]), ""),
    ("me is a text", me.id == "7", "abc"),
    ("me is a number", me.id == 7, "abc"),
    ("me is not", Bill.owner_id != me.id, "bc"),
    ("JSON as text", Bill.data["a"].as_string() == "x", "ab"),
    ("JSON as a number", Bill.data["n"].as_integer() > 1, "bc"),
    ("JSON as truth", Bill.data["b"].as_boolean(), "a"),
    ("JSON path", Bill.data[("c", "d")].as_string() == "b", "b"),
    ("JSON, of me", Bill.data["of"].as_string() == me.id, "a"),
    ("now", Bill.created_at <= sa.func.now(), "ab"),
    ("later than now", sa.func.current_timestamp() < Bill.created_at, "c"),
    ("between then and now", Bill.created_at.between(dt.datetime(2020, 1, 1, tzinfo=dt.UTC), sa.func.now()), "ab"),
    ("now, if nothing else", Bill.created_at <= sa.func.coalesce(sa.null(), sa.func.now()), "ab"),
    ("not now", ~(Bill.created_at <= sa.func.now()), "c"),
    ("arithmetic", (Bill.amount + 1) % 2 == 0, "ac"),
    ("division", Bill.amount / 2 > 0.9, "bc"),
    ("decimals", Bill.price * 2 == Decimal("3"), "abc"),
    ("dates", Bill.day >= dt.date(2026, 1, 3), ""),
    ("coalesce", sa.func.coalesce(Bill.note, "y") == "y", "bc"),
    ("nullif", sa.func.nullif(Bill.amount, 1).is_(None), "a"),
    ("truth in a list", Bill.ok.in_([False]), "b"),
]


def seen(url: str, rule: Any, **more: Any) -> str:
    """The codes of the bills that user 7 is shown."""
    app = Backstay("bills", config=quiet(url))
    app.resource(Bill, read=rule, **more)
    with Client(app) as client:
        found = client.request("GET", "/bills", "sort=id", credential=bearer(7))
        assert found.status == 200, found.body
        assert found.meta["total"] == len(found.data)
        return "".join(row["code"] for row in found.data)


@pytest.mark.parametrize("database", DATABASES)
def test_rules_mean_the_same(database: str, tmp_path: Path) -> None:
    """Of rows that are read, of fields, and of rows that are changed, as they are and as they would be."""
    url = BILLS.copied(database, tmp_path)
    for name, rule, codes in KEPT:
        assert seen(url, rule) == codes, name
        app = Backstay("bills", config=quiet(url))
        app.resource(Bill, read=public, update=rule, fields={Bill.note: FieldRule(read=rule, write=public)})
        with Client(app) as client:
            for key, code in enumerate("abc", 1):
                changed = client.request("PATCH", f"/bills/{key}", body={"price": "1.50"}, credential=bearer(7))
                assert changed.status == (200 if code in codes else 403), (name, code, changed.body)
            rows = client.request("GET", "/bills", "sort=id", credential=bearer(7)).data
            assert [row.get("note") for row in rows] == ["x" if "a" in codes else None, None, None], name


@pytest.mark.parametrize("database", DATABASES)
def test_a_check_is_of_the_row_as_it_would_be(database: str, tmp_path: Path) -> None:
    """Each expression in the place that databases restrict most."""
    url = BILLS.copied(database, tmp_path)
    for name, rule, codes in KEPT:
        app = Backstay("bills", config=quiet(url))
        app.resource(Bill, read=public, update=public, check=rule)
        with Client(app) as client:
            for key, code in enumerate("abc", 1):
                changed = client.request("PATCH", f"/bills/{key}", body={"price": "1.50"}, credential=bearer(7))
                assert changed.status == (200 if code in codes else 403), (name, code, changed.body)


BOTH, SQLITE, POSTGRESQL = DATABASES, DATABASES[:1], DATABASES[1:]
#: Name, rule, where it is refused, and what the line says.
REFUSED: list[tuple[str, Any, tuple[str, ...], str]] = [
    (
        "other table",
        Line.n > 0,
        BOTH,
        "bills: the rule read speaks of lines, which is no part of its row: lines.n > 0.",
    ),
    ("aggregate", sa.func.count(Bill.id) > 0, BOTH, "no aggregates"),
    ("window", sa.func.row_number().over(order_by=Bill.id) == 1, BOTH, "window"),
    ("no such function", sa.func.nothing_like_it(Bill.amount) == 1, BOTH, "nothing_like_it"),
    ("JSON as it is", Bill.data["a"] == "x", BOTH, "Mend: take a value out of JSON with .as_string()"),
    ("like of a list", Bill.words.contains(["a"]), BOTH, "rows of a table of its own"),
    ("any_ of a list", sa.literal("a") == sa.any_(Bill.words), SQLITE, "no such function: ANY"),
    ("all_ of rows", Bill.id == sa.all_(LINES.scalar_subquery()), SQLITE, "bills: the rule read cannot be kept"),
    ("intervals", Bill.created_at > sa.func.now() - dt.timedelta(days=1), BOTH, "timedelta"),
    ("too large a number", Bill.amount < 2**70, BOTH, "bills: the rule read cannot be kept"),
    ("no number", Bill.amount != "x", BOTH, "Mend: compare amount with whole numbers, not 'x'."),
    ("no whole number", Bill.amount < 1.5, BOTH, "Mend: compare amount with whole numbers, not 1.5."),
    ("a truth for a number", Bill.amount == True, BOTH, "compare amount with whole numbers, not True"),  # noqa: E712
    ("one of a list", Bill.amount.in_([1, None, "2", "x"]), BOTH, "compare amount with whole numbers, not 'x'"),
    ("no price", sa.literal("dear") != Bill.price, BOTH, "compare price with numbers, not 'dear'"),
    ("no truth", Bill.ok != "x", BOTH, "compare ok with true and false, not 'x'"),
    ("no day", Bill.day != LATER, BOTH, "compare day with dates, not datetime.datetime(9000"),
    ("no text", Bill.code != uuid.UUID(int=1), BOTH, "compare code with texts, not UUID("),
    ("regular expression", Bill.code.regexp_match("^a"), SQLITE, "REGEXP"),
    ("behind a role", has_role("x") & (sa.func.nothing_like_it(Bill.amount) == 1), BOTH, "nothing_like_it"),
]


@pytest.mark.parametrize("database", DATABASES)
def test_what_a_database_cannot_keep_is_refused_at_start(database: str, tmp_path: Path) -> None:
    """In one line with the rule and what to write instead; elsewhere the same rule works."""
    url = BILLS.copied(database, tmp_path)
    for name, rule, where, said in REFUSED:
        if database not in where:
            assert set(seen(url, rule)) <= set("abc"), name
            continue
        with pytest.raises(OperatorError) as refused:
            seen(url, rule)
        assert said in str(refused.value), name
        assert "Mend: " in str(refused.value), name
        assert "\n" not in str(refused.value), name


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("place", ["create", "update", "delete", "check", "history", "read of note", "write of note"])
def test_every_rule_is_tried(database: str, tmp_path: Path, place: str) -> None:
    """Not only who reads; the line says which rule it is."""
    bad = sa.func.nothing_like_it(Bill.amount) == 1
    action, _, field = place.partition(" of ")
    rules: dict[str, Any] = {"fields": {Bill.note: FieldRule(**{action: bad})}} if field else {action: bad}
    with pytest.raises(OperatorError, match=f"bills: the rule {place} cannot be kept"):
        seen(BILLS.copied(database, tmp_path), public, **rules)


@pytest.mark.parametrize("given", [True, False, "public", 1, lambda: True, Bill, []])
def test_what_is_no_rule_is_refused(given: Any) -> None:
    """Where it is written."""
    with pytest.raises(OperatorError, match=r"read=.* is no rule: write public, nobody"):
        Backstay("bills").resource(Bill, read=given)
    with pytest.raises(OperatorError, match=r"write=.* is no rule"):
        FieldRule(write=given)


def test_tables_that_are_not_made_yet_are_no_fault(tmp_path: Path) -> None:
    """A migration makes them: the rule may well be right."""
    app = Backstay("bills", config=quiet(f"sqlite:///{tmp_path / 'empty.db'}"))
    app.resource(Bill, read=Bill.ok & Bill.lines.any(Line.n > 0), write=public)
    with Client(app) as client:
        assert client.get("/nothing").status == 404
