"""Helpers for the tests of an app: an HTTP client in this process, tokens, tables, the count of statements.

Nothing here runs in a server. The client needs `httpx2`, which only tests install.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ..app import Backstay
from ..auth.tokens import Tokens
from ..db.engines import create_sync_engine
from ..errors import OperatorError
from ..stores.limits import OFF

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

#: Signs the tokens of tests; `client` gives it to an app that has no secret of its own.
SECRET = "for tests only: a secret of more than thirty-two bytes"
_COUNT = re.compile(r'statements;desc="(\d+)"')


@asynccontextmanager
async def client(
    app: Backstay, *, headers: dict[str, str] | None = None, rate_limit: str = OFF
) -> AsyncGenerator[AsyncClient]:
    """An HTTP client that calls the app in this process; leaving it stops the app.

    Args:
        app: not yet started, or started with the secret that its tokens are signed with.
        headers: sent with every request, such as `{"authorization": f"Bearer {token(7)}"}`.
        rate_limit: in the place of the app's default one, which a test would soon reach.

    Raises:
        OperatorError: httpx2 is not installed.

    Example:
        >>> async with client(app) as http:  # doctest: +SKIP
        ...     response = await http.get("/api/v1/games", params={"limit": 5})
        ...     assert statements(response) == 1
    """
    try:
        import httpx2
    except ImportError:
        raise OperatorError("backstay.testing.client needs httpx2: pip install httpx2") from None
    if not app.config.secret:
        app.configure(secret=SECRET)
    app.configure(rate_limit=rate_limit)
    app.start()
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=True)
    try:
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=headers) as opened:
            yield opened
    finally:
        await app.stop()


def token(
    subject: object,
    roles: Iterable[str] = (),
    *,
    permissions: Iterable[str] = (),
    scopes: Iterable[str] | None = None,
    tenant: object = None,
    secret: str = SECRET,
) -> str:
    """A token for a principal: send it as `Authorization: Bearer <token>`.

    Args:
        subject: its id, which rules know as `me.id`.
        roles: names that `has_role` knows.
        permissions: names that `has_permission` knows.
        scopes: what it is limited to; `None` for no limit.
        tenant: the key of the tenant that it acts for.
        secret: the app's own, if it has one.
    """
    limits = None if scopes is None else list(scopes)
    issued = Tokens(secret).issue
    return issued(
        subject, roles=list(roles), permissions=list(permissions), scopes=limits, tenant=tenant, ttl_s=3_600
    )


def create_tables(app: Backstay) -> None:
    """Create the tables that the app's database does not have yet; tests need no migrations."""
    engine: Any = create_sync_engine(app.config.database_url, write=True)
    try:
        app.schema.metadata.create_all(engine)
    finally:
        engine.dispose()


def statements(response: Response) -> int:
    """How many SQL statements a response took, from its `Server-Timing`; every read takes one."""
    found = _COUNT.search(response.headers.get("server-timing", ""))
    if found is None:
        raise ValueError("the response has no count of statements: it is not a Backstay app's")
    return int(found.group(1))
