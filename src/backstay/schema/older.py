"""From the Catalog of all that is declared to that of each version: the current one, and the older ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from ..errors import OperatorError, perhaps
from .kinds import facts_of, kind_of
from .model import Column, Kind, Relationship, Schema, Table
from .policy import nobody
from .resource import Catalog, Resource
from .versions import UNSET, Added, Change, Removed, Renamed, Required, Version

_RESOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
#: Of what a field that no table has can be.
_TYPES: Mapping[str, Any] = {
    "str": sa.String(),
    "NoneType": sa.String(),
    "bool": sa.Boolean(),
    "int": sa.BigInteger(),
    "float": sa.Float(),
}
#: `(table, field or relation)`; the model's names.
Member = tuple[str, str]


@dataclass(slots=True)
class Differences:
    """What is different in one version from all that is declared; it grows from the newest to the oldest.

    Attributes:
        names, resources: other names of members, and of resources by their current ones.
        absent, unserved: members and resources that are not there.
        defaults: what a new row has in a field that its body does not name.
        answers: fields that are in no model any more, by resource.
    """

    names: dict[Member, str] = field(default_factory=dict[Member, str])
    resources: dict[str, str] = field(default_factory=dict[str, str])
    absent: set[Member] = field(default_factory=set[Member])
    unserved: set[str] = field(default_factory=set[str])
    defaults: dict[Member, Any] = field(default_factory=dict[Member, Any])
    answers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What a change speaks of: a member of a table, or a resource; `name` is empty where it is the resource."""

    resource: Resource
    name: str

    @property
    def member(self) -> Member:
        """The member."""
        return self.resource.table.name, self.name

    @property
    def there(self) -> bool:
        """Whether a model has it."""
        table = self.resource.table
        return not self.name or self.name in table.columns or self.name in table.relationships


def catalogs_of(declared: Catalog, versions: Sequence[Version]) -> tuple[Catalog, list[Catalog]]:
    """The current Catalog, and those of older versions.

    Args:
        declared: all resources, those too that only older versions have.
        versions: the newest first.

    Raises:
        OperatorError: a change of what is not there, a name that is taken, a required field without a default.
    """
    found = Differences()
    for version in versions:
        for change in version.changes:
            if isinstance(change, Removed):
                _hide(found, change, declared, version.name)
    current = _catalog(declared, found, None, "the current version")
    older: list[Catalog] = []
    for version in versions:
        for change in version.changes:
            _apply(found, change, declared, version.name)
        older.append(_catalog(declared, found, current, f"version {version.name}"))
    return current, older


def _hide(found: Differences, change: Removed, declared: Catalog, version: str) -> None:
    """Newer versions than this one do not have it."""
    named = _named(change, declared, found, version)
    if not named.there:
        return
    if change.answer is not UNSET:
        raise OperatorError(f"version {version}: {_words(named)} is in the model: its answer is what the rows have.")
    if named.name:
        found.absent.add(named.member)
    else:
        found.unserved.add(named.resource.name)


def _apply(found: Differences, change: Change, declared: Catalog, version: str) -> None:
    """This version, and those before it, are different by one change more."""
    named = _named(change, declared, found, version)
    match change:
        case Renamed():
            _rename(found, named, change.was, version)
        case Added():
            _absent(found, named, change)
        case Removed():
            _present(found, named, change, version)
        case Required():
            if named.name not in named.resource.table.columns:
                raise OperatorError(f"version {version}: {_words(named)} is no column that could be required.")
            found.defaults[named.member] = change.default


def _rename(found: Differences, named: Named, was: str, version: str) -> None:
    if not (was.isidentifier() if named.name else _RESOURCE_NAME.match(was)):
        raise OperatorError(f"version {version}: {_words(named)} cannot have been called {was!r}.")
    if not named.name:
        found.resources[named.resource.name] = was
    elif named.there:
        found.names[named.member] = was
    else:
        answers = found.answers[named.resource.name]
        answers[was] = answers.pop(named.name)


