"""What the tests that `backstay rules tests` writes ask of an app."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import sqlalchemy as sa

from ..app import Backstay
from ..check.matrix import Matrix, matrix_of, standings_of
from ..cli.target import load_app
from ..db.engines import create_sync_engine
from ..errors import Problem
from ..query.ir import Insert
from ..query.payload import Action, Contract
from ..rest.openapi_examples import body_example, row_example
from ..schema.resource import Resource
from . import SECRET, client, token

if TYPE_CHECKING:
    from httpx2 import AsyncClient

_METHODS = {"create": "POST", "update": "PATCH", "delete": "DELETE", "restore": "POST"}


class Probe:
    """An app over an empty SQLite database; leaving it stops the app.

    Args:
        target: as on the command line; a file that is imported already is not run again.
        folder: where the database is made.
    """

    def __init__(self, target: str, folder: Path) -> None:
        self._app = _loaded(target) or load_app(target)
        self._folder = folder
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._config = self._app.config

    def __enter__(self) -> Self:
        self._app.config = replace(
            self._config, database_url=f"sqlite:///{self._folder / 'rules.db'}", secret=SECRET, rate_limit="off"
        )
        self._create_tables()
        self._http: AsyncClient = self._runner.run(self._stack.enter_async_context(client(self._app)))
        self._catalog = self._app.catalog()
        self._matrix: Matrix = matrix_of(self._app.name, self._catalog, self._app.config, self._app.declared_tenants)
        self._standings = standings_of(self._catalog, self._app.declared_tenants)
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
        self._app.config = self._config

    def _create_tables(self) -> None:
        """Without foreign keys: the principals of these tests are nobody's rows, nor are their tenants."""
        engine = create_sync_engine(self._app.config.database_url, write=True)
        with engine.begin() as connection:
            for table in self._app.schema.metadata.sorted_tables:
                connection.execute(sa.schema.CreateTable(table, include_foreign_key_constraints=[]))
        engine.dispose()

    def cells(self) -> set[tuple[str, str, str]]:
        """Standing, resource and rule of each cell."""
        resources = self._matrix.resources.items()
        rows = [(name, row, cells) for name, resource in resources for row, cells in resource.rules.items()]
        return {(standing, name, row) for name, row, cells in rows for standing in cells}

    def cell(self, standing: str, resource: str, rule: str) -> str:
        """What a rule says to a standing; empty when there is no such rule any more."""
        found = self._matrix.resources.get(resource)
        return found.rules.get(rule, {}).get(standing, "") if found is not None else ""

    def status(self, standing: str, resource: str, action: str) -> int:
        """What the API answers, about a row that is not there."""
        return self._runner.run(self._status(standing, self._catalog.resources[resource], action))

    async def _status(self, standing: str, resource: Resource, action: str) -> int:
        path = f"{self._app.config.base_path}/{resource.name}"
        if action not in ("read", "create"):
            row = row_example(resource, None)
            path += "/" + ",".join(str(row[column.name]) for column in resource.key)
        body: Any = {"json": {}} if action in ("create", "update") else {}
        if action == "create":
            example = body_example(Contract(resource, Action.CREATE))
            if example is None:
                return self._planned(standing, resource)
            body = {"json": example}
        path += f"/{action}" if action in ("restore", "history") else ""
        headers = self._headers(standing, resource)
        answer = await self._http.request(_METHODS.get(action, "GET"), path, headers=headers, **body)
        if answer.status_code == 201:  # others ask about rows that are not there
            async with self._app.transaction() as session:
                await session.execute(sa.delete(cast(sa.Table, resource.table.sql)))
        return answer.status_code

    def _planned(self, standing: str, resource: Resource) -> int:
        """What a create is refused with whose body nobody can make up."""
        try:
            self._app.start().engine.check(Insert(resource.name, ()), [], self._standings[standing])
        except Problem as problem:
            return problem.status
        return 400

    def _headers(self, standing: str, resource: Resource) -> dict[str, str]:
        if standing == "anonymous":
            return {}
        found = self._standings[standing]
        tenant = None if resource.table.tenant is None else 1
        return {"authorization": f"Bearer {token(1, found.roles, permissions=found.permissions, tenant=tenant)}"}


def _loaded(target: str) -> Backstay | None:
    """The app of a file that is imported already."""
    name, _, variable = target.partition(":")
    if not name.endswith(".py"):
        return None
    path = str(Path(name).resolve())
    module = next((m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == path), None)
    found = getattr(module, variable or "app", None)
    return found if isinstance(found, Backstay) else None
