"""Values: what each kind looks like in JSON, in a body and after both."""

import json
from typing import Any

import pytest

from support.api import Api, fields_of
from support.samples import COLUMNS, KINDS, ROWS, json_of, value_of

pytestmark = pytest.mark.anyio

WRONG = [(kind, wrong) for kind, facts in KINDS.items() for wrong in facts.wrong_json]
#: What a body may say, and what the row then is.
BODIES: list[tuple[str, Any, Any]] = [
    ("big", 2**63 - 1, 2**63 - 1),
    ("big", -(2**63), -(2**63)),
    ("small", 7.0, 7),
    ("big", 1e15, 10**15),
    ("real", 3, 3.0),
    ("real", -0.5, -0.5),
    ("money", "1.5", "1.50"),
    ("money", 1.5, "1.50"),
    ("money", 2, "2.00"),
    ("money", "-9999999999.99", "-9999999999.99"),
    ("exact", "0.1", "0.1000"),
    ("exact", "12345678901.0001", "12345678901.0001"),
    ("text", "𝄞\u0301 \\ \" ' % \n\t\u007f\u2028", "𝄞\u0301 \\ \" ' % \n\t\u007f\u2028"),
    ("text", "", ""),
    ("moment", "2026-11-21T01:34:00Z", "2026-11-21T01:34:00.000000+00:00"),
    ("moment", "2026-11-21T01:34:00", "2026-11-21T01:34:00.000000+00:00"),
    ("moment", "2026-11-21T01:34:00.5+02:00", "2026-11-20T23:34:00.500000+00:00"),
    ("moment", "2026-11-21t01:34:00-00:30", "2026-11-21T02:04:00.000000+00:00"),
    ("local", "2026-11-21T01:34:00.123456", "2026-11-21T01:34:00.123456+00:00"),
    ("day", "2024-02-29", "2024-02-29"),
    ("hour", "23:59", "23:59:00.000000"),
    ("hour", "01:02:03.4", "01:02:03.400000"),
    ("token", "ABCDEF0123456789ABCDEF0123456789", "abcdef01-2345-6789-abcd-ef0123456789"),
    ("token", "ABCDEF01-2345-6789-ABCD-EF0123456789", "abcdef01-2345-6789-abcd-ef0123456789"),
    ("blob", "", ""),
    ("blob", "AAEC/+8=", "AAEC/+8="),
    ("color", "ünïcode", "ünïcode"),
    ("doc", [1, [2, {"a": None}]], None),
    ("doc", {"é": "𝄞", "n": 2**53 + 1, "f": 0.1, "deep": {"a": {"b": [True, None]}}}, None),
]


@pytest.mark.parametrize(("column", "wrong"), WRONG, ids=lambda value: json.dumps(value)[:40])
async def test_a_value_of_another_kind_is_refused_by_name(fresh: Api, column: str, wrong: Any) -> None:
    """A body's value that its column cannot hold is refused with the field named, and changes nothing."""
    before = await fresh.data("/samples/1")
    for field in (column, f"{column}_or"):
        if wrong is None and field.endswith("_or"):
            continue
        response = await fresh.send("PATCH", "/samples/1", json={field: wrong})
        assert response.status_code == 400, response.text
        assert fields_of(response.json()) == [field]
    assert await fresh.data("/samples/1") == before


async def test_null_in_a_column_that_holds_none_is_refused(fresh: Api) -> None:
    """Every such field of a body is named at once; a JSON column holds a JSON null instead."""
    body = {name: None for name in KINDS if name != "doc"}
    response = await fresh.send("PATCH", "/samples/1", json=body)
    assert response.status_code == 400
    assert sorted(fields_of(response.json())) == sorted(body)


async def test_every_kind_has_its_json_form(api: Api) -> None:
    """Rows written by SQLAlchemy are shown as the contract says, value by value, also through a list."""
    listed = await api.data("/samples", "sort=id")
    for i in range(len(ROWS)):
        row = await api.data(f"/samples/{i + 1}")
        expected = {column: json_of(column, value_of(column, i)) for column in COLUMNS}
        assert {column: row[column] for column in COLUMNS} == expected
        assert listed[i] == row


async def test_fields_come_in_declared_order(api: Api) -> None:
    """The key first, then the columns as declared, then what the server keeps."""
    row = await api.data("/samples/1")
    assert list(row) == ["id", *COLUMNS, "created_at", "updated_at", "version"]


@pytest.mark.parametrize(("column", "given", "shown"), BODIES, ids=lambda value: str(value)[:40])
async def test_a_body_value_comes_back_in_its_json_form(fresh: Api, column: str, given: Any, shown: Any) -> None:
    """What is written is what the write answers and what a later read shows, in both columns of a kind."""
    shown = given if shown is None else shown
    fields = (column, f"{column}_or")
    written = await fresh.written("PATCH", "/samples/1", dict.fromkeys(fields, given))
    read = await fresh.data("/samples/1")
    assert [written[field] for field in fields] == [shown, shown]
    assert read == written


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.endswith("_or")])
async def test_null_in_a_nullable_column_is_null(fresh: Api, column: str) -> None:
    """`null` in a body stores SQL null, which `is=null` finds; JSON columns too."""
    row = await fresh.written("PATCH", "/samples/3", {column: None})
    assert row[column] is None
    assert 3 in await fresh.ids("/samples", f"{column}[is]=null")


async def test_json_null_is_not_sql_null(fresh: Api) -> None:
    """In a JSON column without nulls `null` is a value; it is shown as null and is not found as null."""
    row = await fresh.written("PATCH", "/samples/1", {"doc": None})
    assert row["doc"] is None
    assert await fresh.ids("/samples", "doc[is]=null") == []
    assert len(await fresh.ids("/samples", "doc[is]=notnull")) == len(ROWS)


async def test_an_absent_row_is_null_and_absent_rows_are_an_empty_list(api: Api) -> None:
    """A to-one relation that leads nowhere is null; a to-many relation without rows is []."""
    game = await api.data("/games/go", "include=owner,tags,comments")
    assert (game["owner"], game["tags"], game["comments"]) == (None, [], [])