def _absent(found: Differences, named: Named, change: Added) -> None:
    if not named.name:
        found.unserved.add(named.resource.name)
    elif named.there:
        found.absent.add(named.member)
        found.defaults.pop(named.member, None)
        if change.default is not UNSET:
            found.defaults[named.member] = change.default
    else:
        del found.answers[named.resource.name][named.name]


def _present(found: Differences, named: Named, change: Removed, version: str) -> None:
    if named.there:
        found.absent.discard(named.member)
        if not named.name:
            found.unserved.discard(named.resource.name)
        return
    if change.answer is UNSET:
        hint = perhaps(named.name, named.resource.table.columns, noun="field")
        raise OperatorError(f"version {version}: no model has {_words(named)}: say its answer=. {hint}".rstrip())
    found.answers.setdefault(named.resource.name, {})[named.name] = change.answer


def _named(change: Change, declared: Catalog, found: Differences, version: str) -> Named:
    """What a change speaks of.

    Raises:
        OperatorError: nothing that is exposed.
    """
    what = change.what
    if isinstance(what, str):
        first, _, name = what.rpartition(".") if what not in declared.resources else (what, "", "")
        resource = declared.resources.get(first)
    else:
        model = what if isinstance(what, type) else getattr(what, "class_", None)
        table = None if model is None else declared.schema.by_model(model)
        resource = None if table is None else declared.by_table.get(table.name)
        name = "" if isinstance(what, type) else str(getattr(what, "key", ""))
    if resource is None:
        hint = perhaps(str(what).partition(".")[0], declared.resources, noun="resource")
        raise OperatorError(f"version {version}: {what!s} is of no resource. {hint}".rstrip())
    named = Named(resource, name)
    if not named.there and not isinstance(change, Removed) and name not in found.answers.get(resource.name, {}):
        known = (*resource.table.columns, *resource.table.relationships)
        raise OperatorError(f"version {version}: there is no {_words(named)}. {perhaps(name, known, noun='field')}")
    return named


def _words(named: Named) -> str:
    return f"{named.resource.name}.{named.name}" if named.name else named.resource.name


def _catalog(declared: Catalog, found: Differences, current: Catalog | None, where: str) -> Catalog:
    """The Catalog of a version.

    Args:
        current: that of the current one, unless it is this.
    """
    if current is None and not found.absent and not found.unserved:
        return declared
    gone = {
        declared.schema.tables[table].columns[name].sql for table, name in _columns(declared.schema, found.absent)
    }
    tables = {name: _table(table, found, gone, where) for name, table in declared.schema.tables.items()}
    schema = Schema(tables, declared.schema.metadata, declared.schema.notes)
    served: dict[str, Resource] = {}
    unserved: dict[str, Resource] = {}
    for name, resource in declared.resources.items():
        made = _resource(resource, tables[resource.table.name], found, where)
        made = made if current is None else replace(made, current=current.declared[_inner(current, name)])
        if name in found.unserved:
            # Under a name that no path and no other resource has: an older one may have been called so.
            unserved[_unserved(name)] = replace(made, name=_unserved(name))
            continue
        if made.name in served:
            raise OperatorError(f"{where}: two resources are called {made.name}.")
        served[made.name] = made
    if not served:
        raise OperatorError(f"{where} has no resource.")
    return Catalog(schema, served, unserved)


def _unserved(name: str) -> str:
    return f"{name} (unserved)"


def _inner(current: Catalog, name: str) -> str:
    return name if name in current.resources else _unserved(name)


def _columns(schema: Schema, members: set[Member]) -> Iterator[Member]:
    return ((table, name) for table, name in members if name in schema.tables[table].columns)


def _table(table: Table, found: Differences, gone: set[sa.Column[Any]], where: str) -> Table:
    """A table under the names of a version; what is absent is still there, for rules and records."""
    names = _names(table, found, where)
    columns = {names[name]: replace(column, name=names[name]) for name, column in table.columns.items()}
    ways: dict[str, Relationship] = {}
    for name, way in table.relationships.items():
        sides = [column for pair in (*way.pairs, *way.far_pairs) for column in pair]
        if (table.name, name) in found.absent or not gone.isdisjoint(sides):
            continue
        called = found.names.get((table.name, name), name)
        renamed = called != name
        if called in ways or (renamed and called in columns):
            raise OperatorError(f"{where}: {table.name} has two members that are called {called}.")
        ways[called] = replace(way, name=called)
    return replace(
        table,
        columns=columns,
        relationships=ways,
        key=tuple(names[name] for name in table.key),
        version=_called(names, table.version),
        touched=_called(names, table.touched),
        tenant=_called(names, table.tenant),
        deleted=_called(names, table.deleted),
    )


