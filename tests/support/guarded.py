"""Random worlds under random rules: tables, their rules and rows, and what changes made of them since.

`guarded_sight` works out what a principal may know of one, and `guarded_writes` what a write makes of it.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship

from backstay import Backstay, FieldRule, ModelBase, SoftDelete, TenantScoped, me
from backstay.schema.change_log import CHANGES
from support.asgi import quiet
from support.guarded_rules import FLAGS, Has, Mine, Row, Rule, Says, Who, compound, of_row
from support.schemas import Model
from support.seed import STAMPS

#: Columns that every table can have, and their values.
VALUES: dict[str, list[Any]] = {
    "num": [None, 1, 2, 3, 40],
    "word": [None, "", "a", "ab", "B"],
    "owner": [None, 1, 2, 3],
    "flag": [None, True, False],
    "price": [None, Decimal("1.00"), Decimal("-2.50")],
}
KINDS = {"num": "count", "word": "text", "owner": "count", "flag": "flag", "price": "money"}
TENANTS = (1, 2)
#: New rows of the first table are numbered from the next one, those of the second from another thousand.
NEW = 1_000
#: When somebody else changed rows.
CHANGED = dt.datetime(2026, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


#: A number is never given twice, on SQLite too.
_TABLE: dict[str, Any] = {"__table_args__": {"sqlite_autoincrement": True}}


@dataclass(slots=True)
class Guarded(Model):
    """A table with rules.

    Attributes:
        references: foreign keys to the names of their tables.
        links: ways through a table of links: (that table, its key to here, its key to there).
        rules: by action.
        fields: the read rule of a field, and its write rule.
        refers: the rule of the rows that a reference may lead to.
        stamped: whether `owner` is set from the principal.
    """

    tenant: bool = False
    soft: bool = False
    stamped: bool = False
    references: dict[str, str] = field(default_factory=dict[str, str])
    links: dict[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    rules: dict[str, Rule] = field(default_factory=dict[str, Rule])
    fields: dict[str, tuple[Rule, Rule | None]] = field(default_factory=dict[str, tuple[Rule, Rule | None]])
    refers: dict[str, Rule] = field(default_factory=dict[str, Rule])


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a row, as the log keeps it; a side is `None` where there was no row."""

    table: str
    key: int
    before: Row | None
    after: Row | None

    @property
    def operation(self) -> str:
        """As it is told, whatever is shown of both sides."""
        return "create" if self.before is None else "delete" if self.after is None else "update"


@dataclass(slots=True)
class Hall:
    """A world: `schemas.World` with rules, so that `support.made` can draw what is asked of it.

    Attributes:
        log: what has changed, the oldest first.
        moments: how much of the log there was at instants to look back to.
    """

    models: dict[str, Guarded]
    base: type[DeclarativeBase]
    log: tuple[Change, ...] = ()
    moments: tuple[int, ...] = (0,)

    def copy(self) -> Hall:
        """Another one, whose rows can be others."""
        models = {name: copy.copy(model) for name, model in self.models.items()}
        return Hall(models, self.base, self.log, self.moments)

    def row(self, model: Guarded, key: int) -> Row | None:
        """The row with a key."""
        return next((row for row in self.models[model.name].rows if row["id"] == key), None)

    def along(self, model: Guarded, row: Row, way: str) -> Iterator[Row]:
        """All related rows, whoever may see them."""
        if way in model.links:
            name, here, there = model.links[way]
            ends = [link[there] for link in self.models[name].rows if link[here] == row["id"]]
            yield from (other for other in self.models[model.many[way]].rows if other["id"] in ends)
        elif way in model.one:
            yield from (o for o in self.models[model.one[way]].rows if o["id"] == row[f"{way}_id"])
        else:
            child = self.models[model.many[way]]
            (column,) = (c for c in child.references if way == back_of(child.name, c))
            yield from (other for other in child.rows if other[column] == row["id"])

    def app(self, url: str) -> Backstay:
        """The app over a database."""
        app = Backstay("hall", config=quiet(url, request_timeout_s=600))
        for model in self.models.values():
            given = {action: rule.sql(model, self) for action, rule in model.rules.items()}
            rules = {
                name: FieldRule(
                    read=read.sql(model, self),
                    write=None if write is None else write.sql(model, self),
                    refer=self._refer(model, name),
                )
                for name, (read, write) in model.fields.items()
            }
            rules |= {n: FieldRule(refer=self._refer(model, n)) for n in model.refers if n not in rules}
            stamp = {model.mapped.owner: me.id} if model.stamped else None
            app.resource(model.mapped, fields=rules, stamp=stamp, **given)
        return app

    def _refer(self, model: Guarded, name: str) -> Any:
        there = self.models[model.references[name]] if name in model.refers else None
        return None if there is None else model.refers[name].sql(there, self)

    def fill(self, engine: sa.Engine) -> None:
        """These rows and their log, and no others."""
        postgres = engine.dialect.name == "postgresql"
        with engine.begin() as connection:
            connection.execute(sa.delete(CHANGES))
            _number(connection, CHANGES.name, 0)
            for change in self.log:
                connection.execute(sa.insert(CHANGES), _entry(change, postgres=postgres))
            if postgres:
                connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for model in reversed(self.models.values()):
                connection.execute(sa.delete(model.mapped.__table__))
            for place, model in enumerate(self.models.values(), 1):
                if model.rows:
                    connection.execute(sa.insert(model.mapped.__table__), [row | STAMPS for row in model.rows])
                _number(connection, model.name, place * NEW)


