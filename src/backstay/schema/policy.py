"""Rules: SQL boolean expressions over a row and the principal, and the Policy that a resource has of them.

A rule is an ordinary SQLAlchemy expression. What it says about the principal alone (`public`, `signed_in`,
`has_role`) is a `Flag`, decided before SQL is written; what it says about both (`Score.player_id == me.id`)
is a bound parameter that the engine fills from the principal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Literal, NamedTuple, cast

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import coercions, elements, operators, roles, visitors
from sqlalchemy.sql.annotation import _deep_deannotate  # pyright: ignore[reportPrivateUsage]
from sqlalchemy.sql.visitors import InternalTraversal

from ..context import Principal
from ..errors import Action, OperatorError

ME_PREFIX = "me_"
FlagTest = Literal["public", "signed_in", "role", "permission"]
_NONE: frozenset[str] = frozenset()


class Standing(NamedTuple):
    """What of a principal decides which flags hold; few distinct values, so that plans can be cached by it.

    Attributes:
        roles, permissions: those that some rule names.
        scopes: what the credential is limited to; `None` when it is not.
        tenanted: it acts for a tenant.
    """

    signed: bool = False
    roles: frozenset[str] = _NONE
    permissions: frozenset[str] = _NONE
    scopes: frozenset[str] | None = None
    tenanted: bool = False

    def covers(self, resource: str, action: str) -> bool:
        """Whether the credential's scopes admit an action: `scores:read`, `scores:write`, `scores:*`, `*`."""
        if self.scopes is None:
            return True
        wanted = {"*", f"{resource}:*", f"{resource}:{action}", f"*:{action}"}
        if action != "read":
            wanted |= {f"{resource}:write", "*:write"}
        return not wanted.isdisjoint(self.scopes)


NO_STANDING = Standing()
#: Signed in, and nothing else that a rule could name.
PLAIN_STANDING = Standing(signed=True)
TENANT_STANDING = Standing(signed=True, tenanted=True)


class Flag(sa.ColumnElement[bool]):
    """A rule about the principal alone; folded away before anything compiles."""

    inherit_cache = True
    type = sa.Boolean()
    _traverse_internals = [
        ("test", InternalTraversal.dp_string),
        ("name", InternalTraversal.dp_string),
        ("negated", InternalTraversal.dp_boolean),
    ]

    def __init__(self, test: FlagTest, name: str = "", *, negated: bool = False) -> None:
        self.test: FlagTest = test
        self.name = name
        self.negated = negated

    def holds(self, standing: Standing) -> bool:
        """Whether it holds for a principal of that standing."""
        match self.test:
            case "public":
                truth = True
            case "signed_in":
                truth = standing.signed
            case "role":
                truth = self.name in standing.roles
            case "permission":
                truth = self.name in standing.permissions
        return truth is not self.negated

    def _negate(self) -> Flag:
        return Flag(self.test, self.name, negated=not self.negated)

    def __invert__(self) -> Any:
        return self._negate()

    def self_group(self, against: Any = None) -> Any:
        """Stay a Flag inside `and_` and `or_`, which would wrap it as `flag = 1`."""
        return self

    def __repr__(self) -> str:
        text = f"has_{self.test}({self.name!r})" if self.name else self.test
        return f"~{text}" if self.negated else text


@compiles(Flag)
def _in_words(element: Flag, compiler: Any, **kw: Any) -> str:
    """For messages only: a Flag is folded before SQL is written, and would be no valid SQL."""
    return repr(element)


class Me:
    """The principal inside a rule or a stamp: `me.id`, `me.tenant`.

    Example:
        >>> from sqlalchemy import column
        >>> str(column("player_id") == me.id)
        'player_id = :me_id'
    """

    @property
    def id(self) -> sa.BindParameter[Any]:
        """The principal's id; a comparison with it is false when nobody is signed in."""
        return sa.bindparam(f"{ME_PREFIX}id", unique=False)

    @property
    def tenant(self) -> sa.BindParameter[Any]:
        """The tenant that the principal acts for."""
        return sa.bindparam(f"{ME_PREFIX}tenant", unique=False)


me = Me()
public: sa.ColumnElement[bool] = Flag("public")
nobody: sa.ColumnElement[bool] = Flag("public", negated=True)
signed_in: sa.ColumnElement[bool] = Flag("signed_in")


def has_role(name: str) -> sa.ColumnElement[bool]:
    """True for principals with that role.

    Example:
        >>> has_role("admin")
        has_role('admin')
    """
    return Flag("role", name)


def has_permission(name: str) -> sa.ColumnElement[bool]:
    """True for principals whose roles give that permission.

    Example:
        >>> ~has_permission("scores.moderate")
        ~has_permission('scores.moderate')
    """
    return Flag("permission", name)


