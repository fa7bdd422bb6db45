"""Mend generated valid requests where one part asks something of another, which OpenAPI cannot say.

For a schemathesis hook: `schema.hook("map_case")(lambda context, case: coherent(case))`. Invalid requests stay
as they are: they are meant to be refused.
"""

import re
import uuid
from typing import Any

from backstay.query.ir import Op
from backstay.query.search import parse_search

OPERATORS = {*(op.value for op in Op), "is"}
PARAMS_MAX = 64
#: Operations of a batch that the arcade of `fuzzed` can do.
DOABLE: dict[str, Any] = {
    "GET": {"path": "/games?limit=3", "body": None},
    "POST": {"path": "/scores", "body": {"game_id": 1, "value": 1}},
    "PATCH": {"path": "/games/game-1", "body": {"name": "Other"}},
    "PUT": {"path": "/games/game-2", "body": {"slug": "game-2", "name": "Two"}},
    "DELETE": {"path": "/scores/7", "body": None},
}


def coherent(case: Any) -> Any:
    """The case, with parameters that go together and references that may exist."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return case
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())  # one that has been used is for that request alone
    if case.operation.path.endswith("/batch") and isinstance(case.body, dict):
        case.body = case.body | {"operations": [doable(operation) for operation in case.body["operations"]]}
    if case.headers and "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if case.operation.path.endswith("/import"):
        case.body = case.operation.definition.raw["requestBody"]["content"][case.media_type]["example"]
    if case.operation.method.upper() in ("PATCH", "DELETE") and "{key}" not in case.operation.path:
        # Without a filter nothing is written, and with one of them less than everything.
        case.query = {"id[lt]": "0"}
    if isinstance(case.query, dict) and case.operation.method.upper() == "GET":
        mend_query(case.query, aggregate=case.operation.path.endswith("/aggregate"))
    return case


def doable(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation that can be done; one in a few is left, where its path is no more than unknown."""
    path = operation["path"]
    if len(path) % 4 == 3 and not re.search(r"[%{?]", path):
        return operation
    return {"method": operation["method"], **DOABLE[operation["method"]]}


def mend_query(query: dict[str, Any], *, aggregate: bool) -> None:
    """In place: no shape of what is not included, no page with a cursor, no measure-less aggregate."""
    included = query.get("include") or []
    paths = included.split(",") if isinstance(included, str) else [str(path) for path in included]
    known = {".".join(path.split(".")[: depth + 1]) for path in paths for depth in range(path.count(".") + 1)}
    for name in list(query):
        word, bracket, rest = name.partition("[")
        path = rest.removesuffix("]")
        if bracket and word in ("fields", "sort", "limit") and path not in known | OPERATORS:
            del query[name]
    if "q" in query and not _has_words(str(query["q"])):
        query["q"] = "game"
    if "cursor" in query:
        query["cursor"] = ""
        query.pop("page", None)
    if aggregate:
        query.pop("sort", None)
        if not query.get("group"):
            query["select"] = query.pop("select", None) or "count"
    for name in list(query)[: max(0, len(query) - PARAMS_MAX)]:
        del query[name]


def _has_words(text: str) -> bool:
    try:
        parse_search(text)
    except ValueError:
        return False
    return True
