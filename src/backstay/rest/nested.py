"""Nested writes: a row and the rows that belong to it in one body, written in one transaction.

`{"code": "a", "lines": [{"amount": 3}]}` creates all. In a change, an item with the child's key changes that child,
one without a key is new, and `{"id": 7, "_delete": true}` removes one; a replacement removes those it does not name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..context import Context
from ..db.database import Row
from ..engine import Engine, output
from ..errors import FieldError, NotFoundError, Problem, ValidationError, invalid
from ..query.ir import Compare, Group, Include, OffsetPage, Op, Parent, Select, Shape
from ..query.payload import Action
from ..query.sight import Sight
from ..schema.model import Column
from ..schema.resource import Catalog, Resource
from ..sql.statement import Output, Statement
from .contracts import Contracts

#: Rows of one body besides its own.
NESTED_MAX = 100
REMOVED = "_delete"
#: Children that a replacement can look through for those it does not name.
_REPLACED_MAX = 1_000


class Fields(dict[str, Any]):
    """The validated fields of a body, and the children that it has, if any."""

    tree: Tree | None = None

    def over(self, defaults: dict[str, Any]) -> Fields:
        """The same with defaults for what is absent."""
        made = Fields(defaults | self)
        made.tree = self.tree
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A relation whose rows may be written with their parent.

    Attributes:
        links: the parent's columns with those of the child that refer to them.
    """

    name: str
    child: Resource
    links: tuple[tuple[Column, Column], ...]


def branches(sight: Sight | Catalog, resource: Resource) -> dict[str, Branch]:
    """The relations of a resource that a body may have, by their name: of a principal, or of anybody."""
    found: dict[str, Branch] = {}
    for name, child in sight.ways(resource).items():
        way = resource.relationships[name]
        if not way.many or way.through is not None or not child.writable or len(child.key) == 0:
            continue
        pairs = [(resource.table.column_of(a), child.table.column_of(b)) for a, b in way.pairs]
        links = tuple((a, b) for a, b in pairs if a is not None and b is not None)
        shown = resource.columns.keys() >= {local.name for local, _ in links}
        stamped = any(remote.name in child.policy.stamp for _, remote in links)
        if len(links) == len(pairs) and shown and not stamped:
            found[name] = Branch(name, child, links)
    return found


@dataclass(slots=True)
class Tree:
    """What a body says of a row's children, by relation."""

    items: dict[Branch, list[dict[str, Any]]]

    def __iter__(self) -> Iterator[tuple[Branch, int, dict[str, Any]]]:
        return ((branch, i, item) for branch, items in self.items.items() for i, item in enumerate(items))


def split(found: Mapping[str, Any], known: Mapping[str, Branch]) -> tuple[dict[str, Any], Tree | None]:
    """The row's own members of a body, and its children.

    Raises:
        ValidationError: a relation that is no list of objects, or too many of them.
    """
    named = [name for name in found if name in known]
    if not named:
        return dict(found), None
    tree = Tree({})
    errors: list[FieldError] = []
    for name in named:
        items = found[name]
        if not isinstance(items, list):
            errors.append(FieldError(name, "invalid_type", "is a list of objects."))
            continue
        listed = cast("list[Any]", items)
        errors += [
            FieldError(f"{name}[{i}]", "invalid_type", "is an object.")
            for i, item in enumerate(listed)
            if not isinstance(item, dict)
        ]
        tree.items[known[name]] = listed
    if not errors and sum(map(len, tree.items.values())) > NESTED_MAX:
        errors.append(FieldError(named[0], "too_long", f"a body has at most {NESTED_MAX} rows besides its own."))
    if errors:
        raise ValidationError(errors)
    return {name: value for name, value in found.items() if name not in known}, tree


