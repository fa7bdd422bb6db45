"""What the endpoints of accounts take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from ..auth.weak import PASSWORD_CHARS_MAX
from ..query.payload import type_of
from ..query.values import text
from ..schema.model import Column, Kind
from ..schema.names import EMAIL_CHARS_MAX, EmailText, UsernameText

_TEXT = AfterValidator(text)
Email = Annotated[str, Field(max_length=EMAIL_CHARS_MAX), _TEXT, AfterValidator(EmailText().normal)]
Username = Annotated[str, Field(max_length=128), _TEXT, AfterValidator(UsernameText().normal)]
Name = Annotated[str, Field(min_length=1, max_length=EMAIL_CHARS_MAX), _TEXT]
Password = Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARS_MAX), _TEXT]
Token = Annotated[str, Field(min_length=1, max_length=128), _TEXT]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
#: Of a row of the program's: a user, a tenant.
Key = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Seconds = Annotated[int, Field(ge=0, le=2**31 - 1)]
#: `cookie` for browsers: the tokens come as cookies that no script can read.
Mode = Literal["token", "cookie"]


class Body(BaseModel):
    """A body without members that nobody knows."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Registration(Body):
    """A new account."""

    email: Email
    password: Password
    username: Username | None = None
    mode: Mode = "token"


def registration_of(profile: Mapping[str, Column]) -> type[Registration]:
    """The body of a registration with columns of the program's own."""
    if not profile:
        return Registration
    fields: dict[str, Any] = {}
    for name, column in profile.items():
        kind: Any = type_of(column)
        kind = Annotated[kind, _TEXT] if column.kind is Kind.TEXT else kind
        optional = column.nullable or column.has_default
        fields[name] = (kind | None, None) if column.nullable else (kind, Field(default=None) if optional else ...)
    return create_model("Registration", __base__=Registration, **fields)


class Login(Body):
    """Who signs in, by e-mail address or user name."""

    login: Name
    password: Password
    mode: Mode = "token"


class Refresh(Body):
    """A refresh token; browsers send it as a cookie."""

    refresh_token: Token | None = None


class Address(Body):
    """An address to send a mail to."""

    email: Email


class Code(Body):
    """A code from a mail."""

    token: Token


class Reset(Body):
    """A new password, by a code from a mail."""

    token: Token
    password: Password


class PasswordChange(Body):
    """A new password, by the old one."""

    current_password: Password
    new_password: Password


class EmailChange(Body):
    """Another address, by the password."""

    email: Email
    password: Password


class Confirmation(Body):
    """The password, for what cannot be undone."""

    password: Password


class Granted(BaseModel):
    """What a session is used with."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: Seconds
    refresh_token: str


class CookiesSet(BaseModel):
    """A session in cookies: send `csrf_token` as `X-CSRF-Token` with whatever changes something."""

    expires_in: Seconds
    csrf_token: str


class MfaWanted(BaseModel):
    """The second step is wanted: send `mfa_token` with a code to `/auth/mfa/login`."""

    status: Literal["mfa_required"] = "mfa_required"
    mfa_token: str
    expires_in: Seconds


class MailSent(BaseModel):
    """A mail says what to do next, if there is anything to do."""

    status: Literal["mail_sent"] = "mail_sent"


class Me(BaseModel):
    """Whoever is signed in; `actor` is the id of who acts in their name, if somebody does."""

    id: Number | UUID
    email: str | None
    username: str | None
    email_verified_at: datetime | None
    roles: list[str]
    permissions: list[str]
    tenant: Key | UUID | str | None
    actor: Number | UUID | None


class SessionShown(BaseModel):
    """One of my sessions.

    Attributes:
        current: whether it is the one that asks.
    """

    id: Number
    kind: str
    device: str
    ip: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool


class SessionAnswer(BaseModel):
    """A session, as it was asked for."""

    data: Granted | CookiesSet | MfaWanted


class RegistrationAnswer(BaseModel):
    """A session; or a mail, where addresses must be confirmed first."""

    data: Granted | CookiesSet | MfaWanted | MailSent


class MailAnswer(BaseModel):
    """A mail was sent, if there was anybody to send it to."""

    data: MailSent


class MeAnswer(BaseModel):
    """Whoever is signed in."""

    data: Me


class SessionsAnswer(BaseModel):
    """My sessions."""

    data: list[SessionShown]
