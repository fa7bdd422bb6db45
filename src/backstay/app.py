"""`Backstay`, the app a program declares; it only wires the parts together and holds nothing of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from .auth.tokens import Tokens
from .config import Config
from .console.docs import Docs
from .console.health import Health
from .console.metrics import Metrics
from .context import Context
from .db.database import Database
from .db.opened import open_database
from .db.sessions import Sessions
from .engine import Engine
from .errors import OperatorError, perhaps
from .http.custom import CustomEndpoints
from .http.frame import Frame, Handler
from .http.messages import JSON_TYPE, Receive, Request, Response, Scope, Send
from .observe import Log, Observations, Series
from .rest.openapi import document
from .rest.routes import Methods, Route, Routes, route_table
from .schema.declare import schema_of
from .schema.model import Schema, Table
from .schema.policy import Policy, nobody, public
from .schema.resource import Catalog, Resource, natural_key
from .sql.dialect import Dialect

Endpoint = Callable[..., Any]


@dataclass(slots=True)
class Exposure:
    """What `app.resource` was told, before the schema is known."""

    model: Any
    name: str | None
    key: tuple[str, ...]
    policy: Policy
    hidden: frozenset[str]
    cache_s: int


@dataclass(frozen=True, slots=True, eq=False)
class Runtime:
    """Everything that one serving process holds."""

    engine: Engine
    database: Database
    sessions: Sessions
    frame: Frame
    routes: Routes
    health: Health
    observations: Observations
    dialect: Dialect


class Backstay:
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
        self.name = name
        self.description = description
        self.version = version
        self.info = dict(info or {})
        self.seeders: list[Callable[..., None]] = []
        self.config = config or Config.from_environment()
        #: Whether it serves a database that is not made from models, and so not migrated by them.
        self.existing = schema is not None
        self._schema = schema
        self._envelope = envelope
        self._exposures: list[Exposure] = []
        self._custom: CustomEndpoints | None = None
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
        hidden: Sequence[Any] = (),
        cache: int = 0,
    ) -> None:
        """Expose a model. What has no rule is denied.

        Args:
            model: a mapped class, or a table's name in an existing database.
            name: its path segment; the table's name by default.
            key: a unique column that addresses a row, such as `Game.slug`; the primary key by default.
            read, create, update, delete: rules; `write` stands for the last three.
            check: what must hold of a row after it was written.
            stamp: columns that the server sets from the principal: `{Score.player_id: me.id}`.
            hidden: columns that no front end shows, accepts, filters or sorts by.
            cache: seconds that public answers may be kept; noted in the catalog, no cache uses it yet.
        """
        names: tuple[Any, ...] = tuple(key) if isinstance(key, (tuple, list)) else (() if key is None else (key,))  # type: ignore[reportUnknownArgumentType]
        policy = Policy(
            read=_or(read, nobody),
            create=_or(create, _or(write, nobody)),
            update=_or(update, _or(write, nobody)),
            delete=_or(delete, _or(write, nobody)),
            check=_or(check, public),
            stamp={_attribute(column): value for column, value in (stamp or {}).items()},
        )
        hides = frozenset(_attribute(column) for column in hidden)
        exposure = Exposure(model, name, tuple(_attribute(n) for n in names), policy, hides, cache)
        self._exposures.append(exposure)

    @property
    def models(self) -> list[type[Any]]:
        """The exposed mapped classes."""
        return [e.model for e in self._exposures if isinstance(e.model, type)]

    @property
    def schema(self) -> Schema:
        """The facts about its tables."""
        if self._schema is None:
            self._schema = schema_of(self.models)
        return self._schema

    def catalog(self) -> Catalog:
        """Its resources.

        Raises:
            OperatorError: nothing exposed, or a key or name that is not there.
        """
        schema = self.schema
        resources: dict[str, Resource] = {}
        for exposure in self._exposures:
            table = schema.by_model(exposure.model) or schema.tables.get(str(exposure.model))
            if table is None:
                hint = perhaps(str(exposure.model), schema.tables, noun="table")
                raise OperatorError(f"There is no table {exposure.model!r}. {hint}")
            name = exposure.name or table.name
            missing = [n for n in (*exposure.policy.stamp, *exposure.hidden) if n not in table.columns]
            if missing:
                hint = perhaps(missing[0], table.columns, noun="column")
                raise OperatorError(f"{table.name} has no column {missing[0]!r}. {hint}")
            _keep_hidden(table, exposure.hidden)
            key = natural_key(table, exposure.key or table.key)
            resources[name] = Resource(name, table, key, exposure.policy, exposure.hidden, exposure.cache_s)
        if not resources:
            raise OperatorError(f"{self.name} exposes nothing: call app.resource(Model, read=...).")
        return Catalog(schema, resources)

    def route(self, method: str, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom endpoint: an ordinary FastAPI route. `options` are FastAPI's."""
        if self._custom is None:
            self._custom = CustomEndpoints(self.name)
        return self._custom.add(method, path, **options)

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `GET` endpoint."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `POST` endpoint."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `PUT` endpoint."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `PATCH` endpoint."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        """A custom `DELETE` endpoint."""
        return self.route("DELETE", path, **options)

    def session(self, context: Context | None = None) -> AsyncSession:
        """A read-only ORM session for a custom endpoint, which decides itself what it shows.

        Args:
            context: the endpoint's; the session's statements are counted in it.

        Example:
            >>> async with app.session(ctx) as session:
            ...     game = await session.get(Game, 7)
        """
        return self.start().sessions.open(context)

    def seeder(self, function: Callable[..., None]) -> Callable[..., None]:
        """Register a function that `backstay db seed` calls with an ORM session and a progress helper."""
        self.seeders.append(function)
        return function

    def openapi(self) -> dict[str, Any]:
        """Its OpenAPI 3.1 document."""
        custom = self._custom.openapi() if self._custom is not None else None
        return document(
            self.catalog(),
            self.config,
            title=self.name,
            version=self.version,
            description=self.description,
            custom=custom,
            info=self.info,
            success_flag=self._envelope == "success",
        )

    def routes(self) -> list[Route]:
        """Its endpoints: generated ones, then its own."""
        own = [] if self._custom is None else self._custom.paths
        custom = [Route(method, path, "", "custom") for method, path in own]
        return route_table(self.catalog(), self.config) + custom

    def configure(self, **settings: Any) -> None:
        """Change settings before it starts; the command line's way in."""
        self.config = replace(self.config, **{k: v for k, v in settings.items() if v is not None})

    def start(self) -> Runtime:
        """Open the database and build the routes, once.

        Raises:
            OperatorError: anything the operator has to mend first.
        """
        if self._runtime is None:
            self._runtime = start(self, self._custom, success_flag=self._envelope == "success")
        return self._runtime

    async def stop(self) -> None:
        """Finish what runs and close the database."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            await runtime.sessions.close()
            await runtime.database.close()
            runtime.frame.log.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        runtime = self._runtime or self.start()
        if scope["type"] == "lifespan":
            await _lifespan(self, receive, send)
        else:
            await runtime.frame(scope, receive, send)


def start(app: Backstay, custom: CustomEndpoints | None, *, success_flag: bool) -> Runtime:
    """Wire one process's parts."""
    config = app.config
    catalog = app.catalog()
    read_only = not any(r.writable and _may_write(r.policy) for r in catalog.resources.values())
    dialect, database = open_database(config, read_only=read_only)
    observations = Observations()
    engine = Engine(catalog, dialect, database, config, observations)
    health = Health({"database": database.ping})
    log = Log(config.log_format, config.log_level)
    fixed = _fixed_routes(app, health, Metrics(observations, engine, database), observations)
    docs = Docs(app.name)
    assets = observations.request("GET", "/docs/assets")
    fixed[b"/docs"] = {"GET": (docs.page, observations.request("GET", "/docs"))}
    literal = custom.literal_paths() if custom is not None else frozenset[tuple[str, bytes]]()
    routes = Routes(engine, config, observations, fixed, custom=literal, success_flag=success_flag)

    def other(request: Request) -> tuple[Handler, Series] | None:
        if request.path.startswith(docs.prefix):
            return docs.asset, assets
        if custom is None:
            raise routes.missing(request)
        return None

    tokens = Tokens(config.secret)
    frame = Frame(
        config,
        routes.find,
        other,
        tokens.principal,
        observations=observations,
        log=log,
        fallback=custom,
        success_flag=success_flag,
    )
    log.later = frame.schedule_flush
    return Runtime(engine, database, Sessions(config), frame, routes, health, observations, dialect)


