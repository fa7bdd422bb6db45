"""A query string into IR and raw values: lists, items and aggregates of the REST grammar."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..config import Config
from ..errors import FieldError, ValidationError, invalid, perhaps
from ..query.ir import (
    Aggregate,
    Deleted,
    Filter,
    Function,
    Group,
    History,
    Include,
    KeysetPage,
    Measure,
    OffsetPage,
    Op,
    OrderKey,
    Page,
    Parent,
    Search,
    Select,
    Shape,
)
from . import cursors
from .groups import NAME, group, leaf

PAGE_MAX = 10_000_000
#: What in brackets makes a parameter a filter with a value; `is` makes one without.
COMPARISONS = frozenset(op.value for op in Op)
LIST_WORDS = (
    "sort",
    "page",
    "limit",
    "cursor",
    "count",
    "include",
    "fields",
    "or",
    "and",
    "q",
    "with_deleted",
    "as_of",
)
_ITEM_WORDS = ("include", "fields", "with_deleted", "as_of")
AGGREGATE_WORDS = ("group", "select", "sort", "page", "limit", "or", "and", "q", "with_deleted")
_HISTORY_WORDS = ("limit", "cursor")
_SCOPED = ("fields", "sort", "limit")
_MEASURE = re.compile(
    r"(?:([A-Za-z_][A-Za-z0-9_]{0,62}):)?(count|sum|avg|min|max)(?:\((distinct )?\s*+([^()\s]*+)\s*+\))?\Z"
)
_CALL = re.compile(r"(?:[^,(]|\([^()]*+)+")
_GAP = re.compile(r"(?:\A|,)\s*+(?:,|\Z)")

Pairs = Iterable[tuple[str, str]]


@dataclass(slots=True)
class Parameters:
    """The parameters of one request, sorted by what they do; `raw` are the values of its slots."""

    raw: list[str] = field(default_factory=list[str])
    filters: list[Filter] = field(default_factory=list[Filter])
    words: dict[str, str] = field(default_factory=dict[str, str])
    scoped: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])


@dataclass(frozen=True, slots=True)
class Parsed:
    """A list's IR with its raw values.

    Attributes:
        raw: one value a slot: text of filters and keys, JSON of a cursor, an offset.
        page: the page's number, 0 on a keyset page.
        as_of: the instant of the past, if there is one.
    """

    query: Select | Aggregate | History
    raw: list[object]
    page: int
    digest: str = ""
    as_of: str = ""


def sort_out(pairs: Pairs, words: tuple[str, ...], config: Config, *, keys: Iterable[str] = ()) -> Parameters:
    """Tell filters from reserved words; a word with an operator (`limit[gte]`) is a field of that name.

    Raises:
        ValidationError: a word twice, too many parameters, a filter that cannot be read.
    """
    found = Parameters(raw=list(keys))
    errors: list[FieldError] = []
    hint = ""
    for number, (name, value) in enumerate(pairs):
        if number >= config.params_max:
            raise invalid("query", "too_many", f"at most {config.params_max} parameters.")
        try:
            _place(found, name, value, words, config)
        except ValidationError as error:
            errors += error.errors
            hint = hint or error.hint
    if errors:
        raise ValidationError(errors, hint=hint)
    return found


def _place(found: Parameters, name: str, value: str, words: tuple[str, ...], config: Config) -> None:
    match = NAME.match(name)
    if match is None:
        raise invalid(name[:80] or "query", "syntax", "expected field=value or field[op]=value.")
    base, inner = match.groups()
    if inner is None and base in words:
        if base in ("or", "and"):
            found.filters.append(group(base, value, found.raw, items_max=config.params_max))
        elif base in found.words:
            raise invalid(base, "duplicate", "is given twice.")
        else:
            found.words[base] = value
            if base == "q":
                found.raw.append(value)
                found.filters.append(Search(len(found.raw) - 1))
    elif (
        inner is not None and base in _SCOPED and _scopes(base, words) and inner not in COMPARISONS and inner != "is"
    ):
        scope = found.scoped.setdefault(inner, {})
        if base in scope:
            raise invalid(name[:80], "duplicate", "is given twice.")
        scope[base] = value
    else:
        found.filters.append(leaf(base, inner, value, found.raw))


def _scopes(base: str, words: tuple[str, ...]) -> bool:
    """An item has no order or limit of its own, but what it includes has."""
    return base in words or "include" in words


def parse_list(
    resource: str, pairs: Pairs, config: Config, *, parent: tuple[str, str, list[str]] | None = None
) -> Parsed:
    """`GET /{resource}` or `GET /{parent}/{key}/{relation}`.

    Args:
        parent: (resource, relation, key) of a nested route.
    """
    keys = parent[2] if parent else []
    found = sort_out(pairs, LIST_WORDS, config, keys=keys)
    order = sort_keys(found.words.get("sort"), "sort")
    shape = shape_of(found, config)
    limit = bounded(found.words.get("limit"), "limit", config.page_limit, config.page_limit_max)
    raw: list[object] = list(found.raw)
    as_of = _past(found.words, raw)
    digest = cursors.digest(resource, order)
    page, number = _page(found.words, limit, raw, digest)
    start = Parent(parent[0], parent[1], tuple(range(len(keys)))) if parent else None
    condition = Group(False, tuple(found.filters)) if found.filters else None
    deleted = deleted_of(found.words)
    query = Select(resource, condition, order, page, shape, parent=start, deleted=deleted, as_of=as_of)
    return Parsed(query, raw, number, digest, found.words.get("as_of", ""))


def _past(words: Mapping[str, str], raw: list[object]) -> int | None:
    """The slot of an instant of the past, with its text in `raw`."""
    if "as_of" not in words:
        return None
    raw.append(words["as_of"])
    return len(raw) - 1


def _page(words: dict[str, str], limit: int, raw: list[object], digest: str) -> tuple[Page, int]:
    if "cursor" in words:
        if "page" in words:
            raise invalid("cursor", "conflict", "page and cursor exclude each other.")
        return keyset_page(words["cursor"], limit, raw, digest), 0
    number = bounded(words.get("page"), "page", 1, PAGE_MAX)
    slot = offset_slot(raw, number, limit)
    return OffsetPage(limit, slot, boolean(words.get("count"), "count", default=True)), number


def keyset_page(text: str, limit: int, raw: list[object], digest: str) -> KeysetPage:
    """The page of a cursor, with its values in `raw`; the first one has none."""
    if not text:
        return KeysetPage(limit)
    cursor = cursors.decode(text, digest)
    slots = tuple(range(len(raw), len(raw) + len(cursor.values)))
    raw += cursor.values
    return KeysetPage(limit, slots, tuple(v is None for v in cursor.values), cursor.backward)


def parse_history(pairs: Pairs, config: Config, key: Iterable[str]) -> tuple[Mapping[str, str], list[object]]:
    """The words of `GET /{resource}/{key}/history`, and the values of its slots so far."""
    found = sort_out(pairs, _HISTORY_WORDS, config, keys=key)
    _refuse_filters(found, "a history", _HISTORY_WORDS)
    return found.words, list(found.raw)


def offset_slot(raw: list[object], number: int, limit: int) -> int | None:
    """The slot of a page's offset, with its value in `raw`; none for the first page."""
    if number == 1:
        return None
    raw.append((number - 1) * limit)
    return len(raw) - 1


