"""What Alembic must know of our tables on PostgreSQL: keys are numbered without a word, text compares by bytes.

Importing registers nothing; call `register()` before a MigrationContext is configured.
"""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# (Alembic registers an implementation when its class is defined; we do it when asked)

from __future__ import annotations

from typing import Any, cast

import sqlalchemy as sa
from alembic.ddl import impl
from alembic.ddl.postgresql import PostgresqlImpl

from .postgres_types import BYTES


class BackstayPostgresImpl(PostgresqlImpl):
    """Alembic's PostgreSQL implementation, for tables that `postgres_types` declares."""

    def alter_column(self, table_name: str, column_name: str, **kw: Any) -> None:
        """A changed type keeps the collation that a new column would have."""
        changed = kw.get("type_")
        if isinstance(changed, sa.String) and not isinstance(changed, sa.Enum) and changed.collation is None:
            kw["type_"] = changed.copy()
            kw["type_"].collation = BYTES
        super().alter_column(table_name, column_name, **kw)

    def _compare_identity_default(self, metadata_identity: Any, inspector_identity: Any) -> Any:
        """A numbered key is IDENTITY in the database and says nothing in the model."""
        if (
            metadata_identity is None
            and isinstance(inspector_identity, sa.Identity)
            and not inspector_identity.always
        ):
            return set[str](), set[str](), False
        compare: Any = cast(Any, super())._compare_identity_default
        return compare(metadata_identity, inspector_identity)


def register() -> None:
    """Make it Alembic's implementation for PostgreSQL in this process."""
    impl._impls["postgresql"] = BackstayPostgresImpl
