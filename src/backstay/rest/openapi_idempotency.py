"""What `Idempotency-Key` means for the contract: a header of every write, an answer's mark, and two refusals."""

from __future__ import annotations

from typing import Any

from .idempotency import KEPT, KEY_CHARS_MAX
from .openapi_responses import Answers
from .openapi_schemas import Components, Json

NAME = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
#: The methods that change nothing, and so need no key.
SAFE = frozenset({"get", "head", "options"})
#: Visible ASCII without `"` and `\`, in quotes (RFC 8941, strings) or not.
_PATTERN = rf'^"?[!#-\[\]-~]{{1,{KEY_CHARS_MAX}}}"?$'


def keyed(operation: Json, answers: Answers, components: Components) -> Json:
    """An operation whose request may be sent again: its answers of before are as they were, and marked."""
    listed: list[Any] = operation.get("parameters", [])
    parameters = listed if _named(listed) else [*listed, components.add("parameters", NAME, _header())]
    responses = {status: _marked(status, part, answers) for status, part in operation["responses"].items()}
    responses = answers.problems((409, 422)) | responses
    ordered = {status: responses[status] for status in sorted(responses)}
    return {**operation, "parameters": parameters, "responses": ordered}


def _header() -> Json:
    hours = round(KEPT.total_seconds() / 3_600)
    text = (
        f"A name for this request, of its own: 1 to {KEY_CHARS_MAX} visible ASCII characters, such as a UUID. Sent "
        f"again within {hours} hours, the request has no second effect and gets the first answer."
    )
    schema = {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX + 2, "pattern": _PATTERN}
    return {"name": NAME, "in": "header", "description": text, "schema": schema}


def _named(parameters: list[Any]) -> bool:
    """Whether an endpoint of the program's own reads the header itself."""
    return any(p.get("in") == "header" and str(p.get("name", "")).lower() == NAME.lower() for p in parameters)


def _marked(status: str, response: Json, answers: Answers) -> Json:
    """Refusals are not kept."""
    if "$ref" in response or not status.startswith("2"):
        return response
    return {**response, "headers": {**response.get("headers", {}), **answers.header(REPLAYED)}}
