"""Generated routes: a path to its endpoint by dictionary look-up, with the methods that its rules admit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config import Config
from ..engine import Engine
from ..errors import Problem, perhaps
from ..http.frame import Handler
from ..http.messages import Request, decoded
from ..http.quotas import UNLIMITED, Quotas
from ..observe import Observations, Series
from ..query.sight import Sight
from ..schema.policy import nobody
from ..schema.resource import Catalog, Resource
from .batch import Batch
from .bulk import Bulk
from .exports import Exports
from .history import HISTORY, Histories, remembers
from .idempotency import Idempotency, no_row, refusing
from .items import Items
from .lists import Aggregates, Lists
from .replies import Envelope
from .undo import UNDO, Undo

AGGREGATE = b"aggregate"
EXPORT = b"export"
IMPORT = b"import"
RESTORE = b"restore"
#: What a path answers, by method.
Methods = dict[str, tuple[Handler, Series]]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One generated endpoint, as `backstay routes` lists it."""

    method: str
    path: str
    resource: str
    action: str


def collection_methods(resource: Resource) -> tuple[str, ...]:
    """The methods of `/{resource}`."""
    creates = resource.writable and resource.policy.create is not nobody
    return ("GET", "POST") if creates else ("GET",)


def item_methods(resource: Resource) -> tuple[str, ...]:
    """The methods of `/{resource}/{key}`."""
    if not resource.key:
        return ()
    policy = resource.policy
    updates = resource.writable and policy.update is not nobody
    deletes = resource.writable and policy.delete is not nobody
    return ("GET", *(("PATCH", "PUT") if updates else ()), *(("DELETE",) if deletes else ()))


def bulk_methods(resource: Resource) -> tuple[str, ...]:
    """The methods of `/{resource}` that write all rows of a filter; none where each row's version must be named."""
    return () if resource.require_match else tuple(m for m in item_methods(resource) if m in ("PATCH", "DELETE"))


def restores(resource: Resource) -> bool:
    """Whether it has `POST /{resource}/{key}/restore`."""
    softly = resource.table.deleted is not None and resource.writable
    return softly and resource.policy.restore is not nobody and RESTORE.decode() not in resource.relationships


def exports(resource: Resource) -> bool:
    """Whether it has `GET /{resource}/export`: only rows with a key are read page by page."""
    return bool(resource.table.key)


def undoes(resource: Resource) -> bool:
    """Whether it has `POST /{resource}/{key}/undo`: changes that are seen, and rows that can be written."""
    writes = len(item_methods(resource)) > 1 or "POST" in collection_methods(resource)
    return remembers(resource) and writes and UNDO.decode() not in resource.relationships


def nested_lists(catalog: Catalog, resource: Resource) -> list[tuple[str, Resource, bool]]:
    """(relation, child, whether it can be created there) of each `/{resource}/{key}/{relation}`.

    Where the reference is stamped from the principal, the path cannot set it: create on the child's own path.
    """
    found: list[tuple[str, Resource, bool]] = []
    for name in resource.relationships if resource.key else ():
        way = catalog.related(resource, name)
        if way is not None and way[0].many:
            references = [way[1].table.column_of(remote) for _, remote in way[0].pairs]
            free = all(column is None or column.name not in way[1].policy.stamp for column in references)
            creates = "POST" in collection_methods(way[1]) and way[0].through is None and free
            found.append((name, way[1], creates))
    return found


def writes_rows(catalog: Catalog) -> bool:
    """Whether any resource can be written."""
    return any("POST" in collection_methods(r) or len(item_methods(r)) > 1 for r in catalog.resources.values())


def batches(catalog: Catalog) -> bool:
    """Whether there is `POST /batch`, where answers are kept."""
    return writes_rows(catalog) and "batch" not in catalog.resources