class Nested:
    """Writes the children of a row that was just written, in its transaction.

    Args:
        contracts: of the children's bodies.
    """

    def __init__(self, engine: Engine, contracts: Contracts) -> None:
        self._engine, self._contracts = engine, contracts

    async def create(self, row: Row, tree: Tree, context: Context) -> None:
        """Create all children of a new row."""
        shown: dict[str, Any] = orjson.loads(row[0])
        for branch, index, item in tree:
            with _At(branch, index):
                await self._create(branch, item, shown, context)

    async def change(
        self, parent: Resource, key: Sequence[str], row: Row, tree: Tree, context: Context, *, whole: bool
    ) -> None:
        """Create, change and remove children of a row.

        Args:
            whole: the list is all there shall be: those it does not name are removed.
        """
        shown: dict[str, Any] = orjson.loads(row[0])
        for branch, items in tree.items.items():
            named = [child_key for item in items if (child_key := _key_of(branch, item)) is not None]
            if whole:
                for gone in await self._others(branch, parent, key, named, context):
                    await self._engine.delete(branch.child, gone, context)
            for index, item in enumerate(items):
                with _At(branch, index):
                    child_key = _key_of(branch, item)
                    if child_key is None:
                        await self._create(branch, item, shown, context)
                    else:
                        _check_links(branch, item, shown)
                        await self._change(branch, parent, key, child_key, item, context)

    async def shown(
        self, resource: Resource, written: Statement, row: Row, tree: Tree, context: Context
    ) -> tuple[bytes, int | None, list[object]]:
        """The row as it is now, with the children that the body had: its JSON, version and key.

        Raises:
            NotFoundError: the principal may write it, and not read it.
        """
        key: list[object] = orjson.loads(output(written, row, Output.KEY))
        includes = tuple(Include(branch.name, limit=NESTED_MAX) for branch in tree.items)
        query = Select(resource.name, key=tuple(range(len(key))), shape=Shape(None, includes))
        statement = self._engine.prepare(query, self._engine.standing(context.principal))
        values = self._engine.bind(statement, [key_text(part) for part in key])
        found = self._engine.read(statement, values, context)
        rows = found if isinstance(found, list) else await found
        if not rows:
            raise NotFoundError(resource.name, ",".join(map(key_text, key)))
        return rows[0][0], output(statement, rows[0], Output.VERSION), key

    async def _create(self, branch: Branch, item: dict[str, Any], shown: dict[str, Any], context: Context) -> None:
        fixed = {remote.name: shown[local.name] for local, remote in branch.links}
        for name in (*fixed, REMOVED):
            if name in item:
                raise invalid(name, "read_only", "is set by the row that it belongs to.")
        fields = self._validated(branch, Action.CREATE, item | fixed, context)
        await self._engine.insert(branch.child, fields, context)

    async def _change(
        self,
        branch: Branch,
        parent: Resource,
        key: Sequence[str],
        child_key: list[str],
        item: dict[str, Any],
        context: Context,
    ) -> None:
        if not await self._belongs(branch, parent, key, child_key, context):
            raise invalid(branch.child.key[0].name, "not_found", f"is no row of {branch.name} of this one.")
        names = {column.name for column in branch.child.key} | {remote.name for _, remote in branch.links}
        rest = {name: value for name, value in item.items() if name not in names}
        if REMOVED in rest and (len(rest) > 1 or rest[REMOVED] is not True):
            raise invalid(REMOVED, "invalid_value", "is true, and stands alone with the key.")
        if REMOVED in rest:
            await self._engine.delete(branch.child, child_key, context)
        elif rest:
            fields = self._validated(branch, Action.UPDATE, rest, context)
            await self._engine.update(branch.child, child_key, fields, context)

    def _validated(self, branch: Branch, action: Action, item: dict[str, Any], context: Context) -> dict[str, Any]:
        standing = self._engine.standing(context.principal)
        return self._contracts.of(branch.child, action, standing).validate(orjson.dumps(item))

    async def _belongs(
        self, branch: Branch, parent: Resource, key: Sequence[str], child_key: list[str], context: Context
    ) -> bool:
        """Whether a child that the principal sees belongs to the row."""
        names = [column.name for column in branch.child.key]
        first = len(key)
        compares = tuple(Compare((name,), Op.EQ, first + i) for i, name in enumerate(names))
        query = Select(
            branch.child.name,
            Group(False, compares),
            page=OffsetPage(1, total=False),
            shape=Shape(tuple(names)),
            parent=Parent(parent.name, branch.name, tuple(range(first))),
        )
        return bool(await self._read(query, [*key, *child_key], context))

    async def _others(
        self, branch: Branch, parent: Resource, key: Sequence[str], named: list[list[str]], context: Context
    ) -> list[list[str]]:
        """The keys of the children that a replacement does not name.

        Raises:
            Problem: `RESULT_TOO_LARGE` where there are too many to look through.
        """
        names = tuple(column.name for column in branch.child.key)
        page = OffsetPage(_REPLACED_MAX, total=False)
        start = Parent(parent.name, branch.name, tuple(range(len(key))))
        query = Select(branch.child.name, page=page, shape=Shape(names), parent=start)
        rows = await self._read(query, list(key), context)
        if len(rows) >= _REPLACED_MAX:
            hint = "Change them by PATCH, which leaves those it does not name."
            raise Problem("RESULT_TOO_LARGE", f"{branch.name} has too many rows to be replaced at once.", hint=hint)
        there = [[key_text(row[name]) for name in names] for row in rows]
        return [found for found in there if found not in named]

    async def _read(self, query: Select, raw: list[str], context: Context) -> list[dict[str, Any]]:
        statement = self._engine.prepare(query, self._engine.standing(context.principal))
        try:
            values = self._engine.bind(statement, raw)
        except ValidationError:
            return []
        found = self._engine.read(statement, values, context)
        rows = found if isinstance(found, list) else await found
        return cast("list[dict[str, Any]]", orjson.loads(rows[0][0])) if rows else []


class _At:
    """Says in a refusal which child it is about."""

    def __init__(self, branch: Branch, index: int) -> None:
        self._place = f"{branch.name}[{index}]"

    def __enter__(self) -> None:
        """Nothing to do yet."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Problem):
            errors = [FieldError(f"{self._place}.{e.field}", e.code, e.message) for e in error.errors]
            detail = f"{self._place}: {error.detail}"
            raise Problem(error.code, detail, errors=errors, hint=error.hint, headers=error.headers) from None


def _check_links(branch: Branch, item: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """See that a child which is there stays where it is; what refers to its row may be repeated.

    Raises:
        ValidationError: it would belong to another.
    """
    keys = {column.name for column in branch.child.key}
    for local, remote in branch.links:
        if remote.name in item and remote.name not in keys and item[remote.name] != shown[local.name]:
            raise invalid(remote.name, "read_only", "is set by the row that it belongs to.")


def _key_of(branch: Branch, item: Mapping[str, Any]) -> list[str] | None:
    """The key that an item names, in the form of a path."""
    values = [item.get(column.name) for column in branch.child.key]
    return None if any(value is None for value in values) else [key_text(value) for value in values]


def key_text(value: Any) -> str:
    """A part of a key as a path has it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
