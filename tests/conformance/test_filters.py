"""Filters: every operator on every kind, against a model in Python of what they mean."""

from typing import Any
from urllib.parse import quote

import pytest

from support.api import Api, fields_of
from support.samples import COLUMNS, KINDS, ROWS, matches, text_of, value_of

pytestmark = pytest.mark.anyio

OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "like", "ilike", "contains")
SIMPLE = ("eq", "ne", "lt", "lte", "gt", "gte")
RIGHT = [(c, op) for c in COLUMNS for op in KINDS[c.removesuffix("_or")].operators if op in (*SIMPLE, "in", "nin")]
UNKNOWN = [(c, op) for c in COLUMNS for op in OPERATORS if op not in KINDS[c.removesuffix("_or")].operators]
WRONG = [(kind, wrong) for kind, facts in KINDS.items() for wrong in facts.wrong]


def expected(column: str, op: str, given: Any) -> list[int]:
    """The ids of the rows that a filter keeps."""
    return [i + 1 for i in range(len(ROWS)) if matches(op, value_of(column, i), given)]


@pytest.mark.parametrize(("column", "op"), UNKNOWN)
async def test_an_operator_that_a_kind_does_not_have_is_refused(api: Api, column: str, op: str) -> None:
    """The refusal names the parameter and lists the operators that the field has."""
    problem = await api.refused("/samples", f"{column}[{op}]=1")
    assert fields_of(problem) == [column if op == "eq" else f"{column}[{op}]"]
    assert problem["errors"][0]["code"] == "operator"
    assert "is" in problem["hint"]


@pytest.mark.parametrize(("column", "wrong"), WRONG)
async def test_a_value_that_is_none_of_the_kind_is_refused(api: Api, column: str, wrong: str) -> None:
    """For each operator, in lists as the second item, and inside groups; the parameter is named."""
    value = quote(wrong)
    operators = KINDS[column].operators
    for op in [op for op in SIMPLE if op in operators]:
        problem = await api.refused("/samples", f"{column}[{op}]={value}")
        if "\x00" not in wrong:
            assert fields_of(problem) == [column if op == "eq" else f"{column}[{op}]"]
            assert problem["errors"][0]["code"] == "invalid_value"
    if "in" in operators:
        right = quote(f'"{text_of(column, KINDS[column].values[0])}"'.replace("\\", "\\\\"))
        await api.refused("/samples", f"{column}[in]={right},{value}")
    await api.refused("/samples", f'or=(id=1,{column}="{value}")')


@pytest.mark.parametrize(("column", "op"), RIGHT)
async def test_an_operator_keeps_the_rows_it_should(api: Api, column: str, op: str) -> None:
    """For every value of the kind; null fulfils no comparison, and the total counts what is kept."""
    values = KINDS[column.removesuffix("_or")].values
    cases: list[tuple[str, Any]] = [(text_of(column, value), value) for value in values]
    if op in ("in", "nin"):
        quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text, _ in cases]
        cases = [
            (quoted[0], values[:1]),
            (f"{quoted[0]},{quoted[2]}", (values[0], values[2])),
            (",".join(quoted), values),
        ]
    for text, value in cases:
        page = await api.read("/samples", f"{column}[{op}]={quote(text)}&fields=id&sort=id")
        assert [row["id"] for row in page["data"]] == expected(column, op, value), text
        assert page["meta"]["total"] == len(page["data"])


@pytest.mark.parametrize("column", COLUMNS)
async def test_is_asks_for_null(api: Api, column: str) -> None:
    """`is=null` and `is=notnull` part the rows; truth is asked of booleans only."""
    empty = [i + 1 for i in range(len(ROWS)) if value_of(column, i) is None]
    assert await api.ids("/samples", f"{column}[is]=null&sort=id") == empty
    filled = [i + 1 for i in range(len(ROWS)) if value_of(column, i) is not None]
    assert await api.ids("/samples", f"{column}[is]=notnull&sort=id") == filled
    if not column.startswith("flag"):
        assert fields_of(await api.refused("/samples", f"{column}[is]=true")) == [f"{column}[is]"]


async def test_is_asks_for_truth(api: Api) -> None:
    """Null is neither true nor false."""
    for column in ("flag", "flag_or"):
        for word, truth in (("true", True), ("false", False)):
            ids = [i + 1 for i in range(len(ROWS)) if value_of(column, i) is truth]
            assert await api.ids("/samples", f"{column}[is]={word}&sort=id") == ids


