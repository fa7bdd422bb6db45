"""The answers of the OpenAPI document: envelopes, headers and the shared problem responses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..errors import CODES, DOCS_URL
from .openapi_envelopes import REQUEST_ID, REQUEST_ID_CHARS_MAX, cursor_meta, page_meta, problem_schema
from .openapi_schemas import Components, Json

_NAMES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    406: "NotAcceptable",
    408: "RequestTimeout",
    409: "Conflict",
    410: "Gone",
    412: "PreconditionFailed",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    422: "UnprocessableContent",
    428: "PreconditionRequired",
    429: "TooManyRequests",
    431: "HeadersTooLarge",
    500: "InternalError",
    503: "Unavailable",
}
_WORDS = {
    400: "The request is malformed or invalid; `errors` has every field at fault.",
    401: "A principal is needed, or the token is invalid.",
    403: "The principal may not do this.",
    404: "There is no such row, or the principal may not see it.",
    406: "The answer is JSON, and the Accept header does not admit it.",
    408: "The body came too slowly.",
    409: "A unique value is taken, other rows refer to this one, or the same request is in progress.",
    410: "This version of the API has ended, or what is asked for is older than the change log.",
    412: "The row has been changed since, or is not the one that was meant.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body is not JSON in UTF-8, or it is compressed.",
    422: "The Idempotency-Key is that of another request.",
    428: "The write has to say which version of the row it changes.",
    429: "Too many requests; `Retry-After` says when to go on.",
    431: "The headers are too large, or too many.",
    500: "A failure nobody planned for; the log has its cause under the request id.",
    503: "Too much work at once, or it took too long.",
}
_EXAMPLE = {
    "instance": "/api/v1/example",
    "request_id": "0192f0c1-7b5e-7cc0-8000-0123456789ab",
    "timestamp": "2026-11-21T01:34:00.123456+00:00",
}
_STATUSES = frozenset(entry.status for entry in CODES.values())
#: See `replies.etag_of`: the row's version, if it has one, and a digest of 128 bits.
_ETAG = r'^"([0-9]{1,19}-)?[0-9a-f]{32}"$'
_ETAG_CHARS_MAX = 54
#: A Link header has four targets at most; one byte of a URL is nine characters of it at most (`%EF%BF%BD`).
_LINK_CHARS_A_BYTE = 4 * 9
#: A byte of a key is percent-encoded in a Location.
_LOCATION_CHARS_A_BYTE = 3
_POLICY_CHARS_MAX = 1_024
_DAY_S = 86_400
_MORE_HEADERS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 429: ("Retry-After",), 503: ("Retry-After",)}
#: What every answer of an older version of the API may have, too.
LIFECYCLE = ("Deprecation", "Sunset", "Link")
#: What every answer may have: the id is always there, the others where their setting asks for them.
_ALWAYS = ("X-Request-Id", "RateLimit", "RateLimit-Policy", "Access-Control-Allow-Origin")


def _headers(config: Config) -> dict[str, Json]:
    """Every header that an answer may have."""
    after = {"type": "integer", "format": "int32", "minimum": 0, "maximum": _DAY_S}
    policy = {"type": "string", "maxLength": _POLICY_CHARS_MAX}
    etag = {"type": "string", "pattern": _ETAG, "maxLength": _ETAG_CHARS_MAX}
    identity = {"type": "string", "pattern": REQUEST_ID, "maxLength": REQUEST_ID_CHARS_MAX}
    link = {"type": "string", "maxLength": _LINK_CHARS_A_BYTE * config.url_bytes_max}
    where_max = _LOCATION_CHARS_A_BYTE * (config.body_bytes_max + config.url_bytes_max)
    location = {"type": "string", "format": "uri-reference", "maxLength": where_max}
    origin = {"type": "string", "maxLength": config.url_bytes_max}
    moment = {"type": "string", "pattern": "^@-?[0-9]{1,12}$", "maxLength": 14}
    replayed = {"type": "string", "enum": ["true"]}
    http_date = {"type": "string", "maxLength": len("Sun, 06 Nov 1994 08:49:37 GMT")}
    return {
        "Deprecation": {"description": "Since when nobody should start to use it (RFC 9745).", "schema": moment},
        "Sunset": {"description": "When it ends (RFC 8594).", "schema": http_date},
        "X-Request-Id": {"description": "The request's id, as sent or made.", "required": True, "schema": identity},
        "ETag": {"description": "Validator of this answer.", "required": True, "schema": etag},
        "Link": {"description": "Other pages (RFC 8288), and what succeeds an older version.", "schema": link},
        "Location": {"description": "Where the new row is.", "required": True, "schema": location},
        "Idempotency-Replayed": {
            "description": "`true`: the answer is that of an earlier request.",
            "schema": replayed,
        },
        "Retry-After": {"description": "Seconds until it is worth another try.", "schema": after},
        "WWW-Authenticate": {"description": "How to sign in (RFC 6750).", "schema": policy},
        "RateLimit": {"description": "What is left of the limit, where requests are limited.", "schema": policy},
        "RateLimit-Policy": {"description": "The limit, where requests are limited.", "schema": policy},
        "Access-Control-Allow-Origin": {"description": "The page's origin, where it is allowed.", "schema": origin},
    }


@dataclass(frozen=True, slots=True)
class Answers:
    """Makes responses out of shared components.

    Attributes:
        always: headers that every answer may have, beside those of all apps.
    """

    components: Components
    config: Config
    success_flag: bool = False
    always: tuple[str, ...] = ()

    def headers(self, *names: str) -> Json:
        """References to headers: these, and those that every answer may have."""
        known = _headers(self.config)
        return {n: self.components.add("headers", n, known[n]) for n in (*names, *_ALWAYS, *self.always)}

    def header(self, name: str) -> Json:
        """The reference to one header."""
        return {name: self.components.add("headers", name, _headers(self.config)[name])}

    def header_schema(self, name: str) -> Json:
        """What is in a header."""
        return _headers(self.config)[name]["schema"]

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

    def several(self, one: Json, ref: Json, most: int) -> Json:
        """What a create answers: its one row, or as many as its list has, and then without the headers of one."""
        known = _headers(self.config)
        headers = dict(one["headers"])
        for name in ("ETag", "Location"):
            text = f"{known[name]['description']} A list has none."
            loose = known[name] | {"description": text, "required": False}
            headers[name] = self.components.add("headers", f"{name}OfOne", loose)
        counted: Json = {"count": {"type": "integer", "format": "int32", "minimum": 1, "maximum": most}}
        closed: Json = {"type": "object", "required": ["count"], "additionalProperties": False}
        meta = self.components.add("schemas", "CreatedMeta", closed | {"properties": counted})
        listed = {"type": "array", "items": ref, "minItems": 1, "maxItems": most}
        content = dict(one["content"]["application/json"])
        content["schema"] = {"oneOf": [content["schema"], self.envelope(listed, meta)]}
        told = {"description": "The new row, or rows.", "headers": headers}
        return told | {"content": {"application/json": content}}

    def page(self, ref: Json, rows: Any, description: str, *, keyset: bool) -> Json:
        """Many rows with their meta."""
        meta = self.components.add("schemas", "PageMeta", page_meta(self.config))
        if keyset:
            meta = {"anyOf": [meta, self.components.add("schemas", "CursorMeta", cursor_meta(self.config))]}
        listed = {"type": "array", "items": ref, "maxItems": self.config.page_limit_max}
        content: Json = {"schema": self.envelope(listed, meta)}
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

    def refusal(self, status: int, description: str) -> Json:
        """A refusal with an example of each of its codes."""
        examples = {code: {"value": self._example(code)} for code, e in CODES.items() if e.status == status}
        content = {"application/problem+json": {"schema": self._problem_ref(), "examples": examples}}
        return {"description": description, "headers": self.headers_of(status), "content": content}

    def headers_of(self, status: int) -> Json:
        """What a refusal, or any other answer, may have."""
        headers = self.headers(*_MORE_HEADERS.get(status, ()))
        if status == 412:
            current = _headers(self.config)["ETag"] | {"description": "That of the row as it is.", "required": False}
            headers["ETag"] = self.components.add("headers", "CurrentETag", current)
        return headers

    def _problem_ref(self) -> Json:
        return self.components.add("schemas", "Problem", problem_schema(success_flag=self.success_flag))

    def problems(self, statuses: Iterable[int]) -> Json:
        """Problem responses by status, of those that some error code has."""
        return {str(status): self._problem(status) for status in sorted(_STATUSES & set(statuses))}

    def other_problem(self) -> Json:
        """Any Problem: what an endpoint answers that raises its own."""
        example = self._example("NOT_FOUND")
        content = {"application/problem+json": {"schema": self._problem_ref(), "example": example}}
        response = {"description": "Any other refusal.", "headers": self.headers(), "content": content}
        return self.components.add("responses", "OtherProblem", response)

    def _problem(self, status: int) -> Json:
        return self.components.add("responses", _NAMES[status], self.refusal(status, _WORDS[status]))

    def _example(self, code: str) -> Json:
        entry = CODES[code]
        errors = [{"field": "name", "code": "required", "message": "is required."}]
        body: Json = {"success": False} if self.success_flag else {}
        body |= {"type": f"{DOCS_URL}#{code.lower()}", "title": entry.title, "status": entry.status}
        body |= {"detail": f"{entry.title}.", "instance": _EXAMPLE["instance"], "code": code}
        body |= {"errors": errors if code == "VALIDATION_ERROR" else [], "hint": entry.hint}
        return body | {"request_id": _EXAMPLE["request_id"], "timestamp": _EXAMPLE["timestamp"]}