def route_table(catalog: Catalog, config: Config, *, kept: bool = False) -> list[Route]:
    """Every generated endpoint.

    Args:
        kept: whether answers of writes are kept; then there are batches, too.
    """
    words = {"GET": "read", "PATCH": "update", "PUT": "replace", "DELETE": "delete"}
    found: list[Route] = []
    for name, resource in catalog.resources.items():
        base = f"{config.base_path}/{name}"
        found += [Route(m, base, name, {"GET": "list", "POST": "create"}[m]) for m in collection_methods(resource)]
        found += [Route(m, base, name, f"{words[m]} many") for m in bulk_methods(resource)]
        if "POST" in collection_methods(resource):
            found.append(Route("POST", f"{base}/import", name, "import"))
        found += [Route(m, f"{base}/{{key}}", name, words[m]) for m in item_methods(resource)]
        if restores(resource):
            found.append(Route("POST", f"{base}/{{key}}/restore", name, "restore"))
        if remembers(resource):
            found.append(Route("GET", f"{base}/{{key}}/history", name, "history"))
        if undoes(resource):
            found.append(Route("POST", f"{base}/{{key}}/undo", name, "undo"))
        found.append(Route("GET", f"{base}/aggregate", name, "aggregate"))
        if exports(resource):
            found.append(Route("GET", f"{base}/export", name, "export"))
        for relation, child, creates in nested_lists(catalog, resource):
            found.append(Route("GET", f"{base}/{{key}}/{relation}", child.name, "list below"))
            if creates:
                found.append(Route("POST", f"{base}/{{key}}/{relation}", child.name, "create below"))
    if kept and batches(catalog):
        found.append(Route("POST", f"{config.base_path}/batch", "", "batch"))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Endpoints:
    """What one resource answers."""

    resource: Resource
    collection: Methods
    item: Methods
    aggregate: Methods
    nested: dict[bytes, Methods]
    files: dict[bytes, Methods]