def _entry(change: Change, *, postgres: bool) -> Row:
    """A change as the triggers write it."""
    sides = {"before": change.before, "after": change.after}
    images = {side: _image(row, postgres=postgres) for side, row in sides.items() if row is not None}
    found = {"at": CHANGED, "table_name": change.table, "key": f"[{change.key}]", "operation": change.operation}
    return found | images | {"actor": "user:9"}


def _image(row: Row, *, postgres: bool) -> Any:
    """A row as it is stored: SQLite has numbers for truths."""
    kinds = {bool: bool if postgres else int, Decimal: float, dt.datetime: lambda at: at.isoformat()}
    found = {name: kinds.get(type(value), lambda value: value)(value) for name, value in row.items()}
    return found if postgres else json.dumps(found)


def _number(connection: sa.Connection, table: str, last: int) -> None:
    """New rows of a table are numbered behind the last one."""
    if connection.dialect.name == "postgresql":
        statement = "SELECT setval(pg_get_serial_sequence(:name, 'id'), :last + 1, false)"
        connection.execute(sa.text(statement), {"name": table, "last": last})
        return
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
    statement = "INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"
    connection.execute(sa.text(statement), {"name": table, "last": last})


def back_of(child: str, column: str) -> str:
    """The name of the way back along a reference."""
    return f"of_{child}_{column}"


# Drawing worlds.


@st.composite
def halls(draw: st.DrawFn) -> Hall:
    """Two to four tables, some with tenants, some deleted softly, with rules and up to six rows each, and a past."""
    metadata = sa.MetaData()
    sa.Table("tenants", metadata, sa.Column("id", sa.Integer, primary_key=True))
    base: Any = type("Base", (ModelBase, DeclarativeBase), {"metadata": metadata})
    hall = Hall({}, base)
    for number in range(draw(st.integers(2, 4))):
        _add(draw, hall, number)
    for model in hall.models.values():
        _rule(draw, hall, model)
    for model in hall.models.values():
        for number in sorted(draw(st.sets(st.integers(1, 9), max_size=6))):
            model.rows.append(draw_row(lambda choices: draw(st.sampled_from(choices)), hall, model, number))
    for model in hall.models.values():
        hall.log += tuple(draw_changes(lambda choices: draw(st.sampled_from(choices)), hall, model))
    return hall