def _fixed_routes(
    app: Backstay, health: Health, metrics: Metrics, observations: Observations
) -> dict[bytes, Methods]:
    cached: list[bytes] = []

    def contract(request: Request) -> Response:
        if not cached:
            cached.append(orjson.dumps(app.openapi()))
        return Response(200, cached[0], [JSON_TYPE])

    table: dict[bytes, Handler] = {
        b"/health/live": health.live,
        b"/health/ready": health.ready,
        b"/metrics": metrics.scrape,
        b"/openapi.json": contract,
    }
    return {path: {"GET": (handler, observations.request("GET", path.decode()))} for path, handler in table.items()}


def _keep_hidden(table: Table, hidden: frozenset[str]) -> None:
    """A search tells what a column holds, even if no answer shows it."""
    searched = table.search.columns if table.search is not None else ()
    told = next((name for name in sorted(hidden) if table.columns[name].sql.name in searched), None)
    if told is not None:
        raise OperatorError(f"{table.name}.{told} is hidden, and searched: take it out of hidden= or __search__.")


def _may_write(policy: Policy) -> bool:
    return any(rule is not nobody for rule in (policy.create, policy.update, policy.delete))


async def _lifespan(app: Backstay, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await app.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _or(rule: Any, default: Any) -> Any:
    return default if rule is None else rule


def _attribute(column: Any) -> str:
    """The API name of a mapped attribute, or the name itself."""
    return column if isinstance(column, str) else str(column.key)