#: The rules of a Policy.
RULES = ("read", "create", "update", "delete", "check", "restore", "history")
_CLOSED = "no_replacement_traverse"
_COMPARISONS = frozenset({operators.eq, operators.ne, operators.lt, operators.le, operators.gt, operators.ge})

#: What a rule is for one standing: certain, impossible, or a condition on the row.
Folded = bool | sa.ColumnElement[bool]


def fold(rule: sa.ColumnElement[bool], standing: Standing) -> Folded:
    """Decide every Flag in a rule and simplify; what is left is a condition on the row."""
    return _fold(rule, standing, strict=False)


def fold_write(rule: sa.ColumnElement[bool], standing: Standing) -> Folded:
    """As `fold`, for what changes rows: a comparison with `me` never holds for who is not signed in.

    Its value is null. That decides it here, so that such a caller is asked to sign in whatever rows there are; a
    read by the same rule just finds nothing.
    """
    return _fold(rule, standing, strict=not standing.signed)


def _fold(rule: sa.ColumnElement[bool], standing: Standing, *, strict: bool) -> Folded:
    """`strict`: what is null is false, which holds only where nothing turns it round."""
    if isinstance(rule, Flag):
        return rule.holds(standing)
    if isinstance(rule, elements.True_):
        return True
    if isinstance(rule, elements.False_):
        return False
    if isinstance(rule, elements.Grouping):
        return _fold(cast(Any, rule).element, standing, strict=strict)
    if isinstance(rule, elements.BooleanClauseList):
        return _fold_list(rule, standing, strict=strict)
    if isinstance(rule, elements.UnaryExpression) and cast(Any, rule).operator is operators.inv:
        inner = _fold(cast(Any, rule).element, standing, strict=False)
        return (not inner) if isinstance(inner, bool) else sa.not_(inner)
    return False if strict and _asks_for_me(rule) else _decided(rule, standing)


def _decided(rule: sa.ColumnElement[bool], standing: Standing) -> sa.ColumnElement[bool]:
    """A condition on the row without the Flags inside of it, as in a rule about related rows.

    What `any()` and `has()` are given is marked as closed to replacement; it must be open to this one, and to that of
    a table by its alias: it may speak of the outer row.
    """
    return _without_flags(rule, lambda flag: flag.holds(standing))


def said_of_rows(rule: sa.ColumnElement[bool]) -> sa.ColumnElement[bool] | None:
    """All that a rule says to whomever, with every Flag in it taken to hold; `None` when it is made of them alone."""
    plain = (Flag, elements.BooleanClauseList, elements.Grouping, elements.True_, elements.False_)
    if all(isinstance(element, plain) for element in visitors.iterate(rule)):
        return None
    return _without_flags(rule, lambda flag: True)


def _without_flags(rule: sa.ColumnElement[bool], holds: Callable[[Flag], bool]) -> sa.ColumnElement[bool]:
    inside = list(visitors.iterate(rule))
    if not any(isinstance(element, Flag) or _CLOSED in cast(Any, element)._annotations for element in inside):
        return rule
    opened = _deep_deannotate(rule, (_CLOSED,))

    def replace(element: Any, **kw: Any) -> Any:
        if not isinstance(element, Flag):
            return None
        return sa.true() if holds(element) else sa.false()

    return visitors.replacement_traverse(opened, {}, replace)


def _fold_list(rule: elements.BooleanClauseList, standing: Standing, *, strict: bool) -> Folded:
    conjunction = cast(Any, rule).operator is operators.and_
    left: list[sa.ColumnElement[bool]] = []
    for clause in cast(Any, rule).clauses:
        folded = _fold(clause, standing, strict=strict)
        if not isinstance(folded, bool):
            left.append(folded)
        elif folded is not conjunction:
            return folded
    if not left:
        return conjunction
    return sa.and_(*left) if conjunction else sa.or_(*left)


def _asks_for_me(rule: Any) -> bool:
    """Whether it is null or false without a principal: a comparison with `me`, or the existence of a row by one."""
    if isinstance(rule, elements.BinaryExpression):
        sides = (cast(Any, rule).left, cast(Any, rule).right)
        return cast(Any, rule).operator in _COMPARISONS and any(_is_me(side) for side in sides)
    return isinstance(rule, sa.Exists) and _finds_only_mine(getattr(rule.element, "element", None))


def _finds_only_mine(query: Any) -> bool:
    """Whether a query has no row without a principal; an aggregate without groups always has one."""
    if not isinstance(query, sa.Select):
        return False
    columns: list[Any] = list(cast(Any, query).selected_columns)
    where: Any = cast(Any, query).whereclause
    plain = all(isinstance(column, elements.ColumnClause) for column in columns)
    return plain and where is not None and _fold(where, NO_STANDING, strict=True) is False