def parse_item(resource: str, pairs: Pairs, config: Config, raw: list[object]) -> Select:
    """`GET /{resource}/{key}`.

    Args:
        raw: the parts of the key; the values of other slots come behind them.
    """
    parts = len(raw)
    found = sort_out(pairs, _ITEM_WORDS, config)
    _refuse_filters(found, "an item", _ITEM_WORDS)
    shape = shape_of(found, config)
    as_of = _past(found.words, raw)
    return Select(resource, shape=shape, key=tuple(range(parts)), deleted=deleted_of(found.words), as_of=as_of)


def deleted_of(words: Mapping[str, str]) -> Deleted:
    """`with_deleted=true` or `only`."""
    text = words.get("with_deleted")
    if text is None or text == "false":
        return Deleted.HIDDEN
    if text not in ("true", "only"):
        raise invalid("with_deleted", "invalid_value", "must be true, only or false.")
    return Deleted(text)


def parse_aggregate(resource: str, pairs: Pairs, config: Config) -> Parsed:
    """`GET /{resource}/aggregate`."""
    found = sort_out(pairs, AGGREGATE_WORDS, config)
    for path, settings in found.scoped.items():
        name = f"{next(iter(settings))}[{path[:80]}]"
        raise invalid(name, "unknown_parameter", "an aggregate includes no relations.")
    groups = tuple(tuple(name.split(".")) for name in names(found.words.get("group"), "group"))
    measures = tuple(_measure(text) for text in _split_calls(found.words.get("select", "")))
    if not groups and not measures:
        measures = (Measure(Function.COUNT),)
    limit = bounded(found.words.get("limit"), "limit", config.page_limit, config.page_limit_max)
    number = bounded(found.words.get("page"), "page", 1, PAGE_MAX)
    raw: list[object] = [*found.raw]
    slot = offset_slot(raw, number, limit)
    order = sort_keys(found.words.get("sort"), "sort")
    condition = Group(False, tuple(found.filters)) if found.filters else None
    page = OffsetPage(limit, slot)
    deleted = deleted_of(found.words)
    return Parsed(Aggregate(resource, groups, measures, condition, order, page, deleted=deleted), raw, number)


