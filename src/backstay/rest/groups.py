"""The text of filters: `name[op]=value` leaves, and `or=(…)` / `and=(…)` groups of them.

group = "(" item *("," item) ")"
item  = ("or" | "and") group | name ["[" op "]"] "=" value
value = '"' … '"' with backslash escapes | text without , ( )
"""

from __future__ import annotations

import re

from ..errors import invalid, perhaps
from ..query.ir import Compare, Filter, Group, Is, Op, Test

DEPTH_MAX = 4
NAME = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?\Z")
_OPS = {op.value: op for op in Op}
_TESTS = {test.value: test for test in Test}
_LEAF = re.compile(r'([^\[\]=,()"]+)(?:\[([^\[\]]*)\])?=(?:"((?:[^"\\]|\\.)*)"|([^,()"]*))')
_OPEN = re.compile(r"\s*(or|and)\s*\(")


def leaf(name: str, op: str | None, value: str, raw: list[str]) -> Compare | Is:
    """One comparison; its value joins `raw`.

    Raises:
        ValidationError: an operator that does not exist, or a test that `is` does not know.
    """
    path = tuple(name.split("."))
    if op == "is":
        if value not in _TESTS:
            raise invalid(f"{name}[is]", "invalid_value", f"`is` takes {', '.join(_TESTS)}.")
        return Is(path, _TESTS[value])
    if op is not None and op not in _OPS:
        hint = perhaps(op, [*_OPS, "is"], noun="operator")
        raise invalid(f"{name[:80]}[{op[:80]}]", "unknown_operator", f"there is no operator {op[:80]!r}.", hint=hint)
    raw.append(value)
    return Compare(path, _OPS[op] if op else Op.EQ, len(raw) - 1)


def group(kind: str, text: str, raw: list[str], *, items_max: int) -> Group:
    """A whole `or` or `and` parameter.

    Raises:
        ValidationError: text that is not of the grammar, with the place where it breaks.
    """
    stripped = text.strip()
    if not stripped.startswith("("):
        raise _broken(kind, "must start with (", 0)
    parsed, end = _items(kind, stripped, 1, raw, depth=1, items_max=items_max)
    if end != len(stripped):
        raise _broken(kind, "has text after the closing )", end)
    return parsed


def _items(kind: str, text: str, position: int, raw: list[str], *, depth: int, items_max: int) -> tuple[Group, int]:
    if depth > DEPTH_MAX:
        raise invalid(kind, "too_deep", f"at most {DEPTH_MAX} groups inside each other.")
    items: list[Filter] = []
    while True:
        nested = _OPEN.match(text, position)
        if nested:
            inner, position = _items(nested.group(1), text, nested.end(), raw, depth=depth + 1, items_max=items_max)
            items.append(inner)
        else:
            match = _LEAF.match(text, position)
            if match is None:
                raise _broken(kind, "expected name=value or name[op]=value", position)
            name, op, quoted, bare = match.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            items.append(leaf(name.strip(), op, value, raw))
            position = match.end()
        if len(raw) > items_max or len(items) > items_max:
            raise invalid(kind, "too_many", f"at most {items_max} filters.")
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] == ")":
            return Group(kind == "or", tuple(items)), position + 1
        else:
            raise _broken(kind, "expected , or )", position)


def _broken(kind: str, message: str, position: int) -> Exception:
    example = f"{kind}=(value[gt]=10,name=ada)"
    return invalid(kind, "syntax", f"{message} at character {position}.", hint=f"Write {example}.")
