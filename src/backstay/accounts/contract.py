"""What accounts add to the contract: how else one signs in than with an access token in a header."""

from __future__ import annotations

from typing import Any

from ..config import Config

#: The header of an API key, for programs whose Authorization header is not theirs to set.
API_KEY = "X-API-Key"


def cookie_names(config: Config) -> tuple[str, str, str]:
    """The cookies of the access token, the refresh token and the CSRF token.

    The prefix `__Host-` (RFC 6265bis §4.1.3.2) keeps sibling domains from setting them, and them on encrypted
    connections; in development, on http://localhost, they go without it.
    """
    prefix = "" if config.dev else "__Host-"
    return f"{prefix}backstay_access", f"{prefix}backstay_refresh", f"{prefix}backstay_csrf"


def security_schemes(config: Config) -> dict[str, Any]:
    """OpenAPI Security Scheme Objects by name."""
    text = "The access token of a browser. What changes something sends the CSRF cookie's value in X-CSRF-Token too."
    cookie = {"type": "apiKey", "in": "cookie", "name": cookie_names(config)[0], "description": text}
    text = "A key of a person's or a program's, which begins with `bsk_`; `Authorization: Bearer` takes it, too."
    return {
        "sessionCookie": cookie,
        "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY, "description": text},
    }