def _measure(text: str) -> Measure:
    match = _MEASURE.match(text)
    if match is None:
        hint = "Measures are count, count(field), count(distinct field), sum(), avg(), min(), max()."
        raise invalid("select", "measure", f"{text[:80]!r} is no measure.", hint=hint)
    alias, function, distinct, path = match.groups()
    return Measure(Function(function), tuple(path.split(".")) if path else (), bool(distinct), alias or "")


def _split_calls(text: str) -> list[str]:
    """The parts between commas; a comma inside parentheses is no end."""
    if text.strip() and _GAP.search(text):
        raise invalid("select", "syntax", "has an empty measure.", hint="Separate measures by one comma each.")
    return [part.strip() for part in _CALL.findall(text) if part.strip()]


def _refuse_filters(found: Parameters, what: str, words: tuple[str, ...]) -> None:
    if found.filters:
        first = found.filters[0]
        name = ".".join(getattr(first, "path", ("or",)))[:80]
        hint = perhaps(name, words, noun="parameter")
        raise invalid(name, "unknown_parameter", f"{what} takes no filters.", hint=hint)


def names(text: str | None, label: str) -> list[str]:
    """A comma-separated list of names; blanks around them do not count."""
    if text is None or not text.strip():
        return []
    found = [name.strip() for name in text.split(",")]
    if "" in found:
        raise invalid(label, "syntax", "has an empty name.", hint="Separate the names by one comma each.")
    return found


def sort_keys(text: str | None, label: str) -> tuple[OrderKey, ...]:
    """`-value,player.username`."""
    keys = [OrderKey(tuple(n.removeprefix("-").split(".")), n.startswith("-")) for n in names(text, label)]
    if len({key.path for key in keys}) < len(keys):
        raise invalid(label, "duplicate", "names a field twice.")
    return tuple(keys)


def bounded(text: str | None, label: str, default: int, highest: int) -> int:
    """A whole number from 1 to `highest`."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= highest):
        raise invalid(label, "invalid_value", f"must be a whole number from 1 to {highest}.")
    return int(text)


def boolean(text: str | None, label: str, *, default: bool) -> bool:
    """`true` or `false`."""
    if text is None:
        return default
    if text not in ("true", "false", "1", "0"):
        raise invalid(label, "invalid_value", "must be true or false.")
    return text in ("true", "1")


def shape_of(found: Parameters, config: Config) -> Shape:
    """`fields`, `include` and what is scoped to an included relation, as one tree."""
    tree: dict[str, dict[str, object]] = {}
    known: set[str] = set()
    for path in names(found.words.get("include"), "include"):
        node = tree
        parts = path.split(".")
        if len(parts) > config.include_depth_max:
            raise invalid("include", "too_deep", f"at most {config.include_depth_max} relations deep.")
        for i, part in enumerate(parts):
            known.add(".".join(parts[: i + 1]))
            node = node.setdefault(part, {})  # type: ignore[assignment]
    for path, settings in found.scoped.items():
        if path not in known:
            name = f"{next(iter(settings))}[{path[:80]}]"
            hint = perhaps(path, known, noun="included relation") or f"Add include={path[:80]}."
            raise invalid(name, "not_included", f"{path[:80]!r} is not included.", hint=hint)
    fields = found.words.get("fields")
    return Shape(tuple(names(fields, "fields")) if fields is not None else None, _includes(tree, found, config, ""))


def _includes(tree: dict[str, dict[str, object]], found: Parameters, config: Config, at: str) -> tuple[Include, ...]:
    includes: list[Include] = []
    for name, below in tree.items():
        path = f"{at}{name}"
        settings = found.scoped.get(path, {})
        fields = tuple(names(settings["fields"], f"fields[{path}]")) if "fields" in settings else None
        order = sort_keys(settings.get("sort"), f"sort[{path}]")
        limit = bounded(settings.get("limit"), f"limit[{path}]", config.page_limit, config.page_limit_max)
        inner = _includes(below, found, config, path + ".")  # type: ignore[arg-type]
        includes.append(Include(name, Shape(fields, inner), order, limit))
    return tuple(includes)
