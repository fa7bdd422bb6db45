"""Why somebody may or may not: the question of a command line, asked of the app's database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..check.why import Term, Why, question_of
from ..context import ANONYMOUS, Principal, PrincipalKind
from ..db.opened import open_database
from .target import load_app


@dataclass(frozen=True, slots=True)
class Asker:
    """Who is asked about. Nobody is signed in without an id."""

    id: str
    roles: frozenset[str]
    permissions: frozenset[str]
    scopes: frozenset[str] | None
    tenant: str | None

    def principal(self) -> Principal:
        """As a request of theirs would have it."""
        if not self.id:
            return ANONYMOUS if self.tenant is None else Principal(tenant=self.tenant)
        return Principal(
            PrincipalKind.USER,
            id=self.id,
            roles=self.roles,
            permissions=self.permissions,
            scopes=self.scopes,
            tenant=self.tenant,
        )


def explained(target: str, asker: Asker, action: str, path: str, *, database: str | None) -> Term:
    """The verdict and its reasons.

    Raises:
        OperatorError: no such app, action, resource or key.
    """
    app = load_app(target, database=database)
    catalog = app.catalog()
    question = question_of(catalog, action, path)
    dialect, opened = open_database(app.config, read_only=True)

    async def ask() -> Term:
        try:
            return await Why(catalog, app.config, dialect, opened).explain(asker.principal(), question)
        finally:
            await opened.close()

    return asyncio.run(ask())
