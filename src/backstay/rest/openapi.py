"""The OpenAPI 3.1 document: a pure function of the Catalog and the Config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..config import Config
from ..schema.resource import Catalog
from ..schema.versions import Version
from .openapi_access import optional_security, security_schemes
from .openapi_batch import TAG as BATCH_TAG
from .openapi_batch import place_batch
from .openapi_bounds import close, operations_of
from .openapi_bulk import place_bulk
from .openapi_custom import Joint, join
from .openapi_history import place_history
from .openapi_operations import Operations, json_answer, place_rows
from .openapi_resources import place
from .openapi_responses import LIFECYCLE, Answers
from .openapi_schemas import Components, Json, labels_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECTIONS = ("schemas", "parameters", "headers", "responses", "securitySchemes")
_SYSTEM = "system"
#: What the frame refuses whatever the path.
_REFUSED = (400, 414, 429, 431, 500)
_LICENSE = {"name": "All Rights Reserved", "identifier": "LicenseRef-All-Rights-Reserved"}


def document(
    catalog: Catalog,
    config: Config,
    *,
    title: str,
    version: str,
    description: str = "",
    custom: dict[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
    schemes: Mapping[str, Any] | None = None,
    keys_path: str = "",
    success_flag: bool = False,
    older: Version | None = None,
    own_path: str = "",
    kept: bool = False,
) -> dict[str, Any]:
    """The contract of everything a program serves.

    Args:
        custom: the OpenAPI document of custom endpoints; where both speak, the generated one wins, as in routing.
        info: more of the Info Object, such as `contact` and `license`.
        schemes: ways to sign in beside the access token; see `security_schemes`.
        keys_path: where the public keys of tokens are; empty when there are none.
        success_flag: whether answers carry `"success"`.
        older: the version that it is of, if that is an older one; then it says nothing of what has no version.
        own_path: where it is, beside or instead of `/openapi.json`.
        kept: whether answers of writes are kept, for requests that are sent again; then there are batches, too.

    Example:
        >>> document(catalog, Config(), title="arcade", version="1.0.0")["openapi"]
        '3.1.0'
    """
    components = Components()
    answers = Answers(components, config, success_flag, () if older is None else LIFECYCLE)
    ways = security_schemes(schemes)
    operations = Operations(catalog, config, labels_of(catalog), answers, components, tuple(ways), kept)
    place_rows(operations)
    for resource in catalog.resources.values():
        place(operations, resource)
        place_bulk(operations, resource)
        place_history(operations, resource)
    tags = [{"name": name, "description": _about(catalog, name)} for name in catalog.resources]
    tags += [BATCH_TAG] if place_batch(operations) else []
    about = {"description": description} if description else {}
    components.sections["securitySchemes"] = ways
    found: Json = {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {"title": title, "version": version, **about, "license": _LICENSE, **(info or {})},
        "servers": [_server(config)],
        "tags": [*tags, {"name": _SYSTEM, "description": "Health, metrics and this document."}],
        "paths": operations.paths | _unversioned(answers, older, keys_path, own_path),
        "components": components.sections,
    }
    if custom is not None:
        join(found, custom, Joint(components, answers, optional_security(ways), config.base_path, kept))
    if older is not None:
        _age(found, answers, older)
    close(found, config)
    ordered = {name: components.sections[name] for name in _SECTIONS if name in components.sections}
    found["components"] = ordered | {n: part for n, part in components.sections.items() if n not in ordered}
    return found


def _server(config: Config) -> Json:
    """Where the document comes from; a relative URL keeps its scheme, which is https behind a proxy that ends TLS."""
    about = "Local: a server that runs with --dev." if config.dev else "Production: the server that tells this."
    return {"url": "/", "description": about, "x-internal": config.dev}


def _about(catalog: Catalog, name: str) -> str:
    table = catalog.resources[name].table
    return " ".join(text for text in (table.description, table.note) if text) or f"Rows of {table.name}."


def _system(answers: Answers) -> Json:
    """What the frame itself answers."""
    problems = answers.problems((401, *_REFUSED))
    live = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    entry = {"type": "object", "properties": {"status": {"enum": ["ok", "failing"]}, "ms": {"type": "number"}}}
    ready: Json = {
        "type": "object",
        "properties": {
            "status": {"enum": ["ok", "failing", "draining"]},
            "dependencies": {"type": "object", "additionalProperties": entry},
        },
        "required": ["status", "dependencies"],
    }
    up = {"status": "ok", "dependencies": {"database": {"status": "ok", "ms": 0.1}}}
    down = {"status": "failing", "dependencies": {"database": {"status": "failing"}}}
    text: Json = {"text/plain": {}}
    return {
        "/health/live": _get(
            "getLiveness",
            "Whether the process runs",
            {"200": json_answer("It runs.", live, {"status": "ok"}, answers), **problems},
        ),
        "/health/ready": _get(
            "getReadiness",
            "Whether the process can serve",
            {
                "200": json_answer("It can.", ready, up, answers),
                **problems,
                "503": json_answer("It cannot; `dependencies` says why.", ready, down, answers),
            },
        ),
        "/metrics": _get(
            "getMetrics",
            "Metrics in the Prometheus text format",
            {"200": {"description": "All metrics.", "headers": answers.headers(), "content": text}, **problems},
        ),
        "/openapi.json": _own(answers, "getOpenapi"),
    }


def _own(answers: Answers, name: str) -> Json:
    """The document's own operation."""
    content = {"application/json": {"schema": {"type": "object"}}}
    found = {"description": "This document.", "headers": answers.headers(), "content": content}
    return _get(name, "This document", {"200": found, **answers.problems((401, *_REFUSED))})


def _unversioned(answers: Answers, older: Version | None, keys_path: str, own_path: str) -> Json:
    """What is beside the API, and the document itself; of an older version the latter alone."""
    own = {own_path: _own(answers, "getVersionOpenapi")} if own_path else {}
    if older is not None:
        return own
    return _system(answers) | own | (_keys(answers, keys_path) if keys_path else {})


def _age(found: Json, answers: Answers, older: Version) -> None:
    """Say of every operation that it is deprecated, and that it may have ended."""
    start, end = older.deprecated_at, older.sunset_at
    said = [found["info"].get("description", "")]
    said += [] if start is None else [f"Deprecated since {start:%Y-%m-%d}."]
    said += [] if end is None else [f"Ends on {end:%Y-%m-%d}."]
    said += [f"How to move on: {older.guide}"] if older.guide else []
    found["info"]["description"] = " ".join(text for text in said if text) or "An older version."
    gone = answers.problems((410,)) if older.gone_after_sunset else {}
    for operation in operations_of(found):
        if older.deprecated is not None:
            operation["deprecated"] = True
        operation["responses"] = dict(sorted({**operation["responses"], **gone}.items()))


def _keys(answers: Answers, path: str) -> Json:
    """The JWK Set (RFC 7517); its members depend on the kind of key."""
    keys = {"type": "array", "items": {"type": "object"}}
    found = {"type": "object", "properties": {"keys": keys}, "required": ["keys"]}
    example = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
    known = {"200": json_answer("The keys.", found, example, answers), **answers.problems((401, *_REFUSED, 503))}
    return {path: _get("getKeys", "The public keys that access tokens are signed with", known)}


def _get(name: str, summary: str, responses: Json) -> Json:
    operation: Json = {"operationId": name, "tags": [_SYSTEM], "summary": summary, "description": f"{summary}."}
    return {"get": {**operation, "security": [{}], "responses": responses}}