def _add(draw: st.DrawFn, hall: Hall, number: int) -> None:
    model = Guarded(f"t{number}", {"id": "count"}, ("id",))
    model.tenant, model.soft, model.stamped = (draw(st.booleans()) for _ in range(3))
    model.columns |= KINDS
    members: dict[str, Any] = {
        "num": mapped_column(sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        "word": mapped_column(sa.Text(), nullable=True),
        "owner": mapped_column(sa.BigInteger(), nullable=True),
        "flag": mapped_column(sa.Boolean(create_constraint=False), nullable=True),
        "price": mapped_column(sa.Numeric(10, 2), nullable=True),
    }
    for target in [*hall.models.values(), model]:
        if draw(st.booleans()):
            members |= _reference(model, target)
    model.columns |= ({"tenant_id": "count"} if model.tenant else {}) | (
        {"deleted_at": "moment"} if model.soft else {}
    )
    model.columns |= {"created_at": "moment", "updated_at": "moment", "version": "count"}
    mixins = (*((TenantScoped,) if model.tenant else ()), *((SoftDelete,) if model.soft else ()), hall.base)
    model.mapped = type(model.name.title(), mixins, {**_TABLE, "__tablename__": model.name, **members})
    hall.models[model.name] = model
    others = [name for name in model.references.values() if name != model.name]
    if len(others) >= 2 and draw(st.booleans()):
        _link(hall, model, *others[:2])


def _reference(model: Guarded, target: Guarded) -> dict[str, Any]:
    way = f"to_{target.name}"
    column, there = f"{way}_id", target.name.title()
    back = back_of(model.name, column)
    model.references[column], model.columns[column] = target.name, "count"
    model.one[way], target.many[back] = target.name, model.name
    own: dict[str, Any] = {}
    if target.mapped is None:
        own[back] = relationship(there, back_populates=way, remote_side=f"{there}.{column}")
    else:
        setattr(target.mapped, back, relationship(model.name.title(), back_populates=way))
    return own | {
        column: mapped_column(sa.ForeignKey(f"{target.name}.id"), nullable=True),
        way: relationship(there, back_populates=back, remote_side=f"{there}.id"),
    }


def _link(hall: Hall, link: Guarded, left: str, right: str) -> None:
    """Its rows join two tables."""
    for here, there in ((left, right), (right, left)):
        model, way = hall.models[here], f"via_{link.name}"
        every = [name for m in hall.models.values() for name in (*m.one, *m.many)]
        joined = relationship(there.title(), secondary=link.mapped.__table__, overlaps=",".join(every))
        setattr(model.mapped, way, joined)
        model.many[way] = there
        model.links[way] = (link.name, f"to_{here}_id", f"to_{there}_id")


def _rule(draw: st.DrawFn, hall: Hall, model: Guarded) -> None:
    plain = compound(of_row(["num", "owner", "flag"]))
    leaves = of_row(["num", "owner", "flag"])
    for ways, many in ((model.one, False), (model.many, True)):
        if ways:
            # Below a relation to the same table SQLAlchemy says `me` and columns of an alias; that is tried too.
            leaves |= st.builds(Has, st.sampled_from(sorted(ways)), st.just(many), plain)
    related = compound(leaves)
    # Who sees nothing learns nothing, and shows nothing: most may see and do much.
    freely = st.just(Says("public")) | st.just(Says("signed_in"))
    mostly = freely | freely | related | related | FLAGS
    model.rules = {"read": draw(mostly), "create": draw(freely | plain)}
    model.rules |= {"update": draw(mostly), "delete": draw(mostly)}
    model.rules |= {"restore": draw(mostly), "history": draw(freely | freely | mostly)}
    by_owner = st.just(Mine("owner"))
    for name in draw(st.sets(st.sampled_from(["num", "word", "owner", "flag", "price"]), max_size=3)):
        model.fields[name] = (draw(by_owner | leaves | related), draw(st.none() | plain))
    for name, target in model.references.items():
        if draw(st.integers(0, 3)) == 0:
            model.fields[name] = (draw(compound(FLAGS)), draw(st.none() | plain))
        if draw(st.integers(0, 3)) == 0:
            there = hall.models[target]
            model.refers[name] = draw(compound(of_row(["num", "owner", "flag"]))) if there.mapped else FLAGS


def draw_row(one_of: Callable[[Sequence[Any]], Any], hall: Hall, model: Guarded, number: int) -> Row:
    """Any row; its references lead to rows that are there."""
    row: Row = {"id": number} | {name: one_of(values) for name, values in VALUES.items()}
    for column, name in model.references.items():
        row[column] = one_of([None, *(other["id"] for other in hall.models[name].rows)])
    if model.tenant:
        row["tenant_id"] = one_of(TENANTS)
    if model.soft:
        row["deleted_at"] = one_of([None, None, STAMPS["created_at"]])
    return row | STAMPS


def draw_changes(one_of: Callable[[Sequence[Any]], Any], hall: Hall, model: Guarded) -> Iterator[Change]:
    """What somebody else has changed: some rows are new, some were others, and one was there that is gone."""
    for row in model.rows:
        what = one_of(["", "", "create", "update", "update"])
        if what == "create":
            yield Change(model.name, row["id"], None, row)
        if what == "update":
            was = draw_row(one_of, hall, model, row["id"])
            names = [one_of([n for n in was if n not in ("id", "tenant_id", *STAMPS)]) for _ in range(2)]
            yield Change(model.name, row["id"], row | {name: was[name] for name in names}, row)
    gone = one_of(range(10, 60))
    if not model.soft and one_of([True, False]):
        yield Change(model.name, gone, draw_row(one_of, hall, model, gone), None)


def principals(hall: Hall) -> st.SearchStrategy[Who]:
    """Anybody."""
    words = ["*", "*:read", "*:write", *(f"{n}:{w}" for n in hall.models for w in ("read", "write", "*"))]
    some = st.frozensets(st.sampled_from(words), max_size=3)
    signed = st.builds(
        Who,
        st.integers(1, 3),
        st.frozensets(st.sampled_from(["admin", "editor", "other"]), max_size=2),
        st.frozensets(st.sampled_from(["p", "q"]), max_size=1),
        st.sampled_from([1, 1, 1, 2, None]),
        st.none() | st.none() | st.none() | st.none() | some,
    )
    return st.integers(1, 8).flatmap(lambda number: st.just(Who(None)) if number == 6 else signed)