def _is_me(side: Any) -> bool:
    return isinstance(side, sa.BindParameter) and str(cast(Any, side).key).startswith(ME_PREFIX)


def names_in(rule: sa.ColumnElement[bool], test: FlagTest) -> frozenset[str]:
    """Every role, or permission, that a rule names."""
    flags = [e for e in visitors.iterate(rule) if isinstance(e, Flag) and e.test == test]
    return frozenset(flag.name for flag in flags)


def depends_on_row(rule: sa.ColumnElement[bool]) -> bool:
    """Whether a rule says something about the row, not about the principal alone."""
    return any(isinstance(element, sa.Column) for element in visitors.iterate(rule))


def as_rule(given: Any, what: str) -> sa.ColumnElement[bool]:
    """A rule as an expression: a mapped attribute, such as `Page.open`, is one of its column.

    Raises:
        OperatorError: it is none.

    Example:
        >>> as_rule(public, "read")
        public
    """
    if isinstance(given, sa.ColumnElement | sa.TextClause):
        return cast("sa.ColumnElement[bool]", given)
    try:
        if not isinstance(given, bool | FunctionType):
            return coercions.expect(roles.WhereHavingRole, given)
    except ArgumentError:
        pass
    hint = "write public, nobody, signed_in, has_role(...) or an expression such as Score.player_id == me.id"
    raise OperatorError(f"{what}={given!r} is no rule: {hint}.")


@dataclass(frozen=True, slots=True, eq=False)
class FieldRule:
    """Rules of one field, beside those of its rows.

    Attributes:
        read: where it does not hold, the field is null; for whom it never can, there is no such field: it is neither
            shown nor filtered, sorted or grouped by.
        write: who may set it, and in which rows as they were before; by default whoever may read it in some row. Who
            may neither read nor set a field does not know that it is there.
        refer: for a reference, the rows that it may refer to; by default those that the principal may read.
    """

    read: sa.ColumnElement[bool] = public
    write: sa.ColumnElement[bool] | None = None
    refer: sa.ColumnElement[bool] | None = None

    def __post_init__(self) -> None:
        for name in ("read", "write", "refer"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, as_rule(given, name))

    @property
    def rules(self) -> tuple[sa.ColumnElement[bool], ...]:
        """All that are given."""
        return tuple(rule for rule in (self.read, self.write, self.refer) if rule is not None)

    def writable(self, standing: Standing) -> Folded:
        """Who may set it, for one standing."""
        return fold(self.read, standing) if self.write is None else fold_write(self.write, standing)

    @property
    def by_row(self) -> bool:
        """Whether it depends on the row who may read or set it."""
        return depends_on_row(self.read) or (self.write is not None and depends_on_row(self.write))


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A resource's rules. What has no rule is denied to everybody.

    Attributes:
        check: what must hold of the row after a create or an update.
        restore: who sees the rows that were deleted softly, and may restore them.
        history: who sees what rows were like before, and who changed them.
        stamp: columns that the server sets from the principal.
        fields: rules of single fields, by name.
    """

    read: sa.ColumnElement[bool] = nobody
    create: sa.ColumnElement[bool] = nobody
    update: sa.ColumnElement[bool] = nobody
    delete: sa.ColumnElement[bool] = nobody
    check: sa.ColumnElement[bool] = public
    restore: sa.ColumnElement[bool] = nobody
    history: sa.ColumnElement[bool] = nobody
    stamp: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, FieldRule] = field(default_factory=dict[str, FieldRule])

    def __post_init__(self) -> None:
        for name in RULES:
            object.__setattr__(self, name, as_rule(getattr(self, name), name))

    def rule(self, action: Action) -> sa.ColumnElement[bool]:
        """The rule of one action."""
        return cast("sa.ColumnElement[bool]", getattr(self, action))

    def names(self, test: FlagTest) -> frozenset[str]:
        """Every role, or permission, that its rules name."""
        rules = [cast("sa.ColumnElement[bool]", getattr(self, name)) for name in RULES]
        for own in self.fields.values():
            rules += own.rules
        return _NONE.union(*(names_in(rule, test) for rule in rules))


def standing_of(principal: Principal, roles: frozenset[str], permissions: frozenset[str]) -> Standing:
    """What of the principal can decide a flag, where rules name these roles and permissions."""
    return Standing(
        signed=not principal.is_anonymous,
        roles=principal.roles & roles,
        permissions=principal.permissions & permissions,
        scopes=principal.scopes,
        tenanted=principal.tenant is not None,
    )
