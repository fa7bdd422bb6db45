"""Which store a configuration names."""

from __future__ import annotations

from ..config import Config
from ..observe import Log
from .limits import Limits
from .memory import MemoryLimits
from .valkey import ValkeyLimits


def open_limits(config: Config, app: str, log: Log) -> Limits:
    """The store of rate limits: Valkey where the configuration names one, else this process's memory.

    Raises:
        OperatorError: see `ValkeyLimits`.
    """
    return ValkeyLimits(config.valkey_url, app, log) if config.valkey_url else MemoryLimits()