def _called(names: Mapping[str, str], name: str | None) -> str | None:
    return None if name is None else names[name]


def _names(table: Table, found: Differences, where: str) -> dict[str, str]:
    """Every column's name; one that is absent has its own unless another one had it."""
    absent = {name for name in table.columns if (table.name, name) in found.absent}
    names = {name: found.names.get((table.name, name), name) for name in table.columns if name not in absent}
    called = list(names.values())
    twice = next((name for name in called if called.count(name) > 1), None)
    if twice is not None:
        raise OperatorError(f"{where}: {table.name} has two fields that are called {twice}.")
    return {n: names.get(n, n if n not in called else f"{n} (absent)") for n in table.columns}


def _resource(resource: Resource, table: Table, found: Differences, where: str) -> Resource:
    """A resource under the names of a version."""
    old = resource.table
    names = dict(zip(old.columns, table.columns, strict=True))
    absent = {name for name in old.columns if (old.name, name) in found.absent}
    if any(column.name in absent for column in resource.key):
        raise OperatorError(f"{where}: {resource.name} cannot be without its key.")
    policy = resource.policy
    _check_required(resource, found, where)
    defaults = {name: found.defaults[old.name, name] for name in old.columns if (old.name, name) in found.defaults}
    made = Resource(
        found.resources.get(resource.name, resource.name),
        table,
        tuple(table.columns[names[column.name]] for column in resource.key),
        replace(
            policy,
            stamp={names[name]: value for name, value in policy.stamp.items()},
            fields={names[name]: rule for name, rule in policy.fields.items()},
        ),
        frozenset(names[name] for name in resource.hidden | absent),
        resource.cache_s,
        resource.limit,
        resource.require_match,
        {names[name]: value for name, value in defaults.items()},
        {name: _extra(name, answer, where) for name, answer in found.answers.get(resource.name, {}).items()},
    )
    taken = next((name for name in made.extra if name in table.columns or name in table.relationships), None)
    if taken is not None:
        raise OperatorError(f"{where}: {resource.name} has {taken} already: its answer is what the rows have.")
    return made


def _check_required(resource: Resource, found: Differences, where: str) -> None:
    """A row can be created without the fields that the version does not know."""
    if resource.policy.create is nobody or not resource.writable:
        return
    for name, column in resource.table.columns.items():
        member, field_name = (resource.table.name, name), f"{resource.name}.{name}"
        by_server = column.server_set or name in resource.policy.stamp or name == resource.table.tenant
        if by_server and member in found.defaults:
            raise OperatorError(f"{where}: {field_name} has a default, and the server sets it.")
        needed = member in found.absent and not (by_server or column.nullable or column.has_default)
        if needed and member not in found.defaults:
            raise OperatorError(f"{where} has no {field_name}, which a new row needs: give it a default.")


def _extra(name: str, answer: Any, where: str) -> Column:
    """The column of a field that is always the same."""
    sql_type = _TYPES.get(type(answer).__name__)
    kind: Kind | None = None if sql_type is None else kind_of(sql_type)
    if sql_type is None or kind is None:
        raise OperatorError(f"{where}: {name} can be a text, a number, a boolean or None, not {answer!r}.")
    if not name.isidentifier():
        raise OperatorError(f"{where}: no field can have been called {name!r}.")
    value = sa.null() if answer is None else sa.literal(answer, sql_type)
    return Column(
        name=name,
        sql=sa.Column(f"{name} (answer)", sql_type),
        kind=kind,
        nullable=answer is None,
        server_set=True,
        description=f"Always {'null' if answer is None else repr(answer)}.",
        answer=sa.cast(value, sql_type),
        **facts_of(sql_type, loose=False),
    )
