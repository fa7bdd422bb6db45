"""What the parts of accounts share: the users' model, the tables, and what hashes, signs, mails and records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..config import Config
from ..context import Context
from ..db.sessions import Sessions
from ..errors import OperatorError
from ..observe import Log
from .keys import KeyRing
from .passwords import Hashing, Passwords
from .tables import AuthTables, auth_tables
from .tokens import AccessTokens
from .user import UserBase
from .vault import Vault


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """How people sign in.

    Attributes:
        registration: whether anybody may make an account.
        verify_email: whether an address must be proven before its owner can sign in.
        hashing: what a password's hash costs.
    """

    registration: bool = True
    verify_email: bool = False
    hashing: Hashing = field(default_factory=Hashing)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request comes from.

    Attributes:
        ip: the address of its sender.
        device: what it calls itself in `User-Agent`.
        context: its Context.
    """

    ip: str
    device: str
    context: Context


class Declared:
    """What `app.accounts` was told; the tables are in the users' MetaData from then on."""

    def __init__(self, user: type[Any], options: AccountOptions) -> None:
        table = sa.inspect(user).local_table
        if not issubclass(user, UserBase) or not isinstance(table, sa.Table):
            raise OperatorError(f"{user.__name__} is no model of accounts: class {user.__name__}(UserBase, Model).")
        self.user = user
        self.options = options
        self.tables: AuthTables = auth_tables(table)


class Accounts:
    """The accounts of one serving process."""

    def __init__(self, declared: Declared, name: str, config: Config, sessions: Sessions, log: Log) -> None:
        self.user: Any = declared.user
        self.tables = declared.tables
        self.options = declared.options
        self.config = config
        self.sessions = sessions
        self.log = log
        self.vault = Vault(config.secret)
        self.passwords = Passwords(declared.options.hashing)
        self.keys = KeyRing(declared.tables, self.vault, config)
        self.tokens = AccessTokens(config.public_url or name, name, config.access_token_s)

    def close(self) -> None:
        """End what runs beside the event loop."""
        self.passwords.close()
