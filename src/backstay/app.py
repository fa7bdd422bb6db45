"""`Backstay`, the app a program declares; it only wires the parts together and holds nothing of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from . import accounts
from .auth.accounts import AccountOptions, Declared
from .auth.tables import PREFIX as AUTH_PREFIX
from .auth.tenancy import DeclaredTenants, Way
from .config import Config
from .context import Context
from .db.recording import Recorded, recorded_tables
from .errors import OperatorError
from .events.changes import Changes
from .exposures import Exposure, attribute, given_or
from .fixed import lifespan
from .hooks import Hooked, Hooks
from .http.messages import Receive, Scope, Send
from .runtime import Runtime, start
from .schema.declare import schema_of
from .schema.model import Schema
from .schema.policy import FieldRule, Policy, nobody, public
from .services.mail import Mailer
from .versions import Versioned


class Backstay(Versioned, Hooked):
    """A backend derived from models and rules.

    Args:
        name: its title, in the API reference and the logs.
        config: how it runs; by default read from the environment when it starts.
        schema: an existing database's, instead of declared models.
        info: more of OpenAPI's Info Object: `contact`, `license`, `termsOfService`.
        envelope: `success` adds `"success": true` to every answer.

    Example:
        >>> app = Backstay("arcade")
        >>> app.resource(Game, key=Game.slug, read=public)
    """

    def __init__(
        self,
        name: str,
        *,
        config: Config | None = None,
        schema: Schema | None = None,
        description: str = "",
        version: str = "1.0.0",
        info: Mapping[str, Any] | None = None,
        envelope: Literal["data", "success"] = "data",
    ) -> None:
        super().__init__(name)
        self.name = name
        self.description = description
        self.version = version
        self.info = dict(info or {})
        self.seeders: list[Callable[..., None]] = []
        self.mail_sender: Mailer | None = None
        self.config = config or Config.from_environment()
        #: Whether it serves a database that is not made from models, and so not migrated by them.
        self.existing = schema is not None
        self._schema = schema
        self.hooks = Hooks()
        self._envelope = envelope
        self._exposures: list[Exposure] = []
        self._accounts: Declared | None = None
        self._runtime: Runtime | None = None

    def resource(
        self,
        model: Any,
        *,
        name: str | None = None,
        key: Any = None,
        read: Any = None,
        write: Any = None,
        create: Any = None,
        update: Any = None,
        delete: Any = None,
        check: Any = None,
        stamp: dict[Any, Any] | None = None,
        restore: Any = None,
        history: Any = None,
        fields: dict[Any, FieldRule] | None = None,
        hidden: Sequence[Any] = (),
        shown: Sequence[Any] = (),
        cache: int = 0,
        limit: str = "",
        require_match: bool = False,
    ) -> None:
        """Expose a model. What has no rule is denied.

        Args:
            model: a mapped class, or a table's name in an existing database.
            name: its path segment; the table's name by default.
            key: a unique column that addresses a row, such as `Game.slug`; the primary key by default.
            read, create, update, delete: rules; `write` stands for the last three.
            check: what must hold of a row after it was written.
            stamp: columns that the server sets from the principal: `{Score.player_id: me.id}`.
            restore: who sees and restores rows that were deleted softly; see `SoftDelete`.
            history: who sees what a row was like before, and who changed it; of what they may read.
            fields: rules of single fields: `{User.email: FieldRule(read=User.id == me.id)}`.
            hidden: columns that no front end shows, accepts, filters or sorts by.
            shown: columns that are shown though their model says that they are a person's own, such as `User.email`.
            cache: seconds that public answers may be kept; noted in the catalog, no cache uses it yet.
            limit: requests of one caller to it, such as `10/minute` or `off`; counted apart from all others.
            require_match: changes and deletes must name the version that they are of, by If-Match.

        Raises:
            OperatorError: a history of what is not recorded.
        """
        if history is not None and self.existing:
            raise OperatorError(
                f"{self.name} serves an existing database, whose changes are not recorded: no history=."
            )
        names: tuple[Any, ...] = tuple(key) if isinstance(key, (tuple, list)) else (() if key is None else (key,))  # type: ignore[reportUnknownArgumentType]
        policy = Policy(
            read=given_or(read, nobody),
            create=given_or(create, given_or(write, nobody)),
            update=given_or(update, given_or(write, nobody)),
            delete=given_or(delete, given_or(write, nobody)),
            check=given_or(check, public),
            restore=given_or(restore, nobody),
            history=given_or(history, nobody),
            stamp={attribute(column): value for column, value in (stamp or {}).items()},
            fields={attribute(column): rule for column, rule in (fields or {}).items()},
        )
        hides, shows = (frozenset(attribute(column) for column in columns) for columns in (hidden, shown))
        exposure = Exposure(
            model, name, tuple(attribute(n) for n in names), policy, hides, shows, cache, limit, require_match
        )
        self._exposures.append(exposure)

    def accounts(self, user: type[Any], options: AccountOptions | None = None) -> None:
        """Turn accounts on: people register, sign in and out, and rules know them.

        Args:
            user: the model of people: `backstay.User`, or a class of your own with `UserBase`.
            options: how they sign in.

        Raises:
            OperatorError: a model that is none of accounts, or a second one.

        Example:
            >>> app.accounts(User)
        """
        if self._accounts is not None:
            raise OperatorError(f"{self.name} has accounts already, of {self._accounts.user.__name__}.")
        self._accounts = Declared(user, options or AccountOptions())
        for base_path in self.base_paths():
            accounts.add_endpoints(self.custom_endpoints(), base_path, self._accounts.profile)

    def tenants(
        self,
        model: type[Any],
        *,
        members: type[Any],
        slug: Any = None,
        by: Sequence[Way] = ("token", "header"),
        roles: Mapping[str, Sequence[str]] | None = None,
        visitors: bool = False,
    ) -> None:
        """Turn tenants on: who belongs to one may act for it, with the role of the membership.

        Args:
            model: the tenants, such as `Organization`.
            members: who belongs where; see `MembershipBase`.
            slug: a unique column that names a tenant in the header or the subdomain, beside its key.
            by: what says which tenant a request is for: the session (`token`), the header `X-Tenant`, or the
                subdomain below the host of `BACKSTAY_PUBLIC_URL`. The header wins over the subdomain, that over the
                session.
            roles: what each role permits there: `{"owner": ["projects.delete"], "member": []}`. Then no other role
                counts. By default every role counts, and permits nothing.
            visitors: whether who is not signed in may visit a tenant, by its header or subdomain.

        Raises:
            OperatorError: no accounts, or models that do not refer to each other.

        Example:
            >>> app.tenants(Organization, members=Membership, slug=Organization.slug)
        """
        if self._accounts is None:
            raise OperatorError("Tenants have members who sign in: call app.accounts(User) first.")
        declared = self._accounts
        declared.tenants = DeclaredTenants(
            model, members, declared.tables, slug=slug, by=by, roles=roles, visitors=visitors
        )
        for base_path in self.base_paths():
            accounts.add_tenant_endpoints(self.custom_endpoints(), base_path)

    @property
    def declared_tenants(self) -> DeclaredTenants | None:
        """What `tenants` was told."""
        return None if self._accounts is None else self._accounts.tenants

    @property
    def models(self) -> list[type[Any]]:
        """The exposed mapped classes, and those of users and tenants."""
        users = [] if self._accounts is None else [self._accounts.user]
        tenants = self.declared_tenants
        users += [] if tenants is None else [tenants.model, tenants.members]
        return [e.model for e in self._exposures if isinstance(e.model, type)] + users

    @property
    def schema(self) -> Schema:
        """The facts about its tables."""
        if self._schema is None:
            self._schema = schema_of(self.models)
        return self._schema

    def session(self, context: Context | None = None) -> AsyncSession:
        """A read-only ORM session for a custom endpoint, which decides itself what it shows.

        Args:
            context: the endpoint's; the session's statements are counted in it.

        Example:
            >>> async with app.session(ctx) as session:
            ...     game = await session.get(Game, 7)
        """
        return self.start().sessions.open(context)

    def transaction(self, context: Context | None = None) -> AbstractAsyncContextManager[AsyncSession]:
        """An ORM session that may write: one transaction, committed at the end of its block.

        Args:
            context: the endpoint's; the session's statements are counted in it, and its deadline holds.

        Example:
            >>> async with app.transaction(ctx) as session:
            ...     session.add(Game(slug="tetris", name="Tetris"))
        """
        return self.start().sessions.begin(context)

    @property
    def changes(self) -> Changes:
        """The change log.

        Raises:
            OperatorError: this app writes nothing, or serves a database that is not made from models.

        Example:
            >>> async for change in app.changes.follow():  # doctest: +SKIP
            ...     print(change.table, change.key, change.operation)
        """
        found = self.start().changes
        if found is None:
            raise OperatorError(f"{self.name} records no changes: nothing is written through it.")
        return found

    def mailer(self, function: Mailer) -> Mailer:
        """Register the function that sends mail.

        Example:
            >>> @app.mailer
            ... async def send(mail: Mail) -> None:
            ...     await smtp.send_message(mail.to, mail.subject, mail.text)
        """
        self.mail_sender = function
        return function

    def seeder(self, function: Callable[..., None]) -> Callable[..., None]:
        """Register a function that `backstay db seed` calls with an ORM session and a progress helper."""
        self.seeders.append(function)
        return function

    def recorded(self) -> tuple[Recorded, ...]:
        """The tables whose changes are recorded: all of a program's own models."""
        return () if self.existing else recorded_tables(self.schema.metadata.sorted_tables, [AUTH_PREFIX])

    def configure(self, **settings: Any) -> None:
        """Change settings before it starts; the command line's way in."""
        self.config = replace(self.config, **{k: v for k, v in settings.items() if v is not None})

    def start(self) -> Runtime:
        """Open the database and build the routes, once.

        Raises:
            OperatorError: anything the operator has to mend first.
        """
        if self._runtime is None:
            self._runtime = start(
                self,
                self._custom,
                self._accounts,
                recorded=self.recorded(),
                hooks=self.hooks,
                mailer=self.mail_sender,
                success_flag=self._envelope == "success",
            )
        return self._runtime

    async def stop(self) -> None:
        """Finish what runs and close the database."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.rest()
            if runtime.accounts is not None:
                await runtime.accounts.close()
            runtime.versions.report()
            await runtime.sessions.close()
            await runtime.database.close()
            await runtime.limits.close()
            runtime.frame.log.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        runtime = self._runtime or self.start()
        if scope["type"] == "lifespan":
            await lifespan(runtime.work, self.stop, receive, send)
        else:
            await runtime.frame(scope, receive, send)
