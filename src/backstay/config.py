"""The one frozen `Config`, its table of settings and the one reader of the environment.

The table feeds the command line, the reference page and the checks; nothing else reads `os.environ`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .errors import OperatorError


@dataclass(frozen=True, slots=True)
class Config:
    """How one process runs. Sizes are bytes, times are seconds.

    Example:
        >>> Config(page_limit_max=50).page_limit_max
        50
    """

    database_url: str = "sqlite:///backstay.db"
    secret: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    dev: bool = False
    base_path: str = "/api/v1"
    log_format: str = "auto"
    log_level: str = "info"
    page_limit: int = 20
    page_limit_max: int = 100
    include_depth_max: int = 3
    params_max: int = 64
    body_bytes_max: int = 1_048_576
    url_bytes_max: int = 8_192
    result_bytes_max: int = 10_485_760
    export_max: int = 1_000_000
    bulk_max: int = 1_000
    request_timeout_s: float = 30.0
    shutdown_timeout_s: float = 20.0
    inline_budget_ms: float = 5.0
    reader_threads: int = 4
    write_queue_max: int = 1_024
    pool_size: int = 16
    pool_mode: str = "session"
    replicas: str = ""
    public_url: str = ""
    token_algorithm: str = "Ed25519"
    access_token_s: int = 900
    refresh_token_s: int = 604_800
    session_cache_s: int = 300
    revocation_check_ms: int = 100
    rate_limit: str = "100/minute"
    valkey_url: str = ""
    cors_origins: str = ""
    trusted_proxies: str = ""
    http2: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
        """Read `BACKSTAY_*`; `overrides` (the command line) win over it.

        Raises:
            OperatorError: a value that does not parse, with the setting's name.
        """
        source = os.environ if environ is None else environ
        found: dict[str, Any] = {}
        for setting in SETTINGS:
            raw = source.get(setting.env)
            if raw is not None and raw != "":
                found[setting.name] = setting.parse(raw)
        found |= {name: value for name, value in overrides.items() if value is not None}
        return replace(cls(), **found)


def _boolean(raw: str) -> bool:
    lowered = raw.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(raw)


_PARSERS: Mapping[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _boolean, "str": str}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the settings table."""

    name: str
    kind: str
    default: Any
    help: str

    @property
    def env(self) -> str:
        """The name of its environment variable."""
        return "BACKSTAY_" + self.name.upper()

    def parse(self, raw: str) -> Any:
        """The value of `raw`, or an `OperatorError` that names the variable."""
        try:
            return _PARSERS[self.kind](raw)
        except ValueError:
            shown = "***" if self.name == "secret" else repr(raw)
            raise OperatorError(f"{self.env}={shown} is not a valid {self.kind}: mend it or unset it.") from None


_HELP: Mapping[str, str] = {
    "database_url": "Database: sqlite:///file.db or postgresql://user@host/name.",
    "secret": "Key that signs tokens, at least 32 characters. Needed to write; made once in --dev.",
    "host": "Address to listen on.",
    "port": "Port to listen on.",
    "workers": "Number of server processes.",
    "dev": "Reload on change, apply safe migrations, readable logs.",
    "base_path": "Path prefix of the generated API.",
    "log_format": "json, text, or auto: text on a terminal, json elsewhere.",
    "log_level": "debug, info, warning or error; one line per request at info.",
    "page_limit": "Rows on a page when the request names no limit.",
    "page_limit_max": "Largest limit that a request may name.",
    "include_depth_max": "Deepest include path, in relations.",
    "params_max": "Most query parameters and filter terms in one request.",
    "body_bytes_max": "Largest request body.",
    "url_bytes_max": "Longest path and query string.",
    "result_bytes_max": "Largest response body.",
    "export_max": "Most rows of one export.",
    "bulk_max": "Most rows that one request creates, changes or deletes.",
    "request_timeout_s": "Deadline of one request.",
    "shutdown_timeout_s": "How long a stopping process waits for requests in flight.",
    "inline_budget_ms": "How long a read may hold the event loop before it moves to a thread.",
    "reader_threads": "Threads for slow reads on SQLite.",
    "write_queue_max": "Writes that may wait for SQLite's writer or a connection before new ones get 503.",
    "pool_size": "Most PostgreSQL connections of one process.",
    "pool_mode": "session, or transaction behind a pooler such as PgBouncer that shares connections.",
    "public_url": "Where callers reach this server, for links in mails; also the issuer of its tokens.",
    "token_algorithm": "Ed25519, ES256 or HS256: what signs access tokens of accounts.",
    "access_token_s": "How long an access token lasts.",
    "refresh_token_s": "How long a session lasts without use.",
    "session_cache_s": "How long a process remembers a session's user, roles and tenant.",
    "revocation_check_ms": "How long a session that was ended elsewhere may still be trusted here.",
    "replicas": "URLs of PostgreSQL read replicas, separated by commas.",
    "rate_limit": "Requests of one user, API key or anonymous address, such as 100/minute or 5/10 seconds; or off.",
    "valkey_url": "Valkey in which processes share rate limits: valkey://127.0.0.1:6379/0. Without it, each counts.",
    "cors_origins": "Origins whose pages may call the API, separated by commas; or *, without cookies.",
    "trusted_proxies": "Addresses or networks of proxies, separated by commas, whose X-Forwarded-For is believed.",
    "http2": "Speak HTTP/2 without TLS too, to a proxy that wants it.",
}

SETTINGS: tuple[Setting, ...] = tuple(
    Setting(field.name, str(field.type), field.default, _HELP[field.name]) for field in fields(Config)
)
