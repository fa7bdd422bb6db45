"""Changes of users that every process must hear of, whichever ORM session makes them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapper, object_session

from .revocations import REVOKED, revoking
from .tables import auth_tables

_GONE = ("disabled_at", "deleted_at")


def watch_users(user: type[Any]) -> None:
    """Revoke what processes know of a user whom a session disables or deletes, in that session's transaction."""
    for name, listener in (("after_update", _updated), ("after_delete", _deleted)):
        if not event.contains(user, name, listener):
            event.listen(user, name, listener)


def _updated(mapper: Mapper[Any], connection: sa.Connection, user: Any) -> None:
    state = sa.inspect(user)
    if any(state.attrs[name].history.has_changes() for name in _GONE if name in state.attrs):
        _revoke(mapper, connection, user)


def _deleted(mapper: Mapper[Any], connection: sa.Connection, user: Any) -> None:
    _revoke(mapper, connection, user)


def _revoke(mapper: Mapper[Any], connection: sa.Connection, user: Any) -> None:
    session = object_session(user)
    assert session is not None, "a session is flushing it"
    session.info[REVOKED] = True
    table: Any = mapper.local_table
    key = mapper.primary_key_from_instance(user)[0]
    for statement in revoking(connection.dialect.name, auth_tables(table), "user", key):
        connection.execute(statement)
