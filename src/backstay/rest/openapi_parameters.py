"""The query and path parameters of the OpenAPI document: the REST grammar as far as OpenAPI can say it.

OpenAPI names every parameter, so what the grammar builds freely (paths through relations in filters, nested
groups) is described in words; the schemas here admit only what the server accepts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..config import Config
from ..query.ir import Op
from ..query.names import INCLUDES_MAX, PATH_STEPS_MAX, operators_of
from ..query.search import WORDS_MAX
from ..query.values import LIST_ITEMS_MAX
from ..schema.model import ADDITIVE, ORDERED, Column, Kind
from ..schema.policy import nobody
from ..schema.resource import Catalog, Resource
from .cursors import CURSOR_CHARS_MAX
from .openapi_envelopes import CURSOR
from .openapi_schemas import NO_NUL, Components, Json, Label, address_schema, value_schema
from .params import AGGREGATE_WORDS, LIST_WORDS, PAGE_MAX

#: Words of the grammar; a column of such a name is filtered as `name[eq]`.
RESERVED = frozenset((*LIST_WORDS, *AGGREGATE_WORDS))
#: How many names an enumeration of paths may hold beyond the resource's own columns.
PATHS_MAX = 40
_PLAIN = re.compile(r"[^\s,.()\[\]=\"]+\Z")
_LIST_SYNTAX = re.compile(r"[,\"]|\A\s|\s\Z|\A\Z")
_TEXT_ITEM = r'("([^"\\\u0000]|\\[^\u0000\n])*"\s*|[^,"\u0000]*)'
_TEXT_LIST = rf"^\s*{_TEXT_ITEM}(,\s*{_TEXT_ITEM}){{0,{LIST_ITEMS_MAX - 1}}}$"
_ID = re.compile(r"\A(id|ID)\Z|(_id|Id|-id)\Z")
_ALIAS = r"([A-Za-z_][A-Za-z0-9_]{0,62}:)?"

_MEANINGS: dict[Op, str] = {
    Op.EQ: "equals this",
    Op.NE: "differs from this",
    Op.LT: "is less than this",
    Op.LTE: "is at most this",
    Op.GT: "is greater than this",
    Op.GTE: "is at least this",
    Op.IN: "is one of these",
    Op.NIN: "is none of these",
    Op.LIKE: "matches this pattern: `%` stands for any text, `_` for one character; case counts",
    Op.ILIKE: "matches this pattern, whatever the case: `%` stands for any text, `_` for one character",
    Op.CONTAINS: "contains this",
}
#: Plain values inside `or=(…)` that need no quotes, by kind.
_GROUP_VALUES: dict[Kind, str] = {
    Kind.TEXT: r'([^,()"\u0000]*|"([^"\\\u0000]|\\[^\u0000\n])*")',
    Kind.ANY: r'([^,()"\u0000]*|"([^"\\\u0000]|\\[^\u0000\n])*")',
    Kind.BOOLEAN: r"(true|false)",
    Kind.FLOAT: r"-?[0-9]{1,12}(\.[0-9]{1,6})?",
    Kind.NUMERIC: r"-?[0-9]{1,12}(\.[0-9]{1,6})?",
    Kind.DATETIME: r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
    Kind.DATE: r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
    Kind.TIME: r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?",
    Kind.UUID: r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
}


def query(name: str, description: str, schema: Json) -> Json:
    """One query parameter; an array is comma-separated."""
    comma: Json = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {"name": name, "in": "query", "description": description, "schema": schema, **comma}


def addressable(name: str) -> bool:
    """Whether the grammar can write a name: one without the grammar's own characters."""
    return _PLAIN.match(name) is not None


def key_parameter(resource: Resource, components: Components) -> Json:
    """The path parameter `key`."""
    words = " and ".join(f"`{column.name}`" for column in resource.key)
    if len(resource.key) == 1:
        return _path_parameter(f"The row's {words}.", key_schema(resource.key[0], components))
    joined = ",".join(column.name for column in resource.key)
    text = f"The row's {words}, joined by commas (`{joined}`); a comma inside a value is written `%2C`."
    parts = [_key_part(column) for column in resource.key]
    most = len(parts)
    schema: Json = {"type": "array", "prefixItems": parts, "items": False, "minItems": most, "maxItems": most}
    return _path_parameter(text, schema) | {"style": "simple"}


