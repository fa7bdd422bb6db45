"""`Model`, the mapped base class with key, timestamps and version; and the types that keep JSON equal.

`ModelBase` carries the behaviour, so that a program that wants a registry of its own writes
`class Base(ModelBase, DeclarativeBase)`.
"""

from __future__ import annotations

import enum
import inspect
import re
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar, cast, get_args, get_origin

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.sql.functions import FunctionElement, now
from sqlalchemy.types import TypeDecorator, TypeEngine
from uuid_utils.compat import uuid7

from .constraints import check_of, constraints_of, metadata_of, pydantic_metadata
from .indexes import index_tables_of
from .kinds import ISO_LAYOUT, plain
from .search import declare_search
from .types import Array

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

_ISO_STORAGE = "%(year)04d-%(month)02d-%(day)02dT%(hour)02d:%(minute)02d:%(second)02d.%(microsecond)06d+00:00"
_ISO_PATTERN = r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)\+00:00"


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. TIMESTAMPTZ on PostgreSQL; on SQLite the very text that JSON shows, which sorts by time.

    A value without a zone is read as UTC; every value comes back aware, in UTC.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True
    layout = ISO_LAYOUT

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite stores ISO 8601 text with offset."""
        if dialect.name == "sqlite":
            stored = sqlite.DATETIME(timezone=True, storage_format=_ISO_STORAGE, regexp=_ISO_PATTERN)
            return dialect.type_descriptor(stored)
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Normalise to UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back an aware value."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class current_instant(FunctionElement[datetime]):  # noqa: N801 - reads as SQL
    """The database's clock in the form that `UtcDateTime` stores."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(current_instant, "sqlite")
def _sqlite_instant(element: Any, compiler: Any, **kw: Any) -> str:
    return "(strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'))"


@compiles(current_instant)
def _standard_instant(element: Any, compiler: Any, **kw: Any) -> str:
    return "CURRENT_TIMESTAMP"


def utc_now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)


#: In the `info` of a CHECK: its enum's column, and the values that it admits.
ENUM = "backstay_enum"
_VOWELS = "aeiou"


def table_name(class_name: str) -> str:
    """Plural snake_case.

    Example:
        >>> [table_name(n) for n in ("Game", "HTTPProxy", "Category", "Address")]
        ['games', 'http_proxies', 'categories', 'addresses']
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name).lower()
    if words.endswith("y") and words[-2:-1] not in _VOWELS:
        return words[:-1] + "ies"
    return words + ("es" if words.endswith(("s", "x", "z", "ch", "sh")) else "s")


class ModelBase:
    """What every model has: `id`, `created_at`, `updated_at`, `version`, named constraints, indexed keys.

    Attributes:
        __search__: names of the columns of text that `q=` looks in.
    """

    __search__: ClassVar[tuple[str, ...]] = ()

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        str: sa.Text(),
        bool: sa.Boolean(create_constraint=False),
        datetime: UtcDateTime(),
        enum.Enum: sa.Enum(enum.Enum, native_enum=False),
        date: sa.Date(),
        time: sa.Time(),
        Decimal: sa.Numeric(15, 4),
        uuid.UUID: sa.Uuid(),
        bytes: sa.LargeBinary(),
        dict[str, Any]: sa.JSON(),
        list[Any]: sa.JSON(),
        list[str]: Array(sa.Text()),
        list[int]: Array(sa.BigInteger()),
        list[float]: Array(sa.Double()),
        list[bool]: Array(sa.Boolean()),
    }

    id: Mapped[int] = mapped_column(primary_key=True, sort_order=-10)
    created_at: Mapped[datetime] = mapped_column(default=utc_now, server_default=current_instant(), sort_order=90)
    updated_at: Mapped[datetime] = mapped_column(
        default=utc_now, onupdate=utc_now, server_default=current_instant(), sort_order=91
    )
    version: Mapped[int] = mapped_column(default=1, server_default=sa.text("1"), sort_order=92)

    @declared_attr.directive
    def __tablename__(cls) -> str:  # noqa: N805 - SQLAlchemy's own convention
        """Plural snake_case of the class name."""
        return table_name(cast(Any, cls).__name__)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805
        """The ORM counts versions too, so that a session and the API cannot overwrite each other."""
        return {"version_id_col": cls.version}

    def __init_subclass__(cls, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        table: Any = cls.__dict__.get("__table__")
        if table is not None:
            _add_checks(cls, table)
            _mend_clocks(table)
            declare_search(cls, table)
        elif isinstance(cls.__dict__.get("metadata"), sa.MetaData):
            index_tables_of(cls.__dict__["metadata"])


class UuidKey:
    """Mixin: the key is a UUIDv7 (RFC 9562), which sorts by creation time."""

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid7, sort_order=-10)


class Model(ModelBase, DeclarativeBase):
    """Base class of declared models.

    Example:
        >>> class Game(Model):
        ...     name: Mapped[str]
        >>> Game.__tablename__
        'games'
    """

    metadata = sa.MetaData(naming_convention=NAMING)


def annotations_of(model: type[Any]) -> dict[str, Any]:
    """Resolved `Mapped[...]` arguments by attribute name; names that do not resolve are left out."""
    found: dict[str, Any] = {}
    for owner in reversed(model.__mro__):
        scope = vars(sys.modules[owner.__module__]) if owner.__module__ in sys.modules else {}
        for name, written in inspect.get_annotations(owner).items():
            hint = _evaluated(written, scope) if isinstance(written, str) else written
            if get_origin(hint) is Mapped:
                found[name] = get_args(hint)[0]
    return found


def _evaluated(text: str, scope: dict[str, Any]) -> Any:
    """An annotation that is text, in the scope of its module, as `typing.get_type_hints` has it."""
    try:
        return eval(text, scope, {"Mapped": Mapped})
    except Exception:
        return None


def _add_checks(model: type[Any], table: sa.Table) -> None:
    """Hold the annotations' bounds and lengths in the database as CHECK constraints."""
    for name, annotation in annotations_of(model).items():
        column = table.columns.get(name)
        if column is None:
            continue
        for constraint in constraints_of(pydantic_metadata(metadata_of(annotation))):
            check = check_of(column, constraint)
            if check is not None:
                table.append_constraint(sa.CheckConstraint(check, name=f"{column.name}_{constraint.kind}"))
    for column in table.columns:
        kind = plain(column.type)
        if isinstance(kind, sa.Enum) and not kind.native_enum and not kind.create_constraint:
            info = {ENUM: (column.name, tuple(kind.enums))}
            check = sa.CheckConstraint(admits(column, kind.enums), name=f"{column.name}_enum", info=info)
            table.append_constraint(check)


def admits(column: sa.Column[Any], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """The CHECK that a column has one of these values."""
    allowed = [sa.literal(value, sa.Text(), literal_execute=True) for value in values]
    return sa.type_coerce(column, sa.Text()).in_(allowed)


def _mend_clocks(table: sa.Table) -> None:
    """`func.now()` on SQLite is not the text that `UtcDateTime` stores."""
    for column in table.columns:
        if isinstance(column.type, UtcDateTime) and isinstance(getattr(column.server_default, "arg", None), now):
            column.server_default = None
            sa.DefaultClause(current_instant())._set_parent(column)  # pyright: ignore[reportPrivateUsage]
