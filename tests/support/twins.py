"""When two answers are the same: byte by byte, but for what no two answers share.

Those are request ids, times of now, and in a JSON column's value what JSONB does not keep: the order of members,
and how a number is written.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

#: A time that the server chose just now; those of the seed are all the same.
NOW = re.compile(r"(?!2026-01-02T03:04:05\.678901)20(?:2[5-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_ID = re.compile(r'"request_id":"[^"]*","timestamp":"[^"]*"')
JSON_COLUMNS = frozenset({"doc", "doc_or", "value"})


def same_text(body: bytes, json_columns: Iterable[str] = JSON_COLUMNS, *, now: bool = True) -> str:
    """A body without what may differ.

    Args:
        json_columns: members whose objects have no order.
        now: whether times of now may differ.
    """
    text = _ID.sub("", body.decode())
    if now:
        text = NOW.sub("<now>", text)
    if any(f'"{name}":{opening}' in text for name in json_columns for opening in "{["):
        found = json.loads(text, parse_float=_Digits, parse_int=_Digits)
        return json.dumps(_sorted_below(found, frozenset(json_columns)), ensure_ascii=False)
    return text


class _Digits(str):
    """A number as it is written."""


def _sorted_below(value: Any, names: frozenset[str], *, inside: bool = False) -> Any:
    """Inside JSON columns members sorted by name and numbers by their value; all others as they are."""
    if isinstance(value, list):
        return [_sorted_below(item, names, inside=inside) for item in value]
    if isinstance(value, _Digits):
        return f"number {Decimal(value).normalize() + 0 if inside else value}"
    if not isinstance(value, dict):
        return value
    members = sorted(value.items()) if inside else value.items()
    return {name: _sorted_below(item, names, inside=inside or name in names) for name, item in members}
