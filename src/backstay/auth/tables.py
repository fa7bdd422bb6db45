"""The tables behind accounts, built beside the program's own models so that migrations see them.

They are Core tables: nothing exposes them as resources. Tokens and codes are kept as SHA-256 of random bits, other
secrets encrypted; see `vault`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from ..errors import OperatorError
from ..schema.base import UtcDateTime, utc_now

PREFIX = "auth_"


@dataclass(frozen=True, slots=True, eq=False)
class AuthTables:
    """Each `auth_*` table, and the users' own.

    Attributes:
        user: the program's table of users, and its key.
        sessions: one for each device that somebody signed in on.
        refresh_tokens: those of a session are a family: only the newest is good for anything.
        signing_keys: keys of access tokens, the private halves encrypted.
        role_grants: who has which role.
        revocations: what every process must forget, in the order of commits.
        events: security events.
        attempts: failures to sign in, by account and by address.
    """

    user: sa.Table
    user_key: sa.Column[Any]
    sessions: sa.Table
    refresh_tokens: sa.Table
    signing_keys: sa.Table
    api_keys: sa.Table
    clients: sa.Table
    identities: sa.Table
    factors: sa.Table
    passkeys: sa.Table
    recovery_codes: sa.Table
    one_time_codes: sa.Table
    roles: sa.Table
    role_grants: sa.Table
    revocations: sa.Table
    events: sa.Table
    attempts: sa.Table

    def all(self) -> list[sa.Table]:
        """The `auth_*` tables."""
        found = [getattr(self, field.name) for field in fields(self)]
        return [table for table in found if isinstance(table, sa.Table) and table is not self.user]


def auth_tables(user: sa.Table) -> AuthTables:
    """The tables, added to the MetaData of the users' table unless they are there.

    Raises:
        OperatorError: they are there for another table of users.
    """
    key = next(iter(user.primary_key.columns))
    known = user.metadata.tables.get(f"{PREFIX}sessions")
    if known is not None and not known.c.user_id.references(key):
        raise OperatorError(f"A MetaData has accounts of one table of users, and {user.name} is not it.")
    made = _Maker(user, key)
    return AuthTables(
        user,
        key,
        **_session_tables(made),
        **_credential_tables(made),
        **_role_tables(made),
        **_record_tables(made),
    )


class _Maker:
    """Makes tables and their usual columns."""

    def __init__(self, user: sa.Table, key: sa.Column[Any]) -> None:
        self.user = user
        self.key = key

    def table(self, name: str, *columns: Any) -> sa.Table:
        """A table, or the one that is there already."""
        metadata = self.user.metadata
        known = metadata.tables.get(PREFIX + name)
        return known if known is not None else sa.Table(PREFIX + name, metadata, *columns)

    def of_user(self, *, nullable: bool = False, **options: Any) -> sa.Column[Any]:
        """Whose row it is; it goes with the user."""
        reference = sa.ForeignKey(self.key, ondelete="CASCADE")
        return sa.Column("user_id", self.key.type, reference, nullable=nullable, **options)


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def _text(name: str, *, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable, **options)


def _at(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def _created() -> sa.Column[Any]:
    return sa.Column("created_at", UtcDateTime(), nullable=False, default=utc_now)


def _session_tables(made: _Maker) -> dict[str, sa.Table]:
    sessions = made.table(
        "sessions",
        _id(),
        made.of_user(),
        _text("kind"),
        _text("device"),
        _text("ip"),
        _text("tenant", nullable=True),
        _created(),
        _at("used_at", nullable=False),
        _at("expires_at", nullable=False),
        _at("ended_at"),
    )
    refresh_tokens = made.table(
        "refresh_tokens",
        _id(),
        sa.Column("session_id", sessions.c.id.type, sa.ForeignKey(sessions.c.id, ondelete="CASCADE"), nullable=False),
        _text("hash", unique=True),
        _created(),
        _at("expires_at", nullable=False),
        _at("used_at"),
    )
    signing_keys = made.table(
        "signing_keys",
        _text("kid", primary_key=True),
        _text("algorithm"),
        sa.Column("public", sa.JSON(), nullable=False),
        sa.Column("private", sa.LargeBinary(), nullable=False),
        _created(),
        _at("retired_at"),
    )
    return {"sessions": sessions, "refresh_tokens": refresh_tokens, "signing_keys": signing_keys}


def _credential_tables(made: _Maker) -> dict[str, sa.Table]:
    clients = made.table(
        "clients",
        _text("id", primary_key=True),
        _text("name"),
        _text("hash"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        _text("tenant", nullable=True),
        _created(),
        _at("used_at"),
        _at("disabled_at"),
    )
    api_keys = made.table(
        "api_keys",
        _id(),
        made.of_user(),
        _text("name"),
        _text("prefix", unique=True),
        _text("hash"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        _text("tenant", nullable=True),
        _created(),
        _at("used_at"),
        _at("expires_at"),
        _at("revoked_at"),
    )
    identities = made.table(
        "identities",
        _id(),
        made.of_user(),
        _text("provider"),
        _text("subject"),
        _text("email", nullable=True),
        _created(),
        _at("used_at"),
        sa.UniqueConstraint("provider", "subject"),
    )
    return {"clients": clients, "api_keys": api_keys, "identities": identities, **_factor_tables(made)}


def _factor_tables(made: _Maker) -> dict[str, sa.Table]:
    factors = made.table(
        "factors",
        _id(),
        made.of_user(),
        _text("kind"),
        _text("name"),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger()),
        _created(),
        _at("confirmed_at"),
    )
    passkeys = made.table(
        "passkeys",
        _id(),
        made.of_user(),
        _text("name"),
        _text("credential_id", unique=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("transports", sa.JSON(), nullable=False),
        _created(),
        _at("used_at"),
    )
    recovery_codes = made.table("recovery_codes", _id(), made.of_user(), _text("hash", unique=True), _at("used_at"))
    one_time_codes = made.table(
        "one_time_codes",
        _id(),
        _text("purpose"),
        _text("hash", unique=True),
        made.of_user(nullable=True),
        _text("target", nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, default=0),
        _created(),
        _at("expires_at", nullable=False),
        _at("used_at"),
    )
    return {
        "factors": factors,
        "passkeys": passkeys,
        "recovery_codes": recovery_codes,
        "one_time_codes": one_time_codes,
    }


def _role_tables(made: _Maker) -> dict[str, sa.Table]:
    roles = made.table(
        "roles", _text("name", primary_key=True), sa.Column("permissions", sa.JSON(), nullable=False), _created()
    )
    grants = made.table(
        "role_grants",
        made.of_user(primary_key=True),
        sa.Column("role", sa.Text(), sa.ForeignKey(roles.c.name, ondelete="CASCADE"), primary_key=True),
        _created(),
    )
    return {"roles": roles, "role_grants": grants}


def _record_tables(made: _Maker) -> dict[str, sa.Table]:
    revocations = made.table("revocations", _id(), _text("kind"), _text("subject"), _created())
    events = made.table(
        "events",
        _id(),
        _created(),
        _text("kind"),
        _text("user_id", nullable=True),
        _text("ip"),
        _text("request_id"),
        sa.Column("details", sa.JSON(), nullable=False),
    )
    attempts = made.table(
        "attempts",
        _text("subject", primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        _at("failed_at", nullable=False),
        _at("locked_until"),
    )
    return {"revocations": revocations, "events": events, "attempts": attempts}
