"""Join the OpenAPI of custom endpoints (FastAPI's) with the generated document, which wins where both speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .openapi_schemas import Components, Json

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def join(document: Json, custom: Json, components: Components) -> None:
    """Add the paths, components and tags of `custom`; names that are taken get a number."""
    references: dict[str, str] = {}
    for section, parts in custom.get("components", {}).items():
        for name in parts:
            references[f"#/components/{section}/{name}"] = _free(components, section, name, parts[name])
    custom = cast(Json, _led(custom, references))
    for section, parts in custom.get("components", {}).items():
        for name, part in parts.items():
            taken = references[f"#/components/{section}/{name}"].rpartition("/")[2]
            components.sections.setdefault(section, {})[taken] = part
    _join_paths(document["paths"], custom.get("paths", {}))
    known = {tag["name"] for tag in document["tags"]}
    document["tags"] += [tag for tag in custom.get("tags", []) if tag["name"] not in known]


def _free(components: Components, section: str, name: str, part: Any) -> str:
    held = components.sections.get(section, {})
    chosen, number = name, 1
    while chosen in held and held[chosen] != part:
        number += 1
        chosen = f"{name}{number}"
    return f"#/components/{section}/{chosen}"


def _join_paths(paths: Json, more: Json) -> None:
    taken = {operation["operationId"] for item in paths.values() for operation in _operations(item)}
    for path, item in more.items():
        held = paths.setdefault(path, {})
        for method, operation in item.items():
            if method in held:
                continue
            named = {"operationId": _unique(operation, method, path, taken)} if method in METHODS else {}
            held[method] = {"tags": ["custom"], **operation, **named} if named else operation


def _operations(item: Json) -> list[Json]:
    return [operation for method, operation in item.items() if method in METHODS]


def _unique(operation: Json, method: str, path: str, taken: set[str]) -> str:
    wanted = operation.get("operationId") or method + path.title().replace("/", "").replace("{", "").replace("}", "")
    chosen, number = wanted, 1
    while chosen in taken:
        number += 1
        chosen = f"{wanted}{number}"
    taken.add(chosen)
    return chosen


def _led(node: Any, references: Mapping[str, str]) -> Any:
    """A copy whose references lead to the new names."""
    if isinstance(node, dict):
        found = {key: _led(value, references) for key, value in cast(Json, node).items()}
        target = found.get("$ref")
        if isinstance(target, str):
            found["$ref"] = references.get(target, target)
        return found
    if isinstance(node, list):
        return [_led(item, references) for item in cast("list[Any]", node)]
    return node
