"""Mend generated valid requests where one part asks something of another, which OpenAPI cannot say.

For a schemathesis hook: `schema.hook("map_case")(lambda context, case: coherent(case))`. Invalid requests stay
as they are: they are meant to be refused.
"""

from typing import Any

from backstay.query.ir import Op
from backstay.query.search import parse_search

OPERATORS = {*(op.value for op in Op), "is"}
PARAMS_MAX = 64


def coherent(case: Any) -> Any:
    """The case, with parameters that go together and references that may exist."""
    if case.meta is not None and case.meta.generation.mode.is_negative:
        return case
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
