"""The REST grammar: what is written is what is read, and any text at all is an answer or a Problem."""

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay import Config, Problem
from backstay.http.messages import pairs_of
from backstay.query.ir import (
    Aggregate,
    Compare,
    Filter,
    Function,
    Group,
    Include,
    Is,
    KeysetPage,
    Measure,
    OffsetPage,
    Op,
    OrderKey,
    Select,
    Shape,
)
from backstay.query.ir import Test as IsTest
from backstay.query.values import split_list
from backstay.rest import params
from support import render
from support.asgi import Client, sync_engine
from support.kinds import CHARACTERS, Base, Thing, app_of

CONFIG = Config()
steady = settings(max_examples=150, deadline=None)

#: Field names that the grammar can write: no brackets, quotes, commas, parentheses, dots or equals signs.
NAME_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters='[]=,()".-')
NAMES = st.sampled_from(
    ["id", "value", "or", "and", "sort", "limit", "page", "is", "count", "größe", "a b", "ID"]
) | st.text(NAME_CHARACTERS, min_size=1, max_size=6)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(tuple)
VALUES = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "a,b",
        "(x)",
        ")",
        "=",
        "&",
        "+",
        "%20",
        "%",
        "#",
        "\n",
        "\\\n",
        " ",
        "",
        "a=b,or(c=d)",
        "é",
        "𝄞",
    ]
)


class Slots:
    """Counts the slots and keeps their values while filters are drawn."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def take(self, value: object) -> int:
        """The slot of one more value."""
        self.values.append(value)
        return len(self.values) - 1


def draw_filter(draw: st.DrawFn, slots: Slots, depth: int) -> Filter:
    """A comparison, a test or a group of filters."""
    kind = draw(st.sampled_from(["compare", "compare", "is", "group"] if depth else ["compare", "is"]))
    if kind == "group":
        count = draw(st.integers(1, 3))
        return Group(draw(st.booleans()), tuple(draw_filter(draw, slots, depth - 1) for _ in range(count)))
    if kind == "is":
        return Is(draw(PATHS), draw(st.sampled_from(IsTest)))
    return Compare(draw(PATHS), draw(st.sampled_from(Op)), slots.take(draw(VALUES)))


def draw_condition(draw: st.DrawFn, slots: Slots) -> Group | None:
    """The whole of a query's filters."""
    count = draw(st.integers(0, 4))
    return Group(False, tuple(draw_filter(draw, slots, 4) for _ in range(count))) if count else None


def draw_order(draw: st.DrawFn) -> tuple[OrderKey, ...]:
    """Sort keys without repetition."""
    paths = draw(st.lists(PATHS, max_size=3, unique=True))
    return tuple(OrderKey(path, draw(st.booleans())) for path in paths)


def draw_includes(draw: st.DrawFn, depth: int) -> tuple[Include, ...]:
    """Relations with their own fields, order and limit."""
    names = draw(st.lists(NAMES, max_size=2, unique=True)) if depth else []
    fields = st.none() | st.lists(NAMES, max_size=3).map(tuple)
    words = {op.value for op in Op} | {"is"}
    return tuple(
        Include(
            name, Shape(draw(fields), draw_includes(draw, depth - 1)), draw_order(draw), draw(st.integers(1, 100))
        )
        for name in names
        if name not in words
    )


def offset_slot(slots: Slots, number: int, limit: int) -> int | None:
    """The first page has no offset."""
    return None if number == 1 else slots.take((number - 1) * limit)


@st.composite
def lists(draw: st.DrawFn) -> tuple[Select, list[object]]:
    """A list's IR with the values of its slots."""
    slots = Slots()
    condition = draw_condition(draw, slots)
    order = draw_order(draw)
    limit = draw(st.integers(1, 100))
    page: OffsetPage | KeysetPage = KeysetPage(limit)
    if draw(st.booleans()):
        number = draw(st.integers(1, 10_000_000))
        page = OffsetPage(limit, offset_slot(slots, number, limit), draw(st.booleans()))
    shape = Shape(draw(st.none() | st.lists(NAMES, max_size=4).map(tuple)), draw_includes(draw, 3))
    return Select("things", condition, order, page, shape), slots.values