async def test_is_takes_only_its_words(api: Api) -> None:
    """Another word is refused with the words there are."""
    problem = await api.refused("/samples", "text[is]=empty")
    assert fields_of(problem) == ["text[is]"]
    assert "notnull" in problem["errors"][0]["message"]


async def test_without_an_operator_a_filter_asks_for_equality(api: Api) -> None:
    """`field=v` is `field[eq]=v`."""
    assert await api.ids("/samples", "small=7") == await api.ids("/samples", "small[eq]=7") == [3]


async def test_an_unknown_operator_is_refused_with_the_nearest(api: Api) -> None:
    """The hint is computed from the operators."""
    problem = await api.refused("/samples", "text[contain]=a")
    assert fields_of(problem) == ["text[contain]"]
    assert "'contains'" in problem["hint"]


#: Patterns on users' usernames and names: `%` any text, `_` one character, `\` escapes.
PATTERNS = [
    ("username[like]=%25o%25", [2, 3, 5]),
    ("username[like]=_o_", [2, 5]),
    ("username[like]=A%25", []),
    ("username[ilike]=A%25", [1]),
    ("username[like]=zo_", [5]),
    ("username[like]=100\\%25\\_%25", [4]),
    ("username[like]=100\\%25\\_\\\\", [4]),
    ("username[like]=", []),
    ("username[like]=%25", [1, 2, 3, 4, 5]),
    ("username[like]=*", []),
    ("username[like]=[ab]%25", []),
    ("username[ilike]=ADA", [1]),
    ("username[ilike]=%25\\\\", [4]),
    ("name[like]=%25%25", [1, 3, 4, 5]),
    ("name[like]=a\\%25b", [4]),
    ("name[ilike]=a\\%25b", [4, 5]),
    ("name[contains]=%25", [4, 5]),
    ("name[contains]=_", []),
    ("name[contains]=A", [1, 5]),
    ("name[contains]=", [1, 3, 4, 5]),
    ("name[contains]=𝄞", [3]),
    ("username[contains]=\\", [4]),
    ("username[contains]=%25_\\", [4]),
    ("username[contains]=*", []),
]


@pytest.mark.parametrize(("query", "ids"), PATTERNS)
async def test_patterns_match_whole_values_and_wildcards_only_where_meant(
    api: Api, query: str, ids: list[int]
) -> None:
    """`like` minds case and `ilike` does not; `contains` has no wildcards at all."""
    assert await api.ids("/users", f"{query}&sort=id") == ids


#: JSON containment, as PostgreSQL defines it.
CONTAINS = [
    ('{"a":1}', [1, 4]),
    ('{"a":2}', []),
    ('{"tags":["y"]}', [1, 4]),
    ('{"tags":[]}', [1, 4]),
    ('{"tags":"x"}', []),
    ("{}", [1, 2, 3, 4, 5]),
    ('{"a":{}}', [3]),
    ('{"é":"𝄞"}', [3]),
    ('{"n":9007199254740993}', [5]),
    ('{"n":9007199254740992}', []),
    ('{"t":1}', []),
    ("null", []),
    ("plain text", []),
]


@pytest.mark.parametrize(("needle", "ids"), CONTAINS)
async def test_json_contains_what_is_asked_for(api: Api, needle: str, ids: list[int]) -> None:
    """Objects by their members, arrays by their items, scalars by equality, exactly."""
    assert await api.ids("/samples", f"doc[contains]={quote(needle)}&sort=id") == ids


#: One instant, written in the ways that callers do.
INSTANTS = [
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05",
    "2026-01-02 03:04:05",
    "2026-01-02T03:04:05.000000%2B00:00",
    "2026-01-02T05:04:05%2B02:00",
    "2026-01-02T05:04:05+02:00",
    "2026-01-01T23:04:05-04:00",
]


@pytest.mark.parametrize("text", INSTANTS)
@pytest.mark.parametrize("column", ["moment", "local"])
async def test_an_instant_may_be_written_in_any_offset(api: Api, column: str, text: str) -> None:
    """Text without a zone is UTC; a plus sign that was not encoded still is one."""
    assert await api.ids("/samples", f"{column}={text}&sort=id") == [1, 4]


async def test_filters_are_joined_by_and(api: Api) -> None:
    """Also several on one field."""
    assert await api.ids("/scores", "value[gte]=50&value[lt]=100&sort=id") == [3, 10]
    assert await api.ids("/scores", "game_id=1&player_id=2") == [2]
