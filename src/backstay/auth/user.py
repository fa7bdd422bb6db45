"""`UserBase`: what a program's own user model has of an account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from ..schema.declare import PRIVATE, SECRET, SERVER_SET
from ..schema.names import EmailText, UsernameText

_KEPT = {PRIVATE: True, SERVER_SET: True}


class UserBase:
    """Mixin of the model of people who sign in; see `Backstay.accounts`.

    Attributes:
        email: unique whatever its case or the form of its letters. It is changed by its owner at `/auth/email`.
        username: unique in the same way; people may sign in with either.
        password_hash: none for who signs in by other means only. Nobody is ever shown it.
        email_verified_at: when the address was proven to be theirs.
        disabled_at: since when they cannot sign in.

    Resources show `email`, `email_verified_at` and `disabled_at` only where `app.resource(…, shown=…)` names them.

    Example:
        >>> class Player(UserBase, Model):
        ...     display_name: Mapped[str | None]
    """

    email: Mapped[str | None] = mapped_column(EmailText(), unique=True, sort_order=-9, info=_KEPT)
    username: Mapped[str | None] = mapped_column(UsernameText(), unique=True, sort_order=-8)
    password_hash: Mapped[str | None] = mapped_column(sort_order=80, info={SECRET: True, SERVER_SET: True})
    email_verified_at: Mapped[datetime | None] = mapped_column(sort_order=81, info=_KEPT)
    disabled_at: Mapped[datetime | None] = mapped_column(sort_order=82, info=_KEPT)
