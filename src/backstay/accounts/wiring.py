"""Puts the accounts of a serving process together: what looks credentials up, what the endpoints share, the keys."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from ..auth.accounts import Accounts, Declared
from ..auth.api_keys import START, ApiKeys
from ..auth.authenticate import Authenticator
from ..auth.provider_client import ProviderClient, require_client
from ..auth.revocations import ALL, revoke
from ..auth.tenancy import MEMBERS, DeclaredTenants
from ..auth.tokens import Tokens
from ..config import Config
from ..context import Context
from ..db.lookups import Lookups
from ..db.sessions import Sessions
from ..db.transaction import Transaction
from ..engine import Engine
from ..http.custom import CustomEndpoints
from ..observe import Log
from ..services.mail import Mailer
from .cookies import Cookies
from .credentials import Credentials
from .flows import FlowCookie, Providers
from .jwks import Jwks
from .tenant_choice import TenantChoice


@dataclass(frozen=True, slots=True)
class Parts:
    """What the accounts of a process need of it."""

    config: Config
    base_paths: tuple[str, ...]
    engine: Engine
    sessions: Sessions
    lookups: Lookups
    log: Log
    mailer: Mailer | None


@dataclass(frozen=True, slots=True)
class Wired:
    """The accounts, what authenticates requests, and the public keys."""

    accounts: Accounts
    credentials: Credentials | TenantChoice
    jwks: Jwks


def wire(declared: Declared, name: str, parts: Parts, custom: CustomEndpoints) -> Wired:
    """The accounts of a process, known to its endpoints."""
    config = parts.config
    accounts = Accounts(
        declared,
        name,
        config,
        sessions=parts.sessions,
        lookups=parts.lookups,
        log=parts.log,
        mailer=parts.mailer,
        named_roles=parts.engine.catalog.roles,
    )
    cookies = Cookies(config, accounts.vault)
    custom.app.state.accounts = accounts
    custom.app.state.cookies = cookies
    authenticator = Authenticator(accounts, Tokens(config.secret), parts.lookups)
    authenticator.finders[START.encode()] = ApiKeys(accounts, parts.lookups).find
    custom.app.state.providers = _providers(accounts)
    _forget_deleted(parts.engine, accounts)
    credentials: Credentials | TenantChoice = Credentials(authenticator, cookies, parts.base_paths)
    if accounts.tenancy is not None:
        custom.app.state.tenancy = accounts.tenancy
        _forget_members(parts.engine, accounts, accounts.tenancy.declared)
        credentials = TenantChoice(credentials, accounts.tenancy, config, parts.base_paths)
    return Wired(accounts, credentials, Jwks(accounts))


def _providers(accounts: Accounts) -> Providers:
    """The providers of a process; its accounts let go of their connections."""
    if accounts.options.providers:
        require_client()
    clients = {provider.name: ProviderClient(provider) for provider in accounts.options.providers}
    accounts.closing += [client.close for client in clients.values()]
    return Providers(clients, FlowCookie(accounts.config, accounts.vault))


def _session_of(context: Context) -> AsyncSession:
    """The session of the write that is told of: what it revokes commits with it, or neither does."""
    transaction: Transaction | None = context.transaction
    assert transaction is not None, "a write that accounts are told of is a transaction"
    return transaction.session


def _forget_deleted(engine: Engine, accounts: Accounts) -> None:
    """A user whom the API deletes is forgotten everywhere; which one it was, the API's key may not say."""

    async def forget(context: Context) -> None:
        await revoke(_session_of(context), accounts.tables, ALL, "")

    for resource in engine.catalog.declared.values():
        if resource.table.sql is accounts.tables.user:
            engine.hooks.tell(resource.table.name, ("delete",), forget)


def _forget_members(engine: Engine, accounts: Accounts, declared: DeclaredTenants) -> None:
    """A membership or a tenant that the API changes is looked up anew everywhere."""

    async def forget(context: Context) -> None:
        await revoke(_session_of(context), accounts.tables, MEMBERS, "")

    for resource in engine.catalog.declared.values():
        if resource.table.sql in (declared.table, declared.member_table):
            engine.hooks.tell(resource.table.name, ("update", "delete", "restore"), forget)