def _path_parameter(description: str, schema: Json) -> Json:
    return {"name": "key", "in": "path", "required": True, "description": description, "schema": schema}


def key_schema(column: Column, components: Components) -> Json:
    """A part of a key: a number or its digits, or text."""
    return _address(column, components) if column.kind is Kind.INTEGER else _key_part(column)


def _key_part(column: Column) -> Json:
    schema = value_schema(column)
    return schema | {"minLength": 1} if schema == {"type": "string", "pattern": NO_NUL} else schema


def _digits(column: Column) -> str:
    """Integers that surely are in the column's range."""
    return rf"-?[0-9]{{1,{len(str(column.high)) - 1}}}"


def filters(resource: Resource, label: Label, components: Components) -> list[Json]:
    """One parameter a column and operator, shared by lists and aggregates; then the groups."""
    found: list[Json] = []
    for column in resource.columns.values():
        if not addressable(column.name):
            continue
        for op in (op for op in Op if op in operators_of(column)):
            bare = op is Op.EQ and column.name not in RESERVED
            name = column.name if bare else f"{column.name}[{op.value}]"
            text = f"Rows whose `{column.name}` {_MEANINGS[op]}."
            shown = query(name, text, _operand(column, op, components))
            found.append(components.add("parameters", f"{label.one}.{column.name}.{op.value}", shown))
        tests = ["null", "notnull", *(["true", "false"] if column.kind is Kind.BOOLEAN else [])]
        text = f"Rows whose `{column.name}` is null, or is not."
        shown = query(f"{column.name}[is]", text, {"type": "string", "enum": tests})
        found.append(components.add("parameters", f"{label.one}.{column.name}.is", shown))
    if resource.table.search is not None:
        found.append(components.add("parameters", f"{label.one}.q", _search(resource)))
    pattern = _group_pattern(resource)
    if pattern:
        for word, meaning in (("or", "any"), ("and", "all")):
            text = (
                f"Rows that fulfil {meaning} of these filters: `{word}=(a=1,b[gt]=2)`. Groups nest: "
                f"`{word}=(a=1,and(b=2,c[lt]=3))`. A value with a comma, parenthesis or quote is double-quoted."
            )
            shown = query(word, text, {"type": "string", "pattern": pattern})
            found.append(components.add("parameters", f"{label.one}.{word}", shown))
    return found


def _search(resource: Resource) -> Json:
    """Full text search. No pattern says what a word is in every script: that a word is needed is said in words."""
    assert resource.table.search is not None, "only such resources have the parameter"
    by_sql = {column.sql.name: name for name, column in resource.columns.items()}
    names = " or ".join(f"`{by_sql[name]}`" for name in resource.table.search.columns)
    text = (
        f'Rows with all of these words in {names}: 1 to {WORDS_MAX} words. `"two words"` stand side by side, `-word` '
        "leaves rows out, `word*` is how a word begins; case does not count. With it, `sort=-relevance` shows the "
        "best rows first."
    )
    return query("q", text, {"type": "string", "minLength": 1, "pattern": NO_NUL})


def _operand(column: Column, op: Op, components: Components) -> Json:
    if op in (Op.IN, Op.NIN):
        return list_schema(column)
    if column.item is not None:
        return list_schema(column.item)
    if op in (Op.LIKE, Op.ILIKE, Op.CONTAINS):
        return {"type": "string", "pattern": NO_NUL}
    return _address(column, components) if _identifies(column) else value_schema(column)


def _identifies(column: Column) -> bool:
    """Whether an integer says which row is meant; a view's columns tell that only by their names."""
    named = _ID.search(column.name) is not None
    return column.kind is Kind.INTEGER and (column.primary_key or bool(column.sql.foreign_keys) or named)


def _address(column: Column, components: Components) -> Json:
    name = f"Key{column.high.bit_length() + 1}"
    return components.add("schemas", name, address_schema(column))


def list_schema(column: Column) -> Json:
    """Comma-separated values; text is one string, because its items may need quotes."""
    if column.kind in (Kind.TEXT, Kind.RANGE, Kind.OTHER, Kind.ANY):
        return {"type": "string", "pattern": _TEXT_LIST}
    if any(_LIST_SYNTAX.search(choice) for choice in column.choices):
        one = f"({'|'.join(_listed(choice) for choice in column.choices)})"
        return {"type": "string", "pattern": f"^{one}(,{one}){{0,{LIST_ITEMS_MAX - 1}}}$"}
    return {"type": "array", "items": value_schema(column), "minItems": 1, "maxItems": LIST_ITEMS_MAX}


