"""The front end of accounts. Its endpoints load on first use: only programs with accounts pay for FastAPI."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .endpoints import add_endpoints
    from .tenants import add_tenant_endpoints

_HOMES = {"add_endpoints": "endpoints", "add_tenant_endpoints": "tenants"}

__all__ = ["add_endpoints", "add_tenant_endpoints"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'backstay.accounts' has no attribute {name!r}")
    value = getattr(import_module(f"backstay.accounts.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
