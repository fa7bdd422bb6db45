"""What rules mean for the contract: who must sign in, and who can be refused although signed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.sql import elements, operators, visitors

from ..schema.policy import ME_PREFIX, Flag, fold, roles_in

Rule = sa.ColumnElement[bool]
_NOBODY_KNOWN = (False, frozenset[str]())


def open_to_all(rule: Rule) -> bool:
    """Whether the rule can hold for a principal that is not signed in.

    A comparison with `me` is never true for it; what only speaks about the row may be.

    Example:
        >>> open_to_all(Score.player_id == me.id), open_to_all(Score.hidden.is_(False))
        (False, True)
    """
    if isinstance(rule, Flag):
        return rule.holds(_NOBODY_KNOWN)
    if isinstance(rule, elements.Grouping):
        return open_to_all(cast(Any, rule).element)
    if isinstance(rule, elements.BooleanClauseList):
        parts = [open_to_all(clause) for clause in cast(Any, rule).clauses]
        return all(parts) if cast(Any, rule).operator is operators.and_ else any(parts)
    if isinstance(rule, elements.UnaryExpression) and cast(Any, rule).operator is operators.inv:
        return True
    return not _names_me(rule)


def refuses_some(rule: Rule) -> bool:
    """Whether the rule alone can refuse a principal that is signed in: it names roles."""
    roles = roles_in(rule)
    standings = [frozenset[str](), roles, *(frozenset((role,)) for role in sorted(roles))]
    return any(fold(rule, (True, standing)) is False for standing in standings)


def depends_on_row(rules: Iterable[Rule]) -> bool:
    """Whether any rule says something about the row, so that a write of a visible row can be refused."""
    return any(not isinstance(fold(rule, (True, roles_in(rule))), bool) for rule in rules)


def _names_me(rule: Rule) -> bool:
    return any(
        isinstance(part, sa.BindParameter) and str(cast(Any, part).key).startswith(ME_PREFIX)
        for part in visitors.iterate(rule)
    )
