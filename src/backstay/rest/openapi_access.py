"""What rules mean for the contract: how one signs in, who must, and who can be refused although signed in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from ..schema.policy import NO_STANDING, Folded, Standing, fold, fold_write, names_in

Rule = sa.ColumnElement[bool]
#: The scheme that every program has.
BEARER = "bearerAuth"


def security_schemes(more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ways to sign in by name, as OpenAPI Security Scheme Objects; a request uses one of them.

    Args:
        more: ways beside the access token, such as the cookie of a session and an API key.

    Example:
        >>> [*security_schemes({"sessionCookie": {"type": "apiKey", "in": "cookie", "name": "session"}})]
        ['bearerAuth', 'sessionCookie']
    """
    text = "An access token: a JWT, verified as RFC8725 asks: its algorithm is the server's choice, and it expires."
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": text}
    return {BEARER: bearer, **(more or {})}


def optional_security(ways: Iterable[str]) -> list[dict[str, Any]]:
    """Anybody may ask; who signs in may see or do more."""
    return [{}, *({name: []} for name in ways)]


def open_to_all(rule: Rule) -> bool:
    """Whether a write by this rule can succeed for a principal that is not signed in.

    Example:
        >>> open_to_all(Score.player_id == me.id), open_to_all(Score.hidden.is_(False))
        (False, True)
    """
    return fold_write(rule, NO_STANDING) is not False


def readable_by_all(rule: Rule) -> bool:
    """Whether a read by this rule is answered for a principal that is not signed in, even if it finds nothing."""
    return fold(rule, NO_STANDING) is not False


def refuses_some(rule: Rule) -> bool:
    """Whether the rule alone can refuse a principal that is signed in: it names roles."""
    return any(folded is False for folded in _foldings(rule))


def depends_on_row(rules: Iterable[Rule]) -> bool:
    """Whether any rule says something about the row, so that a write of a visible row can be refused."""
    return any(not isinstance(folded, bool) for rule in rules for folded in _foldings(rule))


def _foldings(rule: Rule) -> Iterator[Folded]:
    """What is left of a rule for signed-in principals: none, each and all of the names that it tests for."""
    roles, permissions = names_in(rule, "role"), names_in(rule, "permission")
    alone = [Standing(True, roles=frozenset((name,))) for name in sorted(roles)]
    alone += [Standing(True, permissions=frozenset((name,))) for name in sorted(permissions)]
    for standing in (Standing(True), Standing(True, roles, permissions), *alone):
        yield fold(rule, standing)
