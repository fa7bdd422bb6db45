"""From IR back to a query string's parameters: the inverse of `backstay.rest.params`, written from the grammar."""

from collections.abc import Sequence

from backstay.query.ir import (
    Aggregate,
    Compare,
    Filter,
    Group,
    Include,
    Is,
    KeysetPage,
    Measure,
    OffsetPage,
    OrderKey,
    Select,
)

Pairs = list[tuple[str, str]]
RESERVED = frozenset(
    {"sort", "page", "limit", "cursor", "count", "include", "fields", "or", "and", "group", "select"}
)


def quoted(text: str) -> str:
    """A group's value in quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def leaf(node: Compare | Is, values: Sequence[object]) -> tuple[str, str]:
    """`name[op]` and the value; equality has no operator unless the name is a reserved word."""
    name = ".".join(node.path)
    if isinstance(node, Is):
        return f"{name}[is]", node.test.value
    plain = node.op.value == "eq" and name not in RESERVED
    return name if plain else f"{name}[{node.op.value}]", str(values[node.slot])


def item(node: Filter, values: Sequence[object]) -> str:
    """A filter inside a group."""
    if isinstance(node, Group):
        return ("or" if node.any else "and") + "(" + ",".join(item(inner, values) for inner in node.items) + ")"
    name, value = leaf(node, values)
    return f"{name}={quoted(value)}"


def filters(group: Group | None, values: Sequence[object]) -> Pairs:
    """The parameters of a condition."""
    found: Pairs = []
    for node in group.items if group is not None else ():
        if isinstance(node, Group):
            name, _, rest = item(node, values).partition("(")
            found.append((name, "(" + rest))
        else:
            found.append(leaf(node, values))
    return found


def sort(keys: Sequence[OrderKey]) -> str:
    """`-value,player.username`."""
    return ",".join(("-" if key.descending else "") + ".".join(key.path) for key in keys)


def includes(found: Sequence[Include], default_limit: int, at: str = "") -> tuple[list[str], Pairs]:
    """The include paths in order, and what is scoped to each."""
    paths: list[str] = []
    scoped: Pairs = []
    for include in found:
        path = at + include.relation
        paths.append(path)
        if include.shape.fields is not None:
            scoped.append((f"fields[{path}]", ",".join(include.shape.fields)))
        if include.order:
            scoped.append((f"sort[{path}]", sort(include.order)))
        if include.limit != default_limit:
            scoped.append((f"limit[{path}]", str(include.limit)))
        inner, more = includes(include.shape.includes, default_limit, path + ".")
        paths += inner
        scoped += more
    return paths, scoped


def select(query: Select, values: Sequence[object], *, default_limit: int = 20) -> Pairs:
    """A list's parameters."""
    pairs = filters(query.filter, values)
    if query.order:
        pairs.append(("sort", sort(query.order)))
    page = query.page
    assert page is not None, "a list has a page"
    pairs.append(("limit", str(page.limit)))
    if isinstance(page, OffsetPage):
        offset = 0 if page.offset_slot is None else values[page.offset_slot]
        assert isinstance(offset, int)
        pairs.append(("page", str(offset // page.limit + 1)))
        pairs.append(("count", "true" if page.total else "false"))
    else:
        assert isinstance(page, KeysetPage)
        pairs.append(("cursor", ""))
    if query.shape.fields is not None:
        pairs.append(("fields", ",".join(query.shape.fields)))
    paths, scoped = includes(query.shape.includes, default_limit)
    if paths:
        pairs.append(("include", ",".join(paths)))
    return pairs + scoped


def measure(found: Measure) -> str:
    """`alias:count(distinct path)`."""
    alias = f"{found.alias}:" if found.alias else ""
    if not found.path:
        return alias + found.function.value
    distinct = "distinct " if found.distinct else ""
    return f"{alias}{found.function.value}({distinct}{'.'.join(found.path)})"


def aggregate(query: Aggregate, values: Sequence[object]) -> Pairs:
    """An aggregate's parameters."""
    pairs = filters(query.filter, values)
    if query.group:
        pairs.append(("group", ",".join(".".join(path) for path in query.group)))
    if query.measures:
        pairs.append(("select", ",".join(measure(m) for m in query.measures)))
    if query.order:
        pairs.append(("sort", sort(query.order)))
    page = query.page
    assert page is not None, "a parsed aggregate has a page"
    offset = 0 if page.offset_slot is None else values[page.offset_slot]
    assert isinstance(offset, int)
    return [*pairs, ("limit", str(page.limit)), ("page", str(offset // page.limit + 1))]