class Routes:
    """All generated routes under the base path, and fixed ones outside of it.

    Args:
        idempotency: keeps the answers of writes; without it an Idempotency-Key is refused.
        quotas: the rate limits, for requests within others.
        custom: (method, path) of custom endpoints without parameters, which win over a `{key}`.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        observations: Observations,
        fixed: Mapping[bytes, Methods],
        *,
        custom: frozenset[tuple[str, bytes]] = frozenset(),
        success_flag: bool = False,
        idempotency: Idempotency | None = None,
        quotas: Quotas = UNLIMITED,
    ) -> None:
        self._idempotency = idempotency
        self._custom = custom
        self._engine = engine
        self._config = config
        self._observations = observations
        self._envelope = Envelope(success_flag=success_flag)
        self._prefix = config.base_path.encode() + b"/"
        self._endpoints = {name.encode(): self._build(r) for name, r in engine.catalog.resources.items()}
        self._collections = dict(fixed)
        self._collections |= {self._prefix + n: found.collection for n, found in self._endpoints.items()}
        if idempotency is not None and batches(engine.catalog):
            batch = Batch(engine, config, self._envelope, self.find, quotas)
            path = f"{config.base_path}/batch"
            handler = idempotency.wrap(batch.run, no_row)
            self._collections[path.encode()] = {"POST": (handler, observations.request("POST", path))}
        for name, endpoints in self._endpoints.items():
            self._collections |= {self._prefix + name + b"/" + end: m for end, m in endpoints.files.items()}
        self._items = {
            self._prefix + name: endpoints.item
            for name, endpoints in self._endpoints.items()
            if len(endpoints.resource.key) == 1
        }

    def _build(self, resource: Resource) -> Endpoints:
        engine, config, envelope = self._engine, self._config, self._envelope
        lists = Lists(engine, config, envelope, resource)
        items = Items(engine, config, envelope, resource)
        aggregates = Aggregates(engine, config, envelope, resource)
        base = f"{config.base_path}/{resource.name}"
        observe = self._observations.request
        bulk = Bulk(engine, config, envelope, resource)
        acts: dict[str, Handler] = {"GET": lists.list, "POST": self._once(bulk.create_or(items.create), items)}
        acts |= {"PATCH": self._once(bulk.change, items), "DELETE": self._once(bulk.delete, items)}
        collection = {m: (acts[m], observe(m, base)) for m in collection_methods(resource) + bulk_methods(resource)}
        acts = {"PATCH": items.update, "PUT": items.replace, "DELETE": items.delete}
        acts = {"GET": items.get} | {method: self._once(act, items) for method, act in acts.items()}
        item = {m: (acts[m], observe(m, f"{base}/{{key}}")) for m in item_methods(resource)}
        aggregate: Methods = {"GET": (aggregates.list, observe("GET", f"{base}/aggregate"))}
        nested: dict[bytes, Methods] = {}
        if restores(resource):
            nested[RESTORE] = {"POST": (self._once(items.restore, items), observe("POST", f"{base}/{{key}}/restore"))}
        if remembers(resource):
            histories = Histories(engine, config, envelope, resource)
            nested[HISTORY] = {"GET": (histories.history, observe("GET", f"{base}/{{key}}/history"))}
        if undoes(resource):
            undo = self._once(Undo(engine, resource, items.written).undo, items)
            nested[UNDO] = {"POST": (undo, observe("POST", f"{base}/{{key}}/undo"))}
        for name, child, creates in nested_lists(engine.catalog, resource):
            path = f"{base}/{{key}}/{name}"
            below = Lists(engine, config, envelope, child, (resource, name))
            nested[name.encode()] = {"GET": (below.list, observe("GET", path))}
            if creates:
                makers = Items(engine, config, envelope, child, (resource, name))
                nested[name.encode()]["POST"] = (self._once(makers.create_below, makers), observe("POST", path))
        files: dict[bytes, Methods] = {}
        if exports(resource):
            files[EXPORT] = {"GET": (Exports(engine, config, resource).export, observe("GET", f"{base}/export"))}
        if "POST" in collection_methods(resource):
            files[IMPORT] = {"POST": (self._once(bulk.load, items), observe("POST", f"{base}/import"))}
        return Endpoints(resource, collection, item, aggregate, nested, files)

    def _once(self, handler: Handler, items: Items) -> Handler:
        """The handler, whose requests may be sent again with an Idempotency-Key."""
        return (
            refusing(handler) if self._idempotency is None else self._idempotency.wrap(handler, items.written.rebuilt)
        )

    def find(self, request: Request) -> tuple[Handler, Series] | None:
        """The endpoint of a request; `None` when the path is not under the base path.

        Raises:
            Problem: `NOT_FOUND`, `METHOD_NOT_ALLOWED`.
        """
        path = request.path
        if self._custom and (request.method, path) in self._custom:
            return None
        methods = self._collections.get(path)
        if methods is not None:
            return methods.get(request.method) or _method(request, methods)
        cut = path.rfind(b"/")
        item = self._items.get(path[:cut])
        if item is not None and (key := path[cut + 1 :]).isalnum() and key != AGGREGATE:
            request.key = [key.decode("ascii")]
            return item.get(request.method) or _method(request, item)
        if not path.startswith(self._prefix):
            return None
        segments = path[len(self._prefix) :].split(b"/")
        endpoints = self._endpoints.get(segments[0]) or self._endpoints.get(decoded(segments[0], "path").encode())
        if endpoints is None or len(segments) > 3:
            return None
        if len(segments) == 1:
            return _method(request, endpoints.collection)
        if segments[1] == AGGREGATE and len(segments) == 2:
            return _method(request, endpoints.aggregate)
        request.key = _key(endpoints.resource, segments[1])
        if len(segments) == 2:
            return _method(request, endpoints.item)
        below = endpoints.nested.get(segments[2]) or endpoints.nested.get(decoded(segments[2], "path").encode())
        return None if below is None else _method(request, below)

    def missing(self, request: Request) -> Problem:
        """The refusal of a path that nobody serves, with a hint of what there is."""
        path = request.path
        hint = ""
        if path.startswith(self._prefix):
            segments = path[len(self._prefix) :].decode("ascii", "replace").split("/")
            endpoints = self._endpoints.get(segments[0].encode())
            if endpoints is None:
                hint = perhaps(segments[0], [name.decode() for name in self._endpoints], noun="resource")
            elif len(segments) == 3:
                sight = Sight(self._engine.catalog, self._engine.standing(request.context.principal))
                known = sight.ways(endpoints.resource).keys() | {RESTORE.decode()}
                hint = perhaps(segments[2], {n.decode() for n in endpoints.nested} & known, noun="relation")
        return Problem("NOT_FOUND", f"Nothing is at {path.decode('ascii', 'replace')[:200]}.", hint=hint)


def _method(request: Request, methods: Methods) -> tuple[Handler, Series]:
    found = methods.get(request.method) or (methods.get("GET") if request.method == "HEAD" else None)
    if found is None:
        raise _not_allowed(request, methods)
    return found


def _not_allowed(request: Request, methods: Methods) -> Problem:
    allow = ", ".join([*sorted(methods), *(["HEAD"] if "GET" in methods else [])])
    detail = f"{request.method[:20]} is not allowed here."
    return Problem("METHOD_NOT_ALLOWED", detail, hint=f"Allowed: {allow}.", headers=(("allow", allow),))


def _key(resource: Resource, segment: bytes) -> list[str]:
    """The parts of a key; only a composite key is split at commas, also where a client encoded them too.

    Raises:
        Problem: `NOT_FOUND` when there are too few or too many parts, or no key at all.
    """
    wanted = len(resource.key)
    if not wanted:
        raise Problem("NOT_FOUND", f"{resource.name} has no key: its rows are only listed.")
    if wanted == 1:
        return [decoded(segment, "path")]
    if b"," in segment:
        parts = [decoded(part, "path") for part in segment.split(b",")]
    else:
        parts = decoded(segment, "path").split(",", wanted - 1)
    if len(parts) != wanted:
        words = ",".join(column.name for column in resource.key)
        raise Problem("NOT_FOUND", f"The key of {resource.name} is {words}.")
    return parts
