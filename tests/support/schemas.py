"""Random schemas with their rows: tables of any kinds of columns, keys and relations, the same on every database."""

import datetime as dt
import json
import math
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st
from sqlalchemy.orm import DeclarativeBase, mapped_column, registry, relationship

from backstay.schema.base import UtcDateTime
from backstay.schema.types import Array
from support.kinds import CHARACTERS, COLORS, FLOATS, INTEGERS, KINDS, TEXTS

Row = dict[str, Any]
_JSON_LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS | st.sampled_from([0.5, 1e300, -2.25])
_JSON_NAMES = st.text(CHARACTERS, max_size=3)
_DOCUMENTS = st.dictionaries(
    _JSON_NAMES,
    st.recursive(
        _JSON_LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_JSON_NAMES, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=3,
)


@dataclass(frozen=True, slots=True)
class Type:
    """One type of column.

    Attributes:
        sums: its values can be added exactly, in whatever order.
        ordered: it can be sorted, grouped and compared.
    """

    sql: Any
    values: st.SearchStrategy[Any]
    sums: bool = False
    ordered: bool = True


TYPES: dict[str, Type] = {
    "whole": Type(sa.BigInteger(), INTEGERS),
    "count": Type(sa.BigInteger(), st.integers(-(2**50), 2**50) | st.integers(-3, 3), sums=True),
    # Rows put in behind the API's back; it stores no negative zero, which SQLite does not have.
    "real": Type(sa.Double(), FLOATS.map(lambda value: value + 0.0)),
    "eighth": Type(sa.Double(), st.integers(-9_999, 9_999).map(lambda n: n / 8), sums=True),
    "price": Type(sa.Numeric(15, 4), KINDS["price"], sums=True),
    "money": Type(sa.Numeric(10, 2), st.decimals(-99_999, 99_999, places=2), sums=True),
    "tally": Type(sa.Numeric(12, 0), st.integers(-(10**11), 10**11).map(Decimal), sums=True),
    "text": Type(sa.Text(), TEXTS),
    "moment": Type(UtcDateTime(), KINDS["moment"]),
    "local": Type(sa.DateTime(), KINDS["local"]),
    "day": Type(sa.Date(), KINDS["day"]),
    "hour": Type(sa.Time(), KINDS["hour"]),
    "code": Type(sa.Uuid(), KINDS["code"]),
    "flag": Type(sa.Boolean(create_constraint=False), KINDS["flag"]),
    "color": Type(sa.Enum(*COLORS, native_enum=False), KINDS["color"]),
    "blob": Type(sa.LargeBinary(), st.binary(max_size=70), ordered=False),
    "doc": Type(sa.JSON(none_as_null=True), _DOCUMENTS, ordered=False),
    "ints": Type(Array(sa.BigInteger()), st.lists(INTEGERS, max_size=3), ordered=False),
    "texts": Type(Array(sa.Text()), st.lists(TEXTS, max_size=3), ordered=False),
    "reals": Type(Array(sa.Double()), st.lists(FLOATS, max_size=3), ordered=False),
}
KEYS = ("id", "name", "pair")


@dataclass(slots=True)
class Model:
    """One table.

    Attributes:
        columns: name to the name of its type.
        key: the columns of its primary key.
        one, many: relations to the names of other models.
        mapped: the mapped class.
    """

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    one: dict[str, str] = field(default_factory=dict[str, str])
    many: dict[str, str] = field(default_factory=dict[str, str])
    rows: list[Row] = field(default_factory=list[Row])
    mapped: Any = None

    def type_of(self, column: str) -> Type:
        """The type of a column."""
        return TYPES[self.columns[column]]

    def where(self, *, sums: bool = False) -> list[str]:
        """The columns that have an order, or can be added."""
        return [name for name, kind in self.columns.items() if (TYPES[kind].sums if sums else TYPES[kind].ordered)]


@dataclass(slots=True)
class World:
    """The models by name, in the order of their references."""

    models: dict[str, Model]
    base: type[DeclarativeBase]

    def fill(self, engine: sa.Engine) -> None:
        """Create the tables, and their rows."""
        self.base.metadata.create_all(engine)
        with engine.begin() as connection:
            for model in self.models.values():
                for row in model.rows:
                    connection.execute(sa.insert(model.mapped.__table__), row)

    def json_columns(self) -> set[str]:
        """The names of JSON columns."""
        return {name for model in self.models.values() for name, kind in model.columns.items() if kind == "doc"}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """One to three tables with up to six rows each."""
    base: Any = type("Base", (DeclarativeBase,), {"metadata": sa.MetaData(), "registry": registry()})
    models: dict[str, Model] = {}
    for number in range(draw(st.integers(1, 3))):
        model = _model(draw, number)
        members = _members(draw, model, models)
        model.mapped = type(model.name.title(), (base,), {"__tablename__": model.name, **members})
        models[model.name] = model
    for model in models.values():
        _fill(draw, model, models)
    return World(models, base)


def _model(draw: st.DrawFn, number: int) -> Model:
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=5, unique=True))
    style = draw(st.sampled_from(KEYS))
    keys = {"id": {"id": "count"}, "name": {"name": "text"}, "pair": {"left": "count", "right": "text"}}[style]
    nullable = {f"{name}_or": name for name in names if draw(st.booleans())}
    plain = {name: name for name in names if f"{name}_or" not in nullable}
    return Model(f"table{number}", keys | plain | nullable, tuple(keys))


