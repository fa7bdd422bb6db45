"""Which rate limit holds for which route: the default, those of resources and custom endpoints, and none."""

from __future__ import annotations

from collections.abc import Iterable

from ..config import Config
from ..http.custom import CustomEndpoints
from ..http.messages import Request, decoded
from ..http.quotas import DEFAULT, Quota, Quotas
from ..observe import Observations, Series
from ..schema.resource import Catalog
from ..stores.limits import Limits, parse_rate
from .routes import batches, route_table

#: Probes, scrapes and the reference page's own files; a probe that is refused would stop a healthy process.
UNLIMITED = ("/health/live", "/health/ready", "/metrics", "/docs/assets")


def quotas_of(
    config: Config,
    catalog: Catalog,
    custom: CustomEndpoints | None,
    observations: Observations,
    limits: Limits,
    *,
    older: Iterable[tuple[Catalog, Config]] = (),
) -> Quotas:
    """The quotas of an app's routes.

    Args:
        older: those of older versions of the API; a resource has one limit for all of them together.

    Raises:
        OperatorError: a rate that is none, with the place where it was written.
    """

    def quota(text: str, name: str, where: str) -> Quota | None:
        rate = parse_rate(text, where)
        return None if rate is None else Quota(name, limits.limiter(name, rate))

    default = quota(config.rate_limit, DEFAULT, "BACKSTAY_RATE_LIMIT")
    routes: dict[Series, Quota | None] = {observations.request("GET", path): None for path in UNLIMITED}
    own = {r.name: quota(r.limit, r.name, f"limit of {r.name}") for r in catalog.declared.values() if r.limit}
    for names, at in ((catalog, config), *older):
        if batches(names):  # each of its operations counts instead, for its own route
            routes[observations.request("POST", f"{at.base_path}/batch")] = None
        for route in route_table(names, at):
            current = names.resources[route.resource].origin.name
            if current in own:
                routes[observations.request(route.method, route.path)] = own[current]
    if custom is None or not custom.limits:
        return Quotas(default, routes)
    endpoints = {path: quota(text, path, f"limit of {path}") for path, text in custom.limits.items()}

    def of(request: Request) -> Quota | None:
        return endpoints.get(custom.declared(request.method, decoded(request.path, "path")), default)

    return Quotas(default, routes, of)
