"""Mixins for models: rows of a tenant, who belongs to it, and rows that are deleted softly."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from .base import UtcDateTime

#: The attributes that the mixins give, by which the planner knows them.
TENANT, DELETED = "tenant_id", "deleted_at"


class TenantScoped:
    """Rows that belong to a tenant: nobody outside of it sees them, changes them or refers to them, on any path.

    Attributes:
        __tenant__: the key of the tenants' table.

    Example:
        >>> class Project(TenantScoped, Model):  # doctest: +SKIP
        ...     __tenant__ = "organizations.id"
        ...     name: Mapped[str]
    """

    __tenant__: ClassVar[str] = "tenants.id"

    @declared_attr
    def tenant_id(cls) -> Mapped[Any]:  # noqa: N805 - SQLAlchemy's own convention
        """The tenant, set by the server from the principal's."""
        return mapped_column(sa.ForeignKey(cls.__tenant__), nullable=False, index=True, sort_order=80)


class MembershipBase(TenantScoped):
    """Who belongs to a tenant, and as what; see `Backstay.tenants`. Somebody belongs to it once.

    Attributes:
        __user__: the key of the users' table.
        role: what `has_role` knows of them in that tenant.

    Example:
        >>> class Membership(MembershipBase, Model):  # doctest: +SKIP
        ...     __tenant__ = "organizations.id"
    """

    __user__: ClassVar[str] = "users.id"

    @declared_attr
    def user_id(cls) -> Mapped[Any]:  # noqa: N805 - SQLAlchemy's own convention
        """Who belongs to the tenant; deleting them ends it."""
        return mapped_column(sa.ForeignKey(cls.__user__, ondelete="CASCADE"), nullable=False, index=True)

    role: Mapped[str]

    @declared_attr.directive
    def __table_args__(cls) -> tuple[Any, ...]:  # noqa: N805 - SQLAlchemy's own convention
        return (sa.UniqueConstraint("user_id", TENANT),)


class SoftDelete:
    """Rows that stay when they are deleted, hidden from every path, until somebody who may restores them.

    Example:
        >>> class Post(SoftDelete, Model):  # doctest: +SKIP
        ...     title: Mapped[str]
        >>> app.resource(Post, read=public, delete=signed_in, restore=has_role("admin"))  # doctest: +SKIP
    """

    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime(), index=True, sort_order=89)
