"""Who may do what: each rule of each resource for each standing, as the planner decides it.

Nothing is decided here. What a cell says is what a plan of that action would carry, so that the matrix cannot
disagree with the server. A tenant's rows and deleted ones are left to the resource's notes: `yes` means every row
of the caller's tenant that is not deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from ..auth.tenancy import DeclaredTenants
from ..config import Config
from ..errors import ForbiddenError, Problem, ValidationError
from ..query.ir import Delete, History, Insert, KeysetPage, Query, Restore, Select, Update
from ..query.planner import Planner
from ..query.sight import Sight
from ..rest.history import remembers
from ..schema.policy import Folded, Policy, Standing, fold, fold_write, public
from ..schema.resource import Catalog, Resource
from .words import terms, words

ACTIONS = ("read", "create", "update", "delete", "restore", "history")
YES, NO = "yes", "no"
#: There is no such action: the resource is read-only, its rows are deleted for good, or nobody sees their history.
NEVER = "-"
WHERE = "where "
NO_NAMES = frozenset[str]()

#: The cell of each standing, by its name.
Cells = dict[str, str]


@dataclass(frozen=True, slots=True)
class ResourceRules:
    """One resource.

    Attributes:
        fields: those that are not hidden from everybody.
        tenant: the column that says whose rows they are, if they belong to tenants.
        deleted: the column that says when a row was deleted softly, if rows are.
        stamps: what the server sets.
        rules: by action, `check`, and `read`, `write` or `refer` with the name of a field that has rules of its own.
    """

    fields: tuple[str, ...]
    tenant: str | None
    deleted: str | None
    stamps: dict[str, str]
    rules: dict[str, Cells]


@dataclass(frozen=True, slots=True)
class Matrix:
    """All resources of an app, and the names of the standings."""

    app: str
    standings: tuple[str, ...]
    resources: dict[str, ResourceRules]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def standings_of(catalog: Catalog, tenants: DeclaredTenants | None = None) -> dict[str, Standing]:
    """Anonymous, signed in, and each role and permission; who is signed in acts for a tenant.

    Roles are those that a rule names or a membership gives, with what they permit; a permission stands by itself
    where no such role gives it.
    """
    signed = Standing(signed=True, tenanted=True)
    given = (tenants.roles if tenants is not None else None) or {}
    single = catalog.permissions.difference(*given.values())
    names = [*given, *sorted(catalog.roles - given.keys())]
    roles = {name: signed._replace(roles=frozenset({name}), permissions=given.get(name, NO_NAMES)) for name in names}
    return {
        "anonymous": Standing(tenanted=tenants is not None and tenants.visitors),
        "signed in": signed,
        **{f"role {name}": standing for name, standing in roles.items()},
        **{f"permission {name}": signed._replace(permissions=frozenset({name})) for name in sorted(single)},
    }


def matrix_of(app: str, catalog: Catalog, config: Config, tenants: DeclaredTenants | None = None) -> Matrix:
    """The matrix of an app's resources."""
    planner = Planner(catalog, config)
    standings = standings_of(catalog, tenants)
    resources = {name: _rules_of(planner, resource, standings) for name, resource in catalog.resources.items()}
    return Matrix(app, tuple(standings), resources)


def query_of(resource: Resource, action: str) -> Query:
    """The least that an action asks for: all rows, a row without fields, or the row of a key."""
    key = tuple(range(len(resource.key)))
    match action:
        case "read":
            return Select(resource.name)
        case "create":
            return Insert(resource.name, ())
        case "update":
            return Update(resource.name, (), key)
        case "delete":
            return Delete(resource.name, key)
        case "history":
            return History(resource.name, key, KeysetPage(1, ()))
        case _:
            return Restore(resource.name, key)


def _rules_of(planner: Planner, resource: Resource, standings: Mapping[str, Standing]) -> ResourceRules:
    rules: dict[str, Cells] = {}
    for action in ACTIONS:
        cells = {name: _cell(planner, resource, action, standing) for name, standing in standings.items()}
        if set(cells.values()) != {NEVER}:
            rules[action] = cells
    policy = resource.policy
    if policy.check is not public:
        checks = {name: fold_write(policy.check, standing) for name, standing in standings.items()}
        rules["check"] = {name: _text(resource.table.sql, rule) for name, rule in checks.items()}
    for name in policy.fields:
        if name in resource.columns:
            rules |= _field_rules(planner.catalog, resource, name, standings)
    return ResourceRules(
        fields=tuple(resource.columns),
        tenant=resource.table.tenant,
        deleted=resource.table.deleted,
        stamps={name: words(value) for name, value in policy.stamp.items()},
        rules=rules,
    )


def _cell(planner: Planner, resource: Resource, action: str, standing: Standing) -> str:
    if action == "history" and not remembers(resource):
        return NEVER
    try:
        planner.plan(query_of(resource, action), standing)
    except ForbiddenError:
        return NO
    except ValidationError:
        pass  # it may be asked for, but not with so little
    except Problem:
        return NEVER
    return _text(resource.table.sql, *_conditions(resource.policy, action, standing))


def _conditions(policy: Policy, action: str, standing: Standing) -> list[Folded]:
    """What of a plan's rule is neither its tenant nor that it is not deleted."""
    match action:
        case "read":
            return [fold(policy.read, standing)]
        case "create":
            return [fold_write(policy.create, standing), fold_write(policy.check, standing)]
        case "history":
            return [fold(policy.read, standing), fold(policy.history, standing)]
        case "restore":
            return [fold(policy.read, standing), fold_write(policy.restore, standing)]
        case _:
            own = policy.update if action == "update" else policy.delete
            return [fold(policy.read, standing), fold_write(own, standing)]


def _field_rules(
    catalog: Catalog, resource: Resource, name: str, standings: Mapping[str, Standing]
) -> dict[str, Cells]:
    own = resource.policy.fields[name]
    read: Cells = {}
    write: Cells = {}
    refer: Cells = {}
    for label, standing in standings.items():
        column = Sight(catalog, standing).columns(resource).get(name)
        seen: Folded = False if column is None else True if column.mask is None else column.mask
        read[label] = _text(resource.table.sql, seen)
        write[label] = _text(resource.table.sql, own.writable(standing))
        refer[label] = _text(None, True if own.refer is None else fold(own.refer, standing))
    found = {f"read {name}": read, f"write {name}": write, f"refer {name}": refer}
    return {row: cells for row, cells in found.items() if set(cells.values()) != {YES}}


def _text(rows: sa.FromClause | None, *rules: Folded) -> str:
    """A cell of what must hold together; a term that is said twice is written once."""
    if any(rule is False for rule in rules):
        return NO
    said = {words(rule, rows): rule for rule in rules if rule is not True}
    if len(said) <= 1:
        return WHERE + next(iter(said)) if said else YES
    return WHERE + " AND ".join(dict.fromkeys(term for rule in said.values() for term in terms(rule, rows)))
