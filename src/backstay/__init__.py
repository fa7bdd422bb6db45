"""Backstay: declare SQLAlchemy models and access rules; get a production backend."""

from .app import Backstay
from .config import Config
from .context import Context, Principal, PrincipalKind
from .errors import ForbiddenError, NotFoundError, OperatorError, Problem, ValidationError
from .schema.base import Model, ModelBase, UtcDateTime, UuidKey
from .schema.policy import has_role, me, nobody, public, signed_in

__all__ = [
    "Backstay",
    "Config",
    "Context",
    "ForbiddenError",
    "Model",
    "ModelBase",
    "NotFoundError",
    "OperatorError",
    "Principal",
    "PrincipalKind",
    "Problem",
    "UtcDateTime",
    "UuidKey",
    "ValidationError",
    "has_role",
    "me",
    "nobody",
    "public",
    "signed_in",
]