def _members(draw: st.DrawFn, model: Model, others: dict[str, Model]) -> dict[str, Any]:
    members: dict[str, Any] = {
        name: mapped_column(
            TYPES[kind].sql, primary_key=name in model.key, nullable=name.endswith("_or"), autoincrement=False
        )
        for name, kind in model.columns.items()
    }
    targets = {**others, model.name: model}
    for target in targets.values():
        if len(target.key) == 1 and draw(st.booleans()):
            way, back = f"to_{target.name}", f"of_{model.name}"
            members |= _reference(model, target, way, back)
            model.one[way], target.many[back] = target.name, model.name
    return members


def _reference(model: Model, target: Model, way: str, back: str) -> dict[str, Any]:
    column = f"{way}_key"
    (key,) = target.key
    model.columns[column] = target.columns[key]
    there = target.name.title()
    if target.mapped is not None:
        setattr(target.mapped, back, relationship(model.name.title(), back_populates=way))
        own = {}
    else:
        own = {back: relationship(there, back_populates=way, remote_side=f"{there}.{column}")}
    return own | {
        column: mapped_column(sa.ForeignKey(f"{target.name}.{key}"), nullable=True),
        way: relationship(there, back_populates=back, remote_side=f"{there}.{key}"),
    }


def _fill(draw: st.DrawFn, model: Model, models: dict[str, Model]) -> None:
    own = {name: kind for name, kind in model.columns.items() if not name.endswith("_key")}
    pools = {
        name: draw(st.lists(_values(name, kind), min_size=1, max_size=3))
        for name, kind in own.items()
        if name not in model.key
    }
    keys = st.tuples(*[TYPES[model.columns[name]].values for name in model.key])
    for key in draw(st.lists(keys, max_size=6, unique=True)):
        row = dict(zip(model.key, key, strict=True)) | {n: draw(st.sampled_from(pool)) for n, pool in pools.items()}
        for way, target in model.one.items():
            (there,) = models[target].key
            row[f"{way}_key"] = draw(st.none() | st.sampled_from([None, *(r[there] for r in models[target].rows)]))
        model.rows.append(row)


def _values(name: str, kind: str) -> st.SearchStrategy[Any]:
    return st.none() | TYPES[kind].values if name.endswith("_or") else TYPES[kind].values


def text_of(value: Any) -> str:
    """A value as the text of a filter."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value) if math.isfinite(value) else "0"
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case Decimal() | int() | uuid.UUID():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
