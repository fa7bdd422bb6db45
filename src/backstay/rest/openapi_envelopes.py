"""JSON Schema of what is around rows in an answer: the metas of pages, and problem details."""

from __future__ import annotations

from ..config import Config
from ..errors import CODES, FIELD_ERRORS_MAX, INSTANCE_CHARS_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX
from .cursors import CURSOR_CHARS_MAX
from .openapi_schemas import INSTANT_CHARS_MAX, Json
from .params import PAGE_MAX

CURSOR = "^[A-Za-z0-9_-]*$"
REQUEST_ID = r"^[A-Za-z0-9._:/+=-]{1,128}$"
REQUEST_ID_CHARS_MAX = 128


def page_meta(config: Config) -> Json:
    """The meta of an offset page."""
    count = {"type": "integer", "format": "int64", "minimum": 0, "maximum": 2**63 - 1}
    properties: Json = {
        "page": number_schema(PAGE_MAX),
        "limit": number_schema(config.page_limit_max),
        "total": {"description": "Rows on all pages; absent with `count=false`.", **count},
        "pages": {"description": "Pages in all; absent with `count=false`.", **count},
        "has_next": {"type": "boolean"},
        "has_prev": {"type": "boolean"},
    }
    required = ["page", "limit", "has_next", "has_prev"]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def cursor_meta(config: Config) -> Json:
    """The meta of a keyset page."""
    cursor = {"type": ["string", "null"], "pattern": CURSOR, "maxLength": CURSOR_CHARS_MAX}
    properties: Json = {
        "limit": number_schema(config.page_limit_max),
        "next_cursor": {"description": "Send it as `cursor` for the next page; null on the last.", **cursor},
        "prev_cursor": {"description": "Send it as `cursor` for the page before; null on the first.", **cursor},
    }
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def number_schema(highest: int) -> Json:
    """A number of pages or rows."""
    return {"type": "integer", "format": "int32", "minimum": 1, "maximum": highest}


def problem_schema(*, success_flag: bool) -> Json:
    """RFC 9457 problem details, as `errors.problem_body` writes them."""
    text = {"type": "string", "maxLength": TEXT_CHARS_MAX}
    name = {"type": "string", "maxLength": NAME_CHARS_MAX}
    error = {
        "type": "object",
        "properties": {"field": name, "code": name, "message": text},
        "required": ["field", "code", "message"],
        "additionalProperties": False,
    }
    errors = {"type": "array", "items": error, "maxItems": FIELD_ERRORS_MAX}
    status = {"type": "integer", "format": "int32", "minimum": 400, "maximum": 599}
    page = {"type": "string", "format": "uri", "maxLength": NAME_CHARS_MAX}
    instance = {"type": "string", "maxLength": INSTANCE_CHARS_MAX}
    identity = {"type": "string", "pattern": REQUEST_ID, "maxLength": REQUEST_ID_CHARS_MAX}
    properties: Json = {"success": {"const": False}} if success_flag else {}
    properties |= {
        "type": {"description": "The page of the code.", **page},
        "title": {"type": "string", "enum": sorted({entry.title for entry in CODES.values()})},
        "status": status,
        "detail": text,
        "instance": {"description": "The path of the request.", **instance},
        "code": {"description": "Stable; decide by it.", "type": "string", "enum": [*CODES]},
        "errors": {"description": "Every field at fault.", **errors},
        "hint": {"description": "What to do.", **text},
        "request_id": {"description": "Also in the header X-Request-Id and in the log.", **identity},
        "timestamp": {"type": "string", "format": "date-time", "maxLength": INSTANT_CHARS_MAX},
    }
    required = [*properties]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
