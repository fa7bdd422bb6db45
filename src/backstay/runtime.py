"""One serving process: its parts, wired together from what a program declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .accounts import jwks
from .accounts.wiring import Parts, Wired, wire
from .auth.accounts import Accounts, Declared
from .auth.tokens import Tokens
from .check.trials import try_rules
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
from .hooked_writes import HookedWrites
from .hooks import Hooks
from .http.custom import CustomEndpoints
from .http.frame import Frame, Handler, Route
from .http.messages import Application, Request
from .observe import Log, Observations, Series
from .periodic import Periodic
from .rest.idempotency import Idempotency
from .rest.idempotent_endpoints import IdempotentEndpoints
from .rest.limits import quotas_of
from .rest.routes import Routes
from .rest.versions import Versions
from .services.mail import Mailer
from .sql.dialect import Dialect
from .stores.limits import Limits
from .stores.opened import open_limits
from .transactions import Transactions
from .versions import Serving, Versioned, may_write, versions_of


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
    versions: Versions
    changes: Changes | None
    periodic: tuple[Periodic, ...]

    def work(self) -> None:
        """Begin what goes on beside requests, once the event loop runs."""
        for one in self.periodic:
            one.start()

    def rest(self) -> None:
        """End that."""
        for one in self.periodic:
            one.stop()


def start(
    app: Versioned,
    custom: CustomEndpoints | None,
    declared: Declared | None,
    *,
    recorded: Sequence[Recorded],
    hooks: Hooks,
    mailer: Mailer | None,
    success_flag: bool,
) -> Runtime:
    """Wire one process's parts.

    Args:
        recorded: the tables whose changes are recorded, unless nothing is written at all.
    """
    config = app.config
    editions = app.editions()
    catalog, older = editions[0].catalog, [(edition.catalog, edition.config) for edition in editions[1:]]
    read_only = declared is None and not may_write(catalog)
    recorded = () if read_only else recorded
    dialect, database = open_database(config, read_only=read_only, recorded=recorded)
    try_rules(catalog, dialect, database)
    observations = Observations()
    engine = Engine(catalog, dialect, database, config, observations)
    sessions = Sessions(config, database.turn, recorded)
    health = Health({"database": database.ping})
    log = Log(config.log_format, config.log_level)
    engine.transactions, engine.hooks = Transactions(sessions), HookedWrites(hooks, log)
    fixed = fixed_routes(app.openapi, health, Metrics(observations, engine, database), observations)
    docs = Docs(app.name)
    fixed[b"/docs"] = {"GET": (docs.page_of("/openapi.json"), observations.request("GET", "/docs"))}
    wired: Wired | None = None
    if declared is not None and custom is not None:
        parts = Parts(config, app.base_paths(), engine, sessions, Lookups(database, dialect), log, mailer)
        wired = wire(declared, app.name, parts, custom)
        fixed[jwks.PATH] = {"GET": (wired.jwks.answer, observations.request("GET", jwks.PATH.decode()))}
    literal = custom.literal_paths() if custom is not None else frozenset[tuple[str, bytes]]()
    idempotency = Idempotency(sessions) if recorded else None
    limits = open_limits(config, app.name, log)
    quotas = quotas_of(config, catalog, custom, observations, limits, older=older)
    serving = Serving(app, engine, observations, docs, log, literal, success_flag, idempotency, quotas)
    versions = versions_of(serving, editions, fixed)
    tokens = Tokens(config.secret)
    frame = Frame(
        config,
        versions.find_any,
        _rest(docs, custom, observations, versions),
        wired.credentials if wired is not None else lambda r: tokens.principal(r.headers[b"authorization"]),
        observations=observations,
        log=log,
        quotas=quotas,
        fallback=_endpoints(app, custom, idempotency),
        success_flag=success_flag,
        cookies=wired is not None,
        visitors=declared is not None and declared.tenants is not None and declared.tenants.visitors,
        bases=app.base_paths(),
    )
    log.later = frame.schedule_flush
    routes = versions.current
    known, changes = wired.accounts if wired else None, Changes(sessions) if recorded else None
    served = (engine, database, sessions, frame, routes, health, observations, dialect, limits, known, versions)
    periodic = tuple(work for work in (changes and changes.sealing, idempotency and idempotency.dropping) if work)
    return Runtime(*served, changes, periodic)


def _rest(docs: Docs, custom: CustomEndpoints | None, observations: Observations, versions: Versions) -> Route:
    """What answers where no version of the API does: the reference page's parts, or the custom endpoints."""
    assets = observations.request("GET", "/docs/assets")

    def other(request: Request) -> tuple[Handler, Series] | None:
        if request.path.startswith(docs.prefix):
            return docs.asset, assets
        if custom is None:
            raise versions.missing(request)
        return None

    return other


def _endpoints(app: Versioned, custom: CustomEndpoints | None, kept: Idempotency | None) -> Application | None:
    """The custom endpoints, whose answers are kept where there is a place for them; those of accounts never."""
    if custom is None or kept is None:
        return custom
    secret = tuple(f"{base}/auth/".encode() for base in app.base_paths())
    return IdempotentEndpoints(custom, kept, secret=secret, bytes_max=app.config.result_bytes_max)