@st.composite
def aggregates(draw: st.DrawFn) -> tuple[Aggregate, list[object]]:
    """An aggregate's IR with the values of its slots."""
    slots = Slots()
    condition = draw_condition(draw, slots)
    identifier = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
    plain = st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=2).map(tuple)
    measures: list[Measure] = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.just(()) | plain)
        alias = draw(st.just("") | identifier)
        measures.append(Measure(draw(st.sampled_from(Function)), path, bool(path) and draw(st.booleans()), alias))
    group = tuple(draw(st.lists(PATHS, max_size=2)))
    order = draw_order(draw)
    limit, number = draw(st.integers(1, 100)), draw(st.integers(1, 1_000))
    page = OffsetPage(limit, offset_slot(slots, number, limit))
    return Aggregate("things", group, tuple(measures), condition, order, page), slots.values


def through_url(pairs: render.Pairs) -> list[tuple[str, str]]:
    """The parameters as they arrive after a URL."""
    return pairs_of(urlencode(pairs).encode())


@steady
@given(drawn=lists())
def test_a_list_is_read_as_it_was_written(drawn: tuple[Select, list[object]]) -> None:
    """parse(render(IR)) is the IR and its values, through a URL, and renders to the same parameters again."""
    query, values = drawn
    config = Config(params_max=1_000)
    pairs = render.select(query, values)
    parsed = params.parse_list("things", through_url(pairs), config)
    assert parsed.query == query
    assert parsed.raw == values
    assert isinstance(parsed.query, Select)
    assert render.select(parsed.query, parsed.raw) == pairs


@steady
@given(drawn=aggregates())
def test_an_aggregate_is_read_as_it_was_written(drawn: tuple[Aggregate, list[object]]) -> None:
    """parse(render(IR)) is the IR and its values for groups, measures and aliases."""
    query, values = drawn
    pairs = render.aggregate(query, values)
    parsed = params.parse_aggregate("things", through_url(pairs), Config(params_max=1_000))
    assert parsed.query == query
    assert parsed.raw == values


@steady
@given(values=st.lists(st.text(st.sampled_from("\\\",()=[]&;+% \n\t#?/'`~é𝄞ab"), max_size=8), min_size=1, max_size=5))
def test_special_characters_survive_quoting_in_groups(values: list[str]) -> None:
    """Quotes, backslashes, commas, parentheses and line breaks inside a group's quoted value arrive unchanged."""
    text = "(" + ",".join(f"name={render.quoted(value)}" for value in values) + ")"
    for kind in ("or", "and"):
        assert params.parse_list("things", through_url([(kind, text)]), CONFIG).raw == values


@steady
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\x00,()"'), max_size=12))
def test_a_bare_value_in_a_group_is_its_quoted_form(value: str) -> None:
    """A value without commas, quotes or parentheses means the same with and without quotes."""
    bare = params.parse_list("things", [("or", f"(a={value},b=1)")], CONFIG)
    within = params.parse_list("things", [("or", f"(a={render.quoted(value)},b=1)")], CONFIG)
    assert (bare.query, bare.raw) == (within.query, within.raw)


@steady
@given(items=st.lists(st.text(st.sampled_from('\\", ()=é𝄞ab%'), max_size=6), min_size=1, max_size=5))
def test_items_of_a_list_survive_quoting(items: list[str]) -> None:
    """A quoted item of an `in` list may hold commas, quotes, backslashes and blanks."""
    raw = ",".join(render.quoted(item) for item in items)
    assert split_list(raw) == items
    assert split_list(" , ".join(render.quoted(item) for item in items)) == items