def _listed(choice: str) -> str:
    """A choice as an item of a list: quoted, or bare where that is possible."""
    quoted = _escaped('"' + choice.replace("\\", "\\\\").replace('"', '\\"') + '"')
    bare = choice == "" or not _LIST_SYNTAX.search(choice)
    return rf"\s*({quoted}|{_escaped(choice)})\s*" if bare else rf"\s*{quoted}\s*"


def _group_pattern(resource: Resource) -> str:
    """Groups of this resource's own fields."""
    items: list[str] = []
    for column in resource.columns.values():
        if not addressable(column.name):
            continue
        name = _escaped(column.name)
        items.append(rf"{name}\[is\]=(null|notnull)")
        value = _group_value(column)
        ops = [op.value for op in Op if op in operators_of(column) and op not in (Op.IN, Op.NIN, Op.EQ)]
        if value and ops:
            choice = "|".join(ops)
            items.append(rf"{name}(\[({choice})\])?={value}")
    one = f"({'|'.join(items)})"
    return rf"^\({one}(,{one})*\)$" if items else ""


def _group_value(column: Column) -> str:
    if column.kind is Kind.INTEGER:
        return _digits(column)
    if column.kind is Kind.ENUM:
        plain = [_escaped(choice) for choice in column.choices if re.fullmatch(r"[^,()\"\x00]+", choice)]
        return f"({'|'.join(plain)})" if plain else ""
    return _GROUP_VALUES.get(column.kind, "")


def _escaped(text: str) -> str:
    """Text inside a pattern; only what JSON Schema's dialect (ECMA-262) allows to be escaped is."""
    return re.sub(r"([\\^$.*+?()\[\]{}|/])", r"\\\1", text)


def paths(catalog: Catalog, resource: Resource, kinds: Iterable[Kind]) -> list[str]:
    """Own columns and those at the end of to-one ways, nearest first, as `sort` and `group` take them."""
    wanted = frozenset(kinds)
    found = [c.name for c in resource.columns.values() if c.kind in wanted and addressable(c.name)]
    most = len(found) + PATHS_MAX
    level = [((), resource)]
    for _ in range(PATH_STEPS_MAX):
        level = [
            ((*trail, name), target)
            for trail, at in level
            for name, target in catalog.ways(at).items()
            if not at.relationships[name].many and addressable(name)
        ]
        more = [
            ".".join((*trail, column.name))
            for trail, at in level
            for column in at.columns.values()
            if column.kind in wanted and addressable(column.name)
        ]
        if not more or len(found) + len(more) > most:
            break
        found += more
    return found


def include_paths(catalog: Catalog, resource: Resource, config: Config) -> list[str]:
    """Paths of relations, nearest first: so few that naming all of them stays within the limit of includes."""
    level: list[tuple[tuple[str, ...], Resource]] = [((), resource)]
    found: list[str] = []
    for _ in range(config.include_depth_max):
        level = [
            ((*trail, name), target)
            for trail, at in level
            for name, target in catalog.ways(at).items()
            if addressable(name) and name not in at.columns
        ]
        if found and len(found) + len(level) > INCLUDES_MAX:
            break
        found += [".".join(trail) for trail, _ in level]
    return found


def sort_parameter(catalog: Catalog, resource: Resource, name: str = "sort") -> Json:
    """Sort keys; each field once, which only a backward reference can say."""
    names = paths(catalog, resource, ORDERED)
    choice = "|".join(_escaped(path) for path in names)
    once = r"(?!.*(^|,)-?([^,]+)(,.*)?,-?\3(,|$))"
    text = (
        "Fields to sort by, comma-separated; `-` before a name sorts it in descending order. Null is larger than "
        "every value. Paths through to-one relations work too: `player.username`."
    )
    return query(name, text, {"type": "string", "pattern": rf"^({once}-?({choice})(,-?({choice}))*)?$"})


def fields_parameter(resource: Resource, name: str = "fields") -> Json:
    """The fields of the answer."""
    names = [column for column in resource.columns if addressable(column)]
    schema = {"type": "array", "items": {"type": "string", "enum": names}}
    return query(name, "The fields of the answer, comma-separated; all visible ones by default.", schema)


