"""Providers that people sign in with: any that speaks OpenID Connect, and presets for well-known ones."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

from ..errors import OperatorError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Somebody who knows people; make one with `oidc` or a preset.

    Attributes:
        name: its part of the path `/auth/oauth/{name}`.
        client_id, client_secret: what it knows this program by. Without a secret PKCE alone proves the exchange.
        issuer: the OpenID Connect issuer, whose discovery document names everything else. Empty for plain OAuth 2.0.
        scopes: what it is asked for.
        kind: how a profile is read where there is no ID token.
        authorize_url, token_url, profile_url, emails_url: the endpoints of plain OAuth 2.0.
        links_by_email: whether its word on a verified address may lead to an account that is there already. Only for
            a provider that nobody can make say so of an address that is not theirs.

    Example:
        >>> Provider.oidc("acme", issuer="https://id.acme.example", client_id="shop", client_secret="…").scopes
        ('openid', 'email', 'profile')
    """

    name: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    issuer: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    kind: Literal["oidc", "github", "discord"] = "oidc"
    authorize_url: str = ""
    token_url: str = ""
    profile_url: str = ""
    emails_url: str = ""
    links_by_email: bool = True

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise OperatorError(f"The provider's name {self.name!r} is no path segment: use a-z, 0-9, - and _.")
        if not self.client_id:
            raise OperatorError(f"The provider {self.name} has no client_id: register this program with it.")
        for url in (self.issuer, self.authorize_url, self.token_url, self.profile_url, self.emails_url):
            if url and not is_safe(url, self.issuer or self.token_url):
                raise OperatorError(f"The provider {self.name} has the address {url!r}: it must begin with https://.")
        if not self.issuer and not (self.authorize_url and self.token_url and self.profile_url):
            raise OperatorError(f"The provider {self.name} has no issuer: use Provider.oidc or a preset.")

    @classmethod
    def oidc(
        cls,
        name: str,
        *,
        issuer: str,
        client_id: str,
        client_secret: str = "",
        scopes: tuple[str, ...] = ("openid", "email", "profile"),
        links_by_email: bool = True,
    ) -> Self:
        """Any provider with OpenID Connect Discovery 1.0."""
        return cls(
            name=name,
            issuer=issuer,
            client_id=client_id,
            client_secret=client_secret,
            scopes=scopes,
            links_by_email=links_by_email,
        )

    @classmethod
    def google(cls, *, client_id: str, client_secret: str) -> Self:
        """Google."""
        return cls.oidc(
            "google", issuer="https://accounts.google.com", client_id=client_id, client_secret=client_secret
        )

    @classmethod
    def microsoft(cls, *, tenant_id: str, client_id: str, client_secret: str) -> Self:
        """Microsoft Entra ID, of one tenant. It does not verify addresses, so none leads to an account."""
        issuer = f"https://login.microsoftonline.com/{tenant_id}/v2.0"
        return cls.oidc(
            "microsoft", issuer=issuer, client_id=client_id, client_secret=client_secret, links_by_email=False
        )

    @classmethod
    def gitlab(cls, *, client_id: str, client_secret: str, issuer: str = "https://gitlab.com") -> Self:
        """GitLab, or a GitLab of one's own."""
        return cls.oidc("gitlab", issuer=issuer, client_id=client_id, client_secret=client_secret)

    @classmethod
    def github(
        cls,
        *,
        client_id: str,
        client_secret: str,
        url: str = "https://github.com",
        api_url: str = "https://api.github.com",
    ) -> Self:
        """GitHub, or GitHub Enterprise; it speaks plain OAuth 2.0."""
        return cls(
            name="github",
            kind="github",
            client_id=client_id,
            client_secret=client_secret,
            scopes=("read:user", "user:email"),
            authorize_url=f"{url}/login/oauth/authorize",
            token_url=f"{url}/login/oauth/access_token",
            profile_url=f"{api_url}/user",
            emails_url=f"{api_url}/user/emails",
        )

    @classmethod
    def discord(cls, *, client_id: str, client_secret: str) -> Self:
        """Discord; it speaks plain OAuth 2.0."""
        return cls(
            name="discord",
            kind="discord",
            client_id=client_id,
            client_secret=client_secret,
            scopes=("identify", "email"),
            authorize_url="https://discord.com/oauth2/authorize",
            token_url="https://discord.com/api/oauth2/token",
            profile_url="https://discord.com/api/users/@me",
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """Who a provider says somebody is.

    Attributes:
        subject: its id of them, which never changes.
        verified: whether it has seen that the address is theirs.
    """

    subject: str
    email: str | None
    verified: bool


def is_safe(url: str, base: str) -> bool:
    """Whether secrets may be sent to an address: over TLS, or within this machine for a provider that is here too.

    Example:
        >>> is_safe("http://127.0.0.1:1/token", "http://localhost:1"), is_safe("http://10.0.0.1/", "https://a.example")
        (True, False)
    """
    try:
        parts = urlsplit(url)
        here = is_here(parts.hostname) and is_here(urlsplit(base).hostname)
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and here)


def is_here(host: str | None) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
