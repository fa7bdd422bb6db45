"""What the parts of accounts share: the users' model, the tables, and what hashes, signs, mails and records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ..config import Config
from ..context import Context
from ..db.lookups import Lookups
from ..db.sessions import Sessions
from ..errors import OperatorError
from ..observe import Log
from ..query.values import parse
from ..schema.kinds import column_like, plain
from ..schema.mixins import SoftDelete
from ..services.mail import Mailer
from .key_ring import KeyRing
from .later import Later
from .passwords import Hashing, Passwords
from .post import Post
from .providers import Provider
from .revocations import Revocations
from .tables import AuthTables, auth_tables
from .tenancy import DeclaredTenants, Tenancy
from .tokens import AccessTokens
from .user import UserBase
from .user_events import watch_users
from .vault import Vault
from .weak import Breached


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """How people sign in.

    Attributes:
        registration: whether anybody may make an account.
        verify_email: whether an address must be proven before its owner can sign in. Then nobody learns by
            registering whether an address has an account.
        hashing: what a password's hash costs.
        breached: asked of each new password: whether it is known from a breach. Nothing is asked by default.
        providers: whom people may sign in with, beside a password.
        return_origins: origins such as `https://shop.example` that people may be sent to after that, and whose pages
            may use passkeys; this server always may.
        sign_in_by_mail: whether a link or a code in a mail is enough.
        passkey_domain: the domain that passkeys are good for, if it is a parent of this server's, such as
            `shop.example` of `api.shop.example`.
        verify_page, reset_page, login_page: pages of the program's own that links in mails lead to, with
            `?token=…`; without them a mail has just the code.
    """

    registration: bool = True
    verify_email: bool = True
    hashing: Hashing = field(default_factory=Hashing)
    breached: Breached | None = None
    providers: Sequence[Provider] = ()
    return_origins: Sequence[str] = ()
    sign_in_by_mail: bool = False
    passkey_domain: str = ""
    verify_page: str = ""
    reset_page: str = ""
    login_page: str = ""


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
        self.tenants: DeclaredTenants | None = None
        watch_users(user)


class Accounts:
    """The accounts of one serving process."""

    def __init__(
        self,
        declared: Declared,
        name: str,
        config: Config,
        *,
        sessions: Sessions,
        lookups: Lookups,
        log: Log,
        mailer: Mailer | None = None,
        named_roles: frozenset[str] = frozenset(),
    ) -> None:
        #: `time.monotonic()` value of when this process last pruned.
        self.pruned_at = float("-inf")
        #: Roles that rules name.
        self.named_roles = named_roles
        self.user: Any = declared.user
        self.tables = declared.tables
        self.options = declared.options
        self.config = config
        self.sessions = sessions
        self.log = log
        self.vault = Vault(config.secret)
        self.passwords = Passwords(declared.options.hashing)
        self.revocations = Revocations(declared.tables, lookups, config.revocation_check_ms)
        sessions.on_commit(self.revocations.committed)
        tenants, keep_s = declared.tenants, config.session_cache_s
        self.tenancy = None if tenants is None else Tenancy(tenants, lookups, self.revocations, keep_s=keep_s)
        self.keys = KeyRing(declared.tables, self.vault, config, sessions, self.revocations)
        self.soft = issubclass(declared.user, SoftDelete)
        self.uuid_keys = isinstance(plain(declared.tables.user_key.type), sa.Uuid)
        self.later = Later(log)
        pages = {"verify": self.options.verify_page, "email": self.options.verify_page}
        self.post = Post(
            name, mailer, self.later, pages | {"reset": self.options.reset_page, "login": self.options.login_page}
        )
        #: What else ends with the process.
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self.tokens = AccessTokens(config.public_url or name, name, config.access_token_s)

    @property
    def gone_at(self) -> Any:
        """Since when a user cannot sign in: disabled, or deleted softly."""
        disabled: Any = self.user.disabled_at
        return sa.func.coalesce(disabled, self.user.deleted_at) if self.soft else disabled

    def is_gone(self, user: Any) -> bool:
        """Whether a user is none, or cannot sign in."""
        return user is None or user.disabled_at is not None or (self.soft and user.deleted_at is not None)

    def key(self, text: object) -> Any:
        """A user's id, from its text in a token; `None` for what can be nobody's."""
        if isinstance(text, str):
            try:
                return parse(column_like(self.tables.user_key.type, nullable=False), text)
            except ValueError:
                return None
        return text

    def id_of(self, user: Any) -> Any:
        """A user's id."""
        return sa.inspect(self.user).primary_key_from_instance(user)[0]

    async def close(self) -> None:
        """Finish what was begun after answers, and end the threads."""
        await self.later.close()
        for close in self.closing:
            await close()
        self.passwords.close()