TOKENS = [
    *("id", "whole", "text", "owner", "owner.name", "owner.rank", "color", "price", "moment", "real", "flag", "nope"),
    *("or", "and", "sort", "page", "limit", "cursor", "count", "include", "fields", "group", "select", "q"),
    *("[", "]", "(", ")", "=", ",", ".", "-", '"', "\\", ":", "%", "+", "&", "&", "=", "%00", "%ff", "%C3%A9", " "),
    *("eq", "in", "nin", "like", "ilike", "contains", "is", "gt", "null", "true", "1", "0", "-1", "9" * 30, "1e999"),
    *(
        "sum",
        "avg(",
        "count(distinct ",
        "max(",
        "WyIiLDBd",
        "2026-01-01",
        "\x00",
        "é",
        "\ud800",
        "\n",
        "'",
        ";",
        "--",
    ),
]
SOUP = st.lists(st.sampled_from(TOKENS), max_size=16).map("".join) | st.text(max_size=60)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An app with the table of every kind, empty but for one row."""
    path = tmp_path_factory.mktemp("grammar") / "things.db"
    engine = sync_engine(path)
    Base.metadata.create_all(engine)
    engine.dispose()
    with Client(app_of(path)) as opened:
        yield opened


@settings(max_examples=500, deadline=None)
@given(text=SOUP, path=st.sampled_from(["/things", "/things/aggregate", "/things/1", "/owners"]))
def test_any_query_string_is_answered(client: Client, text: str, path: str) -> None:
    """Whatever follows the question mark, the answer is data or a problem of the caller, never a failure of ours."""
    raw = text.encode("utf-8", "surrogatepass")
    for query in (raw, raw):  # the second one may come from a cache
        answer = client.get(path, query)
        assert answer.status in (200, 400, 404, 414), answer.body
        if answer.status == 400:
            assert answer.json["code"] in ("VALIDATION_ERROR", "MALFORMED_REQUEST"), answer.json
            assert answer.json["hint"]


@settings(max_examples=300, deadline=None)
@given(pairs=st.lists(st.tuples(SOUP, SOUP), max_size=5))
def test_any_parameters_are_parsed_or_refused(pairs: list[tuple[str, str]]) -> None:
    """The parsers raise nothing but Problem, with at least one field named where input is invalid."""
    for parse in (params.parse_list, params.parse_aggregate, lambda *given: params.parse_item(*given, ["1"])):
        problem = refusal_of(parse, pairs)
        if problem is not None:
            assert problem.code == "VALIDATION_ERROR"
            assert problem.errors
            assert all(error.field for error in problem.errors)


def refusal_of(parse: Callable[..., object], pairs: list[tuple[str, str]]) -> Problem | None:
    """What a parser raised."""
    try:
        parse("things", pairs, CONFIG)
    except Problem as problem:
        return problem
    return None


#: Each makes some pattern step back, if it can.
HARD = ["+" * 4_000 + '"', "1" * 4_000 + "x", '"a"' + "+" * 4_000 + "x", '"' + "\\" * 4_001]


@pytest.mark.parametrize("op", ["in", "eq"])
@pytest.mark.parametrize("column", sorted(Thing.__table__.columns.keys()))
@pytest.mark.parametrize(
    "value", ["+" * 4_000 + '"', "1" * 4_000 + "x", '"a"' + "+" * 4_000 + "x", '"' + "\\" * 4_001]
)
def test_no_value_makes_the_parser_slow(client: Client, column: str, op: str, value: str) -> None:
    """A value that no pattern matches is refused in time that grows with its length only."""
    started = time.process_time()
    answer = client.get("/things", f"{column}[{op}]={value}".encode())
    assert answer.status in (200, 400)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["count" + "," * 6_000, "count(" + "," * 6_000, "count(" + "+" * 6_000 + "x("])
def test_no_measure_makes_the_parser_slow(client: Client, text: str) -> None:
    """The same of the aggregates' select."""
    started = time.process_time()
    assert client.get("/things/aggregate", f"select={text}".encode()).status in (200, 400)
    assert time.process_time() - started < 2


def test_a_scope_without_its_relation_is_refused(client: Client) -> None:
    """Settings of a relation that is not included are named, in lists and in aggregates."""
    for path, query in (("/things", "sort[owner]=id"), ("/things/aggregate", "select=count&sort[owner]=id")):
        answer = client.get(path, query)
        assert answer.status == 400
        assert answer.json["errors"][0]["field"] == "sort[owner]"