def shapes(catalog: Catalog, resource: Resource, config: Config) -> list[Json]:
    """`include`, `fields` and what is scoped to an included relation."""
    found = [fields_parameter(resource)]
    included = include_paths(catalog, resource, config)
    if not included:
        return found
    text = (
        f"Related rows to embed, comma-separated paths of at most {config.include_depth_max} relations. Deeper "
        "relations are shaped as `fields[a.b]`, `sort[a.b]` and `limit[a.b]`."
    )
    found.append(query("include", text, {"type": "array", "items": {"type": "string", "enum": included}}))
    for name, target in catalog.ways(resource).items():
        if name not in included:
            continue
        found.append(_scoped(fields_parameter(target, f"fields[{name}]"), name))
        if resource.relationships[name].many:
            found.append(_scoped(sort_parameter(catalog, target, f"sort[{name}]"), name))
            found.append(_scoped(_limit(config, f"limit[{name}]"), name))
    return found


def _scoped(parameter: Json, relation: str) -> Json:
    return parameter | {"description": f"Of the included `{relation}`: {parameter['description']}"}


def _limit(config: Config, name: str = "limit") -> Json:
    schema = {"type": "integer", "minimum": 1, "maximum": config.page_limit_max, "default": config.page_limit}
    return query(name, "The most rows.", schema)


def pages(config: Config, components: Components, *, keyset: bool) -> Iterator[Json]:
    """`page` and `limit`; for lists also `cursor` and `count`."""
    page = {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 1}
    yield components.add("parameters", "page", query("page", "The number of the page.", page))
    yield components.add("parameters", "limit", _limit(config))
    if keyset:
        text = (
            "Keyset paging instead of `page`: empty for the first page, then `next_cursor` or `prev_cursor` of the "
            "last answer, with the same `sort`."
        )
        cursor = {"type": "string", "pattern": CURSOR, "maxLength": CURSOR_CHARS_MAX}
        yield components.add("parameters", "cursor", query("cursor", text, cursor))
        count = query("count", "Whether `meta` has the total.", {"type": "boolean", "default": True})
        yield components.add("parameters", "count", count)


def deleted(resource: Resource, components: Components) -> Iterator[Json]:
    """`with_deleted`, where rows are deleted softly and somebody may see them."""
    if resource.table.deleted is not None and resource.policy.restore is not nobody:
        text = "Whether rows that were deleted are there too, or only they; for who may restore them."
        schema = {"type": "string", "enum": ["true", "only", "false"]}
        yield components.add("parameters", "with_deleted", query("with_deleted", text, schema))


def past(resource: Resource, components: Components) -> Iterator[Json]:
    """`as_of`, where somebody sees the history of rows."""
    if resource.policy.history is not nobody:
        text = "An instant: rows as they were then, by today's rules, for who may see their history."
        schema = {"type": "string", "format": "date-time"}
        yield components.add("parameters", "as_of", query("as_of", text, schema))


def aggregates(catalog: Catalog, resource: Resource) -> Iterator[Json]:
    """`group`, `select` and `sort` of `/aggregate`."""
    grouped = paths(catalog, resource, ORDERED)
    schema = {"type": "array", "items": {"type": "string", "enum": grouped}, "uniqueItems": True}
    yield query("group", "Fields to group by, comma-separated.", schema)
    every = "|".join(_escaped(path) for path in grouped)
    sums = "|".join(_escaped(path) for path in paths(catalog, resource, ADDITIVE))
    calls = [rf"count|(count|min|max)\((distinct )?({every})\)"]
    calls += [rf"(sum|avg)\((distinct )?({sums})\)"] if sums else []
    text = (
        "Measures, comma-separated: `count`, `count(field)`, `count(distinct field)`, `sum()`, `avg()`, `min()`, "
        "`max()`, with a name of their own as `top:max(value)`. Without it, the distinct groups."
    )
    items = {"type": "string", "pattern": f"^{_ALIAS}({'|'.join(calls)})$"}
    measures = {"type": "array", "items": items, "uniqueItems": True}
    yield query("select", text, measures)
    text = "Names of this answer (groups and measures) to sort by, comma-separated; `-` for descending order."
    yield query("sort", text, {"type": "array", "items": {"type": "string", "pattern": r"^-?[A-Za-z_][\w.]*$"}})
