"""What a program exposes: models with their rules, as `app.resource` was told, made into a Catalog."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .errors import OperatorError, perhaps
from .schema.model import Schema, Table
from .schema.policy import Policy
from .schema.resource import Catalog, Resource, check_fields, natural_key


@dataclass(slots=True)
class Exposure:
    """What `app.resource` was told, before the schema is known."""

    model: Any
    name: str | None
    key: tuple[str, ...]
    policy: Policy
    hidden: frozenset[str]
    shown: frozenset[str]
    cache_s: int
    limit: str
    require_match: bool


def catalog_of(schema: Schema, exposures: Iterable[Exposure], app: str) -> Catalog:
    """The resources of an app.

    Raises:
        OperatorError: nothing exposed, or a key or name that is not there.
    """
    resources: dict[str, Resource] = {}
    for exposure in exposures:
        table = schema.by_model(exposure.model) or schema.tables.get(str(exposure.model))
        if table is None:
            hint = perhaps(str(exposure.model), schema.tables, noun="table")
            raise OperatorError(f"There is no table {exposure.model!r}. {hint}")
        name = exposure.name or table.name
        named = (*exposure.policy.stamp, *exposure.hidden, *exposure.shown)
        missing = [n for n in named if n not in table.columns]
        if missing:
            hint = perhaps(missing[0], table.columns, noun="column")
            raise OperatorError(f"{table.name} has no column {missing[0]!r}. {hint}")
        shown = exposure.shown | exposure.policy.fields.keys()
        hidden = exposure.hidden | ({n for n, c in table.columns.items() if c.private} - shown)
        key = natural_key(table, exposure.key or table.key)
        resources[name] = Resource(
            name,
            table,
            key,
            exposure.policy,
            hidden,
            exposure.cache_s,
            exposure.limit,
            exposure.require_match,
        )
        check_fields(resources[name])
        _keep_hidden(table, resources[name].hidden)
    if not resources:
        raise OperatorError(f"{app} exposes nothing: call app.resource(Model, read=...).")
    return Catalog(schema, resources)


def _keep_hidden(table: Table, hidden: frozenset[str]) -> None:
    """A search tells what a column holds, even if no answer shows it."""
    searched = table.search.columns if table.search is not None else ()
    told = next((name for name in sorted(hidden) if table.columns[name].sql.name in searched), None)
    if told is not None:
        raise OperatorError(f"{table.name}.{told} is hidden, and searched: take it out of hidden= or __search__.")


def given_or(rule: Any, default: Any) -> Any:
    """A rule, or what holds where none was given."""
    return default if rule is None else rule


def attribute(column: Any) -> str:
    """The API name of a mapped attribute, or the name itself."""
    return column if isinstance(column, str) else str(column.key)
