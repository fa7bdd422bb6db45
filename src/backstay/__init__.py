"""Backstay: declare SQLAlchemy models and access rules; get a production backend.

Names load on first use (PEP 562), so that a tool that needs only one of them does not pay for all.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Backstay
    from .auth.accounts import AccountOptions
    from .auth.passwords import Hashing
    from .auth.providers import Provider
    from .auth.ready_user import User
    from .auth.user import UserBase
    from .config import Config
    from .context import Context, Principal, PrincipalKind
    from .errors import ForbiddenError, NotFoundError, OperatorError, Problem, ValidationError
    from .existing import reflect
    from .hooks import Write
    from .schema.base import Model, ModelBase, UtcDateTime, UuidKey
    from .schema.mixins import MembershipBase, SoftDelete, TenantScoped
    from .schema.policy import FieldRule, has_permission, has_role, me, nobody, public, signed_in
    from .schema.versions import Added, Removed, Renamed, Required, Version
    from .services.mail import Mail

_HOMES = {
    "AccountOptions": "auth.accounts",
    "Added": "schema.versions",
    "Backstay": "app",
    "Config": "config",
    "Context": "context",
    "FieldRule": "schema.policy",
    "ForbiddenError": "errors",
    "Hashing": "auth.passwords",
    "Mail": "services.mail",
    "MembershipBase": "schema.mixins",
    "Model": "schema.base",
    "ModelBase": "schema.base",
    "NotFoundError": "errors",
    "OperatorError": "errors",
    "Principal": "context",
    "PrincipalKind": "context",
    "Problem": "errors",
    "Provider": "auth.providers",
    "Removed": "schema.versions",
    "Renamed": "schema.versions",
    "Required": "schema.versions",
    "SoftDelete": "schema.mixins",
    "TenantScoped": "schema.mixins",
    "User": "auth.ready_user",
    "UserBase": "auth.user",
    "UtcDateTime": "schema.base",
    "UuidKey": "schema.base",
    "ValidationError": "errors",
    "Version": "schema.versions",
    "Write": "hooks",
    "has_permission": "schema.policy",
    "has_role": "schema.policy",
    "me": "schema.policy",
    "nobody": "schema.policy",
    "public": "schema.policy",
    "reflect": "existing",
    "signed_in": "schema.policy",
}

__all__ = [
    "AccountOptions",
    "Added",
    "Backstay",
    "Config",
    "Context",
    "FieldRule",
    "ForbiddenError",
    "Hashing",
    "Mail",
    "MembershipBase",
    "Model",
    "ModelBase",
    "NotFoundError",
    "OperatorError",
    "Principal",
    "PrincipalKind",
    "Problem",
    "Provider",
    "Removed",
    "Renamed",
    "Required",
    "SoftDelete",
    "TenantScoped",
    "User",
    "UserBase",
    "UtcDateTime",
    "UuidKey",
    "ValidationError",
    "Version",
    "Write",
    "has_permission",
    "has_role",
    "me",
    "nobody",
    "public",
    "reflect",
    "signed_in",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'backstay' has no attribute {name!r}")
    value = getattr(import_module(f"backstay.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
