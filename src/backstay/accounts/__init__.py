"""The front end of accounts. Its endpoints load on first use: only programs with accounts pay for FastAPI."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .endpoints import add_endpoints

__all__ = ["add_endpoints"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'backstay.accounts' has no attribute {name!r}")
    value = getattr(import_module("backstay.accounts.endpoints"), name)
    globals()[name] = value
    return value
