"""Schema from declared SQLAlchemy classes: `Model` subclasses or any `DeclarativeBase`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapper, RelationshipDirection, RelationshipProperty, class_mapper

from ..errors import OperatorError
from .base import annotations_of
from .constraints import metadata_of, pydantic_metadata
from .kinds import facts_of, kind_of
from .mixins import DELETED, TENANT, SoftDelete, TenantScoped
from .model import Column, Relationship, Schema, Table
from .search import declare_search, search_of

#: Marks in a column's `info`: no front end ever shows or takes it; no body may set it; it is shown where a resource
#: says so, because it is a person's.
SECRET, SERVER_SET, PRIVATE = "secret", "server_set", "private"
_SERVER_SET = frozenset({"created_at", "updated_at", "version"})
_OURS = {TENANT: TenantScoped, DELETED: SoftDelete}


def schema_of(models: Iterable[type[Any]]) -> Schema:
    """The Schema of some mapped classes and of every class that their relationships reach.

    Raises:
        OperatorError: a class that is not mapped, or mapped in a way the API cannot serve.
    """
    reached: dict[str, Table] = {}
    metadata: sa.MetaData | None = None
    queue = list(models)
    while queue:
        model = queue.pop(0)
        mapper = _mapper(model)
        table = _table(mapper)
        if table.name in reached:
            continue
        metadata = metadata or cast(sa.Table, mapper.local_table).metadata
        reached[table.name] = table
        queue += [prop.mapper.class_ for prop in mapper.relationships]
    return Schema(reached, metadata if metadata is not None else sa.MetaData())


def _mapper(model: type[Any]) -> Mapper[Any]:
    try:
        mapper = class_mapper(model)
    except Exception as error:
        name = getattr(model, "__name__", repr(model))
        raise OperatorError(f"{name} is not a mapped class ({error}): derive it from backstay.Model.") from None
    if mapper.inherits is not None:
        raise OperatorError(f"{model.__name__} uses mapper inheritance: expose one class a table.")
    return mapper


def _table(mapper: Mapper[Any]) -> Table:
    sql = mapper.local_table
    if not isinstance(sql, sa.Table):
        raise OperatorError(f"{mapper.class_.__name__} is not mapped to a table.")
    sql = cast(sa.Table, sql)
    declare_search(mapper.class_, sql)
    columns = {column.name: column for column in _columns(mapper, sql)}
    by_sql: dict[Any, str] = {column.sql: name for name, column in columns.items()}
    version = mapper.version_id_col
    touched = next((n for n, c in columns.items() if n == "updated_at" and c.sql.onupdate is not None), None)
    return Table(
        name=sql.name if sql.schema is None else f"{sql.schema}.{sql.name}",
        sql=sql,
        columns=columns,
        relationships={r.name: r for r in _relationships(mapper)},
        key=tuple(by_sql[c] for c in mapper.primary_key if c in by_sql),
        version=by_sql.get(version) if version is not None else None,
        touched=touched,
        model=mapper.class_,
        description=_description(mapper.class_),
        search=search_of(sql),
        tenant=TENANT if issubclass(mapper.class_, TenantScoped) else None,
        deleted=DELETED if issubclass(mapper.class_, SoftDelete) else None,
    )


def _description(model: type[Any]) -> str:
    doc = model.__dict__.get("__doc__") or ""
    return " ".join(doc.split())


def _columns(mapper: Mapper[Any], table: sa.Table) -> Iterator[Column]:
    annotations = annotations_of(mapper.class_)
    unique = {c.columns[0] for c in _uniques(table) if len(c.columns) == 1}
    for prop in mapper.column_attrs:
        column = prop.columns[0]
        if not isinstance(column, sa.Column):
            continue
        kind = kind_of(column.type)
        if kind is None:
            owner = f"{mapper.class_.__name__}.{prop.key}"
            raise OperatorError(f"{owner}: the API cannot carry {column.type!r}; hide it or choose another type.")
        facts = facts_of(column.type, loose=False)
        yield Column(
            name=prop.key,
            sql=column,
            kind=kind,
            nullable=bool(column.nullable),
            primary_key=column.primary_key,
            unique=bool(column.unique) or column in unique or (column.primary_key and len(table.primary_key) == 1),
            has_default=_has_default(column, table),
            server_set=_server_set(prop.key, column, mapper),
            secret=bool(column.info.get(SECRET)),
            private=bool(column.info.get(PRIVATE)),
            metadata=pydantic_metadata(metadata_of(annotations.get(prop.key))),
            description=column.doc or "",
            **facts,
        )


def _uniques(table: sa.Table) -> Iterator[Any]:
    yield from (c for c in table.constraints if isinstance(c, sa.UniqueConstraint))
    yield from (i for i in table.indexes if i.unique and not i.dialect_options["sqlite"].get("where"))


def _has_default(column: sa.Column[Any], table: sa.Table) -> bool:
    generated = column is table.autoincrement_column
    return generated or column.default is not None or column.server_default is not None


def _server_set(name: str, column: sa.Column[Any], mapper: Mapper[Any]) -> bool:
    if column.computed is not None or column is mapper.version_id_col or column.info.get(SERVER_SET):
        return True
    if name in _OURS and issubclass(mapper.class_, _OURS[name]):
        return True
    if column.primary_key and not column.foreign_keys:
        return column is column.table.autoincrement_column or column.default is not None
    stamped = column.default is not None or column.server_default is not None
    return name in _SERVER_SET and stamped


def _relationships(mapper: Mapper[Any]) -> Iterator[Relationship]:
    for prop in mapper.relationships:
        if not _plain(prop):
            continue
        target = cast(sa.Table, prop.mapper.local_table)
        pairs = cast("tuple[tuple[sa.Column[Any], sa.Column[Any]], ...]", tuple(prop.synchronize_pairs))
        many = bool(prop.uselist)
        name = target.name if target.schema is None else f"{target.schema}.{target.name}"
        if prop.direction is RelationshipDirection.MANYTOMANY:
            # synchronize_pairs are (local, association); secondary ones (remote, association).
            backward = cast("list[tuple[sa.Column[Any], sa.Column[Any]]]", prop.secondary_synchronize_pairs or [])
            far = tuple((assoc, remote) for remote, assoc in backward)
            yield Relationship(prop.key, name, True, pairs, cast(sa.Table, prop.secondary), far)
        elif prop.direction is RelationshipDirection.MANYTOONE:
            # synchronize_pairs are (remote, local) here: the remote key is copied to the local column.
            yield Relationship(prop.key, name, False, tuple((local, remote) for remote, local in pairs))
        else:
            yield Relationship(prop.key, name, many, pairs)


def _plain(prop: RelationshipProperty[Any]) -> bool:
    """Whether the join is equality of columns and nothing else; a custom join has no way in the API."""
    pairs = len(prop.synchronize_pairs)
    terms = prop.primaryjoin.clauses if isinstance(prop.primaryjoin, sa.BooleanClauseList) else [prop.primaryjoin]
    return not prop.viewonly and len(terms) == pairs
