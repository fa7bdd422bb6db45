"""Join the OpenAPI of custom endpoints (FastAPI's) with the generated document, which wins where both speak.

FastAPI describes what the program declares. What the frame does for every endpoint is added: how one signs in, the
refusals that come before the endpoint and those that it raises, the headers of every answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from .openapi_bounds import METHODS
from .openapi_idempotency import SAFE, keyed
from .openapi_responses import Answers
from .openapi_schemas import Components, Json

TAG = "custom"
_TAGS = {
    TAG: "Endpoints of this program's own.",
    "auth": "Registering, signing in and out, passwords and sessions.",
}
#: What FastAPI says of input that it refuses; ours is a Problem with 400.
_FASTAPI_REFUSAL = "#/components/schemas/HTTPValidationError"
_FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")


@dataclass(frozen=True, slots=True)
class Joint:
    """What joins both documents.

    Attributes:
        security: of an endpoint that declares none: it sees who asks, and decides itself.
        base_path: below it, answers are JSON.
        kept: whether answers are kept for requests that are sent again; those of `/auth/` never are.
    """

    components: Components
    answers: Answers
    security: list[Json]
    base_path: str
    kept: bool = False


def join(document: Json, custom: Json, joint: Joint) -> None:
    """Add the paths, components and tags of `custom`; names that are taken get a number."""
    custom = _without_refusals(custom)
    components = joint.components
    references: dict[str, str] = {}
    for section, parts in custom.get("components", {}).items():
        for name in parts:
            references[f"#/components/{section}/{name}"] = _free(components, section, name, parts[name])
    custom = cast(Json, _led(custom, references))
    for section, parts in custom.get("components", {}).items():
        for name, part in parts.items():
            taken = references[f"#/components/{section}/{name}"].rpartition("/")[2]
            components.sections.setdefault(section, {})[taken] = part
    _join_paths(document["paths"], custom.get("paths", {}), joint)
    _join_tags(document, custom.get("tags", []))


def _join_tags(document: Json, more: list[Json]) -> None:
    """Every tag has a description, also one that only operations name."""
    known = {tag["name"] for tag in document["tags"]}
    document["tags"] += [tag for tag in more if tag["name"] not in known]
    known |= {tag["name"] for tag in more}
    used = [
        tag for item in document["paths"].values() for operation in _operations(item) for tag in operation["tags"]
    ]
    for tag in dict.fromkeys(used):
        if tag not in known:
            document["tags"].append({"name": tag, "description": _TAGS.get(tag, f"Endpoints about {tag}.")})


def _without_refusals(custom: Json) -> Json:
    """A copy without FastAPI's description of refused input."""
    paths: Json = {}
    for path, item in custom.get("paths", {}).items():
        paths[path] = {
            name: part | {"responses": _kept(part.get("responses", {}))} if name in METHODS else part
            for name, part in item.items()
        }
    sections: Json = dict(custom.get("components", {}))
    if _FASTAPI_REFUSAL not in str(paths) and "schemas" in sections:
        schemas = {n: part for n, part in sections["schemas"].items() if n not in _FASTAPI_SCHEMAS}
        sections = {**sections, "schemas": schemas}
    return {**custom, "paths": paths, "components": {n: parts for n, parts in sections.items() if parts}}


def _kept(responses: Json) -> Json:
    return {status: part for status, part in responses.items() if _FASTAPI_REFUSAL not in str(part)}


def _free(components: Components, section: str, name: str, part: Any) -> str:
    held = components.sections.get(section, {})
    chosen, number = name, 1
    while chosen in held and held[chosen] != part:
        number += 1
        chosen = f"{name}{number}"
    return f"#/components/{section}/{chosen}"


def _join_paths(paths: Json, more: Json, joint: Joint) -> None:
    taken = {operation["operationId"] for item in paths.values() for operation in _operations(item)}
    for path, item in more.items():
        held = paths.setdefault(path, {})
        for method, operation in item.items():
            if method in held:
                continue
            if method not in METHODS:
                held[method] = operation
                continue
            name = _unique(operation, method, path, taken)
            framed = _framed(joint, path, {"tags": [TAG], **operation, "operationId": name})
            again = joint.kept and method not in SAFE and not path.startswith(f"{joint.base_path}/auth/")
            held[method] = keyed(framed, joint.answers, joint.components) if again else framed


def _framed(joint: Joint, path: str, operation: Json) -> Json:
    """An operation with what the frame does for it."""
    body = [408, 413, 415] if "requestBody" in operation else []
    json = [406] if path.startswith(joint.base_path) else []
    refusals = joint.answers.problems([400, 401, 403, *json, *body, 414, 429, 431, 500, 503])
    declared: Json = operation.get("responses", {})
    answers = {status: _answer(status, part, joint.answers) for status, part in declared.items()}
    added = {status: part for status, part in refusals.items() if status not in answers}
    responses = answers | added | ({} if "default" in answers else {"default": joint.answers.other_problem()})
    ordered = {status: responses[status] for status in sorted(responses)}
    return {"security": joint.security, **operation, "responses": ordered}


def _answer(status: str, response: Json, answers: Answers) -> Json:
    """A declared answer with the frame's headers; a refusal without content is a Problem."""
    if "$ref" in response:
        return response
    if status.isdigit() and int(status) >= 400 and "content" not in response:
        return answers.refusal(int(status), response["description"])
    more = answers.headers_of(int(status)) if status.isdigit() else answers.headers()
    return {**response, "headers": {**response.get("headers", {}), **more}}


def _operations(item: Json) -> Iterator[Json]:
    return (operation for method, operation in item.items() if method in METHODS)


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
