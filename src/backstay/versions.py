"""The versions of the API that an app has, and what each of them serves: its resources, routes and contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from .accounts import contract, jwks
from .auth.accounts import Declared
from .config import Config
from .console.docs import Docs
from .engine import Engine
from .errors import OperatorError, perhaps
from .exposures import Exposure, catalog_of
from .fixed import described
from .http.custom import Endpoints
from .http.quotas import Quotas
from .observe import Log, Observations, Usage
from .rest.idempotency import Idempotency
from .rest.openapi import document
from .rest.routes import Methods, Route, Routes, route_table
from .rest.versions import Older, Successor, Versions
from .schema.model import Schema
from .schema.older import catalogs_of
from .schema.policy import nobody
from .schema.resource import Catalog, Resource
from .schema.versions import Version, check_name


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """One version of an app; of the current one `version` is None.

    Attributes:
        config: the app's, with the base path of the version.
    """

    name: str
    version: Version | None
    catalog: Catalog
    config: Config

    @property
    def prefix(self) -> str:
        """What its paths begin with."""
        return f"{self.config.base_path}/"

    @property
    def contract_path(self) -> str:
        """Where its OpenAPI document is."""
        return f"{self.prefix}openapi.json"

    @property
    def docs_path(self) -> str:
        """Where its reference page is."""
        return f"/docs/{self.name}"


class Versioned(Endpoints):
    """What an app serves in each version; a part of the app."""

    name: str
    config: Config
    version: str
    description: str
    existing: bool
    info: dict[str, Any]
    _exposures: list[Exposure]
    _accounts: Declared | None
    _envelope: Literal["data", "success"]

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self._current = ""
        self._older: tuple[Version, ...] = ()

    @property
    def schema(self) -> Schema:
        """The facts about its tables."""
        raise NotImplementedError

    def keeps_answers(self) -> bool:
        """Whether a write may be sent again with an Idempotency-Key: where changes are recorded, answers are too."""
        return not self.existing and (self._accounts is not None or may_write(self.catalog()))

    def versions(self, current: str, *older: Version) -> None:
        """Serve older versions of the API beside the current one, whose names are the models'.

        Args:
            current: the path segment of the current version, such as `v2`; it takes the last place in the base path.
            older: what was before, the newest first; each says what the version after it changed.

        Raises:
            OperatorError: a name twice, or a call after that of `accounts`.

        Example:
            >>> app.versions("v2", Version("v1", [Renamed(Score.value, was="points")], sunset=date(2027, 6, 1)))
        """
        check_name(current)
        names = [current, *(version.name for version in older)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise OperatorError(f"{self.name}: version {twice} is declared twice.")
        if self._accounts is not None:
            raise OperatorError(f"{self.name}: call app.versions before app.accounts, whose paths have the version.")
        self._current, self._older = current, older
        self.config = replace(self.config, base_path=self._base(current))

    def _base(self, version: str) -> str:
        """The base path of a version; they differ in their last segment."""
        return f"{self.config.base_path.rpartition('/')[0]}/{version}"

    def base_paths(self) -> tuple[str, ...]:
        """Those of all versions, the current one first."""
        return (self.config.base_path, *(self._base(version.name) for version in self._older))

    def catalog(self) -> Catalog:
        """Its resources, in the current version.

        Raises:
            OperatorError: nothing exposed, or a key or name that is not there.
        """
        return self.editions()[0].catalog

    def editions(self) -> list[Edition]:
        """Its versions, the current one first.

        Raises:
            OperatorError: see `catalog` and `schema.older`.
        """
        declared = catalog_of(self.schema, self._exposures, self.name)
        current, older = catalogs_of(declared, self._older) if self._older else (declared, [])
        found = [Edition(self._current, None, current, self.config)]
        for version, catalog in zip(self._older, older, strict=True):
            config = replace(self.config, base_path=self._base(version.name))
            found.append(Edition(version.name, version, catalog, config))
        return found

    def openapi(self, version: str = "") -> dict[str, Any]:
        """Its OpenAPI 3.1 document; that of an older version by its name.

        Raises:
            OperatorError: there is no such version.
        """
        editions = self.editions()
        known = {edition.name: edition for edition in editions}
        if version and version not in known:
            raise OperatorError(f"{self.name} has no version {version!r}. {perhaps(version, known)}".rstrip())
        edition = known[version] if version else editions[0]
        others = tuple(f"{base}/" for base in self.base_paths() if base != edition.config.base_path)
        return document(
            edition.catalog,
            edition.config,
            title=self.name,
            version=self.version if edition.version is None else edition.name,
            description=self.description,
            custom=None if self._custom is None else self._custom.openapi(without=others),
            info=self.info,
            schemes=None if self._accounts is None else contract.security_schemes(self.config),
            keys_path="" if self._accounts is None else jwks.PATH.decode(),
            success_flag=self._envelope == "success",
            older=edition.version,
            own_path=edition.contract_path if edition.name else "",
            kept=self.keeps_answers(),
        )

    def routes(self) -> list[Route]:
        """Its endpoints: generated ones, then its own; those of older versions are `routes_of_older`."""
        own = [] if self._custom is None else self._custom.paths
        custom = [Route(method, path, "", "custom") for method, path in own]
        return route_table(self.catalog(), self.config, kept=self.keeps_answers()) + custom

    def routes_of_older(self) -> list[tuple[Catalog, Route]]:
        """The endpoints of older versions, each with the names that it speaks."""
        older, kept = self.editions()[1:], self.keeps_answers()
        return [(e.catalog, route) for e in older for route in route_table(e.catalog, e.config, kept=kept)]


def may_write(catalog: Catalog) -> bool:
    """Whether rules let anybody write anything, also what has no path, or look at what was written."""

    def one(resource: Resource) -> bool:
        policy = resource.policy
        rules = (policy.create, policy.update, policy.delete, policy.history)
        return resource.writable and any(rule is not nobody for rule in rules)

    return any(map(one, catalog.declared.values()))


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """What the routes of all versions share."""

    app: Versioned
    engine: Engine
    observations: Observations
    docs: Docs
    log: Log
    custom: frozenset[tuple[str, bytes]]
    success_flag: bool
    idempotency: Idempotency | None
    quotas: Quotas

    def contract(self, edition: Edition) -> dict[bytes, Methods]:
        """The document of a version, and the page that shows it."""
        made = described(lambda: self.app.openapi(edition.name))
        handlers = {edition.contract_path: made, edition.docs_path: self.docs.page_of(edition.contract_path)}
        observe = self.observations.request
        return {path.encode(): {"GET": (handler, observe("GET", path))} for path, handler in handlers.items()}

    def routes(self, edition: Edition, fixed: dict[bytes, Methods]) -> Routes:
        """The routes of a version."""
        engine = self.engine if edition.version is None else self.engine.under(edition.catalog)
        found = self.contract(edition) if edition.name else {}
        shown = self.success_flag
        return Routes(
            engine,
            edition.config,
            self.observations,
            fixed | found,
            custom=self.custom,
            success_flag=shown,
            idempotency=self.idempotency,
            quotas=self.quotas,
        )


def versions_of(serving: Serving, editions: Sequence[Edition], fixed: dict[bytes, Methods]) -> Versions:
    """The routes of all versions of an app.

    Args:
        editions: the current one first.
        fixed: what is outside of the API.
    """
    older: list[Older] = []
    for following, edition in pairwise(editions):
        version = edition.version
        assert version is not None, "only the current version is none"
        page = edition.docs_path.encode()
        contract_of = serving.contract(edition)
        fixed = fixed | {page: contract_of[page]}
        usage = serving.observations.versions.setdefault(version.name, Usage())
        successor = Successor(
            edition.config.base_path, edition.catalog, following.config.base_path, following.catalog
        )
        routes = serving.routes(edition, {})
        older.append(Older(version, edition.prefix.encode(), routes, successor, usage=usage, log=serving.log))
    return Versions(serving.routes(editions[0], fixed), older)
