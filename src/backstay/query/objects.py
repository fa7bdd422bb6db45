"""The text of a JSON object, and what both databases can hold of it, before any contract sees it.

orjson refuses what JSON (RFC 8259) does not have; this adds what it lets pass: duplicate names, NUL and texts
that are no object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, cast

import orjson

from ..errors import FieldError, Problem, ValidationError

_NAME_END = re.compile(rb'"[ \t\r\n]*:')
_DEPTH_MAX = 64


def is_plain(text: bytes, members: int) -> bool:
    """Whether an object that a contract has admitted hides nothing from it: no name twice, no NUL.

    Args:
        members: how many it has.
    """
    return b"\\u0000" not in text and len(_NAME_END.findall(text)) == members


def parse_object(body: bytes, *, ignored: Collection[str] = ()) -> dict[str, Any]:
    """The object in a body.

    Args:
        ignored: members that nobody reads, whatever is in them.

    Raises:
        Problem: `MALFORMED_JSON`, with the place.
        ValidationError: a name given twice, a NUL in a string.
    """
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem("MALFORMED_JSON", f"The body is not valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Problem("MALFORMED_JSON", f"The body is a JSON {_word(found)}, not an object.")
    found = cast("dict[str, Any]", found)
    if len(_NAME_END.findall(body)) != len(found):
        _refuse_duplicates(body)
    if b"\\u0000" in body:
        fields = _nul_paths({name: value for name, value in found.items() if name not in ignored}, "", 0)
        if fields:
            raise ValidationError([FieldError(path, "invalid_value", "must not contain NUL.") for path in fields])
    return found


def _refuse_duplicates(body: bytes) -> None:
    """The slow, sure way: asked only when the number of names looks odd (nesting, or a quote in a string)."""
    twice: list[str] = []

    def watch(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        twice.extend(
            sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        )
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=watch)
    except RecursionError:
        raise Problem("MALFORMED_JSON", "The body is nested too deeply.") from None
    if twice:
        raise ValidationError([FieldError(name[:80], "duplicate", "is given twice.") for name in twice])


def _nul_paths(value: Any, path: str, depth: int) -> list[str]:
    if depth > _DEPTH_MAX:
        raise Problem("MALFORMED_JSON", "The body is nested too deeply.")
    if isinstance(value, str):
        return [path] if "\x00" in value else []
    found: list[str] = []
    if isinstance(value, dict):
        for name, inner in value.items():  # type: ignore[reportUnknownVariableType]
            here = f"{path}.{name}" if path else str(name)  # type: ignore[reportUnknownArgumentType]
            found += [here[:80].replace("\x00", "")] if "\x00" in here else _nul_paths(inner, here, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):  # type: ignore[reportUnknownArgumentType]
            found += _nul_paths(inner, f"{path}.{index}", depth + 1)
    return found


def _word(value: Any) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}[type(value)]
