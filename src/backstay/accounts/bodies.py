"""What the endpoints of accounts take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..schema.names import EmailText, UsernameText

T = TypeVar("T")
PASSWORD_CHARS_MAX = 256

Email = Annotated[str, Field(max_length=320), AfterValidator(EmailText().normal)]
Username = Annotated[str, Field(max_length=128), AfterValidator(UsernameText().normal)]
Password = Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARS_MAX)]


class Answer(BaseModel, Generic[T]):
    """The envelope of every answer."""

    data: T


class Body(BaseModel):
    """A body without members that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Registration(Body):
    """A new account."""

    email: Email
    password: Password
    username: Username | None = None


class Login(Body):
    """Who signs in, by e-mail address or user name."""

    login: Annotated[str, Field(min_length=1, max_length=320)]
    password: Password


class Refresh(Body):
    """A refresh token."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=128)]


class Granted(BaseModel):
    """What a session is used with."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    refresh_token: str


class Me(BaseModel):
    """Whoever is signed in."""

    id: Any
    email: str | None
    username: str | None
    email_verified_at: datetime | None
    roles: list[str]
    permissions: list[str]
    tenant: Any = None
