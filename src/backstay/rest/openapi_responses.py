"""The answers of the OpenAPI document: envelopes, headers and the shared problem responses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import CODES, DOCS_URL
from .openapi_schemas import Components, Json, cursor_meta, page_meta, problem_schema

_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    406: "NotAcceptable",
    409: "Conflict",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    500: "InternalError",
    503: "Unavailable",
}
_WORDS = {
    400: "The request is malformed or invalid; `errors` has every field at fault.",
    401: "A principal is needed, or the token is invalid.",
    403: "The principal may not do this.",
    404: "There is no such row, or the principal may not see it.",
    406: "The answer is JSON, and the Accept header does not admit it.",
    409: "A unique value is taken, or other rows refer to this one.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is not JSON in UTF-8.",
    500: "A failure nobody planned for; the log has its cause under the request id.",
    503: "Too much work at once, or the query took too long.",
}
_EXAMPLE = {
    "instance": "/api/v1/example",
    "request_id": "0192f0c1-7b5e-7cc0-8000-0123456789ab",
    "timestamp": "2026-11-21T01:34:00.123456+00:00",
}
_HEADERS: dict[str, Json] = {
    "X-Request-Id": {"description": "The request's id, as sent or made.", "schema": {"type": "string"}},
    "ETag": {"description": "Validator of this answer.", "required": True, "schema": {"type": "string"}},
    "Link": {"description": "Other pages (RFC 8288).", "schema": {"type": "string"}},
    "Location": {"description": "Where the new row is.", "required": True, "schema": {"type": "string"}},
}


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes responses out of shared components."""

    components: Components
    success_flag: bool = False

    def headers(self, *names: str) -> Json:
        """References to headers; every answer has the request's id."""
        return {n: self.components.add("headers", n, _HEADERS[n]) for n in (*names, "X-Request-Id")}

    def envelope(self, data: Json, meta: Json | None = None) -> Json:
        """`{"data": …}` and perhaps its meta."""
        properties: Json = {"success": {"const": True}} if self.success_flag else {}
        properties["data"] = data
        if meta is not None:
            properties["meta"] = meta
        required = [*properties]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def example(self, data: Any, meta: Json | None = None) -> Json:
        """An envelope around an example."""
        body: Json = {"success": True} if self.success_flag else {}
        return body | {"data": data} | ({"meta": meta} if meta is not None else {})

    def item(self, ref: Json, row: Any, description: str, *headers: str) -> Json:
        """One row."""
        content: Json = {"schema": self.envelope(ref)}
        if row is not None:
            content["example"] = self.example(row)
        return {
            "description": description,
            "headers": self.headers("ETag", *headers),
            "content": {"application/json": content},
        }

    def page(self, ref: Json, rows: Any, description: str, *, keyset: bool) -> Json:
        """Many rows with their meta."""
        meta = self.components.add("schemas", "PageMeta", page_meta())
        if keyset:
            meta = {"anyOf": [meta, self.components.add("schemas", "CursorMeta", cursor_meta())]}
        content: Json = {"schema": self.envelope({"type": "array", "items": ref}, meta)}
        if rows is not None:
            shown = {"page": 1, "limit": 20, "total": 1, "pages": 1, "has_next": False, "has_prev": False}
            content["example"] = self.example(rows, shown)
        return {
            "description": description,
            "headers": self.headers("ETag", "Link"),
            "content": {"application/json": content},
        }

    def not_modified(self) -> Json:
        """304."""
        response = {"description": "The caller has this answer already.", "headers": self.headers("ETag")}
        return self.components.add("responses", "NotModified", response)

    def problems(self, statuses: Iterable[int]) -> Json:
        """Problem responses by status."""
        return {str(status): self._problem(status) for status in sorted(set(statuses))}

    def _problem(self, status: int) -> Json:
        ref = self.components.add("schemas", "Problem", problem_schema(success_flag=self.success_flag))
        examples = {code: {"value": self._example(code)} for code, e in CODES.items() if e.status == status}
        content = {"application/problem+json": {"schema": ref, "examples": examples}}
        response = {"description": _WORDS[status], "headers": self.headers(), "content": content}
        return self.components.add("responses", _NAMES[status], response)

    def _example(self, code: str) -> Json:
        entry = CODES[code]
        errors = [{"field": "name", "code": "required", "message": "is required."}]
        body: Json = {"success": False} if self.success_flag else {}
        body |= {"type": f"{DOCS_URL}#{code.lower()}", "title": entry.title, "status": entry.status}
        body |= {"detail": f"{entry.title}.", "instance": _EXAMPLE["instance"], "code": code}
        body |= {"errors": errors if code == "VALIDATION_ERROR" else [], "hint": entry.hint}
        return body | {"request_id": _EXAMPLE["request_id"], "timestamp": _EXAMPLE["timestamp"]}
