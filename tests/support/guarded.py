"""Random worlds under random rules, and what each principal may know of them, worked out directly.

The `view` of a principal is everything that answers may depend on: the rows and fields that it may see, what it may
do with those rows, and which rows it may refer to. Whatever can change while every view stays as it is, is a secret.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column, relationship

from backstay import Backstay, FieldRule, ModelBase, SoftDelete, TenantScoped, me, public
from support.asgi import quiet
from support.guarded_rules import FLAGS, Has, Join, Mine, Not, Row, Rule, Says, Truth, Who, compound, of_row
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
ACTIONS = ("read", "create", "update", "delete", "restore")
TENANTS = (1, 2)


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


@dataclass(slots=True)
class Hall:
    """A world: `schemas.World` with rules, so that `support.made` can draw what is asked of it."""

    models: dict[str, Guarded]
    base: type[DeclarativeBase]

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
        app = Backstay("hall", config=quiet(url))
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
            app.resource(model.mapped, fields=rules, stamp=stamp, history=public, **given)
        return app

    def _refer(self, model: Guarded, name: str) -> Any:
        there = self.models[model.references[name]] if name in model.refers else None
        return None if there is None else model.refers[name].sql(there, self)

    def fill(self, engine: sa.Engine) -> None:
        """These rows and no others; new ones are numbered from 1001."""
        postgres = engine.dialect.name == "postgresql"
        logged = sa.inspect(engine).has_table("backstay_changes")
        with engine.begin() as connection:
            if logged:
                connection.execute(sa.delete(sa.table("backstay_changes")))
            if postgres:
                connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for model in reversed(self.models.values()):
                connection.execute(sa.delete(model.mapped.__table__))
            for model in self.models.values():
                if model.rows:
                    connection.execute(sa.insert(model.mapped.__table__), [row | STAMPS for row in model.rows])
                if postgres:
                    number = f"SELECT setval(pg_get_serial_sequence('{model.name}', 'id'), 1000)"
                    connection.execute(sa.text(number))


def back_of(child: str, column: str) -> str:
    """The name of the way back along a reference."""
    return f"of_{child}_{column}"


# What a principal may know.


def in_scope(model: Guarded, row: Row, who: Who, *, deleted: bool = False) -> bool:
    """Of its tenant, and deleted or not."""
    ours = not model.tenant or (who.tenant is not None and row["tenant_id"] == who.tenant)
    return ours and (not model.soft or (row["deleted_at"] is not None) is deleted)


def sees(hall: Hall, model: Guarded, row: Row, who: Who, *, deleted: bool = False) -> bool:
    """Whether it may read a row; of a deleted one, whether it may also restore it."""
    if not who.covers(model.name, "read") or not in_scope(model, row, who, deleted=deleted):
        return False
    restores = not deleted or model.rules["restore"].holds(row, model, hall, who) is True
    return restores and model.rules["read"].holds(row, model, hall, who) is True


def known(model: Guarded, who: Who) -> list[str]:
    """The fields that there are for it."""
    return [n for n in model.columns if n not in model.fields or model.fields[n][0].verdict(who) is not False]


def shown(hall: Hall, model: Guarded, row: Row, who: Who) -> Row:
    """A row as it may see it."""
    found: Row = {}
    for name in known(model, who):
        masked = name in model.fields and model.fields[name][0].holds(row, model, hall, who) is not True
        found[name] = None if masked else row[name]
    return found


def passable(hall: Hall, model: Guarded, way: str, who: Who) -> bool:
    """Whether a way can be gone: no field that it goes by is hidden."""
    if way in model.links:
        name, here, there = model.links[way]
        return {here, there} <= set(known(hall.models[name], who))
    if way in model.one:
        return f"{way}_id" in known(model, who)
    child = hall.models[model.many[way]]
    return any(way == back_of(child.name, c) for c in child.references if c in known(child, who))


def outcomes(hall: Hall, model: Guarded, row: Row, who: Who) -> dict[str, Truth]:
    """What it may do with a row."""
    truths = {action: model.rules[action].holds(row, model, hall, who) for action in ("update", "delete")}
    for name, (_, write) in model.fields.items():
        truths[f"set {name}"] = None if write is None else write.holds(row, model, hall, who)
    return truths


def view(hall: Hall, who: Who) -> dict[str, Any]:
    """All that answers to a principal may depend on."""
    found: dict[str, Any] = {}
    for model in hall.models.values():
        rows = {row["id"]: shown(hall, model, row, who) for row in model.rows if sees(hall, model, row, who)}
        found[model.name] = rows
        found[f"{model.name} deleted"] = {
            row["id"]: shown(hall, model, row, who) for row in model.rows if sees(hall, model, row, who, deleted=True)
        }
        # A credential may write rows that it may not read.
        plain = Who(who.id, who.roles, who.permissions, who.tenant)
        mine = [row for row in model.rows if sees(hall, model, row, plain)]
        found[f"{model.name} outcomes"] = {row["id"]: outcomes(hall, model, row, who) for row in mine}
        if model.soft:
            gone = [row["id"] for row in model.rows if sees(hall, model, row, plain, deleted=True)]
            found[f"{model.name} restorable"] = gone
        for column, name in model.references.items():
            there = hall.models[name]
            rule = model.refers.get(column, there.rules["read"])
            found[f"{model.name}.{column} refers"] = {
                row["id"]
                for row in there.rows
                if in_scope(there, row, who) and rule.holds(row, there, hall, who) is True
            }
    return found


def disturb(draw: Any, hall: Hall, who: Who, attempts: int) -> tuple[Hall, int]:
    """Another world with the same view, and how many changes made it: cells, rows that come and rows that go."""
    other = Hall({name: copy.copy(model) for name, model in hall.models.items()}, hall.base)
    for model in other.models.values():
        model.rows = [dict(row) for row in model.rows]
    wanted, changes = view(hall, who), 0
    for _ in range(attempts):
        model = other.models[draw(st.sampled_from(sorted(other.models)))]
        before = model.rows
        model.rows = _disturbed(draw, other, model)
        if model.rows == before:
            continue
        if _whole(other) and view(other, who) == wanted:
            changes += 1
        else:
            model.rows = before
    return other, changes


def _disturbed(draw: Any, hall: Hall, model: Guarded) -> list[Row]:
    """The rows of a table with one change."""
    what = draw(st.sampled_from(["cell", "cell", "cell", "come", "go"]))
    if what == "come" or not model.rows:
        number = draw(st.integers(1, 60))
        if any(row["id"] == number for row in model.rows):
            return model.rows
        return sorted([*model.rows, draw_row(draw, hall, model, number)], key=lambda row: row["id"])
    place = draw(st.integers(0, len(model.rows) - 1))
    if what == "go":
        return model.rows[:place] + model.rows[place + 1 :]
    # What is masked is tried the most.
    name = draw(st.sampled_from([n for n in (*model.columns, *model.fields) if n not in ("id", *STAMPS)]))
    changed = model.rows[place] | {name: draw_row(draw, hall, model, 0)[name]}
    return [*model.rows[:place], changed, *model.rows[place + 1 :]]


def _whole(hall: Hall) -> bool:
    """Whether every reference leads to a row."""
    keys = {model.name: {row["id"] for row in model.rows} for model in hall.models.values()}
    return all(
        row[column] is None or row[column] in keys[name]
        for model in hall.models.values()
        for column, name in model.references.items()
        for row in model.rows
    )


# Drawing worlds.


@st.composite
def halls(draw: st.DrawFn) -> Hall:
    """Two to four tables, some with tenants, some deleted softly, with rules and up to six rows each."""
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
            model.rows.append(draw_row(draw, hall, model, number))
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
    model.mapped = type(model.name.title(), mixins, {"__tablename__": model.name, **members})
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
    model.rules["restore"] = draw(mostly)
    by_owner = st.just(Mine("owner"))
    for name in draw(st.sets(st.sampled_from(["num", "word", "owner", "flag", "price"]), max_size=3)):
        model.fields[name] = (draw(by_owner | leaves | related), draw(st.none() | plain))
    for name, target in model.references.items():
        if draw(st.integers(0, 3)) == 0:
            model.fields[name] = (draw(compound(FLAGS)), draw(st.none() | plain))
        if draw(st.integers(0, 3)) == 0:
            there = hall.models[target]
            model.refers[name] = draw(compound(of_row(["num", "owner", "flag"]))) if there.mapped else FLAGS


def draw_row(draw: Any, hall: Hall, model: Guarded, number: int) -> Row:
    """Any row; its references lead to rows that are there."""
    row: Row = {"id": number} | {name: draw(st.sampled_from(values)) for name, values in VALUES.items()}
    for column, name in model.references.items():
        keys = [other["id"] for other in hall.models[name].rows]
        row[column] = draw(st.sampled_from([None, *keys]))
    if model.tenant:
        row["tenant_id"] = draw(st.sampled_from(TENANTS))
    if model.soft:
        row["deleted_at"] = draw(st.sampled_from([None, None, STAMPS["created_at"]]))
    return row | STAMPS


def principals(hall: Hall) -> st.SearchStrategy[Who]:
    """Anybody."""
    words = ["*", "*:read", "*:write", *(f"{n}:{w}" for n in hall.models for w in ("read", "write", "*"))]
    some = st.frozensets(st.sampled_from(words), max_size=3)
    signed = st.builds(
        Who,
        st.integers(1, 3),
        st.frozensets(st.sampled_from(["admin", "editor", "other"]), max_size=2),
        st.frozensets(st.sampled_from(["p", "q"]), max_size=1),
        st.sampled_from([1, 1, 2, None]),
        st.none() | st.none() | st.none() | some,
    )
    return signed | signed | signed | st.just(Who(None))


# What a write makes of a world.


def by_row(rule: Rule | None) -> bool:
    """Whether a rule says something about the row."""
    match rule:
        case None | Says():
            return False
        case Not(inner):
            return by_row(inner)
        case Join(_, parts):
            return any(by_row(part) for part in parts)
        case _:
            return True


def settable(model: Guarded, who: Who) -> list[str]:
    """The fields that a body may set."""
    found = [n for n in model.columns if n not in ("id", "tenant_id", "deleted_at", *STAMPS)]
    found = [n for n in found if not (model.stamped and n == "owner")]
    ruled = {name: write or read for name, (read, write) in model.fields.items()}
    return [n for n in found if n not in ruled or ruled[n].verdict(who) is not False]


def written(hall: Hall, model: Guarded, row: Row) -> Hall:
    """The world with a row in place of the one that had its key."""
    other = Hall({name: copy.copy(each) for name, each in hall.models.items()}, hall.base)
    kept = [each for each in model.rows if each["id"] != row["id"]]
    other.models[model.name].rows = [*kept, row]
    return other


def without(hall: Hall, model: Guarded, key: int) -> Hall:
    """The world without a row."""
    other = Hall({name: copy.copy(each) for name, each in hall.models.items()}, hall.base)
    other.models[model.name].rows = [row for row in model.rows if row["id"] != key]
    return other


def refers_to(hall: Hall, model: Guarded, key: int) -> bool:
    """Whether any row refers to a row."""
    return any(
        row[column] == key
        for child in hall.models.values()
        for column, name in child.references.items()
        for row in child.rows
        if name == model.name
    )


def after(hall: Hall, who: Who, method: str, parts: list[str], body: Row | None) -> Any:
    """What one may know of a write that is admitted, by the world that it leaves; see `view`.

    Where two worlds differ in it, answers may.
    """
    model, given = hall.models[parts[0]], dict(body or {})
    if given.get("price") is not None:
        given["price"] = Decimal(given["price"])
    if len(parts) == 3 and parts[2] != "restore":
        parent, way = model, parts[2]
        model = hall.models[parent.many[way]]
        given |= {c: int(parts[1]) for c in model.references if way == back_of(model.name, c)}
    if method == "POST" and parts[-1] != "restore":
        row = dict.fromkeys(model.columns) | given | STAMPS | {"id": 1001}
        row |= {"tenant_id": who.tenant} if model.tenant else {}
        row |= {"owner": who.id} if model.stamped else {}
    else:
        key = int(parts[1])
        found = next((dict(row) for row in model.rows if row["id"] == key), None)
        plain = Who(who.id, who.roles, who.permissions, who.tenant)
        deleted = parts[-1] == "restore"
        if found is None or not sees(hall, model, found, plain, deleted=deleted):
            return None
        row = found
        if method == "DELETE" and not model.soft:
            held = refers_to(hall, model, key)
            return held, None if held else view(without(hall, model, key), who)
        if method == "PUT":
            ruled = {name for name, rules in model.fields.items() if any(by_row(rule) for rule in rules)}
            row |= {name: None for name in settable(model, who) if name not in ruled}
        row |= given
        if model.soft:
            row["deleted_at"] = STAMPS["created_at"] if method == "DELETE" else None
    new = written(hall, model, row)
    there = new.models[model.name]
    truths = {action: rule.holds(row, there, new, who) for action, rule in model.rules.items()}
    return view(new, who), shown(new, there, row, who), truths, outcomes(new, there, row, who)
