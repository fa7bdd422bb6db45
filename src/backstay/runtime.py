"""One serving process: its parts, wired together from what a program declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .accounts import jwks
from .accounts.wiring import Parts, Wired, wire
from .auth.accounts import Accounts, Declared
from .auth.tokens import Tokens
from .config import Config
from .console.docs import Docs
from .console.health import Health
from .console.metrics import Metrics
from .db.database import Database
from .db.lookups import Lookups
from .db.opened import open_database
from .db.recording import Recorded
from .db.sessions import Sessions
from .engine import Engine
from .events.changes import Changes
from .fixed import fixed_routes
from .http.custom import CustomEndpoints
from .http.frame import Frame, Handler
from .http.messages import Request
from .observe import Log, Observations, Series
from .rest.limits import quotas_of
from .rest.routes import Routes
from .schema.policy import Policy, nobody
from .schema.resource import Catalog
from .services.mail import Mailer
from .sql.dialect import Dialect
from .stores.limits import Limits
from .stores.opened import open_limits


class Program(Protocol):
    """What a program declared: its app."""

    name: str
    config: Config
    mail_sender: Mailer | None

    def catalog(self) -> Catalog:
        """Its resources."""
        ...

    def recorded(self) -> Sequence[Recorded]:
        """The tables whose changes are recorded."""
        ...

    def openapi(self) -> dict[str, Any]:
        """Its OpenAPI document."""
        ...


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
    limits: Limits
    accounts: Accounts | None
    changes: Changes | None

    def work(self) -> None:
        """Begin what goes on beside requests, once the event loop runs."""
        if self.changes is not None:
            self.changes.work()


def start(app: Program, custom: CustomEndpoints | None, declared: Declared | None, *, success_flag: bool) -> Runtime:
    """Wire one process's parts."""
    config = app.config
    catalog = app.catalog()
    writes = any(r.writable and _may_write(r.policy) for r in catalog.resources.values())
    read_only = declared is None and not writes
    recorded = () if read_only else app.recorded()
    dialect, database = open_database(config, read_only=read_only, recorded=recorded)
    observations = Observations()
    engine = Engine(catalog, dialect, database, config, observations)
    health = Health({"database": database.ping})
    log = Log(config.log_format, config.log_level)
    fixed = fixed_routes(app.openapi, health, Metrics(observations, engine, database), observations)
    docs = Docs(app.name)
    assets = observations.request("GET", "/docs/assets")
    fixed[b"/docs"] = {"GET": (docs.page, observations.request("GET", "/docs"))}
    sessions = Sessions(config, database.turn, recorded)
    wired: Wired | None = None
    if declared is not None and custom is not None:
        parts = Parts(config, engine, sessions, Lookups(database, dialect), log, app.mail_sender)
        wired = wire(declared, app.name, parts, custom)
        fixed[jwks.PATH] = {"GET": (wired.jwks.answer, observations.request("GET", jwks.PATH.decode()))}
    literal = custom.literal_paths() if custom is not None else frozenset[tuple[str, bytes]]()
    routes = Routes(engine, config, observations, fixed, custom=literal, success_flag=success_flag)

    def other(request: Request) -> tuple[Handler, Series] | None:
        if request.path.startswith(docs.prefix):
            return docs.asset, assets
        if custom is None:
            raise routes.missing(request)
        return None

    limits = open_limits(config, app.name, log)
    tokens = Tokens(config.secret)
    frame = Frame(
        config,
        routes.find,
        other,
        wired.credentials if wired is not None else lambda r: tokens.principal(r.headers[b"authorization"]),
        observations=observations,
        log=log,
        quotas=quotas_of(config, catalog, custom, observations, limits),
        fallback=custom,
        success_flag=success_flag,
        cookies=wired is not None,
        visitors=declared is not None and declared.tenants is not None and declared.tenants.visitors,
    )
    log.later = frame.schedule_flush
    known = wired.accounts if wired else None
    changes = Changes(sessions) if recorded else None
    return Runtime(engine, database, sessions, frame, routes, health, observations, dialect, limits, known, changes)


def _may_write(policy: Policy) -> bool:
    return any(rule is not nobody for rule in (policy.create, policy.update, policy.delete))
