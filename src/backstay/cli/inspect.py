"""What the command line prints about an app: its routes, its contract, a token."""

from __future__ import annotations

import sys

import orjson

from ..auth.tokens import Tokens
from ..check.words import words
from ..config import Config
from ..errors import Action, OperatorError
from ..rest.routes import Route
from ..schema.resource import Catalog
from .secret import kept_secret
from .target import load_app

#: Where no rule of one resource decides.
_WORDS = {"batch": "the rules of its operations"}


def print_routes(target: str, *, as_json: bool) -> None:
    """Every endpoint with its rule; a custom endpoint decides itself."""
    app = load_app(target)
    rows: list[dict[str, str]] = []
    current = app.catalog()
    for catalog, route in [*((current, route) for route in app.routes()), *app.routes_of_older()]:
        rule = words(_rule(catalog, route)) if route.resource else _WORDS.get(route.action, "its own code")
        rows.append({"method": route.method, "path": route.path, "action": route.action, "rule": rule})
    if as_json:
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    widest = max((len(row["path"]) for row in rows), default=0)
    for row in rows:
        sys.stdout.write(f"{row['method']:7}{row['path']:{widest + 2}}{row['rule']}\n")


def _rule(catalog: Catalog, route: Route) -> object:
    if route.action in ("history", "undo"):
        return catalog.resources[route.resource].policy.history
    actions: dict[str, Action] = {"POST": "create", "PATCH": "update", "PUT": "update", "DELETE": "delete"}
    return catalog.resources[route.resource].policy.rule(actions.get(route.method, "read"))


def print_openapi(target: str, version: str = "") -> None:
    """The contract as JSON."""
    document = load_app(target).openapi(version)
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_token(
    subject: str,
    roles: list[str],
    ttl_s: int,
    *,
    permissions: list[str],
    scopes: list[str] | None,
    tenant: str | None,
) -> None:
    """A signed token."""
    secret = Config.from_environment().secret or kept_secret()
    if not secret:
        raise OperatorError("No BACKSTAY_SECRET is set: export the server's, or start `backstay serve --dev` here.")
    issue = Tokens(secret).issue
    made = issue(subject, roles=roles, permissions=permissions, scopes=scopes, tenant=tenant, ttl_s=ttl_s)
    sys.stdout.write(made + "\n")
