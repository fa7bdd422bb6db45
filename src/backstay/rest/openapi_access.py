"""What rules mean for the contract: how one signs in, and who must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from ..schema.policy import NO_STANDING, fold, fold_write

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
