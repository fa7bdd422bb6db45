"""What the parts of accounts share: the users' model, the tables, and what hashes, signs, mails and records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..config import Config
from ..context import Context
from ..db.lookups import Lookups
from ..db.sessions import Sessions
from ..errors import OperatorError
from ..observe import Log
from ..schema.kinds import plain
from .key_ring import KeyRing
from .passwords import Hashing, Passwords
from .revocations import Revocations
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
        table: Any = getattr(user, "__table__", None)
        if not issubclass(user, UserBase) or table is None:
            raise OperatorError(f"{user.__name__} is no model of accounts: class {user.__name__}(UserBase, Model).")
        self.user = user
        self.options = options
        self.tables: AuthTables = auth_tables(table)


class Accounts:
    """The accounts of one serving process."""

    def __init__(
        self, declared: Declared, name: str, config: Config, sessions: Sessions, lookups: Lookups, log: Log
    ) -> None:
        self.user: Any = declared.user
        self.tables = declared.tables
        self.options = declared.options
        self.config = config
        self.sessions = sessions
        self.log = log
        self.vault = Vault(config.secret)
        self.passwords = Passwords(declared.options.hashing)
        self.revocations = Revocations(declared.tables, lookups, config.revocation_check_ms)
        sessions.on_commit(self.revocations.expire)
        self.keys = KeyRing(declared.tables, self.vault, config, sessions, self.revocations)
        self.uuid_keys = isinstance(plain(declared.tables.user_key.type), sa.Uuid)
        self.tokens = AccessTokens(config.public_url or name, name, config.access_token_s)

    def close(self) -> None:
        """End what runs beside the event loop."""
        self.passwords.close()
