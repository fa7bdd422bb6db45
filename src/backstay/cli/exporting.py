"""`backstay export`: the rows of a resource into a file, as the operator."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import BinaryIO

from ..context import Context
from ..db.opened import open_database
from ..engine import Engine
from ..errors import OperatorError, Problem, perhaps
from ..http.messages import pairs_of
from ..observe import Observations
from ..rest.exports import Exports
from ..schema.policy import Policy, public
from ..schema.resource import Catalog, Resource
from .target import load_target

ROWS_MAX = 2**63 - 1


def export_command(resource: str, target: str, *, database: str | None, form: str, to: str, query: str) -> None:
    """Write every row that the query admits; rules do not apply."""
    loaded = load_target(target, database=database)
    resources = {name: _open_to_all(found) for name, found in loaded.app.catalog().resources.items()}
    if resource not in resources:
        raise OperatorError(f"There is no resource {resource!r}. {perhaps(resource, resources, noun='resource')}")
    if not resources[resource].table.key:
        raise OperatorError(f"{resource} has no key: its rows cannot be read page by page.")
    config = replace(loaded.app.config, export_max=ROWS_MAX)
    catalog = Catalog(loaded.app.catalog().schema, resources)
    dialect, opened = open_database(config, read_only=True)
    exports = Exports(Engine(catalog, dialect, opened, config, Observations()), config, resources[resource])
    pairs = [*pairs_of(query.encode()), ("format", form or ("csv" if to.lower().endswith(".csv") else "ndjson"))]

    async def write(file: BinaryIO) -> int:
        context, size = Context("export", deadline=time.monotonic() + config.request_timeout_s), 0
        try:
            async for part in exports.parts(exports.asked(pairs, context), context):
                size += file.write(part)
        finally:
            await opened.close()
        return size

    with ExitStack() as stack:
        try:
            file = sys.stdout.buffer if to == "-" else stack.enter_context(open(to, "wb"))
        except OSError as error:
            raise OperatorError(f"Cannot write {to}: {error.strerror}.") from None
        try:
            size = asyncio.run(write(file))
        except Problem as problem:
            raise OperatorError(f"{problem.detail} {problem.hint}") from None
        with suppress(BrokenPipeError):
            file.flush()
    if to != "-":
        sys.stderr.write(f"wrote {size:,} bytes to {to}\n")


def _open_to_all(resource: Resource) -> Resource:
    """A resource as its operator sees it: without rules, of all tenants; only secrets stay out."""
    policy = Policy(read=public, create=public, update=public, delete=public, check=public, restore=public)
    return replace(resource, policy=policy, table=replace(resource.table, tenant=None), hidden=frozenset())
